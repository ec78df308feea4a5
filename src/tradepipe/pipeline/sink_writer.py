"""The database thread of a sink: claims, batches, what the group has stored. It has the only connection."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, get_args

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.consumer import Assignment
from tradepipe.pipeline.refusal_limit import WINDOW, RefusalLimit, Window
from tradepipe.postgres import offsets, refusals
from tradepipe.postgres.batch import Batch, BatchResult, store
from tradepipe.postgres.offsets import ClaimResult, Fenced, Ownership
from tradepipe.postgres.reconnect import (
    CommitRefused,
    Connection,
    Engine,
    ReconnectingConnection,
    StopRequested,
    TransactionTooSlow,
)
from tradepipe.postgres.revision import check_revision
from tradepipe.postgres.stale import Stale
from tradepipe.trade.record import Refusal

logger = logging.getLogger(__name__)


class Claim(NamedTuple):
    """A partition to claim: for which assignment, where to start if nothing is stored, where its log begins."""

    assignment: Assignment
    topic: str
    topic_id: str | None
    start: int
    begin: int


class ClaimGranted(NamedTuple):
    """A claim that the database has granted."""

    claim: Claim
    result: ClaimResult


class OwnershipLost(NamedTuple):
    """An ownership that somebody else has ended; nothing was stored under it since."""

    ownership: Ownership


class GroupProgress(NamedTuple):
    """What the group has stored, whoever stored it: the next offset of each partition."""

    next_offsets: dict[int, int]


class DatabaseDown(NamedTuple):
    """PostgreSQL is away; the work in hand is kept and tried again."""

    reason: str


class DatabaseUp(NamedTuple):
    """PostgreSQL answers again, after so many seconds."""

    seconds: float


class WriterFailed(NamedTuple):
    """The thread has ended with an error that no waiting heals."""

    error: BaseException


Event = BatchResult | ClaimGranted | OwnershipLost | GroupProgress | DatabaseDown | DatabaseUp | WriterFailed
WriterTask = Batch | tuple[Claim, ...] | str


class SinkWriter:
    """
    One thread, one connection, one task after the other.

    The other thread hands tasks over and reads `events`; it never waits for
    PostgreSQL. What PostgreSQL answers is told as events, in order.

    Args:
        require: refuses a database that nothing can be stored in, at each connection.

    Raises:
        ConfigurationError: `stale` is neither to accept nor to refuse.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        group: str,
        owner: str,
        ceiling: RefusalLimit,
        stale: Stale = "accept",
        require: Callable[[Connection], None] = check_revision,
    ) -> None:
        if stale not in get_args(Stale):
            raise ConfigurationError(f"stale is {stale!r}: it is {' or '.join(get_args(Stale))}")
        self._group = group
        self._owner = owner
        self._refusal_limit = ceiling
        self._stale = stale
        self._changed = threading.Condition()
        self._tasks: deque[WriterTask] = deque()
        self._events: deque[Event] = deque()
        self._working = True
        self._stopping = False
        self._connection = ReconnectingConnection(
            engine,
            on_away=lambda reason: self._publish(DatabaseDown(reason)),
            on_healed=lambda seconds: self._publish(DatabaseUp(seconds)),
            require=require,
        )
        self._thread = threading.Thread(target=self._run, name="tradepipe-writer", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self, grace: float) -> None:
        """End the thread: a batch in hand may finish within `grace` seconds, then it is rolled back."""
        self._connection.stop()
        with self._changed:
            self._stopping = True
            self._tasks.clear()
            self._changed.notify_all()
        if self._thread.ident is None:
            return
        self._thread.join(grace)
        if self._thread.is_alive():
            logger.warning("the batch in hand is given up after %.0f s; nothing of it is stored", grace)
            self._connection.abort()
            self._thread.join(1.0)

    def claim(self, claims: Sequence[Claim]) -> None:
        """Claim partitions; answered by a `Granted` for each."""
        self._hand_over(tuple(claims))

    def store(self, batch: Batch) -> None:
        """Store a batch; answered by a `Stored` for each part of it, and an `Ended` for each ownership that ended."""
        self._hand_over(batch)

    def request_progress(self, topic: str) -> None:
        """Ask what the group has stored of a topic; answered by a `Progress`."""
        self._hand_over(topic)

    @property
    def is_busy(self) -> bool:
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

    def _hand_over(self, task: WriterTask) -> None:
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def _publish(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._connection.retry_forever(self._connection.connect)
            while (task := self._next_task()) is not None:
                self._run_task(task)
        except StopRequested:
            pass
        except BaseException as error:  # a thread's top: the other thread raises it
            self._publish(WriterFailed(error))
        finally:
            self._connection.close()

    def _next_task(self) -> WriterTask | None:
        with self._changed:
            self._working = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._tasks or self._stopping)
            if self._stopping:
                return None
            self._working = True
            return self._tasks.popleft()

    def _run_task(self, task: WriterTask) -> None:
        if isinstance(task, Batch):
            self._store(task)
        elif isinstance(task, str):
            transact = self._connection.run_in_transaction
            self._publish(
                GroupProgress(
                    self._connection.retry_forever(
                        lambda: transact(lambda c: offsets.stored_offsets(c, self._group, task))
                    )
                )
            )
        else:
            transact = self._connection.run_in_transaction
            for granted in self._connection.retry_forever(lambda: transact(lambda c: self._claim_all(c, task))):
                self._publish(granted)

    def _claim_all(self, connection: Connection, claims: tuple[Claim, ...]) -> list[ClaimGranted]:
        return [ClaimGranted(claim, self._claim(connection, claim)) for claim in sorted(claims)]

    def _claim(self, connection: Connection, claim: Claim) -> ClaimResult:
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
        refused = refusals.offsets_between(
            connection, end - WINDOW, end, topic=topic, topic_id=topic_id, partition=partition
        )
        # Where a group starts late, what precedes its start was not seen by it.
        begin = claim.start if end == claim.start else claim.begin
        self._refusal_limit.preload(partition, begin=begin, next_offset=end, refused=refused)
        return claimed

    def _store(self, batch: Batch) -> None:
        """Store a batch: in halves where the server takes too long, without what is no longer ours."""
        pending = deque([batch])
        while pending:
            part = pending.popleft()
            if not part.ranges:
                continue
            try:
                self._publish(
                    self._connection.retry(_BatchAttempt(self._connection, part, self._refusal_limit, self._stale).run)
                )
            except Fenced as fenced:
                self._publish(OwnershipLost(fenced.ownership))
                pending.appendleft(part)
                pending = deque(each.without_partition(fenced.ownership) for each in pending)
            except TransactionTooSlow:
                if len(part.records) > 1:
                    logger.warning("PostgreSQL took too long for %d records; trying half as many", len(part.records))
                    pending.extendleft(reversed(part.halves()))
                else:
                    self._connection.report_outage("PostgreSQL takes too long for a single record")
                    pending.appendleft(part)


