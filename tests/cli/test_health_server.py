"""What a sink serves: metrics, and how it is."""

import resource
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.cli.commands import ask, run_command, running
from tests.cli.scrape import get, port_of, total
from tests.eventually import eventually
from tradepipe import Sink
from tradepipe.cli import health_server
from tradepipe.cli.health_server import HealthServer
from tradepipe.metrics import REBALANCES

pytestmark = pytest.mark.slow


@pytest.fixture
def filled(ready):
    """A topic with 90 records: 72 trades, 18 of them sent again."""
    done = run_command("produce", "--count", "90", "--seed", "0", "--resend", "0.2", env=ready)
    assert 0 == done.code, done.err
    return ready


def test_a_scrape_counts_stored_records(filled):
    with running("sink", "--metrics-port", "0", env=filled) as process:
        port = port_of(process)
        eventually(lambda: total(port, "tradepipe_records_written_total") == 90)

        assert 72 == total(port, "tradepipe_records_written_total", result="inserted")
        assert 18 == total(port, "tradepipe_records_written_total", result="duplicate")
        eventually(lambda: total(port, "tradepipe_records_consumed_total") == 90)
        assert 90 == total(port, "tradepipe_batch_rows_sum")
        eventually(lambda: total(port, "tradepipe_stored_offset") == 90)
        assert 0 == total(port, "tradepipe_records_refused_total", code="VERSION_COLLISION")
        assert 1 == total(port, "tradepipe_build_info")
        assert 1 <= total(port, "tradepipe_e2e_latency_seconds_count")
        assert 4 == total(port, "tradepipe_claims_total")
        eventually(lambda: total(port, "tradepipe_lag_records") == 0)


def test_a_sink_that_reads_is_alive_and_ready(filled):
    with running("sink", "--metrics-port", "0", env=filled) as process:
        port = port_of(process)

        eventually(lambda: get(port, "/readyz") == (200, "ready\n"))
        assert (200, "alive\n") == get(port, "/livez")


def test_a_sink_that_waits_for_a_service_is_alive_but_not_ready(ready):
    """An orchestrator must not restart what waits for the end of an outage."""
    with running("sink", "--metrics-port", "0", "--registry", "http://127.0.0.1:1", env=ready) as process:
        port = port_of(process)

        eventually(lambda: get(port, "/readyz") == (503, "waiting for the registry\n"))
        assert (200, "alive\n") == get(port, "/livez")
        process.send_signal(signal.SIGTERM)
        assert 0 == process.end().code


def test_the_root_is_a_status_page(filled):
    with running("sink", "--metrics-port", "0", env=filled) as process:
        port = port_of(process)
        eventually(lambda: get(port, "/")[1].startswith("running\n90 records read, "))

        eventually(lambda: "\nlag 0\n" in get(port, "/")[1])
        assert "partition  lag\n        0    0\n" in get(port, "/")[1]


def test_other_paths_are_not_found(ready):
    with running("sink", "--metrics-port", "0", env=ready) as process:
        port = port_of(process)

        assert 404 == get(port, "/favicon.ico")[0]
        assert 200 == get(port, "/livez?verbose")[0]


