"""SIGINT at any moment: the command ends soon and with the right code, nothing is lost, and nothing is stored twice."""

import csv
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest

from tests.cli.commands import Done, Running, ask, run_command, running
from tests.eventually import eventually
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.trade.model import Trade
from tradepipe.trade.samples import trades

pytestmark = pytest.mark.slow

HANG_SECONDS = 100.0
"""A bound for a busy machine; a command takes a tenth of a second, and up to two if a service does not answer."""

INTERRUPTED = 128 + signal.SIGINT
LINES = 3_000

STORED = "SELECT count(*), count(DISTINCT (trade_id, version)) FROM trades"


def interrupt(command: Running) -> Done:
    """Send SIGINT and wait for the end."""
    command.send_signal(signal.SIGINT)
    killer = threading.Timer(HANG_SECONDS, command.send_signal, [signal.SIGKILL])
    killer.start()
    # Not by `end`, which would lose what `readline` has read ahead.
    out = command.stdout.read()
    done = command.end()._replace(out=out)
    killer.cancel()
    assert "Traceback" not in done.err
    return done


def read_lines(command: Running, number: int) -> list[str]:
    """Wait until a command has printed some lines."""
    return [command.stdout.readline() for _ in range(number)]


def count_records(kafka: dict[str, object], topic: str) -> int:
    """Return the number of records in a topic, if nothing was deleted."""
    admin = TopicAdmin(kafka)
    watermarks = admin.watermarks(topic, admin.describe(topic).partitions)
    return sum(each.high for each in watermarks.values())


def store_all(env: dict[str, str]) -> tuple[int, int]:
    """Run a sink to the end of the topic; return the number of rows, and of different versions of trades."""
    assert 0 == run_command("sink", "--until-end", env=env).code
    ((rows, versions),) = ask(env["DATABASE_URL"], STORED)
    return rows, versions


def sent_lines(lines: list[str]) -> int:
    return len({line for line in lines if line.startswith("Sent trade")})


@pytest.mark.parametrize("number", [1, 3, 40, 250])
def test_an_interrupted_producer_has_sent_exactly_what_it_says(ready, kafka, topic, number):
    with running("produce", "--rate=400", "-v", env=ready) as command:
        before = read_lines(command, number)
        done = interrupt(command)

    sent = sent_lines([*before, *done.out.splitlines(keepends=True)])
    assert 0 == done.code, done.err
    assert f"{sent:,} acknowledged" in done.out + done.err
    assert sent == count_records(kafka, topic)
    assert (sent, sent) == store_all(ready)


def test_a_producer_that_is_interrupted_before_its_count_was_not_done(ready):
    with running("produce", "--rate=100", "--count=100000", "-v", env=ready) as command:
        read_lines(command, 5)
        done = interrupt(command)

    assert INTERRUPTED == done.code


@pytest.fixture
def file(tmp_path) -> Path:
    """A file of trades."""
    path = tmp_path / "trades.csv"
    with path.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(Trade._fields)
        for _, trade in zip(range(LINES), trades(1), strict=False):
            writer.writerow([getattr(value, "value", value) for value in trade])
    return path


@pytest.mark.parametrize("number", [1, 700])
def test_a_file_that_is_sent_again_after_an_interruption_is_stored_once(ready, file, number):
    with running("produce", f"--input={file}", "--rate=2000", "-v", env=ready) as command:
        read_lines(command, number)
        done = interrupt(command)

    assert INTERRUPTED == done.code, done.err
    assert re.search(r"stopped at line \d+: run the command again to send all trades", done.out + done.err)
    assert 0 == run_command("produce", f"--input={file}", env=ready).code
    assert (LINES, LINES) == store_all(ready)


@pytest.fixture
def filled(ready) -> dict[str, str]:
    """A topic with trades."""
    assert 0 == run_command("produce", f"--count={LINES}", "--seed=1", env=ready).code
    return ready


@pytest.mark.parametrize("number", [1, 500, 1500])
def test_a_sink_that_continues_after_an_interruption_stores_each_trade_once(filled, number):
    with running("sink", "--batch-rows=20", "-v", env=filled) as command:
        lines = read_lines(command, number)
        done = interrupt(command)

    assert 0 == done.code, done.err
    stored = len([*lines, *done.out.splitlines()])
    assert f"{stored:,} stored, 0 duplicates, 0 refused" == done.err.splitlines()[-1]
    assert (LINES, LINES) == store_all(filled)