class _BatchAttempt:
    """One batch on its way into the database; remembers a COMMIT that was never answered."""

    def __init__(self, link: ReconnectingConnection, batch: Batch, ceiling: RefusalLimit, stale: Stale) -> None:
        self._link = link
        self._batch = batch
        self._ceiling = ceiling
        self._stale = stale
        self._unanswered: BatchResult | None = None
        self._defer = True
        self._windows: dict[int, Window] = {}

    def run(self) -> BatchResult:
        """Store the batch, or find that an earlier try has stored it."""
        try:
            stored = self._resolve_commit() or self._transact()
        except CommitRefused:
            self._defer = False
            stored = self._transact()
        for partition, window in self._windows.items():
            self._ceiling.commit(partition, window)
        return stored

    def _transact(self) -> BatchResult:
        return self._link.run_in_transaction(self._store, before_commit=self._note_unconfirmed)

    def _store(self, connection: Connection) -> BatchResult:
        stored = store(connection, self._batch, defer=self._defer, stale=self._stale)
        self._windows = _check(self._ceiling, stored)
        return stored

    def _note_unconfirmed(self, stored: BatchResult) -> None:
        self._unanswered = stored

    def _resolve_commit(self) -> BatchResult | None:
        if self._unanswered is None:
            return None
        batch = self._batch
        transact = self._link.run_in_transaction
        settlement = self._link.retry_forever(
            lambda: transact(lambda c: offsets.resolve_unknown_commit(c, batch.group, batch.ranges))
        )
        stored, self._unanswered = self._unanswered, None
        if settlement.committed:
            return stored
        for ownership in settlement.lost:
            raise Fenced(ownership)
        return None


def _check(ceiling: RefusalLimit, stored: BatchResult) -> dict[int, Window]:
    """The ceiling's verdict on each partition of a batch that is about to be committed."""
    refused = {(refusal.record.partition, refusal.record.offset): refusal for refusal in stored.refusals}
    verdicts: dict[int, list[tuple[int, Refusal | None]]] = {}
    if refused:
        for entry in stored.batch.records:
            place = (entry.record.partition, entry.record.offset)
            verdicts.setdefault(place[0], []).append((place[1], refused.get(place)))
    else:  # a partition's last record says all there is to say
        last = {entry.record.partition: entry.record.offset for entry in stored.batch.records}
        verdicts = {partition: [(offset, None)] for partition, offset in last.items()}
    return {partition: ceiling.check(partition, judged) for partition, judged in verdicts.items()}
