"""Producer and sink on a Kafka that asks who is there."""

import time
from contextlib import contextmanager

import pytest

from tests.proxy import Proxy
from tests.security.conftest import CANARY
from tests.services.secured import LockedKafka
from tradepipe import ConfigurationError, DeliveryFailed, Producer, SchemaRegistry, Sink
from tradepipe.embedded.registry_server import RegistryServer
from tradepipe.kafka.failures import CONFIRM_SECONDS
from tradepipe.registry.registration import register

pytestmark = pytest.mark.real

RIGHTS = {
    "owner": (("ALL", "TOPIC"), ("ALL", "GROUP")),
    "onlooker": (("DESCRIBE", "TOPIC"), ("READ", "GROUP")),
    "loner": (("READ", "TOPIC"),),
    "nobody": (),
}


@pytest.fixture(scope="module")
def broker(authority):
    with LockedKafka(authority, users=dict.fromkeys(RIGHTS, CANARY)) as broker:
        for user, rights in RIGHTS.items():
            for operation, kind in rights:
                broker.allow(user, operation, kind, "*")
        for topic in ("sasl", "tls", "refused"):
            broker.create_topic(topic, partitions=1)
        yield broker


@pytest.fixture(scope="module")
def registry():
    with RegistryServer() as server, SchemaRegistry(server.url) as client:
        register(client)
        yield server.url


@pytest.fixture
def sasl(broker, authority):
    """Settings of the listener for passwords."""
    return {
        "bootstrap.servers": broker.sasl,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "owner",
        "sasl.password": CANARY,
        "ssl.ca.location": str(authority.file),
    }


@pytest.fixture
def tls(broker, authority):
    """Settings of the listener for certificates."""
    own = authority.client("owner", password=CANARY)
    return {
        "bootstrap.servers": broker.tls,
        "security.protocol": "SSL",
        "ssl.ca.location": str(authority.file),
        "ssl.certificate.location": str(own.certificate),
        "ssl.key.location": str(own.key),
        "ssl.key.password": CANARY,
    }


@pytest.fixture
def sink(registry, migrated):
    """A sink of the test's own database."""

    def sink(kafka, topic="refused"):
        return Sink(kafka, registry=registry, database=migrated, topic=topic, group=f"{topic}-sink")

    return sink


def port(address):
    return int(address.rpartition(":")[2])


@pytest.fixture
def publish(registry, trades):
    """Send the trades."""

    def publish(kafka, topic="refused"):
        with Producer(kafka, registry=registry, topic=topic) as producer:
            for trade in trades:
                producer.produce(trade)
            producer.flush(120)

    return publish


@contextmanager
def soon(kind, message, seen):
    """What the block raises comes before a minute of confirmation, says what to check, and keeps the canary."""
    began = time.monotonic()
    with pytest.raises(kind, match=message) as raised:
        yield
    seen.append(raised.value)
    assert time.monotonic() - began < CONFIRM_SECONDS


@pytest.mark.parametrize("listener", ["sasl", "tls"])
def test_trades_pass_a_secured_kafka_into_the_database(listener, request, publish, sink, trades):
    kafka = request.getfixturevalue(listener)
    publish(kafka, listener)

    with sink(kafka, listener) as storing:
        assert len(trades) == storing.run(until_end=True).stored


REFUSED = {
    "password": ("sasl", {"sasl.password": f"{CANARY}!"}, "check sasl.mechanism, sasl.username and sasl.password"),
    "mechanism": ("sasl", {"sasl.mechanism": "PLAIN"}, "check sasl.mechanism"),
    "rights": ("sasl", {"sasl.username": "nobody"}, r"needs READ \(to consume\) or WRITE \(to produce\) on the topic"),
    "authority": ("sasl", {"ssl.ca.location": "{stranger}"}, "certificate verify failed.*check .*ssl.ca.location"),
    "host": ("sasl", {"bootstrap.servers": "localhost:{port}"}, "certificate verify failed.*check .*ssl.ca.location"),
    "no certificate": (
        "tls",
        {"ssl.certificate.location": None, "ssl.key.location": None, "ssl.key.password": None},
        "certificate required.*check .*ssl.certificate.location",
    ),
    "a stranger's certificate": (
        "tls",
        {"ssl.certificate.location": "{own.certificate}", "ssl.key.location": "{own.key}"},
        "alert.*check .*ssl.certificate.location",
    ),
}


@pytest.fixture(params=REFUSED)
def refused(request, broker, sasl, tls, stranger):
    """Settings of a client that is refused, and the advice it should get."""
    listener, changes, message = REFUSED[request.param]
    names = {
        "stranger": stranger.file,
        "own": stranger.client("owner", password=CANARY),
        "port": port(broker.sasl),
    }
    changed = {key: value and value.format(**names) for key, value in changes.items()}
    kafka = {"sasl": sasl, "tls": tls}[listener] | changed
    return {key: value for key, value in kafka.items() if value is not None}, message


def test_a_producer_that_is_refused_says_what_to_check(refused, publish, seen):
    kafka, message = refused
    with soon(ConfigurationError, message, seen):
        publish(kafka)


def test_a_sink_that_is_refused_says_what_to_check(refused, sink, seen):
    kafka, message = refused
    with sink(kafka) as storing, soon(ConfigurationError, message, seen):
        storing.run()


def test_a_password_found_wrong_after_an_outage_gives_every_trade_up_and_says_why(sasl, registry, trades, seen):
    """The producer began while the broker was unavailable, so the password was not checked yet."""
    proxy = Proxy(port(sasl["bootstrap.servers"]))
    proxy.blackhole()
    kafka = {**sasl, "bootstrap.servers": f"127.0.0.1:{proxy.port}", "sasl.password": f"{CANARY}!"}
    with Producer(kafka, registry=registry, topic="refused") as producer:
        for trade in trades:
            producer.produce(trade)
        proxy.heal()
        with soon(DeliveryFailed, "check sasl.mechanism, sasl.username and sasl.password", seen):
            producer.flush()
        with soon(ConfigurationError, "check sasl.mechanism", seen):
            producer.produce(trades[0])
    proxy.close()


def test_a_producer_without_the_right_to_write_says_which_it_needs(sasl, publish, seen):
    with soon(DeliveryFailed, "the principal needs WRITE on the topic", seen):
        publish({**sasl, "sasl.username": "onlooker"})


NEEDED = {"onlooker": "needs READ .* on the topic", "loner": "needs READ on the consumer group"}


@pytest.mark.parametrize("user", NEEDED)
def test_a_sink_without_the_right_to_read_says_which_it_needs(user, sasl, publish, sink, seen):
    publish(sasl)
    with sink({**sasl, "sasl.username": user}) as storing, soon(ConfigurationError, NEEDED[user], seen):
        storing.run()
