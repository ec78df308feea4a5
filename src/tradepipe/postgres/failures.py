"""
Classification of PostgreSQL errors: SQLSTATE to failure class to tradepipe's errors.

The exception classes of the driver do not help: a deadlock, a full disk and a
lost connection are all `OperationalError`. An error without an SQLSTATE, of a
connection that was lost or never made, is classified by the English wording of
libpq and of the server's `FATAL`. A server in another language that is starting
up therefore counts as misconfigured when it refuses the first connection.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

import psycopg2
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from tradepipe.errors import ConfigurationError, DatabaseUnavailable, TradepipeError
from tradepipe.postgres import pooler
from tradepipe.postgres.copy import KEYS, STAGING

POSTGRESQL: Final = str(DatabaseUnavailable.service)


class RowsVanished(TradepipeError):
    """A staged trade is neither in the table nor refused, because rows were deleted; the batch is retried."""

    retriable = True


class FailureClass(Enum):
    """Failure classes; the comment at each says how the sink reacts."""

    UNAVAILABLE = "unavailable"  # keep the batch, wait, connect again
    CONTENTION = "contention"  # the same batch again
    TIMEOUT = "timeout"  # a smaller batch
    DATA = "data"  # refuse the record
    CONFIGURATION = "configuration"  # stop; an operator is needed
    BUG = "bug"  # stop loudly


CLASS_OF_SQLSTATE: Final = {
    "22": FailureClass.DATA,
    # A CHECK, foreign key or unique index that the user added is a rule for the data.
    "23": FailureClass.DATA,
    "23001": FailureClass.BUG,  # restrict_violation: only a DELETE causes it, and the sink deletes nothing
    "44": FailureClass.DATA,  # with_check_option_violation
    "P0001": FailureClass.DATA,  # raise_exception: a trigger of the user refused the row
    "54000": FailureClass.DATA,  # program_limit_exceeded: a value too long for an index that the user added
    "08": FailureClass.UNAVAILABLE,
    "25006": FailureClass.UNAVAILABLE,  # read_only_sql_transaction: a standby, or a primary that was demoted
    "25P03": FailureClass.UNAVAILABLE,  # idle_in_transaction_session_timeout: the session is gone
    "25P04": FailureClass.UNAVAILABLE,  # transaction_timeout: the session is gone
    "40003": FailureClass.UNAVAILABLE,  # statement_completion_unknown
    "53": FailureClass.UNAVAILABLE,
    "57": FailureClass.UNAVAILABLE,
    "58": FailureClass.UNAVAILABLE,  # the server's own disk
    "HV00N": FailureClass.UNAVAILABLE,  # fdw_unable_to_establish_connection
    "57014": FailureClass.TIMEOUT,
    "40": FailureClass.CONTENTION,
    "40002": FailureClass.BUG,  # transaction_integrity_constraint_violation: PostgreSQL never reports it
    "55P03": FailureClass.CONTENTION,
    "72": FailureClass.CONTENTION,  # snapshot_too_old
    "0A": FailureClass.CONFIGURATION,
    "0L": FailureClass.CONFIGURATION,
    "0P": FailureClass.CONFIGURATION,
    "26": FailureClass.CONFIGURATION,
    "28": FailureClass.CONFIGURATION,
    "3D": FailureClass.CONFIGURATION,
    "3F": FailureClass.CONFIGURATION,
    "42": FailureClass.CONFIGURATION,
    "55000": FailureClass.CONFIGURATION,  # object_not_in_prerequisite_state, for example no replica identity
    "55P02": FailureClass.CONFIGURATION,
    "F0": FailureClass.CONFIGURATION,
    **dict.fromkeys(
        ("00", "01", "02", "03", "09", "0B", "0F", "0Z", "10", "20", "21", "24", "25", "27"), FailureClass.BUG
    ),
    **dict.fromkeys(("2B", "2D", "2F", "34", "38", "39", "3B", "54", "55", "HV", "P0", "XX"), FailureClass.BUG),
}
"""Keyed by SQLSTATE, or by its first two characters if it is not listed."""

OUT_OF_CONNECTIONS: Final = ("too many clients", "too many connections", "remaining connection slots")
"""Messages of a server that has no session left, for anyone, or for this role or database (SQLSTATE 53300)."""

TRANSIENT_FATALS: Final = (
    "is starting up",
    "is shutting down",
    "in recovery mode",
    "not yet accepting connections",
    "the database system is not accepting connections",
    *OUT_OF_CONNECTIONS,
    "terminating connection",
    "out of memory",
    "could not fork",
)
"""Messages of a server that refuses a connection now and may accept it later."""

PERMANENT_REFUSALS: Final = (
    "no password supplied",
    "does not support SSL",
    "certificate",
    "private key",
    "invalid connection option",
    "authentication method",
    "invalid dsn",
)
"""Messages of libpq, without a `FATAL`, that no retry repairs."""

CHECK_STATEMENT_TIMEOUT: Final = "check statement_timeout of the role and the database"
"""Advice for a statement that exceeded a timeout which tradepipe has not set."""

_ADVICE: Final = {
    "42P01": "create the tables with `tradepipe migrate upgrade`",
    "42703": "bring the tables up to date with `tradepipe migrate upgrade`",
    "42P07": "create tradepipe's tables in a separate database schema: add ?options=-csearch_path=NAME to the URL",
    "42501": "as the owner of the tables, GRANT this role what it lacks",
    "3F000": "create the database schema, or correct search_path in the URL",
}

_ADVICE_ON_CONNECTING: Final = {
    "startup parameter": "a connection pooler refuses it: set it by ALTER ROLE instead of in the URL or PGOPTIONS",
    "service": "check PGSERVICE, PGSERVICEFILE, and service in the database URL",
    "invalid ": "check the database URL and the PG… environment variables",
    "no encryption": "request TLS with sslmode in the database URL, or allow this host and user in pg_hba.conf",
    "password": "check user and password in the database URL",
    "role": "check the user in the database URL",
    "pg_hba.conf": "allow this host and user in pg_hba.conf",
    "database": "create it, or check the name in the database URL",
    "certificate": "check sslmode, sslrootcert and the host's name in the database URL",
    "SSL": "check sslmode in the database URL",
}
"""Keyed by a word of the message; the first match counts."""


def classify(error: BaseException, *, connected_before: bool) -> FailureClass:
    """
    Classify an error of psycopg2, plain or wrapped by SQLAlchemy; any other error is a `BUG`.

    Args:
        connected_before: True if this process ever had a connection. A refusal of
            the first connection may be permanent; later ones count as outages.
    """
    if isinstance(error, RowsVanished):
        return FailureClass.CONTENTION
    cause = _cause(error)
    # The connection broke: `closed` is 2 if libpq found it broken, 1 if we closed it.
    is_broken = isinstance(cause, psycopg2.Error) and cause.cursor is not None and cause.cursor.connection.closed == 2
    if is_broken or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return FailureClass.UNAVAILABLE
    if isinstance(cause, UnicodeEncodeError) or (type(cause) is ValueError and "NUL" in str(cause)):
        # The driver refused to send the text; the server never received it.
        return FailureClass.DATA
    if not isinstance(cause, psycopg2.Error):
        return FailureClass.BUG
    if cause.pgcode is not None:
        return CLASS_OF_SQLSTATE.get(cause.pgcode) or CLASS_OF_SQLSTATE.get(cause.pgcode[:2], FailureClass.BUG)
    return _without_sqlstate(cause, connected_before)


def translate(error: BaseException, *, connected_before: bool) -> DatabaseUnavailable | ConfigurationError | None:
    """
    Translate an error of the driver, or return None for data errors and bugs, which are raised unchanged.

    The message is the first line of the server's message and the advice. It omits
    DETAIL, which contains values of the row, and the statement.
    """
    match classify(error, connected_before=connected_before):
        case FailureClass.UNAVAILABLE:
            return DatabaseUnavailable(first_line(error), service=POSTGRESQL)
        case FailureClass.CONTENTION | FailureClass.TIMEOUT:
            return DatabaseUnavailable(describe(error), is_answering=True)
        case FailureClass.CONFIGURATION if _INVALID_PARAMETER.search(str(_cause(error))):
            return ConfigurationError(
                f"PostgreSQL's connection parameters are wrong: {first_line(error)}{_advice(error)}"
            )
        case FailureClass.CONFIGURATION:
            return ConfigurationError(f"PostgreSQL rejected the request: {first_line(error)}{_advice(error)}")
        case _:
            return None


def describe(error: BaseException) -> str:
    """Say why a retry is needed: the server is unavailable, another transaction is in the way, or it takes too long."""
    match classify(error, connected_before=True):
        case FailureClass.CONTENTION:
            reason = "; ".join(getattr(error, "__notes__", ())) or first_line(error)
            return f"PostgreSQL is available, but another transaction is in the way: {reason}"
        case FailureClass.TIMEOUT:
            # A sink that has its own timeouts does not ask: it tries a smaller batch.
            return f"PostgreSQL took too long: {first_line(error)}; {CHECK_STATEMENT_TIMEOUT}"
        case _:
            return f"{POSTGRESQL} is unavailable: {first_line(error)}"


def is_out_of_connections(error: BaseException) -> bool:
    """Return True if the server refused a connection because it has no session left."""
    return _contains_any(str(_cause(error)), OUT_OF_CONNECTIONS)


def is_too_large(error: BaseException) -> bool:
    """Return True if PostgreSQL ran into a limit of size: a value, a row or a statement of a gigabyte."""
    cause = _cause(error)
    if not isinstance(cause, psycopg2.Error):
        return False
    # palloc() reports the gigabyte as an internal error, and the buffers of messages as a limit.
    return cause.pgcode == "54000" or (cause.pgcode == "XX000" and "invalid memory alloc request size" in str(cause))


@contextmanager
def translate_errors(*, connected_before: bool = False) -> Iterator[None]:
    """Raise errors of the block as `DatabaseUnavailable` if a retry may succeed, or `ConfigurationError`."""
    try:
        yield
    except (SQLAlchemyError, psycopg2.Error) as error:
        ours = translate(error, connected_before=connected_before)
        if ours is None:
            raise
        raise ours from error


def _cause(error: BaseException) -> BaseException:
    """Return the error of the driver that SQLAlchemy has wrapped."""
    return error.orig if isinstance(error, StatementError) and error.orig is not None else error


def _without_sqlstate(cause: psycopg2.Error, connected_before: bool) -> FailureClass:
    """Classify an error of libpq or of psycopg2 itself."""
    message = str(cause)
    if isinstance(cause, psycopg2.InterfaceError):
        return FailureClass.UNAVAILABLE if "already closed" in message else FailureClass.BUG
    if not connected_before:
        # Permanent if a host has refused the connection for a reason that does not pass by itself.
        fatal = (line for line in message.splitlines() if "FATAL:" in line)
        is_refused = any(not _contains_any(line, TRANSIENT_FATALS) for line in fatal)
        if is_refused or _contains_any(message, PERMANENT_REFUSALS) or _INVALID_PARAMETER.search(message):
            return FailureClass.CONFIGURATION
    # psycopg2 raises a bare DatabaseError if the answer of the server was cut off.
    if isinstance(cause, psycopg2.OperationalError) or type(cause) is psycopg2.DatabaseError:
        return FailureClass.UNAVAILABLE
    return FailureClass.BUG


_INVALID_PARAMETER: Final = re.compile(
    r"invalid \w+ value: |invalid integer value |invalid port number: |could not match \d+ |definition of service |"
    r"service (file|specifications) |in service file|to locate service definition|weak sslmode |"
    r"invalid when \w+ support is not compiled in|invalid SSL protocol version|negative require_auth"
)
"""Messages of libpq for parameters of the URL, of variables such as PGSERVICE, or of a service file."""


def _contains_any(text: str, parts: tuple[str, ...]) -> bool:
    return any(part in text for part in parts)


def first_line(error: BaseException) -> str:
    """Return the primary message of the server, or the first line of the driver's message."""
    cause = _cause(error)
    primary = cause.diag.message_primary if isinstance(cause, psycopg2.Error) else None
    line = primary or next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    # libpq drops the message of a server that ends a session.
    return f"{line}; its log has the reason" if line.startswith(_SESSION_ENDED) else line


_SESSION_ENDED: Final = "server closed the connection unexpectedly"


def _advice(error: BaseException) -> str:
    """Return advice as the end of a sentence, or an empty text."""
    cause = _cause(error)
    if not isinstance(cause, psycopg2.Error):
        return ""
    advice: str | None
    if cause.pgcode in ("42P01", "42P07", "26000", "42P05") and any(
        name in str(cause) for name in (STAGING.name, KEYS.name, pooler.ADVANCE)
    ):
        # What the session had is missing, or was left by another session: a pooler has exchanged the backend.
        advice = pooler.ADVICE
    elif cause.pgcode is not None:
        advice = _ADVICE.get(cause.pgcode)
    else:
        refusal = first_line(error).rpartition("failed:")[2]
        advice = next((advice for word, advice in _ADVICE_ON_CONNECTING.items() if word in refusal), None)
    return f"; {advice}" if advice else ""
