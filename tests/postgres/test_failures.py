"""Classification of PostgreSQL's errors, by a server that raises them wherever possible."""

import threading

import psycopg2
import psycopg2.errorcodes
import pytest
from sqlalchemy import Connection, text

from tradepipe.errors import ConfigurationError, DatabaseUnavailable
from tradepipe.postgres.failures import CLASS_OF_SQLSTATE, FailureClass, classify, translate, translate_errors
from tradepipe.postgres.session import create_engine_for

AWAY, CONTENTION, TIMEOUT = FailureClass.UNAVAILABLE, FailureClass.CONTENTION, FailureClass.TIMEOUT
DATA, CONFIGURATION, BUG = FailureClass.DATA, FailureClass.CONFIGURATION, FailureClass.BUG

SQLSTATES = sorted(
    code for name, code in vars(psycopg2.errorcodes).items() if name.isupper() and not name.startswith("CLASS_")
)


def error_of(action, *arguments) -> Exception:
    """Return the error that an action raises."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is what the tests tell
        action(*arguments)
    return raised.value


def connect(database: str) -> Connection:
    return create_engine_for(database, application_name="test").connect()


def run(database: str, *statements: str) -> None:
    with connect(database) as connection:
        for statement in statements:
            connection.execute(text(statement))
        connection.commit()


def end_every_other_session(database: str) -> None:
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    statement = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
    run(database, statement)


def with_option(database: str, option: str) -> str:
    return f"{database}{'&' if '?' in database else '?'}{option}"


def refused(message: str) -> psycopg2.OperationalError:
    """Build psycopg2's error for a server that refuses the connection."""
    return psycopg2.OperationalError(f'connection to server at "h", port 5432 failed: {message}\n')


@pytest.mark.parametrize("sqlstate", SQLSTATES)
def test_every_sqlstate_has_a_class_on_purpose(sqlstate):
    assert sqlstate in CLASS_OF_SQLSTATE or sqlstate[:2] in CLASS_OF_SQLSTATE


@pytest.mark.parametrize(
    ("sqlstates", "expected"),
    [
        ("57P01 57P02 57P03 57P05 53100 53200 53300 25006 25P03 08006 08007 40003 58030", AWAY),
        ("40001 40P01 55P03", CONTENTION),
        ("57014", TIMEOUT),
        ("22001 22003 22021 22P03 23502 23503 23505 23514 23P01 P0001 54000", DATA),
        ("26000 28000 28P01 3D000 3F000 42501 42P01 42703 0A000 55000", CONFIGURATION),
        ("21000 25P02 XX000 23001 P0000", BUG),
    ],
    ids=lambda value: value.value if isinstance(value, FailureClass) else "",
)
def test_the_classes_are_those_of_the_design(sqlstates, expected):
    found = {
        sqlstate: CLASS_OF_SQLSTATE.get(sqlstate) or CLASS_OF_SQLSTATE[sqlstate[:2]] for sqlstate in sqlstates.split()
    }

    assert dict.fromkeys(sqlstates.split(), expected) == found


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["SET statement_timeout = 20", "SELECT pg_sleep(10)"], TIMEOUT),
        (["SELECT * FROM missing"], CONFIGURATION),
        (["CREATE SCHEMA one", "CREATE TABLE nowhere.one (x int)"], CONFIGURATION),
        (["SET TRANSACTION READ ONLY", "CREATE TABLE one (x int)"], AWAY),
        (["SELECT 1 / 0"], DATA),
        (["SELECT 99999999999::integer"], DATA),
        (["CREATE TEMP TABLE one (x int PRIMARY KEY)", "INSERT INTO one VALUES (1), (1)"], DATA),
        (["CREATE TEMP TABLE one (x int NOT NULL)", "INSERT INTO one VALUES (NULL)"], DATA),
        (["DO $$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = 'why'; END $$"], DATA),
        (["DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"], CONTENTION),
        (["DO $$ BEGIN RAISE SQLSTATE '21000'; END $$"], BUG),
    ],
    ids=lambda value: value.value if isinstance(value, FailureClass) else value[-1],
)
def test_a_statement_that_fails_has_the_class_of_its_sqlstate(database, statements, expected):
    assert expected == classify(error_of(run, database, *statements), connected_before=True)


