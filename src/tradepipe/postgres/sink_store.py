"""The sink's side of the database: claims, batches and offsets over a connection."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, get_args

from sqlalchemy import Connection

from tradepipe.errors import ConfigurationError, TooManyRefusals
from tradepipe.postgres import offsets, refusals
from tradepipe.postgres.batch import Batch, BatchAttempt, BatchResult
from tradepipe.postgres.insert import DirectCopy
from tradepipe.postgres.offsets import ClaimResult, Fenced, Ownership
from tradepipe.postgres.reconnect import ConnectionRefused, ReconnectingConnection, TransactionTooSlow
from tradepipe.postgres.session import create_engine_for
from tradepipe.trade.record import Stale

logger = logging.getLogger(__name__)

APPLICATION_NAME: Final = "tradepipe-sink"


class ClaimRequest(NamedTuple):
    """A partition to claim; a group that never stored it starts at `start`."""

    topic: str
    partition: int
    topic_id: str | None
    start: int


class GrantedClaim(NamedTuple):
    """A granted claim, and offset and codes of stored refusals among the last offsets before its next offset."""

    result: ClaimResult
    recent_refusals: Sequence[tuple[int, tuple[str, ...]]]


class StoreElsewhere(ConnectionRefused):
    """
    PostgreSQL has no session left for this connection, and another one must store the rest of a batch.

    Attributes:
        rest: what is not stored, in its order.
    """

    def __init__(self, reason: str, rest: Sequence[Batch]) -> None:
        super().__init__(reason)
        self.rest = rest


class OwnershipLost(NamedTuple):
    """An ownership that another claim or a reset has ended; nothing was stored under it since."""

    ownership: Ownership


class RangeDropped(NamedTuple):
    """The records under an ownership were not stored, because their partition exceeds the refusal limit."""

    ownership: Ownership
    reason: TooManyRefusals


BatchOutcome = BatchResult | OwnershipLost | RangeDropped


class SinkStore(ReconnectingConnection):
    """
    Claims, batches and offsets of one consumer group in PostgreSQL.

    Its methods retry until PostgreSQL has answered, however long an outage lasts.

    Args:
        owner: the name of this sink in the table of offsets.

        stale: "accept" or "refuse" a version older than one of its trade that is stored.

        on_outage: called with the reason at the start of each outage.

        on_recovery: called with the seconds it lasted at the end of each outage.

        may_give_up: whether another connection can do the work if PostgreSQL has no session left for this one.

    Raises:
        ConfigurationError: the URL or `stale` is invalid. Every method raises it
            if an operator is needed.

        StopRequested: in every method, if `stop` was called while it waited.

        ConnectionRefused: in every method, if PostgreSQL has no session left, and the connection may give up.
    """

    def __init__(
        self,
        database: str,
        *,
        group: str,
        owner: str,
        stale: Stale = "accept",
        on_outage: Callable[[str], None],
        on_recovery: Callable[[float], None],
        may_give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        if stale not in get_args(Stale):
            raise ConfigurationError(f"stale is {stale!r}: it must be {' or '.join(get_args(Stale))}")
        engine = create_engine_for(database, application_name=f"{APPLICATION_NAME}/{owner}")
        super().__init__(engine, on_outage=on_outage, on_recovery=on_recovery, may_give_up=may_give_up)
        self._group = group
        self._owner = owner
        self._stale = stale
        self._direct = DirectCopy()

    def claim(self, requests: Sequence[ClaimRequest], *, history: int) -> list[GrantedClaim]:
        """
        Claim partitions in one transaction; the result is in the order of the requests.

        Args:
            history: the offsets before the next one that are searched for stored refusals.

        Raises:
            TopicUnusable: an offset was stored for another topic of this name.
        """

        def claim_all(connection: Connection) -> list[GrantedClaim]:
            # All sinks lock rows in the order of partitions, so that two of them wait instead of deadlocking.
            granted = {request: self._claim(connection, request, history) for request in sorted(requests)}
            return [granted[request] for request in requests]

        return self.retry_forever(lambda: self.run_in_transaction(claim_all))

    def store(self, pending: Batch, *, before_commit: Callable[[BatchResult], None]) -> Iterator[BatchOutcome]:
        """
        Store a batch, and yield a result for each transaction and each ownership that was lost or rejected.

        A batch that takes the server too long is stored in halves. Records read
        under a lost ownership are dropped.

        Args:
            before_commit: called with a result before its COMMIT; if it raises, the transaction is rolled back,
                and after a `TooManyRefusals` the batch is stored without that partition.

        Raises:
            StoreElsewhere: PostgreSQL has no session left for this connection, which may give up.
        """
        batches = deque([pending])
        while batches:
            part = batches.popleft()
            if not part.ranges:  # all of its partitions were dropped
                continue
            attempt = BatchAttempt(self, part, self._stale, self._direct, before_commit)
            part = replace(part, unconfirmed=None)
            try:
                result = self.retry(attempt.run)
            except (Fenced, TooManyRefusals) as dropped:
                if isinstance(dropped, Fenced):
                    ownership = dropped.ownership
                    yield OwnershipLost(ownership)
                else:
                    ownership = next(r.ownership for r in part.ranges if r.ownership.partition == dropped.partition)
                    yield RangeDropped(ownership, dropped)
                # The other halves were read under the same ownership: none of them could be stored either.
                batches.appendleft(part)
                batches = deque(each.without_partition(ownership) for each in batches)
            except ConnectionRefused as refused:
                rest = (replace(part, unconfirmed=attempt.unconfirmed), *batches)
                raise StoreElsewhere(str(refused), rest) from refused
            except TransactionTooSlow as slow:
                if len(part.records) > 1:
                    logger.warning(
                        "storing %d records took PostgreSQL too long, retrying with half as many: %s",
                        len(part.records),
                        slow,
                    )
                    # In their order: the offsets of a partition advance without gaps.
                    batches.extendleft(reversed(part.halves()))
                else:
                    self.report_outage(f"PostgreSQL took too long for a single record: {slow}")
                    batches.appendleft(part)
            else:
                yield result

    def next_offsets(self, topic: str) -> dict[int, int]:
        """Read the next offset of each partition that the group has ever claimed, whichever sink stored it."""
        return self.retry_forever(
            lambda: self.run_in_transaction(lambda connection: offsets.stored_offsets(connection, self._group, topic))
        )

    def _claim(self, connection: Connection, request: ClaimRequest, history: int) -> GrantedClaim:
        topic, partition, topic_id, start = request
        result = offsets.claim(
            connection, self._group, topic=topic, partition=partition, topic_id=topic_id, start=start, owner=self._owner
        )
        end = result.next_offset
        recent_refusals = refusals.offsets_between(
            connection, end - history, end, topic=topic, topic_id=topic_id, partition=partition
        )
        return GrantedClaim(result, recent_refusals)
