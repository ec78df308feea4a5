"""The engine and its URL."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.exc import DBAPIError

from tradepipe.errors import ConfigurationError, DatabaseUnavailable
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.session import create_engine_for


def session(database: str, statement: str) -> object:
    """Return the answer of a new session."""
    with create_engine_for(database, application_name="tradepipe-test").connect() as connection:
        return connection.scalar(text(statement))


def parameters(database: str, **knobs: float) -> dict[str, str]:
    """Return the parameters that libpq used."""
    with create_engine_for(database, application_name="tradepipe-test", **knobs).connect() as connection:
        return connection.connection.dbapi_connection.info.dsn_parameters


def with_option(database: str, option: str) -> str:
    return f"{database}{'&' if '?' in database else '?'}{option}"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_scheme_of_postgresql_selects_psycopg2(database, scheme):
    """SQLAlchemy 2.1 itself would select psycopg 3."""
    assert 1 == session(database.replace("postgresql", scheme, 1), "SELECT 1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("application_name", "tradepipe-test"),
        ("TimeZone", "UTC"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("client_encoding", "UTF8"),
        ("transaction_isolation", "read committed"),
        ("transaction_read_only", "off"),
    ],
)
def test_a_session_has_the_settings_of_the_pipeline(database, name, expected):
    assert expected == session(database, f"SHOW {name}")


def test_an_error_of_a_statement_contains_no_values_of_its_row(database):
    engine = create_engine_for(database, application_name="tradepipe-test")

    with engine.connect() as connection, pytest.raises(DBAPIError, match="division by zero") as raised:
        connection.execute(text("SELECT :value, 1 / 0"), {"value": "canary-value"})

    assert "canary-value" not in str(raised.value)


def test_a_vanished_peer_is_noticed(database):
    expected = {
        "connect_timeout": "5",
        "keepalives_idle": "15",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": "15000",
        "target_session_attrs": "read-write",
    }

    given = parameters(database)

    assert expected == {name: given[name] for name in expected}


@pytest.mark.parametrize(
    ("option", "setting", "expected"),
    [
        ("application_name=mine", "application_name", "mine"),
        ("options=-c%20TimeZone%3DJapan", "TimeZone", "Japan"),
        ("options=-c%20statement_timeout%3D77", "idle_in_transaction_session_timeout", "10s"),
        ("options=-c%20statement_timeout%3D77", "statement_timeout", "77ms"),
    ],
    ids=["a parameter", "a setting of ours", "our settings remain", "another setting"],
)
def test_a_setting_of_the_url_wins(database, option, setting, expected):
    assert expected == session(with_option(database, option), f"SHOW {setting}")


def test_a_fraction_of_a_second_is_rounded_up(database):
    """libpq takes whole seconds, and 0 for no limit at all."""
    assert "1" == parameters(database, connect_timeout=0.5)["connect_timeout"]


def test_no_connection_stays_open_between_uses():
    assert isinstance(create_engine_for("postgresql://localhost", application_name="tradepipe-test").pool, NullPool)


def test_several_hosts_are_tried_in_turn(database):
    """The first that is reachable and writable is taken."""
    credentials, _, address = database.removeprefix("postgresql://").rpartition("@")
    host, _, name = address.partition("/")

    url = f"postgresql://{credentials}@/{name}?host=127.0.0.1:1&host={host}"

    assert 1 == session(url, "SELECT 1")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "cannot be read"),
        ("nonsense", "cannot be read"),
        ("postgresql://u:s3cret@h:port/db", "cannot be read"),
        ("postgresql://u:s3cret@a:1,b:2/db", "several hosts as ?host="),
        ("mysql://u:s3cret@h/db", "begins with mysql://"),
        ("postgresql+psycopg://u:s3cret@h/db", "begins with postgresql+psycopg://"),
        ("postgresql://u:s3cret@h/db?sslmod=require", 'invalid connection option "sslmod"'),
        ("postgresql://u@h/db?password=s3cret&sslmod=require", 'invalid connection option "sslmod"'),
        ("postgresql://u:s3cret@h/db?host=a:x&host=b:y", "cannot be used"),
        ("postgresql://u:p@s3cret#w/rd@h/db", "special characters in the password as %XX"),
        ("postgresql://u:p@s3cret@h/db", "special characters in the password as %XX"),
        ("postgresql://u:p@s3cret/rd@h/db", "special characters in the password as %XX"),
        ("postgresql://u:p@s3cret?rd@h/db", "special characters in the password as %XX"),
        ("postgresql://u:p@s3cret#rd", "special characters in the password as %XX"),
        ("postgresql://u:p@s3cret:rd@h/db", "special characters in the password as %XX"),
    ],
)
def test_an_invalid_url_is_reported_without_its_password(url, message):
    with pytest.raises(ConfigurationError) as raised:
        create_engine_for(url, application_name="tradepipe-test")

    assert message in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("password", ["a#b", "a/b", "a%b", "a:b", "a b"])
def test_other_special_characters_need_no_escape(password):
    """SQLAlchemy's parser reads them as they are; they worked before."""
    url = f"postgresql://u:{password}@h/db"

    assert "h" == create_engine_for(url, application_name="tradepipe-test").url.host