@pytest.mark.parametrize("number", [1, 900])
def test_a_validator_that_continues_after_an_interruption_passes_each_record_once(
    filled, outputs, kafka, topic, number
):
    env = filled | outputs | {"TRADEPIPE_DELIVERY": "at_least_once"}
    with running("validate", "--batch-records=20", env=env) as command:
        eventually(lambda: count_records(kafka, f"{topic}.clean") >= number)
        done = interrupt(command)

    assert 0 == done.code, done.err
    passed = count_records(kafka, f"{topic}.clean")
    assert f"{passed:,} passed, 0 refused" == done.err.splitlines()[-1]
    assert 0 == run_command("validate", "--until-end", env=env).code
    assert LINES == count_records(kafka, f"{topic}.clean")


@pytest.mark.embedded
@pytest.mark.parametrize("number", [2, 4, 6, 9])
def test_an_interrupted_demo_leaves_nothing(open_path, number):
    with running("demo", env={"TMPDIR": str(open_path)}) as command:
        read_lines(command, number)
        done = interrupt(command)

    assert INTERRUPTED == done.code, done.err
    assert [] == list(open_path.iterdir())


@pytest.mark.embedded
def test_an_interrupted_demo_says_so_though_a_service_does_not_answer(open_path):
    with running("demo", env={"TMPDIR": str(open_path)}) as command:
        read_lines(command, 3)
        postgres = int(next(open_path.glob("*/*/postmaster.pid")).read_text().split()[0])
        os.kill(postgres, signal.SIGSTOP)
        try:
            done = interrupt(command)
        finally:
            with suppress(ProcessLookupError):
                os.kill(postgres, signal.SIGKILL)

    assert INTERRUPTED == done.code, done.err
    assert "unavailable" not in done.err


@pytest.mark.embedded
@pytest.mark.parametrize("text", ["", "are running", "Ctrl-C stops the services"])
def test_interrupted_embedded_services_leave_nothing(open_path, text):
    """The command had to start the services alone, so it is done."""
    with running("embedded", env={"TMPDIR": str(open_path)}) as command:
        command.says(text) if text else eventually(lambda: any(open_path.iterdir()))
        done = interrupt(command)

    assert 0 == done.code
    assert [] == list(open_path.iterdir())


class SilentServer:
    """A server that accepts connections and never answers."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._connections: list[socket.socket] = []
        server.settimeout(60.0)
        self.address = f"127.0.0.1:{server.getsockname()[1]}"

    def await_connection(self) -> None:
        """Wait until a client has connected."""
        self._connections.append(self._server.accept()[0])

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = SilentServer(server)
        yield silent
        silent.close()


KAFKA = ("KAFKA_BOOTSTRAP_SERVERS", "{}")
REGISTRY = ("SCHEMA_REGISTRY_URL", "http://{}")
DATABASE = ("DATABASE_URL", "postgresql://user@{}/trades")


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("command", "service"),
    [
        (command, service)
        for command, services in {
            "produce": [KAFKA, REGISTRY],
            "sink": [KAFKA, REGISTRY, DATABASE],
            "validate --delivery=at_least_once": [KAFKA, REGISTRY],
            "sink offsets show": [KAFKA, DATABASE],
            "sink offsets reset --to=earliest": [KAFKA],
            "topics create": [KAFKA],
            "topics check": [KAFKA],
            "migrate upgrade": [DATABASE],
            "migrate current": [DATABASE],
            "schema drift": [REGISTRY],
            "schema register": [REGISTRY],
            "dlq ls --from=table": [DATABASE],
            "dlq ls --from=topic --dead-letters=trades.dlq": [KAFKA],
            "dlq stats --from=table": [DATABASE],
            "dlq replay --from=table": [REGISTRY, DATABASE],
            "dlq replay --from=topic --dead-letters=trades.dlq": [KAFKA],
        }.items()
        for service in services
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_command_is_interrupted_while_a_service_does_not_answer(ready, silent, command, service):
    """The main thread waits inside librdkafka or libpq, where it cannot handle a signal."""
    variable, form = service
    name, *arguments = command.split()
    with running(name, *arguments, env=ready | {variable: form.format(silent.address)}) as started:
        silent.await_connection()
        done = interrupt(started)

    is_stage = name == "validate" or command == "sink"
    assert (0 if is_stage else INTERRUPTED) == done.code
    assert "batch" not in done.err


def test_a_migration_is_interrupted_while_it_waits_for_a_lock(ready):
    with psycopg2.connect(ready["DATABASE_URL"]) as blocker:
        blocker.cursor().execute("LOCK TABLE tradepipe_revision IN ACCESS EXCLUSIVE MODE")
        with running("migrate", "upgrade", env=ready) as command:
            eventually(lambda: _count_waiting_for_locks(ready["DATABASE_URL"]))
            done = interrupt(command)
    blocker.close()

    assert INTERRUPTED == done.code


def _count_waiting_for_locks(database: str) -> int:
    ((number,),) = ask(
        database,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return number
