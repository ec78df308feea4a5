"""`tradepipe produce`."""

import re
import signal
import subprocess
import sys

import pytest
from confluent_kafka import KafkaError

from tests.cli.commands import run_command, running
from tests.frozen import freeze
from tradepipe.embedded.broker import Broker
from tradepipe.kafka.admin import TopicAdmin

PRODUCE = 0
"""Kafka's number of the request that carries records."""


def records_in(env, topic) -> int:
    """How many records the topic holds."""
    topics = TopicAdmin({"bootstrap.servers": env["KAFKA_BOOTSTRAP_SERVERS"]})
    extents = topics.watermarks(topic, topics.describe(topic).partitions)
    return sum(extent.high - extent.low for extent in extents.values())


def test_it_sends_and_counts(ready, topic):
    done = run_command("produce", "--count", "100", "--bad", "0.11", "--resend", "0.2", env=ready)

    assert 0 == done.code, done.err
    assert re.search(
        r"\nsent 100 records of seed \d+: 69 new trades, 20 sent again, 11 invalid\n"
        r"100 acknowledged, in [\d.]+ s \([\d,]+ records/s\)\n$",
        done.err,
    )
    assert 100 == records_in(ready, topic)


def test_the_same_seed_sends_the_same_trades(ready):
    first, second = (run_command("produce", "--count", "5", "--seed", "7", "-v", env=ready) for _ in range(2))

    assert first.out.splitlines()[:5] == second.out.splitlines()[:5]
    assert re.fullmatch("Sent trade with ID T7-[0-9]+ and version 1", first.out.splitlines()[0])


def test_other_runs_send_other_trades(ready):
    first, second = (run_command("produce", "--count", "1", "-v", env=ready) for _ in range(2))

    assert first.out.splitlines()[0] != second.out.splitlines()[0]


@pytest.mark.slow
def test_a_signal_ends_it_when_all_is_acknowledged(ready, topic):
    with running("produce", "--rate", "50", "-v", env=ready) as process:
        process.stdout.readline()

        process.send_signal(signal.SIGTERM)

        done = process.end()
    assert 0 == done.code, done.err
    assert "a second signal exits immediately" in done.err
    sent = int(re.search(r"sent (\d+) records?", done.err)[1])
    assert f"{sent} acknowledged, in " in done.err
    assert sent == records_in(ready, topic)


@pytest.mark.slow
def test_a_signal_ends_a_producer_that_waits_for_a_service(ready):
    """Nothing was sent, so nothing is left undone."""
    with running("produce", "--registry", "http://127.0.0.1:1", env=ready) as process:
        process.says("retrying for up to")

        process.send_signal(signal.SIGINT)

        assert 130 == process.end().code


@pytest.fixture
def breakable(ready, topic):
    """A broker that can be taken down, whatever the services are, and the environment to reach it."""
    with Broker() as broker:
        broker.create_topic(topic)
        yield broker, ready | {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}


@pytest.mark.slow
def test_trades_that_were_never_acknowledged_are_reported(breakable):
    broker, env = breakable
    with running("produce", "--rate", "50", "--deadline", "1", "-v", env=env) as process:
        process.stdout.readline()
        broker.down()
        process.says("WARNING")

        process.send_signal(signal.SIGTERM)

        done = process.end()
    assert 128 + signal.SIGTERM == done.code, done.err
    assert re.search(r" [1-9]\d* with unknown outcome", done.err)
    assert "send all again with --seed" in done.err.splitlines()[-1]


BROKER = """
import sys
from tradepipe.embedded.broker import Broker
with Broker() as broker:
    broker.create_topic(sys.argv[1])
    print(broker.bootstrap_servers, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def broker_process(topic):
    """A broker in another process, which can be frozen, and its address."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", BROKER, topic], **pipes) as process:
        yield process, process.stdout.readline().strip()
        process.kill()


@pytest.mark.slow
def test_an_interrupted_producer_reports_what_a_frozen_broker_has_not_acknowledged(ready, broker_process):
    broker, address = broker_process
    with running("produce", "--rate", "50", "-v", env=ready | {"KAFKA_BOOTSTRAP_SERVERS": address}) as process:
        process.stdout.readline()
        freeze(broker.pid)
        process.stdout.readline()

        process.send_signal(signal.SIGINT)

        done = process.end()
    assert 130 == done.code, done.err
    assert re.search(r"\d+ acknowledged, [1-9]\d* with unknown outcome", done.err)


def test_records_that_the_broker_refuses_are_a_finding(breakable):
    broker, env = breakable
    broker.fail_requests(PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 10)

    done = run_command("produce", "--count", "3", env=env)

    assert 1 == done.code, done.err
    assert "0 acknowledged, 3 refused, in " in done.err
    assert 3 == done.err.count("was refused: ")
