"""`tradepipe embedded`, and the commands on its services."""

import re
import shlex
import signal

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from tests.cli.commands import console, running
from tradepipe.embedded.broker import QUICK_CONSUMER

pytestmark = [pytest.mark.embedded, pytest.mark.slow]


@pytest.fixture
def embedded(request):
    """Running services; `env` are the variables they print, as a shell reads them."""
    with running("embedded", *getattr(request, "param", ()), env={}) as process:
        lines = [shlex.split(process.stdout.readline()) for _ in range(5)]
        process.env = dict(words[1].split("=", 1) for words in lines)
        yield process


def topics(env):
    found = AdminClient({"bootstrap.servers": env["KAFKA_BOOTSTRAP_SERVERS"]}).list_topics(timeout=60).topics
    return {name: len(topic.partitions) for name, topic in found.items()}


def test_the_pipeline_runs_twice_on_the_services_with_the_printed_variables(embedded):
    """Their group protocol lets the second start of a consumer join at once: with the classic one it takes 44 s."""
    expected = {key: str(value) for key, value in QUICK_CONSUMER.items()}
    assert all(len(f"export {name}={shlex.quote(value)}") <= 80 for name, value in embedded.env.items())
    assert expected == dict(setting.split("=") for setting in embedded.env["TRADEPIPE_KAFKA_PROPERTIES"].split())
    for command in ("migrate upgrade", "schema register", "topics create"):
        assert 0 == console(*command.split(), env=embedded.env).code
    for _ in range(2):
        assert 0 == console("produce", "--count", "20", env=embedded.env).code
        assert "20 passed, 0 refused" in console("validate", "--until-end", env=embedded.env).err
        assert "20 stored, 0 duplicates" in console("sink", "--topic=trades.clean", "--until-end", env=embedded.env).err


def test_the_services_have_all_topics_and_end_with_a_signal(embedded):
    assert {"trades": 4, "trades.clean": 4, "trades.dlq": 4} == topics(embedded.env)
    embedded.says("In another terminal")
    embedded.says("Ctrl-C stops the services")

    embedded.send_signal(signal.SIGINT)

    assert 0 == embedded.end().code


@pytest.mark.parametrize("embedded", [("--topic", "orders:6", "--topic", "orders.dlq")], indirect=True, ids=["two"])
def test_named_topics_are_created_instead(embedded):
    assert {"orders": 6, "orders.dlq": 4} == topics(embedded.env)


@pytest.mark.parametrize("name", ["", ":4", "t:x", "t:0", "t:-1", "t:", "t t"])
def test_a_wrong_topic_is_a_usage_error(name):
    done = console("embedded", "--topic", name, env={})

    assert (2, "") == (done.code, done.out)
    assert "'--topic'" in done.err


@pytest.mark.parametrize("embedded", [("--topic", "trades:1")], indirect=True, ids=["one partition"])
def test_dropped_records_are_reported_at_once_and_by_the_next_command(embedded):
    """The broker keeps at most 5 MiB of a partition."""
    producer = Producer({"bootstrap.servers": embedded.env["KAFKA_BOOTSTRAP_SERVERS"], "linger.ms": 1})
    for _ in range(8):
        producer.produce("trades", bytes(900_000))
        producer.flush(120)

    embedded.says("Topic trades has lost its oldest 3 records")
    assert 0 == console("schema", "register", env=embedded.env).code
    done = console("produce", "--count", "1", env=embedded.env)
    assert 0 == done.code
    assert re.search(r"topic trades has lost its oldest \d+ records?", done.err)


def test_a_topic_is_created_as_the_broker_can(embedded):
    assert "created topic new with 4 partitions" in console("topics", "create", "--topic=new", env=embedded.env).out
    other = console("topics", "create", "--topic=other", "--partitions=6", env=embedded.env)

    assert 78 == other.code
    assert "tradepipe embedded --topic other:6" in other.err
    assert "other" not in topics(embedded.env)
