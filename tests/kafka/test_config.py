"""Kafka properties that tradepipe sets, accepts or refuses."""

import ctypes
import re
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient

from tradepipe.errors import ConfigurationError
from tradepipe.kafka import config
from tradepipe.kafka.config import (
    admin_config,
    consumer_config,
    is_cooperative,
    librdkafka_version,
    producer_config,
    transactions_config,
    without_consumer_keys,
    without_producer_keys,
)
from tradepipe.kafka.librdkafka import ClientLog

BROKERS = {"bootstrap.servers": "localhost:9092"}


def consuming(config):
    """Return the configuration of a consumer of group "g"."""
    return consumer_config(config, group="g")


def transactional(config):
    """Return the configuration of a transactional producer with the id "id"."""
    return transactions_config(config, transactional_id="id")


GUARANTEES = {
    producer_config: {
        "enable.idempotence": True,
        "acks": "all",
        "message.timeout.ms": 0,
        "partitioner": "murmur2_random",
        "delivery.report.only.error": True,
        "log.connection.close": True,
    },
    transactional: {
        "transactional.id": "id",
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "delivery.report.only.error": True,
        "log.connection.close": True,
    },
    consuming: {
        "group.id": "g",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "check.crcs": True,
    },
}
"""
What each client's guarantee rests on, written out a second time.

A property that librdkafka has as its default too is listed so that it is not overridden.
"""

ALIASES = [
    ("request.required.acks", "acks", producer_config),
    ("request.required.acks", "acks", transactional),
    ("delivery.timeout.ms", "message.timeout.ms", producer_config),
    ("auto.commit.enable", "enable.auto.commit", consuming),
]

OWNED = [
    *((name, name, value, complete) for complete, owned in GUARANTEES.items() for name, value in owned.items()),
    *((alias, name, GUARANTEES[complete][name], complete) for alias, name, complete in ALIASES),
]
EACH_OWNED = pytest.mark.parametrize(
    ("key", "name", "value", "complete"), OWNED, ids=[f"{complete.__name__}-{key}" for key, _, _, complete in OWNED]
)
EVERY = pytest.mark.parametrize(
    "complete",
    [producer_config, transactional, consuming, admin_config],
    ids=["producer", "transactional producer", "consumer", "admin client"],
)


@pytest.mark.parametrize("complete", GUARANTEES, ids=lambda complete: complete.__name__)
def test_each_client_gets_the_properties_of_its_guarantee(complete):
    assert GUARANTEES[complete].items() <= complete(BROKERS).items()


DEFAULTS = {
    producer_config: {"linger.ms": 5, "compression.type": "zstd", "socket.keepalive.enable": True},
    transactional: {
        "linger.ms": 20,
        "compression.type": "zstd",
        "socket.keepalive.enable": True,
        "transaction.timeout.ms": 15_000,
        "socket.timeout.ms": 6_000,
        "retry.backoff.ms": 10,
    },
    consuming: {
        "receive.message.max.bytes": 4 << 20,
        "fetch.max.bytes": 16_384,
        "queued.max.messages.kbytes": 16_384,
        "queued.min.messages": 20_000,
        "message.max.bytes": 16_384,
        "socket.keepalive.enable": True,
        "fetch.queue.backoff.ms": 5,
        "fetch.error.backoff.ms": 20,
    },
    admin_config: {"socket.keepalive.enable": True},
}
"""Properties that a user may set otherwise, as docs/operating.md and the comments in the source explain them."""


@pytest.mark.parametrize("complete", DEFAULTS, ids=lambda complete: complete.__name__)
def test_each_client_gets_its_defaults_and_nothing_more(complete):
    expected = {**BROKERS, "client.id": "tradepipe", **DEFAULTS[complete], **GUARANTEES.get(complete, {})}

    assert expected == {name: value for name, value in complete(BROKERS).items() if name != "logger"}


@pytest.mark.parametrize("name", ["client.id", "group.instance.id", "transactional.id"])
def test_a_name_that_would_break_a_log_line_is_refused(name):
    with pytest.raises(ConfigurationError, match=name):
        consuming({**BROKERS, name: "a\nb"})


@EVERY
@pytest.mark.parametrize("port", ["", "x", "-1", "0", "65536", "900000", "²", "٣"])
def test_a_port_is_a_number_from_1_to_65535(complete, port):
    with pytest.raises(ConfigurationError, match=f"has the port '{port}', which is not a number from 1 to 65535"):
        complete({"bootstrap.servers": f"a:1,localhost:{port}"})


