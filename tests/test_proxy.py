"""The proxy other tests rely on."""

import psycopg2
import pytest

from tests.proxy import Proxy


@pytest.fixture
def proxy(database):
    with Proxy(int(database.rpartition("/")[0].rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
def connect(database, proxy):
    server, _, name = database.rpartition("/")
    opened = []

    def connect():
        opened.append(psycopg2.connect(f"{server.rpartition(':')[0]}:{proxy.port}/{name}"))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def test_it_forwards(connect):
    cursor = connect().cursor()
    cursor.execute("SELECT 1")

    assert (1,) == cursor.fetchone()


def test_a_swallowed_reply_is_of_a_request_that_was_served(connect, proxy):
    """What makes the fate of a COMMIT unknown to its client."""
    connection = connect()
    connection.cursor().execute("CREATE TABLE kept ()")
    proxy.swallow_reply_after(b"COMMIT")
    with pytest.raises(psycopg2.OperationalError):
        connection.commit()

    cursor = connect().cursor()
    cursor.execute("SELECT to_regclass('kept') IS NOT NULL")

    assert (True,) == cursor.fetchone()


def test_reset_cuts_open_connections_and_takes_new_ones(connect, proxy):
    connection = connect()
    proxy.reset()

    with pytest.raises(psycopg2.OperationalError):
        connection.cursor().execute("SELECT 1")
    assert 0 == connect().closed


def test_a_blackhole_accepts_and_answers_nothing(database, proxy):
    proxy.blackhole()

    with pytest.raises(psycopg2.OperationalError, match="timeout expired"):
        psycopg2.connect(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres", connect_timeout=2)


def test_after_healing_it_forwards_again(connect, proxy):
    proxy.blackhole()
    proxy.heal()

    assert 0 == connect().closed
