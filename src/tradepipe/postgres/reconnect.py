"""The one connection to PostgreSQL: transactions under a deadline, tried until they are done."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import psycopg2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tradepipe.backoff import Backoff
from tradepipe.errors import ConfigurationError
from tradepipe.postgres import session
from tradepipe.postgres.failures import FailureClass, classify, translate
from tradepipe.postgres.insert import RowsVanished
from tradepipe.postgres.revision import check_revision
from tradepipe.postgres.session import Deadline

logger = logging.getLogger(__name__)

T = TypeVar("T")

IMMEDIATE_RETRIES: Final = 3
"""How often a transaction that lost to another one is tried again without waiting."""


class StopRequested(Exception):
    """The link was stopped while it waited for another try."""


class TransactionTooSlow(Exception):
    """A statement took longer than the server's timeout, or a transaction than ours: less at once may do."""


class CommitRefused(Exception):
    """COMMIT itself was refused for what was stored: a deferred constraint of the user's; nothing was committed."""


class ReconnectingConnection:
    """
    A connection that heals.

    All methods but `stop` and `cut` belong to one thread.

    Args:
        backoff: spaces out the tries of an outage.

        on_outage: called with the reason, once for each outage.

        on_recovery: called with the seconds it took, as the outage ends.

        require: refuses a database that nothing can be stored in, at each connection.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_outage: Callable[[str], None],
        on_recovery: Callable[[float], None],
        require: Callable[[Connection], None] = check_revision,
        backoff: Backoff | None = None,
    ) -> None:
        self._engine = engine
        self._backoff = backoff or Backoff()
        self._on_outage = on_outage
        self._on_recovery = on_recovery
        self._require = require
        self._connection: Connection | None = None
        self._connected_before = False
        self._deadline: Deadline | None = None
        self._stopping = threading.Event()
        self._conflicts = 0
        self._unavailable_since: float | None = None

    def stop(self) -> None:
        """Wait for no further try; what runs may finish."""
        self._stopping.set()

    def abort(self) -> None:
        """Give up what runs; the server rolls it back."""
        if self._deadline is not None:
            self._deadline.abort()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            for end in (connection.invalidate, connection.close):
                with suppress(SQLAlchemyError, psycopg2.Error):
                    end()

    def connect(self) -> Connection:
        """The connection; a new one where there is none."""
        if self._connection is None:
            self._connection = session.open_session(self._engine, self._require)
            self._connected_before = True
        return self._connection

    def run_in_transaction(
        self, work: Callable[[Connection], T], *, before_commit: Callable[[T], None] | None = None
    ) -> T:
        """
        Do work in one transaction; `before_commit` hears its result as the last thing before COMMIT.

        Raises:
            TooMuch: the work, without its COMMIT, took longer than the client's deadline.

            RefusedLate: COMMIT was refused.
        """
        connection = self.connect()
        deadline = self._deadline = Deadline(connection, session.CLIENT_DEADLINE)
        committing = False
        try:
            with deadline, connection.begin():
                done = work(connection)
                if before_commit is not None:
                    before_commit(done)
                committing = True
        except (DBAPIError, psycopg2.Error) as error:
            # After COMMIT was sent nobody may take the work for undone.
            if deadline.expired and not committing:
                self.close()
                raise TransactionTooSlow from error
            if committing and self._kind(error) is FailureClass.DATA:
                raise CommitRefused from error
            raise
        return done

    def retry(self, attempt: Callable[[], T]) -> T:
        """
        Try until it is done.

        Raises:
            TooMuch: it took too long.

            Stopped: `stop` was called meanwhile.

            ConfigurationError: an operator is needed.
        """
        while True:
            try:
                done = attempt()
            except (DBAPIError, psycopg2.Error, RowsVanished) as error:
                self._recover(error)
            else:
                self._record_success()
                return done

    def retry_forever(self, attempt: Callable[[], T]) -> T:
        """As `insist`, for what cannot be made smaller: what takes too long counts as an outage."""
        while True:
            try:
                return self.retry(attempt)
            except TransactionTooSlow:
                self.report_outage("PostgreSQL takes too long")

    def report_outage(self, reason: str) -> None:
        """
        Count what happened as an outage, and wait until another try is due.

        Raises:
            Stopped: `stop` was called meanwhile.
        """
        if self._unavailable_since is None:
            self._unavailable_since = time.monotonic()
            self._on_outage(reason)
        self._wait()

    def _recover(self, error: DBAPIError | psycopg2.Error | RowsVanished) -> None:
        """Make ready for another try, after a wait if need be; raise where another try would be no use."""
        kind = self._kind(error)
        if kind is FailureClass.TIMEOUT:
            raise TransactionTooSlow from error
        if kind is FailureClass.CONTENTION:
            self._conflicts += 1
            if isinstance(error, RowsVanished) and self._conflicts > IMMEDIATE_RETRIES:
                # Nobody deletes each trade as it is stored; a trigger that returns NULL does just that.
                raise ConfigurationError(f"{error}; does a trigger on the table discard rows?") from error
            logger.info("lost to another transaction, trying again: %s", _first_line(error))
            if self._conflicts > IMMEDIATE_RETRIES:
                self.report_outage(_first_line(error))
        elif kind is FailureClass.UNAVAILABLE:
            self.close()
            self.report_outage(_first_line(error))
        else:
            raise translate(error, connected_before=self._connected_before) or error

    def _kind(self, error: DBAPIError | psycopg2.Error | RowsVanished) -> FailureClass:
        if isinstance(error, RowsVanished):
            return FailureClass.CONTENTION
        return classify(error, connected_before=self._connected_before)

    def _wait(self) -> None:
        if self._stopping.wait(self._backoff.next_delay()):
            raise StopRequested

    def _record_success(self) -> None:
        self._backoff.reset()
        self._conflicts = 0
        if self._unavailable_since is not None:
            self._on_recovery(time.monotonic() - self._unavailable_since)
            self._unavailable_since = None


def _first_line(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)