def test_a_statement_timeout_that_is_too_short_for_a_command_is_named(database):
    """A command keeps the timeout of the role, for which a longer deadline does not help."""
    error = error_of(run, database, "SET statement_timeout = 20", "SELECT pg_sleep(10)")

    assert (
        "PostgreSQL took too long: canceling statement due to statement timeout; "
        "check statement_timeout of the role and the database"
    ) == str(translate(error, connected_before=False))


def test_the_plain_error_of_psycopg2_has_the_same_class(database):
    """COPY runs without SQLAlchemy's wrapping."""
    with connect(database) as connection:
        cursor = connection.connection.cursor()

        error = error_of(cursor.execute, "SELECT 1 / 0")

    assert type(error) is psycopg2.errors.DivisionByZero
    assert DATA == classify(error, connected_before=True)


def test_a_transaction_that_continues_after_an_error_is_our_bug(database):
    with connect(database) as connection:
        error_of(connection.execute, text("SELECT 1 / 0"))

        assert BUG == classify(error_of(connection.execute, text("SELECT 1")), connected_before=True)


@pytest.mark.parametrize("value", ["a\0b", "a\ud800b"], ids=["NUL", "surrogate"])
def test_text_the_driver_will_not_send_is_data(connection, value):
    error = error_of(connection.execute, text("SELECT :value"), {"value": value})

    assert DATA == classify(error, connected_before=True)


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), OSError("x")], ids=repr)
def test_an_exception_of_another_kind_is_our_bug(error):
    assert BUG == classify(error, connected_before=True)


@pytest.mark.parametrize("last", ["execute", "commit"])
def test_a_terminated_session_is_an_outage(database, last):
    """The error has no SQLSTATE."""
    with connect(database) as connection:
        connection.execute(text("SELECT 1"))
        end_every_other_session(database)

        error = error_of(connection.commit) if last == "commit" else error_of(connection.execute, text("SELECT 1"))

    assert error.orig.pgcode is None
    assert AWAY == classify(error, connected_before=True)


def test_the_bare_error_of_a_lost_connection_is_an_outage(database):
    with connect(database) as connection:
        cursor = connection.connection.cursor()
        end_every_other_session(database)

        assert AWAY == classify(error_of(cursor.execute, "SELECT 1"), connected_before=True)


def test_a_connection_that_we_closed_is_an_outage(database):
    """As the client's deadline does to a backend that is frozen."""
    with connect(database) as connection:
        connection.connection.dbapi_connection.close()

        assert AWAY == classify(error_of(connection.execute, text("SELECT 1")), connected_before=True)


def test_a_lock_not_had_in_time_is_contention(migrated):
    with connect(migrated) as holder:
        holder.execute(text("LOCK TABLE trades"))

        error = error_of(run, migrated, "SET LOCAL lock_timeout = 20", "SELECT * FROM trades")

    assert CONTENTION == classify(error, connected_before=True)


def test_a_deadlock_is_contention(migrated):
    """One of the two is the victim; either may be."""
    with connect(migrated) as one, connect(migrated) as two:
        for session, table in ((one, "trades"), (two, "sink_offsets")):
            session.execute(text("SET deadlock_timeout = '20ms'"))
            session.execute(text(f"LOCK TABLE {table}"))
        errors: list[Exception] = []

        def cross(session: Connection, table: str) -> None:
            try:
                session.execute(text(f"LOCK TABLE {table}"))
                session.rollback()
            except Exception as error:
                session.rollback()
                errors.append(error)

        other = threading.Thread(target=cross, args=(two, "trades"))
        other.start()
        cross(one, "sink_offsets")
        other.join()

    assert [CONTENTION] == [classify(error, connected_before=True) for error in errors]


@pytest.mark.parametrize("connected_before", [False, True], ids=["at first", "later"])
def test_an_unreachable_server_is_an_outage(connected_before):
    error = error_of(connect, "postgresql://u@127.0.0.1:1/db")

    assert AWAY == classify(error, connected_before=connected_before)


