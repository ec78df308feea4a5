"""The database thread of a sink: claims, batches, what the group has stored. It has the only connection."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, get_args

from tradepipe.contract.refusal import Refusal
from tradepipe.errors import Misconfigured
from tradepipe.kafka.consumer import Assignment
from tradepipe.pipeline.backoff import delay
from tradepipe.pipeline.ceiling import WINDOW, Ceiling, Window
from tradepipe.postgres import offsets, refusals
from tradepipe.postgres.batch import Batch, Stored, store
from tradepipe.postgres.link import Connection, Engine, Link, RefusedLate, Stopped, TooMuch
from tradepipe.postgres.offsets import Claimed, Fenced, Ownership
from tradepipe.postgres.revision import require_revision
from tradepipe.postgres.staleness import Stale

logger = logging.getLogger(__name__)


class Claim(NamedTuple):
    """A partition to claim: for which assignment, where to start if nothing is stored, where its log begins."""

    assignment: Assignment
    topic: str
    topic_id: str | None
    start: int
    begin: int


class Granted(NamedTuple):
    """A claim that the database has granted."""

    claim: Claim
    claimed: Claimed


class Ended(NamedTuple):
    """An ownership that somebody else has ended; nothing was stored under it since."""

    ownership: Ownership


class Progress(NamedTuple):
    """What the group has stored, whoever stored it: the next offset of each partition."""

    next_offsets: dict[int, int]


class Troubled(NamedTuple):
    """PostgreSQL is away; the work in hand is kept and tried again."""

    reason: str


class Healed(NamedTuple):
    """PostgreSQL answers again, after so many seconds."""

    seconds: float


class Failed(NamedTuple):
    """The thread has ended with an error that no waiting heals."""

    error: BaseException


Event = Stored | Granted | Ended | Progress | Troubled | Healed | Failed
Task = Batch | tuple[Claim, ...] | str


class Writer:
    """
    One thread, one connection, one task after the other.

    The other thread hands tasks over and reads `events`; it never waits for
    PostgreSQL. What PostgreSQL answers is told as events, in order.

    Args:
        require: refuses a database that nothing can be stored in, at each connection.

    Raises:
        Misconfigured: `stale` is neither to accept nor to refuse.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        group: str,
        owner: str,
        ceiling: Ceiling,
        stale: Stale = "accept",
        require: Callable[[Connection], None] = require_revision,
    ) -> None:
        if stale not in get_args(Stale):
            raise Misconfigured(f"stale is {stale!r}: it is {' or '.join(get_args(Stale))}")
        self._group = group
        self._owner = owner
        self._ceiling = ceiling
        self._stale = stale
        self._changed = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._events: deque[Event] = deque()
        self._working = True
        self._stopping = False
        self._link = Link(
            engine,
            delay=delay,
            on_away=lambda reason: self._emit(Troubled(reason)),
            on_healed=lambda seconds: self._emit(Healed(seconds)),
            require=require,
        )
        self._thread = threading.Thread(target=self._run, name="tradepipe-writer", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self, grace: float) -> None:
        """End the thread: a batch in hand may finish within `grace` seconds, then it is rolled back."""
        self._link.stop()
        with self._changed:
            self._stopping = True
            self._tasks.clear()
            self._changed.notify_all()
        if self._thread.ident is None:
            return
        self._thread.join(grace)
        if self._thread.is_alive():
            logger.warning("the batch in hand is given up after %.0f s; nothing of it is stored", grace)
            self._link.cut()
            self._thread.join(1.0)

    def claim(self, claims: Sequence[Claim]) -> None:
        """Claim partitions; answered by a `Granted` for each."""
        self._hand_over(tuple(claims))

    def store(self, batch: Batch) -> None:
        """Store a batch; answered by a `Stored` for each part of it, and an `Ended` for each ownership that ended."""
        self._hand_over(batch)

    def ask_progress(self, topic: str) -> None:
        """Ask what the group has stored of a topic; answered by a `Progress`."""
        self._hand_over(topic)

    @property
    def busy(self) -> bool:
        """Whether any task is not finished yet."""
        with self._changed:
            return self._working or bool(self._tasks)

    def wait(self, timeout: float) -> None:
        """Wait until there is an event, or nothing more to do, but at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or not (self._working or self._tasks), timeout)

    def events(self) -> list[Event]:
        """What has happened since the last call."""
        with self._changed:
            happened = list(self._events)
            self._events.clear()
            return happened

    def _hand_over(self, task: Task) -> None:
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def _emit(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._link.outlast(self._link.connect)
            while (task := self._next_task()) is not None:
                self._perform(task)
        except Stopped:
            pass
        except BaseException as error:  # a thread's top: the other thread raises it
            self._emit(Failed(error))
        finally:
            self._link.close()

    def _next_task(self) -> Task | None:
        with self._changed:
            self._working = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._tasks or self._stopping)
            if self._stopping:
                return None
            self._working = True
            return self._tasks.popleft()

    def _perform(self, task: Task) -> None:
        if isinstance(task, Batch):
            self._store(task)
        elif isinstance(task, str):
            transact = self._link.transact
            self._emit(Progress(self._link.outlast(lambda: transact(lambda c: offsets.stored(c, self._group, task)))))
        else:
            transact = self._link.transact
            for granted in self._link.outlast(lambda: transact(lambda c: self._claim_all(c, task))):
                self._emit(granted)

    def _claim_all(self, connection: Connection, claims: tuple[Claim, ...]) -> list[Granted]:
        return [Granted(claim, self._claim(connection, claim)) for claim in sorted(claims)]

    def _claim(self, connection: Connection, claim: Claim) -> Claimed:
        topic, topic_id, partition = claim.topic, claim.topic_id, claim.assignment.partition
        claimed = offsets.claim(
            connection,
            self._group,
            topic=topic,
            partition=partition,
            topic_id=topic_id,
            start=claim.start,
            owner=self._owner,
        )
        end = claimed.next_offset
        refused = refusals.between(connection, end - WINDOW, end, topic=topic, topic_id=topic_id, partition=partition)
        # Where a group starts late, what precedes its start was not seen by it.
        begin = claim.start if end == claim.start else claim.begin
        self._ceiling.prime(partition, begin=begin, next_offset=end, refused=refused)
        return claimed

    def _store(self, batch: Batch) -> None:
        """Store a batch: in halves where the server takes too long, without what is no longer ours."""
        pending = deque([batch])
        while pending:
            part = pending.popleft()
            if not part.spans:
                continue
            try:
                self._emit(self._link.insist(_Attempt(self._link, part, self._ceiling, self._stale).once))
            except Fenced as fenced:
                self._emit(Ended(fenced.ownership))
                pending.appendleft(part)
                pending = deque(each.without(fenced.ownership) for each in pending)
            except TooMuch:
                if len(part.entries) > 1:
                    logger.warning("PostgreSQL took too long for %d records; trying half as many", len(part.entries))
                    pending.extendleft(reversed(part.halves()))
                else:
                    self._link.away("PostgreSQL takes too long for a single record")
                    pending.appendleft(part)


class _Attempt:
    """One batch on its way into the database; remembers a COMMIT that was never answered."""

    def __init__(self, link: Link, batch: Batch, ceiling: Ceiling, stale: Stale) -> None:
        self._link = link
        self._batch = batch
        self._ceiling = ceiling
        self._stale = stale
        self._unanswered: Stored | None = None
        self._defer = True
        self._windows: dict[int, Window] = {}

    def once(self) -> Stored:
        """Store the batch, or find that an earlier try has stored it."""
        try:
            stored = self._settle() or self._transact()
        except RefusedLate:
            self._defer = False
            stored = self._transact()
        for partition, window in self._windows.items():
            self._ceiling.keep(partition, window)
        return stored

    def _transact(self) -> Stored:
        return self._link.transact(self._store, before_commit=self._remember)

    def _store(self, connection: Connection) -> Stored:
        stored = store(connection, self._batch, defer=self._defer, stale=self._stale)
        self._windows = _check(self._ceiling, stored)
        return stored

    def _remember(self, stored: Stored) -> None:
        self._unanswered = stored

    def _settle(self) -> Stored | None:
        if self._unanswered is None:
            return None
        batch = self._batch
        transact = self._link.transact
        settlement = self._link.outlast(lambda: transact(lambda c: offsets.settle(c, batch.group, batch.spans)))
        stored, self._unanswered = self._unanswered, None
        if settlement.committed:
            return stored
        for ownership in settlement.ended:
            raise Fenced(ownership)
        return None


def _check(ceiling: Ceiling, stored: Stored) -> dict[int, Window]:
    """The ceiling's verdict on each partition of a batch that is about to be committed."""
    refused = {(refusal.record.partition, refusal.record.offset): refusal for refusal in stored.refusals}
    verdicts: dict[int, list[tuple[int, Refusal | None]]] = {}
    if refused:
        for entry in stored.batch.entries:
            place = (entry.record.partition, entry.record.offset)
            verdicts.setdefault(place[0], []).append((place[1], refused.get(place)))
    else:  # a partition's last record says all there is to say
        last = {entry.record.partition: entry.record.offset for entry in stored.batch.entries}
        verdicts = {partition: [(offset, None)] for partition, offset in last.items()}
    return {partition: ceiling.check(partition, judged) for partition, judged in verdicts.items()}
