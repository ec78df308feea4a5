"""The engine and its URL."""

import pytest
from sqlalchemy import NullPool, text

from tradepipe.errors import ConfigurationError
from tradepipe.postgres.session import create_engine_for


def session(database: str, statement: str) -> object:
    """What a new session answers."""
    with create_engine_for(database, application_name="tradepipe-test").connect() as connection:
        return connection.scalar(text(statement))


def parameters(database: str, **knobs: float) -> dict[str, str]:
    """What libpq connected with."""
    with create_engine_for(database, application_name="tradepipe-test", **knobs).connect() as connection:
        return connection.connection.dbapi_connection.info.dsn_parameters


def with_option(database: str, option: str) -> str:
    return f"{database}{'&' if '?' in database else '?'}{option}"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_name_of_postgresql_means_psycopg2(database, scheme):
    """SQLAlchemy 2.1 alone would look for psycopg 3."""
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
def test_a_session_is_what_the_pipeline_needs(database, name, expected):
    assert expected == session(database, f"SHOW {name}")


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
    ids=["a parameter", "a setting of ours", "our settings remain", "a setting of its own"],
)
def test_what_the_url_sets_wins(database, option, setting, expected):
    assert expected == session(with_option(database, option), f"SHOW {setting}")


def test_a_fraction_of_a_second_is_rounded_up(database):
    """libpq takes whole seconds, and 0 for no limit at all."""
    assert "1" == parameters(database, connect_timeout=0.5)["connect_timeout"]


def test_no_connection_is_kept_between_uses():
    assert isinstance(create_engine_for("postgresql://localhost", application_name="tradepipe-test").pool, NullPool)


def test_several_hosts_are_tried_in_turn(database):
    """The first that is reachable and writable is taken."""
    credentials, _, address = database.removeprefix("postgresql://").rpartition("@")
    host, _, name = address.partition("/")

    url = f"postgresql://{credentials}@/{name}?host=127.0.0.1:1&host={host}"

    assert 1 == session(url, "SELECT 1")


@pytest.mark.parametrize(
    ("url", "told"),
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
    ],
)
def test_a_wrong_url_is_told_without_its_password(url, told):
    with pytest.raises(ConfigurationError) as raised:
        create_engine_for(url, application_name="tradepipe-test")

    assert told in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("url", ["postgresql://u:s3cret@h/db", "postgresql://u@h/db?password=s3cret"])
def test_no_repr_shows_the_password(url):
    made = create_engine_for(url, application_name="tradepipe-test")

    assert "s3cret" not in f"{made!r} {made.url!r} {made.url.render_as_string(hide_password=False)}"