@pytest.mark.parametrize(
    ("connected_before", "expected"), [(False, CONFIGURATION), (True, AWAY)], ids=["at first", "later"]
)
def test_a_database_that_does_not_exist_is_configuration_only_at_first(database, connected_before, expected):
    """Later it is an outage: a restore may be under way, and the driver gives no code."""
    error = error_of(connect, f"{database}_of_nobody")

    assert expected == classify(error, connected_before=connected_before)


def test_a_read_only_server_is_an_outage(database):
    """The standby of a pair whose primary is down."""
    read_only = with_option(database, "options=-c%20default_transaction_read_only%3Don")

    assert AWAY == classify(error_of(connect, read_only), connected_before=False)


@pytest.mark.parametrize(
    "message",
    [
        'FATAL:  password authentication failed for user "u"',
        'FATAL:  role "u" does not exist',
        'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "u", database "d", no encryption',
        'FATAL:  unrecognized configuration parameter "nope"',
        'FATAL:  database "d" is not currently accepting connections',
        "fe_sendauth: no password supplied",
        'invalid sslmode value: "maybe"',
        'invalid port number: "99999"',
        "server does not support SSL, but SSL was required",
        "SSL error: certificate verify failed",
        'Connection refused\nconnection to server at "i", port 5432 failed: FATAL:  role "u" does not exist',
    ],
)
def test_a_permanently_refused_first_connection_is_a_configuration_error(message):
    assert CONFIGURATION == classify(refused(message), connected_before=False)


@pytest.mark.parametrize(
    "message",
    [
        "FATAL:  the database system is starting up",
        "FATAL:  the database system is shutting down",
        "FATAL:  the database system is in recovery mode",
        "FATAL:  the database system is not yet accepting connections",
        "FATAL:  sorry, too many clients already",
        'FATAL:  too many connections for role "u"',
        "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "session is read-only",
        "timeout expired",
    ],
)
def test_a_temporary_refusal_of_the_first_connection_is_an_outage(message):
    assert AWAY == classify(refused(message), connected_before=False)


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        (
            "SELECT * FROM missing",
            'relation "missing" does not exist; create the tables with `tradepipe migrate',
        ),
        (
            "SET ROLE reader; SELECT * FROM trades",
            "permission denied for table trades; as the owner of the tables, GRANT",
        ),
        ("CREATE TABLE trades (x int)", "separate database schema"),
    ],
    ids=["missing table", "missing right", "their table has our name"],
)
def test_a_message_has_advice(migrated, statement, advice):
    role = "DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$"

    reported = translate(error_of(run, migrated, role, statement), connected_before=True)

    assert type(reported) is ConfigurationError
    assert advice in str(reported)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ('FATAL:  password authentication failed for user "u"', "check user and password"),
        ("fe_sendauth: no password supplied", "check user and password"),
        ('FATAL:  database "d" does not exist', "create it, or check the name"),
        ('FATAL:  role "u" does not exist', "check the user"),
        ("server does not support SSL, but SSL was required", "check sslmode"),
    ],
)
def test_the_message_of_a_refused_connection_has_advice(message, advice):
    assert advice in str(translate(refused(message), connected_before=False))


def test_an_outage_is_translated_so_that_it_may_be_retried():
    with pytest.raises(DatabaseUnavailable, match="Connection refused") as raised, translate_errors():
        connect("postgresql://u@127.0.0.1:1/db")

    assert raised.value.retriable
    assert raised.value.__cause__ is not None


def test_a_bug_is_seen_as_it_is(database):
    statement = "DO $$ BEGIN RAISE SQLSTATE '21000'; END $$"

    with pytest.raises(Exception, match="21000") as raised, translate_errors():
        run(database, statement)

    assert not isinstance(raised.value, (DatabaseUnavailable, ConfigurationError))


def test_no_message_contains_the_values_of_a_row(migrated):
    """PostgreSQL quotes them in DETAIL, SQLAlchemy in its own message."""
    statement = "DO $$ BEGIN RAISE SQLSTATE '42501' USING MESSAGE = 'denied', DETAIL = 'row (T-CANARY)'; END $$"

    assert "CANARY" not in str(translate(error_of(run, migrated, statement), connected_before=True))