@pytest.mark.parametrize(
    ("variables", "option", "message"),
    [
        ({"PGSERVICE": "nope"}, "", 'definition of service "nope" not found; check PGSERVICE'),
        ({"PGSERVICEFILE": "/nowhere", "PGSERVICE": "x"}, "", "check PGSERVICE, PGSERVICEFILE"),
        ({"PGSSLMODE": "maybe"}, "", 'invalid sslmode value: "maybe"; check the database URL and the PG'),
        ({"PGPORT": "99999"}, "host=127.0.0.1", 'invalid port number: "99999"; check the database URL'),
        ({}, "connect_timeout=soon", 'invalid integer value "soon" for connection option "connect_timeout"; check'),
        ({}, "target_session_attrs=any-thing", "invalid target_session_attrs value"),
        ({}, "sslmode=require&sslrootcert=system", "weak sslmode"),
    ],
)
def test_a_wrong_parameter_of_libpq_is_configuration(monkeypatch, variables, option, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server = "" if "host" in option else "127.0.0.1:1"

    with pytest.raises(ConfigurationError) as raised, translate_errors():
        session(f"postgresql://u:s3cret@{server}/db?{option}", "SELECT 1")

    assert message in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_settings_of_pgoptions_hold(database, monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c search_path=apart -c TimeZone=Japan")

    assert ("apart", "Japan", "10s") == tuple(
        session(database, f"SHOW {name}") for name in ("search_path", "TimeZone", "idle_in_transaction_session_timeout")
    )


@pytest.mark.parametrize("url", ["postgresql://u:s3cret@h/db", "postgresql://u@h/db?password=s3cret"])
def test_no_repr_shows_the_password(url):
    made = create_engine_for(url, application_name="tradepipe-test")

    assert "s3cret" not in f"{made!r} {made.url!r} {made.url.render_as_string(hide_password=False)}"


@contextmanager
def server_that_answers(*answers: bytes) -> Iterator[str]:
    """Yield the URL of a server that answers whatever one client sends, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                for each in answers:
                    client.recv(65_536)
                    client.sendall(each)

        threading.Thread(target=answer, daemon=True).start()
        yield f"postgresql://me:secret@127.0.0.1:{server.getsockname()[1]}/trades"


def error_message(text: bytes) -> bytes:
    """Return an error of PostgreSQL's protocol."""
    fields = b"SFATAL\0VFATAL\0C28P01\0M" + text + b"\0\0"
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 300, b"E\xff\xff\xff\xff\xff", b"E\0\0\0\x08\xf5\xf6\0"],
    ids=["HTTP", "bytes", "an endless error", "an error"],
)
def test_a_server_of_another_protocol_is_an_outage(answer):
    with (
        server_that_answers(answer) as url,
        pytest.raises(DatabaseUnavailable, match="PostgreSQL is unavailable: "),
        translate_errors(),
    ):
        session(f"{url}?sslmode=disable", "SELECT 1")


def test_a_refusal_in_the_encoding_of_the_server_is_shown():
    with (
        server_that_answers(error_message("ung\u00fcltiges Passwort".encode("latin-1"))) as url,
        pytest.raises(ConfigurationError, match=r"FATAL: *ung\\xfcltiges Passwort"),
        translate_errors(),
    ):
        session(f"{url}?sslmode=disable", "SELECT 1")
