"""A deadline that the client keeps."""

import os
import signal
import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.frozen import freeze
from tradepipe.postgres.deadline import AnswerTimeout, Deadline
from tradepipe.postgres.session import create_engine_for


@pytest.fixture
def frozen_connection(connection):
    """Yield a connection whose backend is stopped."""
    pid = connection.scalar(text("SELECT pg_backend_pid()"))
    freeze(pid)
    yield connection
    os.kill(pid, signal.SIGCONT)


def sleep(connection, seconds):
    connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


def test_a_longer_wait_is_cut(connection):
    began = time.monotonic()

    with pytest.raises(AnswerTimeout, match=r"no answer within 0\.2 s"), Deadline(connection, 0.2) as deadline:
        sleep(connection, 120)

    assert deadline.expired
    assert 0.2 <= time.monotonic() - began < 60


def test_a_short_deadline_is_kept_beside_a_long_one(connection, migrated):
    """One thread keeps all of them, and may be waiting for the long one."""
    engine = create_engine_for(migrated, application_name="test")
    with engine.connect() as other, Deadline(other, 300) as long:
        with pytest.raises(AnswerTimeout), Deadline(connection, 0.2):
            sleep(connection, 120)

        sleep(other, 0)
    assert not long.expired


def test_a_frozen_server_is_cut(frozen_connection):
    """The server's own timeouts do not fire, and its kernel answers keepalives."""
    began = time.monotonic()

    with pytest.raises(AnswerTimeout), Deadline(frozen_connection, 0.2) as deadline:
        sleep(frozen_connection, 0)

    assert deadline.expired
    assert time.monotonic() - began < 60


def test_a_connection_survives_work_that_ends_in_time(connection):
    with Deadline(connection, 30) as deadline:
        sleep(connection, 0)

    sleep(connection, 0)
    assert not deadline.expired


def test_another_thread_can_cut_the_connection_earlier(connection):
    deadline = Deadline(connection, 30)
    threading.Timer(0.2, deadline.abort).start()

    with pytest.raises(DBAPIError), deadline:
        sleep(connection, 120)

    assert not deadline.expired


def test_nothing_is_cut_after_the_block(migrated):
    """The descriptor may belong to another connection by then."""
    engine = create_engine_for(migrated, application_name="test")
    for _ in range(100):  # until no other thread has taken the descriptor in between
        with engine.connect() as connection, Deadline(connection, 30) as deadline:
            descriptor = connection.connection.dbapi_connection.fileno()
        with engine.connect() as other:
            if descriptor == other.connection.dbapi_connection.fileno():
                deadline.abort()

                sleep(other, 0)
                return
    pytest.fail("no connection got the descriptor of the one before")
