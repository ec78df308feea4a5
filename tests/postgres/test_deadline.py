"""A deadline that the client keeps."""

import os
import signal
import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tradepipe.postgres.session import Deadline, create_engine_for


@pytest.fixture
def frozen(connection):
    """A connection whose backend stands still."""
    pid = connection.scalar(text("SELECT pg_backend_pid()"))
    os.kill(pid, signal.SIGSTOP)
    yield connection
    os.kill(pid, signal.SIGCONT)


def sleep(connection, seconds):
    connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


def test_what_takes_longer_is_cut(connection):
    began = time.monotonic()

    with pytest.raises(DBAPIError), Deadline(connection, 0.2) as deadline:
        sleep(connection, 30)

    assert deadline.expired
    assert 0.2 <= time.monotonic() - began < 5


def test_a_frozen_server_is_cut(frozen):
    """None of its own timeouts would fire, and its kernel answers all keepalives."""
    began = time.monotonic()

    with pytest.raises(DBAPIError), Deadline(frozen, 0.2) as deadline:
        sleep(frozen, 0)

    assert deadline.expired
    assert time.monotonic() - began < 5


def test_what_is_done_in_time_is_left_alone(connection):
    with Deadline(connection, 30) as deadline:
        sleep(connection, 0)

    sleep(connection, 0)
    assert not deadline.expired


def test_another_thread_may_cut_before_the_time_is_over(connection):
    deadline = Deadline(connection, 30)
    threading.Timer(0.2, deadline.abort).start()

    with pytest.raises(DBAPIError), deadline:
        sleep(connection, 30)

    assert not deadline.expired


def test_behind_the_block_nothing_is_cut(migrated, connection):
    """The descriptor may be that of another connection by then."""
    with Deadline(connection, 30) as deadline:
        descriptor = connection.connection.dbapi_connection.fileno()
    connection.close()
    with create_engine_for(migrated, application_name="test").connect() as other:
        assert descriptor == other.connection.dbapi_connection.fileno()

        deadline.abort()

        sleep(other, 0)