def test_slow_clients_lock_out_no_probe_and_take_no_descriptor_that_postgresql_needs(filled):
    """The limit leaves the sink just what it uses; the clients send one byte each and wait."""
    database = filled["DATABASE_URL"]
    with running("sink", "--metrics-port", "0", env=filled) as process, ExitStack() as clients:
        port, folder = port_of(process), Path(f"/proc/{process.pid}/fd")
        eventually(lambda: total(port, "tradepipe_stored_offset") == 90)
        in_use = len(list(folder.iterdir()))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (in_use + 2, in_use + 2))
        for _ in range(243):
            clients.enter_context(socket.create_connection(("127.0.0.1", port))).send(b"G")

        assert (200, "alive\n") == get(port, "/livez")
        assert len(list(folder.iterdir())) <= in_use + 2
        ask(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tradepipe%'")
        assert 0 == run_command("produce", "--count", "10", "--seed", "1", env=filled).code
        eventually(lambda: [(82,)] == ask(database, "SELECT count(*) FROM trades"))
        assert (200, "alive\n") == get(port, "/livez")


def test_scraping_often_builds_one_page_a_second(monkeypatch):
    """Building it takes time from the stage."""
    sink = Sink({"bootstrap.servers": "localhost:1"}, database="postgresql:///trades", registry="http://localhost:1")
    with sink, HealthServer(sink, host="127.0.0.1", port=0) as server:
        monkeypatch.setattr(health_server, "METRICS_SECONDS", 60.0)
        port = int(server.address.rpartition(":")[2].partition("/")[0])
        first = get(port, "/metrics")
        sink.meter.count(REBALANCES, "trades", "assign", by=7)

        assert first == get(port, "/metrics")
        monkeypatch.setattr(health_server, "METRICS_SECONDS", 0.0)
        assert first != get(port, "/metrics")


def test_a_request_without_an_end_is_closed(ready):
    with (
        running("sink", "--metrics-port", "0", env=ready) as process,
        socket.create_connection(("127.0.0.1", port_of(process)), timeout=30) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\n")

        assert b"" == client.recv(1)


def test_a_silent_client_does_not_delay_others(ready):
    with running("sink", "--metrics-port", "0", env=ready) as process:
        port = port_of(process)
        with socket.create_connection(("127.0.0.1", port)):
            assert (200, "alive\n") == get(port, "/livez")
        process.send_signal(signal.SIGTERM)
        assert 0 == process.end().code


def test_a_port_in_use_is_one_message(ready):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = run_command("sink", "--metrics-port", str(port), env=ready)

    assert 78 == done.code
    assert f"cannot serve metrics at 127.0.0.1:{port}: Address already in use" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


@pytest.mark.real
def test_lag_reaches_zero_after_transactions(filled, services, topic):
    """Their markers, and what was aborted, are offsets without a record for us."""
    for commit in (True, False, True):
        produce_in_a_transaction(services.bootstrap_servers, topic, commit=commit)
    end = 90 + 3 * 2

    with running("sink", "--metrics-port", "0", env=filled) as process:
        port = port_of(process)

        eventually(lambda: total(port, "tradepipe_stored_offset") == end)
        eventually(lambda: total(port, "tradepipe_lag_records") == 0)
        assert 4 == total(port, "tradepipe_offset_gaps_total")
        assert 2 == total(port, "tradepipe_records_refused_total", code="FRAMING")


@pytest.mark.real
def test_lag_is_reported_while_the_database_is_unavailable(filled, services):
    """Nothing is fetched then, so the brokers are asked where the log ends."""
    with running("sink", "--metrics-port", "0", "--batch-rows", "10", env=filled) as process:
        port = port_of(process)
        eventually(lambda: total(port, "tradepipe_stored_offset") == 90)
        services.postgres.stop("immediate")
        try:
            assert 0 == run_command("produce", "--count", "500", "--seed", "1", env=filled).code
            eventually(lambda: total(port, "tradepipe_paused") == 1)
            assert 0 == run_command("produce", "--count", "500", "--seed", "2", env=filled).code

            eventually(lambda: total(port, "tradepipe_lag_records") == 1000)
            assert 1 == total(port, "tradepipe_database_unavailable")
            assert 200 == get(port, "/livez")[0]
        finally:
            services.postgres.start()
        eventually(lambda: total(port, "tradepipe_lag_records") == 0)
        assert 0 == total(port, "tradepipe_database_unavailable")
        assert 1 == total(port, "tradepipe_database_outages_total")


@pytest.mark.real
def test_partitions_that_were_revoked_are_no_longer_reported(filled):
    """Two sinks share four partitions, and no gauge reports one partition twice."""
    with running("sink", "--metrics-port", "0", env=filled) as first:
        port = port_of(first)
        eventually(lambda: total(port, "tradepipe_active_partitions") == 4)
        with running("sink", "--metrics-port", "0", env=filled) as second:
            other = port_of(second)
            eventually(lambda: (2, 2) == (len(message(port)), len(message(other))))

            assert {"0", "1", "2", "3"} == message(port) | message(other)
            assert 1 == total(port, "tradepipe_rebalances_total", kind="revoke")


def message(port: int) -> set[str]:
    """The partitions that a sink reports."""
    return {each for each in "0123" if total(port, "tradepipe_stored_offset", partition=each) is not None}


def produce_in_a_transaction(brokers: str, topic: str, *, commit: bool) -> None:
    """Write one record that is not a trade, and the marker of its transaction."""
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": f"{topic}-writer"})
    producer.init_transactions(120)
    producer.begin_transaction()
    producer.produce(topic, b"\x01no trade", b"key", partition=0)
    producer.flush(120)
    end = producer.commit_transaction if commit else producer.abort_transaction
    end(120)


def test_a_record_is_counted_only_after_it_is_in_the_table(filled):
    with running("sink", "--metrics-port", "0", env=filled) as process:
        port = port_of(process)
        eventually(lambda: total(port, "tradepipe_records_written_total", result="inserted") == 72)

        assert [(72,)] == ask(filled["DATABASE_URL"], "SELECT count(*) FROM trades")
