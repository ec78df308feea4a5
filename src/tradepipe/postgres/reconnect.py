"""A connection to PostgreSQL that reconnects, with transactions under a deadline."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import psycopg2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tradepipe.errors import ConfigurationError
from tradepipe.outage import Backoff
from tradepipe.postgres import session
from tradepipe.postgres.deadline import AnswerTimeout, Deadline
from tradepipe.postgres.failures import (
    CHECK_STATEMENT_TIMEOUT,
    FailureClass,
    RowsVanished,
    classify,
    describe,
    first_line,
    is_out_of_connections,
    translate,
)
from tradepipe.postgres.locks import is_lock_timeout, name_lock_holders

logger = logging.getLogger(__name__)

T = TypeVar("T")

IMMEDIATE_RETRIES: Final = 3
"""Retries without a wait after a conflict with another transaction."""


TRIES_WITHOUT_SESSION: Final = 3
"""Failed tries after which a connection gives up: the server may still be ending the session before."""


class StopRequested(Exception):
    """The connection was stopped while it waited for another try."""


class TransactionTooSlow(Exception):
    """
    A statement exceeded the server's timeout, or a transaction the client's deadline; a smaller one may succeed.

    The message is the reason.
    """


class ConnectionRefused(Exception):
    """PostgreSQL has no session left for a connection that may give up; the message is the reason."""


class CommitRefused(Exception):
    """COMMIT was refused by a deferred constraint that the user added; nothing was committed."""


class ReconnectingConnection:
    """
    A connection that reconnects after an outage.

    All methods but `stop`, `abort` and `renew` belong to one thread.

    Args:
        backoff: the delays between tries during an outage.

        on_outage: called with the reason, once for each outage.

        on_recovery: called with the seconds the outage lasted, once for each outage.

        may_give_up: whether to raise `ConnectionRefused` if PostgreSQL has no session left, instead of waiting for one.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_outage: Callable[[str], None],
        on_recovery: Callable[[float], None],
        may_give_up: Callable[[], bool] = lambda: False,
        backoff: Backoff | None = None,
    ) -> None:
        self._engine = engine
        self._backoff = backoff or Backoff()
        self._on_outage = on_outage
        self._on_recovery = on_recovery
        self._may_give_up = may_give_up
        self._connection: Connection | None = None
        self._connected_before = False
        self._is_outdated = False
        self._deadline: Deadline | None = None
        self.is_in_transaction = False
        """Whether a transaction may be running; read by other threads."""
        self._stopping = threading.Event()
        self._conflicts = 0
        self._unavailable_since: float | None = None
        self._reason = ""

    @property
    def has_connected(self) -> bool:
        """Whether a connection was ever opened."""
        return self._connected_before

    def stop(self) -> None:
        """Start no further try; a running transaction may finish."""
        self._stopping.set()

    def abort(self) -> None:
        """Abort the running transaction; the server rolls it back."""
        if self._deadline is not None:
            self._deadline.abort()

    def renew(self) -> None:
        """Open another connection for the next transaction: the server of this one may have ended it."""
        self._is_outdated = True

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            for end in (connection.invalidate, connection.close):
                with suppress(SQLAlchemyError, psycopg2.Error):
                    end()

    def connect(self) -> Connection:
        """Return the connection; open one first if need be."""
        if self._is_outdated:
            self._is_outdated = False
            self.close()
        if self._connection is None:
            self._connection = session.open_session(self._engine)
            self._connected_before = True
        return self._connection

    def try_to_connect(self) -> str | None:
        """Open the connection, and return why that failed, or None."""
        try:
            self.connect()
        except ConfigurationError as error:
            return str(error)
        except (DBAPIError, psycopg2.Error) as error:
            return describe(error)
        return None

    def run_in_transaction(self, work: Callable[[Connection], T]) -> T:
        """Do work in one transaction, and COMMIT it; `TransactionTooSlow` or `CommitRefused` if it fails so."""
        connection = self.connect()
        deadline = self._deadline = Deadline(connection, session.CLIENT_DEADLINE)
        committing = False
        self.is_in_transaction = True
        try:
            with deadline, name_lock_holders(connection), connection.begin():
                result = work(connection)
                committing = True
        except (DBAPIError, psycopg2.Error) as error:
            if deadline.expired:
                if not committing:
                    self.close()
                    raise TransactionTooSlow(f"no answer within {session.CLIENT_DEADLINE:g} s") from error
                # The server may have committed although its answer did not arrive in time. A smaller batch would not
                # help, and the caller must find out what is stored before it stores again.
                raise AnswerTimeout(f"no answer to COMMIT within {session.CLIENT_DEADLINE:g} s") from error
            if committing and classify(error, connected_before=self._connected_before) is FailureClass.DATA:
                raise CommitRefused from error
            raise
        finally:
            self.is_in_transaction = False
        return result

    def retry(self, attempt: Callable[[], T]) -> T:
        """
        Retry until the attempt succeeds.

        Raises:
            TransactionTooSlow: the attempt took too long.

            StopRequested: `stop` was called.

            ConnectionRefused: PostgreSQL has no session left, and this connection may give up.

            ConfigurationError: an operator is needed.
        """
        while True:
            try:
                result = attempt()
            except (DBAPIError, psycopg2.Error, RowsVanished) as error:
                self._recover(error)
                continue
            self._conflicts = 0
            self._end_outage()
            return result

    def retry_forever(self, attempt: Callable[[], T]) -> T:
        """Retry until the attempt succeeds; one that took too long counts as an outage. Raises like `retry`."""
        while True:
            try:
                return self.retry(attempt)
            except TransactionTooSlow as slow:
                self.report_outage(f"PostgreSQL took too long: {slow}")

    def report_outage(self, reason: str) -> None:
        """Begin or continue an outage, and wait until the next try is due; `StopRequested` if `stop` was called."""
        if self._unavailable_since is None:
            self._unavailable_since = time.monotonic()
            self._on_outage(reason)
        elif reason != self._reason:
            logger.info("retrying: %s", reason)
        self._reason = reason
        if self._stopping.wait(self._backoff.next_delay()):
            raise StopRequested

    def _end_outage(self) -> None:
        if self._backoff.failures:
            self._backoff.reset()
        if self._unavailable_since is not None:
            self._on_recovery(time.monotonic() - self._unavailable_since)
            self._unavailable_since = None

    def _recover(self, error: DBAPIError | psycopg2.Error | RowsVanished) -> None:
        """Wait until another try is due; raise if another try would not help."""
        kind = classify(error, connected_before=self._connected_before)
        if kind is FailureClass.TIMEOUT:
            # A session has its own timeouts as soon as it is open.
            advice = "" if self._connection else f"; {CHECK_STATEMENT_TIMEOUT}"
            raise TransactionTooSlow(f"{first_line(error)}{advice}") from error
        if kind is FailureClass.CONTENTION:
            self._conflicts += 1
            if isinstance(error, RowsVanished) and self._conflicts > IMMEDIATE_RETRIES:
                # A trigger that returns NULL has this effect, and is likelier than a deletion after each insert.
                raise ConfigurationError(f"{error}; does a trigger on the table discard rows?") from error
            reason = str(error) if isinstance(error, RowsVanished) else describe(error)
            # Who waited for a lock has waited for seconds already, and an operator may be able to end its holder.
            is_held = self._conflicts == 1 and is_lock_timeout(error)
            logger.log(logging.WARNING if is_held else logging.INFO, "retrying: %s", reason)
            if self._conflicts > IMMEDIATE_RETRIES:
                self.report_outage(reason)
        elif kind is FailureClass.UNAVAILABLE:
            self.close()
            is_lasting = self._backoff.failures >= TRIES_WITHOUT_SESSION
            if is_lasting and is_out_of_connections(error) and self._may_give_up():
                self._end_outage()
                raise ConnectionRefused(describe(error)) from error
            self.report_outage(describe(error))
        else:
            raise translate(error, connected_before=self._connected_before) or error
