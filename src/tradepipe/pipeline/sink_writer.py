"""The database threads of a sink."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.assignment import Assignment
from tradepipe.pipeline.refusal_limit import WINDOW, RefusalLimit, Window, is_counted
from tradepipe.postgres.batch import Batch, BatchResult
from tradepipe.postgres.offsets import ClaimResult
from tradepipe.postgres.reconnect import ConnectionRefused, StopRequested
from tradepipe.postgres.sink_store import BatchOutcome, ClaimRequest, SinkStore, StoreElsewhere
from tradepipe.trade.record import Stale

logger = logging.getLogger(__name__)

ABORT_WAIT_SECONDS: Final = 1.0
"""Seconds a thread may take to end after its transaction was aborted."""

CONNECTIONS: Final = 2
"""How many connections a sink opens at most, by default."""

MAX_CONNECTIONS: Final = 100
"""As many as PostgreSQL has by default for all its clients; each has a thread."""

CONNECT_AGAIN_SECONDS: Final = 60.0
"""Seconds until a further connection is tried again, after PostgreSQL has refused it."""


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
    Threads that run tasks, each over its own database connection.

    Batches of different partitions may be stored at the same time. Any other task waits for
    the tasks queued before it, and those queued after it wait for its end.

    The reading thread queues tasks and reads `events`; it never waits for
    PostgreSQL. Events come in the order in which they happened.

    Args:
        database, group, owner, stale: as for `SinkStore`.

        refusal_limit: checked before each COMMIT.

        connections: how many connections to open at most. The first is opened at the start,
            each further one when a batch is queued while the others are busy.

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
        connections: int = CONNECTIONS,
    ) -> None:
        if not isinstance(connections, int) or not 1 <= connections <= MAX_CONNECTIONS:
            raise ConfigurationError(
                f"connections is {connections!r}: it must be a whole number from 1 to {MAX_CONNECTIONS}"
            )
        self._refusal_limit = refusal_limit
        self._stores = [
            SinkStore(
                database,
                group=group,
                owner=owner,
                stale=stale,
                on_outage=partial(self._begin_outage, number),
                on_recovery=partial(self._end_outage, number),
                may_give_up=partial(self._can_go_on_without, number),
            )
            for number in range(connections)
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name="tradepipe-writer", daemon=True)
            for number in range(connections)
        ]
        # One lock guards all that follows. No database call is made while it is held. Each thread has its own
        # condition, so that an idle one does not wake for another's batch and delay it.
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        """Notified of events and of the end of the last task; the reading thread waits for it."""
        self._may_start = [threading.Condition(lock) for _ in self._threads]
        """A condition for each thread, notified when the thread may start a task or is to stop."""
        self._tasks: deque[WriterTask] = deque()
        self._running: dict[int, WriterTask | None] = {0: None}
        """The task of each thread that is not idle; None while the first one connects."""
        self._refused: set[int] = set()
        """Threads whose connection was refused, until they try again."""
        self._down: set[int] = set()
        """Threads that wait for PostgreSQL."""
        self._events: deque[Event] = deque()
        self._stopping = False

    def start(self) -> None:
        """Start the threads, of which the first connects at once."""
        for thread in self._threads:
            thread.start()

    def stop(self, grace: float) -> None:
        """End the threads: current batches may finish within `grace` seconds, then they are rolled back."""
        for store in self._stores:
            store.stop()
        with self._changed:
            self._stopping = True
            self._tasks.clear()
            self._wake_threads()
        ends_at = time.monotonic() + grace
        for store, thread in zip(self._stores, self._threads, strict=True):
            if thread.ident is None:
                continue
            thread.join(min(max(0.0, ends_at - time.monotonic()), ABORT_WAIT_SECONDS))
            # Without a transaction there is nothing to finish: the thread waits for a server that does not answer.
            if thread.is_alive() and store.is_in_transaction:
                thread.join(max(0.0, ends_at - time.monotonic()))
            if thread.is_alive() and store.is_in_transaction:
                logger.warning("rolled back the current batch: it did not finish within %.0f s", grace)
                store.abort()
                thread.join(ABORT_WAIT_SECONDS)

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
            return bool(self._running or self._tasks)

    @property
    def has_batch(self) -> bool:
        """Whether a batch is queued or being stored."""
        with self._changed:
            return bool(self._batches())

    @property
    def idle_connections(self) -> int:
        """How many batches could be stored at once, beside those that are queued or being stored."""
        with self._changed:
            batches = self._batches()
            if len(batches) < len(self._running) + len(self._tasks):
                return 0
            return max(0, len(self._threads) - len(self._refused) - len(batches))

    @property
    def partitions(self) -> set[int]:
        """The partitions of the batches that are queued or being stored."""
        with self._changed:
            return {number for batch in self._batches() for number in batch.partitions}

    def wait(self, timeout: float) -> None:
        """Wait for an event or for the end of the last task, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or not (self._running or self._tasks), timeout)

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        with self._changed:
            events = list(self._events)
            self._events.clear()
            return events

    def _queue(self, task: WriterTask) -> None:
        with self._changed:
            self._tasks.append(task)
            self._wake_threads()

    def _publish(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def _batches(self) -> list[Batch]:
        return [task for task in (*self._running.values(), *self._tasks) if isinstance(task, Batch)]

    def _begin_outage(self, number: int, reason: str) -> None:
        # Publish under the lock: an outage that ends or begins at this moment in another thread must come after it.
        with self._changed:
            if not self._down:
                self._publish(DatabaseDown(reason))
            self._down.add(number)
        # Otherwise an idle connection that the server has ended, too, would look like another outage afterwards.
        for other, store in enumerate(self._stores):
            if other != number:
                store.renew()

    def _end_outage(self, number: int, seconds: float) -> None:
        with self._changed:
            self._down.discard(number)
            if not self._down:
                self._publish(DatabaseUp(seconds))

    def _run(self, number: int) -> None:
        store = self._stores[number]
        try:
            if number == 0:
                store.retry_forever(store.connect)
            while (task := self._next_task(number)) is not None:
                if not store.has_connected and (problem := store.try_to_connect()) is not None:
                    self._go_on_without(number, [task], problem)
                    continue
                try:
                    self._run_task(store, task)
                except ConnectionRefused as refused:
                    rest = refused.rest if isinstance(refused, StoreElsewhere) else [task]
                    self._go_on_without(number, rest, str(refused))
        except StopRequested:
            pass
        except BaseException as error:  # a thread's top: the other thread raises it
            self._publish(WriterFailed(error))
        finally:
            store.close()

    def _can_go_on_without(self, number: int) -> bool:
        """Return whether another connection can do the work of one for which PostgreSQL has no session left."""
        with self._changed:
            others = {other for other, store in enumerate(self._stores) if other != number and store.has_connected}
            return bool(others - self._down - self._refused)

    def _go_on_without(self, number: int, tasks: Sequence[WriterTask], problem: str) -> None:
        """Leave tasks to the other threads, and wait until the connection that was refused may be tried again."""
        logger.warning("could not open a further connection, the sink continues without it: %s", problem)
        with self._changed:
            del self._running[number]
            self._tasks.extendleft(reversed(tasks))
            self._refused.add(number)
            self._wake_threads()
            self._may_start[number].wait_for(lambda: self._stopping, CONNECT_AGAIN_SECONDS)
            self._refused.discard(number)

    def _next_task(self, number: int) -> WriterTask | None:
        """Wait until a thread may start a task, and return it; None if the writer is to stop."""
        with self._changed:
            self._running.pop(number, None)
            self._changed.notify_all()
            self._wake_threads()
            self._may_start[number].wait_for(lambda: self._stopping or self._find_task(number) is not None)
            place = self._find_task(number)
            if self._stopping or place is None:
                return None
            # In the same lock as its removal: between the two, `is_busy` would be False with a task unfinished.
            task = self._running[number] = self._tasks[place]
            del self._tasks[place]
            # The next thread may take what is left, now that this one is busy.
            self._wake_threads()
            return task

    def _wake_threads(self) -> None:
        """Wake the threads that may start a task now, or are to stop."""
        for number, condition in enumerate(self._may_start):
            if self._stopping or (number not in self._running and self._find_task(number) is not None):
                condition.notify()

    def _find_task(self, number: int) -> int | None:
        """Return the place of the task that an idle thread may start now."""
        # The first threads take what they can, so that no more connections are open than are needed.
        if any(lower not in self._running and lower not in self._refused for lower in range(number)):
            return None
        if any(not isinstance(task, Batch) for task in self._running.values()):
            return None
        # Batches of one partition are stored one after the other.
        blocked = {
            partition for task in self._running.values() if isinstance(task, Batch) for partition in task.partitions
        }
        for place, task in enumerate(self._tasks):
            if not isinstance(task, Batch):
                return place if place == 0 and not self._running else None
            if blocked.isdisjoint(task.partitions):
                return place
            blocked |= task.partitions
        return None

    def _run_task(self, store: SinkStore, task: WriterTask) -> None:
        match task:
            case Batch():
                self._store(store, task)
            case ProgressQuery(topic):
                self._publish(GroupProgress(store.next_offsets(topic)))
            case ClaimPartitions(claims):
                self._claim(store, claims)

    def _store(self, store: SinkStore, batch: Batch) -> None:
        windows: dict[int, Window] = {}

        def check(result: BatchResult) -> None:
            nonlocal windows
            windows = self._refusal_limit.check_batch(result)

        if batch.unconfirmed is not None:
            # Its COMMIT over another connection may have taken place: then the store does not check it again.
            check(batch.unconfirmed)
        for outcome in store.store(batch, before_commit=check):
            # Only after COMMIT: a batch that is rolled back and retried must not count twice.
            if isinstance(outcome, BatchResult):
                self._refusal_limit.windows.update(windows)
            self._publish(outcome)

    def _claim(self, store: SinkStore, claims: Sequence[Claim]) -> None:
        requests = [ClaimRequest(each.topic, each.assignment.partition, each.topic_id, each.start) for each in claims]
        for claim, granted in zip(claims, store.claim(requests, history=WINDOW), strict=True):
            next_offset = granted.result.next_offset
            # Where a group starts late, it never read the offsets before its start: they count neither way.
            begin = claim.start if next_offset == claim.start else claim.begin
            refused = [offset for offset, codes in granted.recent_refusals if is_counted(codes)]
            self._refusal_limit.preload(
                claim.assignment.partition, first=begin, next_offset=next_offset, refused=refused
            )
            self._publish(ClaimGranted(claim, granted.result))
