"""librdkafka's configuration: what we own, what passes through, what is refused."""

import logging
from collections.abc import Mapping
from typing import Any, Final

import confluent_kafka
from confluent_kafka import KafkaException

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.failures import translate, unwrap

Config = Mapping[str, Any]
"""librdkafka's own properties, keys unrenamed."""

PRODUCER: Final[Config] = {
    # An acknowledged trade is in the log once, and on all in-sync replicas.
    "enable.idempotence": True,
    "acks": "all",
    # librdkafka never gives a trade up by itself: what it gave up may yet be in the log.
    "message.timeout.ms": 0,
    # Java's clients hash keys so; another hash would spread the versions of a trade over partitions.
    "partitioner": "murmur2_random",
    # Success is silent, so that no Python code runs per acknowledged trade.
    "delivery.report.only.error": True,
    # Only the log reports a connection that broke under a request: see kafka/librdkafka.py.
    "log.connection.close": True,
}
"""What carries the promise of the producer; not to be overridden."""

TRANSACTIONS: Final[Config] = {
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
    "delivery.report.only.error": True,
    # The log alone tells that a request was sent again: see kafka/librdkafka.py.
    "log.connection.close": True,
}
"""What carries the promise of a transaction; librdkafka gives a record up when its transaction has timed out."""

CONSUMER: Final[Config] = {
    # Offsets move with the work they stand for; nothing may move them behind our back.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Anything else would silently skip or re-read when a stored offset lies outside the log.
    "auto.offset.reset": "error",
    # Tells the position behind transaction markers, without which lag never reaches zero.
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "check.crcs": True,
}
"""What carries the promise of the consuming stages; not to be overridden."""

PRODUCER_DEFAULTS: Final[Config] = {"linger.ms": 5, "compression.type": "zstd", "socket.keepalive.enable": True}
TRANSACTIONS_DEFAULTS: Final[Config] = {
    **PRODUCER_DEFAULTS,
    # For so long the open transaction of a process that was killed holds up whoever reads what is committed only.
    "transaction.timeout.ms": 15_000,
    # What takes longer has been asked more than once, without our being told: see kafka/transactions.py.
    "socket.timeout.ms": 6_000,
}
CONSUMER_DEFAULTS: Final[Config] = {
    "socket.keepalive.enable": True,
    # librdkafka's 1000 ms hold consumption to a quarter (measured: 150 instead of 600 thousand records/s).
    "fetch.queue.backoff.ms": 5,
}

_ALIASES: Final = {
    "request.required.acks": "acks",
    "delivery.timeout.ms": "message.timeout.ms",
    "auto.commit.enable": "enable.auto.commit",
    "metadata.broker.list": "bootstrap.servers",
}
_FORBIDDEN: Final = {
    "plugin.library.paths": "it loads code into this process",
    "ssl.engine.location": "it loads code into this process",
    "ssl.providers": "it loads code into this process",
    "sasl.kerberos.kinit.cmd": "it runs a shell command",
    "enable.sasl.oauthbearer.unsecure.jwt": "it accepts tokens nobody signed",
    # Its properties win over those beside it, ours among them.
    "default.topic.config": "give its properties by themselves",
}
_FORBIDDEN_VALUES: Final = {
    ("enable.ssl.certificate.verification", "false"): "anybody could answer for the broker",
    ("ssl.endpoint.identification.algorithm", "none"): "anybody with a certificate could answer for the broker",
}
_CONNECTION: Final = (
    "bootstrap.",
    "metadata.broker.list",
    "client.",
    "security.",
    "sasl.",
    "ssl.",
    "enable.ssl.",
    "https.",
    "socket.",
    "broker.",
    "reconnect.",
    "api.version.",
    "test.mock.",
    "debug",
    "logger",
    "oauth_cb",
)
"""How the names of the properties begin that say how to reach the brokers; an admin client warns of any other."""

_CONSUMER_ONLY: Final = (
    "auto.commit.",
    "auto.offset.",
    "check.crcs",
    "coordinator.query.",
    "enable.auto.",
    "enable.partition.eof",
    "fetch.",
    "group.",
    "heartbeat.",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.",
    "offset.store.",
    "partition.assignment.",
    "queued.",
    "session.timeout.ms",
)
_PRODUCER_ONLY: Final = (
    "acks",
    "batch.",
    "compression.",
    "delivery.",
    "enable.gapless.",
    "enable.idempotence",
    "linger.ms",
    "message.",
    "partitioner",
    "queue.buffering.",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.",
    "transaction",
)
"""How the names of the properties begin that a consumer, or a producer, warns of as none of its own."""

