"""The database thread of a sink."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from tradepipe.kafka.assignment import Assignment
from tradepipe.pipeline.refusal_limit import WINDOW, RefusalLimit, is_counted
from tradepipe.postgres.batch import Batch, BatchResult
from tradepipe.postgres.offsets import ClaimResult
from tradepipe.postgres.reconnect import StopRequested
from tradepipe.postgres.sink_store import BatchOutcome, ClaimRequest, SinkStore
from tradepipe.postgres.stale import Stale

logger = logging.getLogger(__name__)

ABORT_WAIT_SECONDS: Final = 1.0
"""Seconds the thread may take to end after its transaction was aborted."""


class Claim(NamedTuple):
    """A partition to claim: its assignment, the start if nothing is stored, and the first offset of its log."""

    assignment: Assignment
    topic: str
    topic_id: str | None
    start: int
    begin: int


class ClaimPartitions(NamedTuple):
    """A task: claim partitions."""

    claims: tuple[Claim, ...]


class ProgressQuery(NamedTuple):
    """A task: read what the group has stored of a topic."""

    topic: str


class ClaimGranted(NamedTuple):
    """A claim that the database has granted."""

    claim: Claim
    result: ClaimResult


class GroupProgress(NamedTuple):
    """The next offset that the group has stored for each partition, whichever sink stored it."""

    next_offsets: dict[int, int]


class DatabaseDown(NamedTuple):
    """PostgreSQL is unavailable; the current task is kept and retried."""

    reason: str


class DatabaseUp(NamedTuple):
    """PostgreSQL has answered again after an outage of `seconds`."""

    seconds: float


class WriterFailed(NamedTuple):
    """The thread has ended with an error that retries do not repair."""

    error: BaseException


Event = BatchOutcome | ClaimGranted | GroupProgress | DatabaseDown | DatabaseUp | WriterFailed
WriterTask = Batch | ClaimPartitions | ProgressQuery


class SinkWriter:
    """
    A thread with the sink's database connection, which runs one task after the other.

    The other thread queues tasks and reads `events`; it never waits for
    PostgreSQL. Events come in the order in which they happened.

    Args:
        database, group, owner, stale: as for `SinkStore`.

        refusal_limit: checked before each COMMIT.

    Raises:
        ConfigurationError: an argument is invalid.
    """

    def __init__(
        self,
        database: str,
        *,
        group: str,
        owner: str,
        refusal_limit: RefusalLimit,
        stale: Stale = "accept",
    ) -> None:
        self._refusal_limit = refusal_limit
        self._store = SinkStore(
            database,
            group=group,
            owner=owner,
            stale=stale,
            on_outage=lambda reason: self._publish(DatabaseDown(reason)),
            on_recovery=lambda seconds: self._publish(DatabaseUp(seconds)),
        )
        # One condition guards tasks, events and both flags. No database call is made while it is held.
        self._changed = threading.Condition()
        self._tasks: deque[WriterTask] = deque()
        self._current: WriterTask | None = None
        self._events: deque[Event] = deque()
        self._working = True
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tradepipe-writer", daemon=True)

    def start(self) -> None:
        """Start the thread, which connects first."""
        self._thread.start()

    def stop(self, grace: float) -> None:
        """End the thread: the current batch may finish within `grace` seconds, then it is rolled back."""
        self._store.stop()
        with self._changed:
            self._stopping = True
            self._tasks.clear()
            self._changed.notify_all()
        if self._thread.ident is None:
            return
        self._thread.join(min(grace, ABORT_WAIT_SECONDS))
        # Without a transaction there is nothing to finish: the thread waits for a server that does not answer.
        if self._thread.is_alive() and self._store.is_in_transaction:
            self._thread.join(grace)
        if self._thread.is_alive() and self._store.is_in_transaction:
            logger.warning("rolled back the current batch: it did not finish within %.0f s", grace)
            self._store.abort()
            self._thread.join(ABORT_WAIT_SECONDS)

    def claim(self, claims: Sequence[Claim]) -> None:
        """Claim partitions; the answer is a `ClaimGranted` for each."""
        self._queue(ClaimPartitions(tuple(claims)))

    def store(self, batch: Batch) -> None:
        """Store a batch; the answer is a `BatchResult` per transaction and an `OwnershipLost` per lost ownership."""
        self._queue(batch)

    def request_progress(self, topic: str) -> None:
        """Read what the group has stored of a topic; the answer is a `GroupProgress`."""
        self._queue(ProgressQuery(topic))

    @property
    def is_busy(self) -> bool:
        """True until every queued task is finished."""
        with self._changed:
            return self._working or bool(self._tasks)

    @property
    def has_batch(self) -> bool:
        """Whether a batch is queued or being stored."""
        with self._changed:
            return any(isinstance(task, Batch) for task in (self._current, *self._tasks))

    def wait(self, timeout: float) -> None:
        """Wait for an event or for the end of the last task, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or not (self._working or self._tasks), timeout)

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        with self._changed:
            events = list(self._events)
            self._events.clear()
            return events

    def _queue(self, task: WriterTask) -> None:
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def _publish(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._store.retry_forever(self._store.connect)
            while (task := self._next_task()) is not None:
                self._run_task(task)
        except StopRequested:
            pass
        except BaseException as error:  # a thread's top: the other thread raises it
            self._publish(WriterFailed(error))
        finally:
            self._store.close()

    def _next_task(self) -> WriterTask | None:
        with self._changed:
            self._working, self._current = False, None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._tasks or self._stopping)
            if self._stopping:
                return None
            # In the same lock as popleft: between the two, `is_busy` would be False with a task unfinished.
            self._working, self._current = True, self._tasks.popleft()
            return self._current

    def _run_task(self, task: WriterTask) -> None:
        match task:
            case Batch():
                for outcome in self._store.store(task, before_commit=self._refusal_limit.check_batch):
                    # Only after COMMIT: a batch that is rolled back and retried must not count twice.
                    if isinstance(outcome, BatchResult):
                        self._refusal_limit.confirm_batch()
                    self._publish(outcome)
            case ProgressQuery(topic):
                self._publish(GroupProgress(self._store.next_offsets(topic)))
            case ClaimPartitions(claims):
                self._claim(claims)

    def _claim(self, claims: Sequence[Claim]) -> None:
        requests = [ClaimRequest(each.topic, each.assignment.partition, each.topic_id, each.start) for each in claims]
        for claim, granted in zip(claims, self._store.claim(requests, history=WINDOW), strict=True):
            next_offset = granted.result.next_offset
            # Where a group starts late, it never read the offsets before its start: they count neither way.
            begin = claim.start if next_offset == claim.start else claim.begin
            refused = [offset for offset, codes in granted.recent_refusals if is_counted(codes)]
            self._refusal_limit.preload(
                claim.assignment.partition, first=begin, next_offset=next_offset, refused=refused
            )
            self._publish(ClaimGranted(claim, granted.result))
