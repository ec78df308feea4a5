"""What a sink and a validator have in common: how they run, how they stop, and how one sees that they do."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from tradepipe.errors import SchemaNotRegistered
from tradepipe.kafka.client import Config
from tradepipe.kafka.topics import Topic, Topics
from tradepipe.metrics import Meter
from tradepipe.pipeline.books import KAFKA, REGISTRY, Books
from tradepipe.pipeline.goal import Goal
from tradepipe.pipeline.log_ends import LogEnds
from tradepipe.pipeline.waiting import Stopped, Waiting
from tradepipe.wire.registry import SchemaRegistry

B = TypeVar("B", bound=Books)

QUIET: Final = 0.5
"""Seconds to wait for a record while there is nothing else to do; a stop is noticed as late."""

EAGER: Final = 0.05
"""Seconds to wait for a record while no partition is read; an assignment is noticed as late."""

OBSERVE_EVERY: Final = 0.5

ALIVE_WITHIN: Final = 60.0
"""Seconds within which the loop turns, whatever is away: three times what a batch may take."""

BATCH_BYTES: Final = 32 << 20
"""Bytes of values in one batch; what bounds memory where records are large."""


class Stage(ABC, Generic[B]):
    """
    A member of a group that works on what a topic holds, turn by turn, until it is stopped.

    Args:
        books: where is counted what is done.
    """

    def __init__(self, kafka: Config, books: B, *, registry: SchemaRegistry | str, topic: str, subject: str) -> None:
        self._books = books
        self._topic = topic
        self._subject = subject
        self._own_registry = isinstance(registry, str)
        self._registry = SchemaRegistry(registry) if isinstance(registry, str) else registry
        self._topics = Topics(kafka)
        self._ends = LogEnds(self._topics, topic)
        self._goal: Goal | None = None
        self._stopping = self._closed = False
        self._observed_at = 0.0
        self._turned_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def meter(self) -> Meter:
        """The numbers behind the metrics."""
        return self._books.meter

    @property
    def lag(self) -> int | None:
        """How many offsets lie between what is done and the end of the log; None while that is not known."""
        return self._books.lag

    @property
    def waiting_for(self) -> str | None:
        """The part that is away, or None."""
        return self._books.waiting_for

    @property
    def is_alive(self) -> bool:
        """Whether `run` goes on; an outage of any part is no reason why it would not."""
        return time.monotonic() - self._turned_at < ALIVE_WITHIN

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it can work: the group has answered, and no part has been away for a minute."""

    def stop(self) -> None:
        """Make `run` return soon; may be called from a signal handler or another thread."""
        self._stopping = True

    def close(self) -> None:
        """Leave the group, let go of all connections."""
        if self._own_registry:
            self._registry.close()

    def _work(self, until_end: bool) -> None:
        """Turn until `stop`, or until the end; closed in any case when this returns."""
        try:
            self._open(until_end)
            while not self._stopping and not self._finished():
                self._turned_at = time.monotonic()
                self._turn()
        except Stopped:
            pass
        finally:
            self.close()

    def _open(self, until_end: bool) -> None:
        patiently = Waiting(self._books, self._goes_on)
        patiently(REGISTRY, lambda: require_subject(self._registry, self._subject))
        described = patiently(KAFKA, lambda: self._topics.describe(self._topic))
        self._prepare(patiently)
        if until_end:
            self._goal = Goal(patiently(KAFKA, lambda: self._topics.extents(self._topic, described.partitions)))
        self._join(described)

    @abstractmethod
    def _prepare(self, patiently: Waiting) -> None:
        """Look whether all is as it has to be, before the group is joined."""

    @abstractmethod
    def _join(self, described: Topic) -> None:
        """Join the group."""

    @abstractmethod
    def _turn(self) -> None:
        """Do what there is to do now."""

    @abstractmethod
    def _is_idle(self) -> bool:
        """Whether nothing is in hand."""

    @abstractmethod
    def _take_stock(self) -> None:
        """Bring the books up to date."""

    def _goes_on(self) -> bool:
        """Whether a part that is waited for still is to be."""
        self._turned_at = time.monotonic()
        return not self._stopping

    def _note(self, next_offsets: Mapping[int, int]) -> None:
        """Take account of how far the group is."""
        if self._goal is not None:
            self._goal.note(next_offsets)

    def _finished(self) -> bool:
        return self._goal is not None and self._goal.reached and self._is_idle()

    def _observe(self) -> None:
        now = time.monotonic()
        if now - self._observed_at >= OBSERVE_EVERY:
            self._observed_at = now
            self._take_stock()

    def _close_books(self) -> None:
        if not self._closed:
            self._closed = True
            self._take_stock()
            self._books.closed()


def require_subject(registry: SchemaRegistry, subject: str) -> None:
    """
    Refuse to read what nothing could decode.

    Raises:
        SchemaNotRegistered: the registry has no such subject.

        RegistryAway, Misconfigured: as the registry's methods.
    """
    if not registry.versions(subject):
        raise SchemaNotRegistered(
            f"the registry at {registry.url} has no subject {subject}, so no record could be decoded; "
            f"register the schema: python -m tradepipe.schema register --subject {subject}"
        )
