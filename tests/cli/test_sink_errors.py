"""Wrong ways to start a sink: the right code, one message that says what to do, and no traceback."""

import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.cli.commands import Running, run_command, running
from tests.cli.test_usage_errors import refused
from tests.eventually import eventually

NOWHERE = "127.0.0.1:1"
"""An address without a server."""


@pytest.mark.output
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--metrics-port=70000", "'--metrics-port'"),
        ("--metrics-port=soon", "'--metrics-port'"),
        ("--start=-5", "2025-06-01T08:00:00Z"),
        ("--rules=late", "MODULE:FUNCTION"),
        ("--rules=no_such_desk:late", "module no_such_desk not found"),
        ("--rules=os:no_such_rule", "has no function no_such_rule"),
        ("--rules=os:name", "is not a function but str"),
        ("--stale=ignore", "'--stale'"),
        ("--record-key=ignore", "'--record-key'"),
        ("--max-refused=all", "a share between 0 and 1, or off"),
        ("offsets", "show"),
        ("offset show", "No such command 'offset'"),
    ],
)
def test_contradictory_arguments_are_a_usage_error(env, arguments, text):
    done = run_command("sink", *arguments.split(), env=env)

    assert 2 == done.code
    assert text in done.err + done.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--database={database}x", "does not exist"),
        ("--database=postgresql://nobody:x@{server}/postgres", "nobody"),
        ("--database={database}?nonsense=1", "nonsense"),
        ("-X group.protocol=nonsense", "group.protocol"),
        ("-X auto.offset.reset=latest", "auto.offset.reset"),
        ("-X security.protocol=ssl -X ssl.ca.location=/no/such/file", "ssl.ca.location"),
        ("--metrics-port=8123 --metrics-host=no.such.host.invalid", "no.such.host.invalid"),
    ],
)
def test_a_wrong_configuration_stops_the_sink(ready, arguments, text):
    server = ready["DATABASE_URL"].partition("@")[2].partition("/")[0]

    code, message = refused("sink", arguments.replace("{server}", server), ready)

    assert 78 == code
    assert text in message


class _Locked(BaseHTTPRequestHandler):
    status = 401

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"error_code": 40101, "message": "Unauthorized"}')

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def locked_registry() -> Iterator[str]:
    """A registry that wants to know who asks."""
    with HTTPServer(("127.0.0.1", 0), _Locked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_registry_that_refuses_us_stops_the_sink(ready, locked_registry):
    code, message = refused("sink", f"--registry={locked_registry}", ready)

    assert 78 == code
    assert "401" in message


@pytest.mark.output
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (f"--bootstrap-servers={NOWHERE}", " unavailable, retrying: "),
        (f"--registry=http://{NOWHERE}", " unavailable, retrying: "),
        (f"--database=postgresql://me@{NOWHERE}/trades", "cannot store, retrying: PostgreSQL is unavailable: "),
    ],
    ids=["broker", "registry", "database"],
)
def test_a_sink_waits_for_an_unavailable_service_until_a_signal(ready, arguments, text):
    with running("sink", "--until-end", *arguments.split(), env=ready) as process:
        process.says(text)

        process.send_signal(signal.SIGTERM)

        done = process.end()
    assert 0 == done.code, done.err
    assert "Traceback" not in done.err
    assert "0 stored, 0 duplicates, 0 refused" == done.err.splitlines()[-1]


@pytest.mark.real
def test_the_second_sink_with_a_group_instance_id_reports_it(ready):
    """Kafka gives the place to the newcomer, or keeps it for the other; either way one of them can do nothing."""
    env = {**ready, "TRADEPIPE_KAFKA_PROPERTIES": "session.timeout.ms=6000 group.instance.id=mine"}
    with running("sink", env=env) as first:
        first.says("claimed")
        with running("sink", env=env) as second:
            loser = eventually(lambda: _refused(first) or _refused(second))

            done = loser.end()

    assert 78 == done.code
    assert "Traceback" not in done.err
    assert "group.instance.id" in done.err.splitlines()[-1]


def _refused(process: Running) -> Running | None:
    return process if "Error: " in process.err else None


@pytest.mark.real
def test_a_compacted_topic_is_refused(ready, services):
    name = f"{ready['TRADEPIPE_TOPIC']}-compacted"
    services.kafka.create_topic(name, config={"cleanup.policy": "compact"})

    code, message = refused("sink", f"--topic={name}", ready)

    assert 78 == code
    assert "set cleanup.policy=delete" in message