_PROBE_PROPERTY: Final = "tradepipe.no.property"

_CALLBACKS: Final = frozenset({"error_cb", "on_delivery", "dr_cb", "dr_msg_cb", "rebalance_cb", "logger"})

_librdkafka = logging.getLogger("tradepipe.kafka.librdkafka")


def producer_config(config: Config) -> dict[str, Any]:
    """
    The configuration of an idempotent producer.

    Raises:
        ConfigurationError: a property overrides a guarantee, or is refused.
    """
    return _merge(config, owned=PRODUCER, defaults=PRODUCER_DEFAULTS)


def transactions_config(config: Config, *, transactional_id: str) -> dict[str, Any]:
    """
    The configuration of a transactional producer beside a consumer of the same `config`.

    Raises:
        ConfigurationError: a property overrides a guarantee, or is refused.
    """
    owned = {**TRANSACTIONS, "transactional.id": transactional_id}
    return _merge(_without(config, _CONSUMER_ONLY), owned=owned, defaults=TRANSACTIONS_DEFAULTS)


def without_consumer_keys(config: Config) -> Config:
    """What a producer beside a consumer of the same `config` is to be given of it."""
    return _without(config, _CONSUMER_ONLY)


def without_producer_keys(config: Config) -> Config:
    """What a consumer beside a producer of the same `config` is to be given of it."""
    return _without(config, _PRODUCER_ONLY)


def consumer_config(config: Config, *, group: str) -> dict[str, Any]:
    """
    The configuration of a member of `group` whose offsets live elsewhere.

    Raises:
        ConfigurationError: a property overrides a guarantee, or is refused.
    """
    return _merge(config, owned={**CONSUMER, "group.id": group}, defaults=CONSUMER_DEFAULTS)


def admin_config(config: Config) -> dict[str, Any]:
    """
    The configuration of an admin client beside a producer or consumer of the same `config`.

    Raises:
        ConfigurationError: a property is refused, or librdkafka has none of this name or value; also one that is of
            no use to an admin client, so that a typing error is not passed over.
    """
    complete = _merge(config, owned={}, defaults={"socket.keepalive.enable": True})
    _check_known({key: value for key, value in config.items() if not key.startswith(_CONNECTION)})
    return {key: value for key, value in complete.items() if key.startswith(_CONNECTION)}


def librdkafka_version() -> str:
    """The version of librdkafka that runs here."""
    return str(confluent_kafka.libversion()[0])


def is_cooperative(config: Config) -> bool:
    """Whether partitions come and go one by one (cooperative-sticky, KIP-848) instead of all at once."""
    return config.get("group.protocol") == "consumer" or "cooperative" in str(
        config.get("partition.assignment.strategy", "")
    )


def _without(config: Config, beginnings: tuple[str, ...]) -> Config:
    return {key: value for key, value in config.items() if not key.startswith(beginnings)}


def _check_known(config: Config) -> None:
    """
    Ask librdkafka for each of these properties by itself.

    It takes them one after the other, and the last one is none of its own, so it
    stops there at the latest: no client is made.
    """
    known = {key: value for key, value in config.items() if not callable(value)}
    try:
        confluent_kafka.Producer({**known, _PROBE_PROPERTY: ""})
    except KafkaException as error:
        told = unwrap(error)
        if _PROBE_PROPERTY not in told.str():
            raise translate(told, "Kafka's client cannot be configured so") from error


def _merge(config: Config, *, owned: Config, defaults: Config) -> dict[str, Any]:
    for key, value in config.items():
        _check_properties(key, value, owned)
    if not (config.get("bootstrap.servers") or config.get("metadata.broker.list")):
        raise ConfigurationError(
            "the Kafka configuration has no bootstrap.servers: name at least one broker, host:port"
        )
    return {"client.id": "tradepipe", **defaults, **config, **owned, "logger": _librdkafka}


def _check_properties(key: str, value: object, owned: Config) -> None:
    if key in _CALLBACKS:
        raise ConfigurationError(f"the Kafka property {key} belongs to tradepipe and cannot be given")
    if key in _FORBIDDEN:
        raise ConfigurationError(f"the Kafka property {key} is refused: {_FORBIDDEN[key]}")
    if why := _FORBIDDEN_VALUES.get((key, str(value).lower())):
        raise ConfigurationError(f"the Kafka property {key}={value} is refused: {why}")
    name = _ALIASES.get(key, key)
    if name in owned and str(value).lower() != str(owned[name]).lower():
        raise ConfigurationError(
            f"the Kafka property {key}={value} cannot be given: tradepipe's guarantees rest on {name}={owned[name]}"
        )
