"""Replay of stored refusals: the trades and the marks on their refusals in one transaction."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Self

from sqlalchemy import Connection, func, select, text

from tradepipe.errors import DatabaseUnavailable
from tradepipe.postgres import batch, refusals, session
from tradepipe.postgres.batch import Batch
from tradepipe.postgres.deadline import Deadline
from tradepipe.postgres.failures import RowsVanished, translate_errors
from tradepipe.postgres.locks import name_lock_holders
from tradepipe.postgres.session import create_engine_for
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity
from tradepipe.trade.record import Refusal, Stale
from tradepipe.trade.records import Records
from tradepipe.trade.validated import ValidatedRecords, ValidRecord

ValidatedRefusal = tuple[DeadLetter, ValidRecord | Refusal]
"""A stored refusal, and the result of validating its record again."""

COMMITTED: Final = "committed"
ABORTED: Final = "aborted"

# A number that is not in use yet is that of a transaction which a standby had not received when it became the primary.
_STATUS: Final = text(
    "SELECT CASE WHEN CAST(:number AS bigint) < pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) "
    f"THEN pg_catalog.txid_status(CAST(:number AS bigint)) ELSE '{ABORTED}' END"
)


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
        self._unconfirmed: tuple[int, ReplayResult] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    def connect(self) -> None:
        """Connect, if there is no connection."""
        with translate_errors(connected_before=self._connected_before):
            self._connect()

    def next_page(self, selection: DeadLetterFilter, after: RecordIdentity | None, size: int) -> list[DeadLetter]:
        """Return the next refusals of a selection, in the order of their identities."""
        with self._transaction() as connection:
            return refusals.list_page(connection, selection, after, size)

    def replay(self, validated: Sequence[ValidatedRefusal], *, keep: bool = True) -> ReplayResult:
        """
        Store trades and mark their refusals as replayed, or as refused again, in one transaction.

        A call that failed may be repeated with the same arguments: it first finds
        out whether the earlier COMMIT took place. All refusals must have one topic
        and topic id.

        Args:
            keep: COMMIT; False rolls back.
        """
        with self._transaction() as connection:
            if self._unconfirmed is not None:
                number, result = self._unconfirmed
                status = connection.scalar(_STATUS, {"number": number})
                if status not in (COMMITTED, ABORTED):
                    raise DatabaseUnavailable(
                        "PostgreSQL has not yet finished a transaction whose COMMIT got no answer", is_answering=True
                    )
                if status == COMMITTED:
                    self._unconfirmed = None
                    return result
            result = _replay_page(connection, validated, self._stale)
            if keep:
                # Before COMMIT: the number tells later whether a COMMIT without an answer took effect.
                self._unconfirmed = (connection.scalar(select(func.pg_catalog.txid_current())) or 0, result)
            else:
                connection.get_transaction().rollback()  # type: ignore[union-attr]  # `_transaction` has begun one
        self._unconfirmed = None
        return result

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Begin a transaction under a deadline; close the connection if it fails."""
        try:
            with translate_errors(connected_before=self._connected_before):
                connection = self._connect()
                with Deadline(connection, session.CLIENT_DEADLINE), name_lock_holders(connection), connection.begin():
                    yield connection
        except RowsVanished as error:
            raise DatabaseUnavailable(
                f"{error}; does a trigger on the table discard rows?", is_answering=True
            ) from error
        except BaseException:
            self._disconnect()
            raise

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


def _replay_page(connection: Connection, validated: Sequence[ValidatedRefusal], stale: Stale) -> ReplayResult:
    unchanged = refusals.lock_unchanged(connection, [dead_letter for dead_letter, _ in validated])
    locked = [(dead_letter, result) for dead_letter, result in validated if dead_letter.identity in unchanged]
    refused = [(dead_letter, result) for dead_letter, result in locked if isinstance(result, Refusal)]
    valid = [(dead_letter, result) for dead_letter, result in locked if isinstance(result, ValidRecord)]
    stored: list[DeadLetter] = []
    already_stored: list[DeadLetter] = []
    if valid:
        result = batch.store(connection, _batch(valid), defer=False, stale=stale)
        refused_again = {refusal.record.coordinates: refusal for refusal in result.refusals}
        for ordinal, (dead_letter, _) in enumerate(valid):
            if (refusal := refused_again.get(dead_letter.record.coordinates)) is not None:
                refused.append((dead_letter, refusal))
            else:
                (already_stored if ordinal in result.skipped else stored).append(dead_letter)
    refusals.mark_replayed(connection, [dead_letter.identity for dead_letter in (*stored, *already_stored)])
    refusals.mark_refused_again(connection, refused)
    taken = [dead_letter for dead_letter, _ in validated if dead_letter.identity not in unchanged]
    return ReplayResult(tuple(stored), tuple(already_stored), tuple(refused), tuple(taken))


def _batch(valid: Sequence[tuple[DeadLetter, ValidRecord]]) -> Batch:
    """Build a batch without offset ranges: a replay moves no offset."""
    first, _ = valid[0]
    trades = {each.record: each.trade for _, each in valid}
    records = ValidatedRecords(trades.__getitem__, Records.of(trades), [each.row for _, each in valid])
    return Batch(first.group, first.topic_id, (), records)