def test_a_wrong_broker_is_named_and_with_it_the_list_if_there_are_others():
    with pytest.raises(ConfigurationError, match=r"^bootstrap\.servers: 'a:x' has the port 'x'"):
        producer_config({"bootstrap.servers": "a:x"})
    with pytest.raises(ConfigurationError, match=r"^bootstrap\.servers: 'a:x' in 'b:1, a:x' has the port 'x'"):
        producer_config({"bootstrap.servers": "b:1, a:x"})


@pytest.mark.parametrize(
    "servers",
    [
        "localhost",
        "a:1,b:65535",
        "[::1]:9092",
        *(f"{scheme}://a:9092" for scheme in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")),
    ],
)
def test_brokers_are_hosts_with_or_without_ports(servers):
    assert servers == producer_config({"bootstrap.servers": servers})["bootstrap.servers"]


def test_the_version_of_librdkafka_has_three_numbers():
    assert re.fullmatch(r"\d+\.\d+\.\d+", librdkafka_version())


@EACH_OWNED
def test_owned_properties_cannot_be_overridden(key, name, value, complete):
    """Also by its other name; the message has both, and what was given."""
    with pytest.raises(ConfigurationError) as raised:
        complete({**BROKERS, key: "7"})

    reasons = {
        "group.id": "use --group, or the argument group",
        "transactional.id": "use --transactional-id, or the argument transactional_id",
    }
    reason = reasons.get(name, f"tradepipe's guarantees require {name}={value}")
    assert f"the Kafka property {key}=7 is not allowed: {reason}" == str(raised.value)


@EACH_OWNED
def test_an_owned_property_may_be_given_with_its_value(key, name, value, complete):
    """As a value of Python's, or in the words of a properties file."""
    assert value == complete({**BROKERS, key: value})[name]
    assert value == complete({**BROKERS, key: str(value).lower()})[name]


@EVERY
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("plugin.library.paths", "monitoring.so"),
        ("ssl.engine.location", "/tmp/engine.so"),
        ("ssl.providers", "/tmp/provider.so"),
        ("sasl.kerberos.kinit.cmd", "kinit"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("enable.ssl.certificate.verification", False),
        *[("enable.ssl.certificate.verification", value) for value in ("FALSE", "f", "F", "0", 0)],
        ("ssl.endpoint.identification.algorithm", "none"),
        ("default.topic.config", {"acks": 0}),
        ("error_cb", print),
        ("on_delivery", print),
        ("logger", None),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_dangerous_properties_are_forbidden_for_every_client(complete, key, value):
    with pytest.raises(ConfigurationError, match=f"the Kafka property {key}"):
        complete({**BROKERS, key: value})


@EVERY
@pytest.mark.parametrize("value", [True, "true", "T", "1", 1])
def test_every_word_for_true_keeps_certificates_checked(complete, value):
    assert (
        value
        == complete({**BROKERS, "enable.ssl.certificate.verification": value})["enable.ssl.certificate.verification"]
    )


@EVERY
def test_a_configuration_names_its_brokers(complete):
    with pytest.raises(ConfigurationError, match=r"no bootstrap\.servers: name at least one broker, host:port"):
        complete({"client.id": "me"})


@EVERY
def test_librdkafka_logs_through_logging(complete):
    """Its default is stderr, about 20 lines a second during an outage."""
    assert isinstance(complete(BROKERS)["logger"], ClientLog)


@EVERY
def test_the_brokers_may_be_named_by_the_older_name(complete):
    assert "localhost:9092" == complete({"metadata.broker.list": "localhost:9092"})["metadata.broker.list"]


def test_defaults_can_be_overridden():
    given = {**BROKERS, "linger.ms": 50, "compression.type": "lz4", "client.id": "mine"}

    assert given.items() <= producer_config(given).items()


def test_any_other_property_passes_unchanged():
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    given = {**BROKERS, "sasl.mechanism": "SCRAM-SHA-512", "max.poll.interval.ms": 60_000, "ssl.ca.pem": certificate}

    assert given.items() <= consumer_config(given, group="g").items()


def test_a_limit_of_responses_that_is_given_is_kept():
    """It bounds what a compressed batch takes in memory; a missing one is as large as the largest fetch."""
    given = {**BROKERS, "receive.message.max.bytes": 2_000_000, "fetch.max.bytes": 1_000_000}

    assert given.items() <= consumer_config(given, group="g").items()


def test_the_mapping_that_was_given_stays_as_it_was():
    given = dict(BROKERS)
    producer_config(given)

    assert BROKERS == given


@pytest.fixture(scope="module")
def librdkafka_properties(tmp_path_factory):
    """librdkafka's own table of properties: "C" for consumers only, "P" for producers only, "*" for all clients."""
    path = tmp_path_factory.mktemp("librdkafka") / "properties"
    (library,) = Path(confluent_kafka.__file__).parent.with_suffix(".libs").glob("librdkafka*")
    librdkafka, libc = ctypes.CDLL(str(library)), ctypes.CDLL(None)
    libc.fopen.restype, libc.fclose.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    librdkafka.rd_kafka_conf_properties_show.argtypes = [ctypes.c_void_p]
    file = libc.fopen(bytes(path), b"w")
    librdkafka.rd_kafka_conf_properties_show(file)
    libc.fclose(file)
    rows = ([cell.strip() for cell in line.split("|")] for line in path.read_text().splitlines())
    # Properties with an underscore are callbacks and pointers of the C interface.
    return {row[0]: row[1] for row in rows if len(row) > 2 and row[1] in ("C", "P", "*") and "_" not in row[0]}


def test_a_client_gets_exactly_the_properties_that_librdkafka_has_for_it(librdkafka_properties):
    """Another property would be a warning, and a missing one would silently have its default."""
    assert 150 < len(librdkafka_properties)
    assert {name for name, kind in librdkafka_properties.items() if kind != "C"} == set(
        without_consumer_keys(librdkafka_properties)
    )
    assert {name for name, kind in librdkafka_properties.items() if kind != "P"} == set(
        without_producer_keys(librdkafka_properties)
    )


def test_an_admin_client_gets_the_properties_of_all_clients():
    connection = {**BROKERS, "security.protocol": "ssl", "ssl.ca.location": "probe", "retry.backoff.ms": 10}
    others = {"group.id": "g", "linger.ms": 1, "fetch.wait.max.ms": 10, "acks": 1, "on_commit": print}

    assert {*connection, "client.id", "socket.keepalive.enable", "logger"} == set(
        admin_config({**connection, **others})
    )


@pytest.mark.parametrize("value", [True, "true"])
def test_an_admin_client_accepts_a_property_of_the_python_client(value):
    admin_config({**BROKERS, "delivery.report.only.error": value})


def test_an_admin_client_accepts_them_without_a_warning(caplog):
    """librdkafka warns about a property that only a producer or a consumer has."""
    AdminClient(admin_config({**BROKERS, "group.id": "g", "linger.ms": 1, "log_level": 7, "retries": 3})).poll(0)

    assert [] == [record.message for record in caplog.records if "CONFWARN" in record.message]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, False),
        ({"partition.assignment.strategy": "range,roundrobin"}, False),
        ({"partition.assignment.strategy": "cooperative-sticky"}, True),
        ({"group.protocol": "consumer"}, True),
        ({"group.protocol": "classic"}, False),
    ],
    ids=str,
)
def test_a_configuration_shows_whether_rebalances_are_cooperative(config, expected):
    assert expected is is_cooperative(config)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("securty.protocol", "ssl", 'No such configuration property: "securty.protocol"'),
        ("linger.ms", "soon", 'Invalid value for configuration property "queue.buffering.max.ms"'),
        ("stats_cb", "print", "invalid Kafka client configuration: stats_cb: "),
    ],
    ids=["name", "value", "callback"],
)
def test_a_property_unknown_to_librdkafka_is_reported_even_where_it_is_not_used(key, value, text):
    with pytest.raises(ConfigurationError) as raised:
        admin_config({**BROKERS, "group.id": "g", key: value})

    assert text in str(raised.value)


def test_an_admin_client_ignores_the_properties_of_other_clients():
    others = {**config.PRODUCER, **config.CONSUMER, **config.CONSUMER_DEFAULTS, "group.protocol": "consumer"}

    assert (
        BROKERS.items() <= admin_config({**BROKERS, **others, "session.timeout.ms": 6000, "on_commit": print}).items()
    )
