"""What is logged, for people and for programs."""

import json
import logging
import re
import sys

import psycopg2
import pytest

from tests.cli.commands import run_command
from tradepipe import redaction
from tradepipe.cli import logs


@pytest.fixture
def logging_as(monkeypatch):
    """Configures logging in a form, for the time of a test."""
    root = logging.getLogger()
    handlers, level, ours = root.handlers[:], root.level, logging.getLogger("tradepipe").level
    monkeypatch.setattr(redaction, "_registered", {"canary-7f3a"})

    def chosen(form: str) -> None:
        logs._warnings.set(())  # of other tests, which never configured logging
        logs.warn_later("a warning")
        logs.log_format.set(form)
        logs.configure("info", logs.StatusLine())

    before = logs.log_format.get(), logs._warnings.get()
    yield chosen
    logs.log_format.set(before[0])
    logs._warnings.set(before[1])
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("tradepipe").setLevel(ours)
    sys.excepthook = sys.__excepthook__


def test_an_event_is_an_object_a_line(logging_as, capsys):
    logging_as("json")
    try:
        raise ValueError("with canary-7f3a")
    except ValueError:
        logging.getLogger("tradepipe.x").exception("what\nhappened to %s", "http://me:secret@host")

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert "a warning" == lines[0]["message"]
    # Other tests' clients, which end now, may log too.
    (event,) = [line for line in lines if line["logger"] == "tradepipe.x"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("ts"))
    assert event.pop("exception").endswith("ValueError: with ***")
    assert {"level": "ERROR", "logger": "tradepipe.x", "message": "what\nhappened to http://me:***@host"} == event


def test_an_event_for_a_person_is_a_line(logging_as, capsys):
    logging_as("text")
    logging.getLogger("tradepipe.x").info("what\nhappened to %s", "canary-7f3a")

    assert capsys.readouterr().err.splitlines()[-1].endswith("INFO tradepipe.x: what happened to ***")


def test_all_lines_on_stderr_are_json_with_the_json_log_format():
    done = run_command(
        "migrate",
        "current",
        "--log-format=json",
        "--deadline=0.5",
        "--database=postgresql://me:secret@127.0.0.1:1/x",
        env={},
    )

    events = [json.loads(line) for line in done.err.splitlines()]
    assert 75 == done.code
    assert ["WARNING", "WARNING", "ERROR"] == [event["level"] for event in events]
    assert "gave up after 0.5 s" in events[-1]["message"]
    assert "secret" not in done.err


class EndingStream:
    """Rows for a COPY, during which PostgreSQL ends the session."""

    def __init__(self, database, pid):
        self.database = database
        self.pid = pid
        self.chunks = 0

    def read(self, size):
        self.chunks += 1
        if self.chunks == 2:
            with psycopg2.connect(self.database) as other, other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (self.pid,))
            other.close()
        return b"a\n" * (size // 2)


def test_a_session_that_ends_during_a_copy_prints_no_traceback(logging_as, capsys, database):
    """psycopg2 prints one, beside the error that it raises."""
    logging_as("json")
    connection = psycopg2.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE copied (a text)")
        with pytest.raises(psycopg2.Error):
            cursor.copy_expert("COPY copied FROM STDIN", EndingStream(database, connection.info.backend_pid), 1 << 20)
    connection.close()

    assert all(line.startswith("{") for line in capsys.readouterr().err.splitlines())
