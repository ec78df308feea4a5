"""Replay of stored refusals: the trades and the marks on their refusals in one transaction."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, NamedTuple, Self

from sqlalchemy import Connection, func, select

from tradepipe.errors import DatabaseUnavailable
from tradepipe.postgres import batch, refusals, session
from tradepipe.postgres.batch import Batch
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.insert import RowsVanished
from tradepipe.postgres.session import Deadline, create_engine_for
from tradepipe.postgres.stale import Stale
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity
from tradepipe.trade.record import Refusal, ValidRecord

ValidatedRefusal = tuple[DeadLetter, ValidRecord | Refusal]
"""A stored refusal, and the result of validating its record again."""

COMMITTED: Final = "committed"
ABORTED: Final = "aborted"


class ReplayResult(NamedTuple):
    """
    The outcome of refusals that were validated again.

    `already_stored` are those whose trade was in the table with the same content;
    `taken_by_other` those that another replay has locked or changed.
    """

    stored: tuple[DeadLetter, ...] = ()
    already_stored: tuple[DeadLetter, ...] = ()
    refused: tuple[tuple[DeadLetter, Refusal], ...] = ()
    taken_by_other: tuple[DeadLetter, ...] = ()


class RefusalReplayer:
    """
    Pages through the table of refusals and replays them, over one connection that is reopened after a failure.

    Args:
        stale: "refuse" again a version older than one of its trade that is stored.

    Raises, in every method:
        DatabaseUnavailable: PostgreSQL is unavailable; retry the call.

        ConfigurationError: an operator is needed.
    """

    def __init__(self, database: str, *, stale: Stale = "accept") -> None:
        self._stale = stale
        self._engine = create_engine_for(database, application_name="tradepipe-dlq")
        self._connection: Connection | None = None
        self._connected_before = False
        self._unanswered: tuple[int, ReplayResult] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnect()

    def next_page(self, selection: DeadLetterFilter, after: RecordIdentity | None, size: int) -> list[DeadLetter]:
        """Return the next refusals of a selection, in the order of their identities."""
        with self._transaction() as connection:
            return refusals.list_page(connection, selection, after, size)

    def replay(self, judged: Sequence[ValidatedRefusal], *, keep: bool = True) -> ReplayResult:
        """
        Store trades and mark their refusals as replayed, or as refused again, in one transaction.

        A call that failed may be repeated with the same arguments: it first finds
        out whether the earlier COMMIT took place. All refusals must have one topic
        and topic id.

        Args:
            keep: COMMIT; False rolls back.
        """
        with self._transaction() as connection:
            if self._unanswered is not None:
                number, done = self._unanswered
                if self._was_committed(connection, number):
                    self._unanswered = None
                    return done
            done = _replay_page(connection, judged, self._stale)
            if keep:
                self._unanswered = (connection.scalar(select(func.txid_current())) or 0, done)
            else:
                connection.get_transaction().rollback()  # type: ignore[union-attr]  # `_transaction` has begun one
        self._unanswered = None
        return done

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Begin a transaction under a deadline; close the connection if it fails."""
        try:
            with translate_errors(connected_before=self._connected_before):
                connection = self._connect()
                with Deadline(connection, session.CLIENT_DEADLINE), connection.begin():
                    yield connection
        except RowsVanished as error:
            raise DatabaseUnavailable(f"{error}; does a trigger on the table discard rows?") from error
        except BaseException:
            self._disconnect()
            raise

    def _was_committed(self, connection: Connection, number: int) -> bool:
        status = connection.scalar(select(func.txid_status(number)))
        if status not in (COMMITTED, ABORTED):
            raise DatabaseUnavailable("PostgreSQL has not yet finished a transaction whose COMMIT got no answer")
        return bool(status == COMMITTED)

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = session.open_session(self._engine)
            self._connected_before = True
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _replay_page(connection: Connection, judged: Sequence[ValidatedRefusal], stale: Stale) -> ReplayResult:
    ours = refusals.lock_unchanged(connection, [kept for kept, _ in judged])
    mine = [(kept, verdict) for kept, verdict in judged if kept.identity in ours]
    refused = [(kept, verdict) for kept, verdict in mine if isinstance(verdict, Refusal)]
    accepted = [(kept, verdict) for kept, verdict in mine if isinstance(verdict, ValidRecord)]
    stored: list[DeadLetter] = []
    present: list[DeadLetter] = []
    if accepted:
        done = batch.store(connection, _batch(accepted), defer=False, stale=stale)
        against = {refusal.record.coordinates: refusal for refusal in done.refusals}
        for ordinal, (kept, _) in enumerate(accepted):
            if (refusal := against.get(kept.record.coordinates)) is not None:
                refused.append((kept, refusal))
            else:
                (present if ordinal in done.skipped else stored).append(kept)
    refusals.mark_replayed(connection, [kept.identity for kept in (*stored, *present)])
    refusals.mark_refused_again(connection, refused)
    elsewhere = [kept for kept, _ in judged if kept.identity not in ours]
    return ReplayResult(tuple(stored), tuple(present), tuple(refused), tuple(elsewhere))


def _batch(accepted: Sequence[tuple[DeadLetter, ValidRecord]]) -> Batch:
    """Build a batch without offset ranges: a replay moves no offset."""
    first = accepted[0][0]
    return Batch(first.group, first.topic_id, (), [each for _, each in accepted])
