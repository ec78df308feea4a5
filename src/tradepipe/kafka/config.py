"""
librdkafka configuration: owned, default and forbidden properties.

Each function that makes one raises ConfigurationError for a property that overrides a guarantee, or is forbidden.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.clients import check_client
from tradepipe.kafka.failures import unwrap
from tradepipe.kafka.librdkafka import ClientLog
from tradepipe.names import check_name, find_padding
from tradepipe.small_files import is_endless

Config = Mapping[str, Any]
"""librdkafka properties under their original names."""

PRODUCER: Final[Config] = {
    # An acknowledged trade is in the log once, and on all in-sync replicas.
    "enable.idempotence": True,
    "acks": "all",
    # librdkafka never drops a trade by itself: a trade that it dropped might still be in the log.
    "message.timeout.ms": 0,
    # The hash of Java's clients; another hash would spread the versions of a trade over several partitions.
    "partitioner": "murmur2_random",
    # Success is silent, so that no Python code runs per acknowledged trade.
    "delivery.report.only.error": True,
    # Only the log reports a connection that broke under a request: see kafka/librdkafka.py.
    "log.connection.close": True,
}
"""Properties that the producer's guarantee requires; users cannot override them."""

TRANSACTIONS: Final[Config] = {
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
    "delivery.report.only.error": True,
    # Only the log reports that a request was sent again: see kafka/librdkafka.py.
    "log.connection.close": True,
}
"""Properties that transactions require; librdkafka drops a record when its transaction has timed out."""

CONSUMER: Final[Config] = {
    # Offsets advance together with the work they cover, never on a timer.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Anything else would silently skip or re-read when a stored offset lies outside the log.
    "auto.offset.reset": "error",
    # Reports the position after transaction markers, without which lag never reaches zero.
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "check.crcs": True,
}
"""Properties that the consuming stages require; users cannot override them."""

RESPONSE_OVERHEAD: Final = 4_096
"""Bytes of a response to a fetch besides its batches, at most."""

_RESPONSE_LIMIT: Final = "receive.message.max.bytes"

FETCH_BYTES: Final = 16_384
"""Compressed bytes of a response to a fetch, unless its first batch is larger."""

PRODUCER_DEFAULTS: Final[Config] = {"linger.ms": 5, "compression.type": "zstd", "socket.keepalive.enable": True}
TRANSACTIONS_DEFAULTS: Final[Config] = {
    **PRODUCER_DEFAULTS,
    # Larger batches cost the brokers less, and nothing waits for this: each transaction ends with a flush.
    "linger.ms": 20,
    # The open transaction of a killed process blocks read_committed consumers for this long.
    "transaction.timeout.ms": 15_000,
    # librdkafka silently repeats a request that takes longer: see kafka/transactions.py.
    "socket.timeout.ms": 6_000,
    # A transaction that begins while the brokers still write the markers of the one before is answered
    # CONCURRENT_TRANSACTIONS, and librdkafka's default of 100 ms is longer than most of the validator's transactions.
    "retry.backoff.ms": 10,
}
CONSUMER_DEFAULTS: Final[Config] = {
    # Bounds of the memory that a hostile batch can take, see docs/operating.md. librdkafka unpacks each batch of a
    # response at once: few bytes per response mean few batches, and zstd is not unpacked beyond the first limit.
    _RESPONSE_LIMIT: 4 << 20,
    "fetch.max.bytes": FETCH_BYTES,
    "queued.max.messages.kbytes": 16_384,
    # More takes memory and gains nothing (measured up to 100,000, librdkafka's default).
    "queued.min.messages": 20_000,
    # Only raises fetch.max.bytes if it is larger.
    "message.max.bytes": FETCH_BYTES,
    "socket.keepalive.enable": True,
    # librdkafka's default of 1000 ms costs three quarters of the rate (measured: 150,000 instead of 600,000 records/s).
    "fetch.queue.backoff.ms": 5,
    # Paces the search for the end of an unreadable batch, see kafka/unreadable.py; librdkafka's default is 500 ms.
    "fetch.error.backoff.ms": 20,
}

LITTLE_PREFETCH: Final[Config] = {"queued.min.messages": 1, "fetch.queue.backoff.ms": 1}
"""Properties with which a consumer waits until all records of a response are read before it requests the next one."""

_ALIASES: Final = {
    "request.required.acks": "acks",
    "delivery.timeout.ms": "message.timeout.ms",
    "auto.commit.enable": "enable.auto.commit",
}
_FORBIDDEN: Final = {
    "plugin.library.paths": "it loads code into this process",
    "ssl.engine.location": "it loads code into this process",
    "ssl.providers": "it loads code into this process",
    "sasl.kerberos.kinit.cmd": "it runs a shell command",
    "enable.sasl.oauthbearer.unsecure.jwt": "it accepts unsigned tokens",
    # Its properties would override the owned ones.
    "default.topic.config": "set its properties directly",
}
_ARGUMENTS: Final = {"group.id": "group", "transactional.id": "transactional_id"}
"""Owned properties that a stage has an argument for."""
_ALLOWED_VALUES: Final = {
    # librdkafka has several words for true and for false.
    "enable.ssl.certificate.verification": ({"true", "t", "1"}, "anyone could impersonate the broker"),
    "ssl.endpoint.identification.algorithm": ({"https"}, "anyone with a certificate could impersonate the broker"),
}
_CONSUMER_ONLY: Final = (
    "auto.commit.",
    "auto.offset.",
    "check.crcs",
    "consume.callback.",
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
    "on_commit",
    "partition.assignment.",
    "queued.",
    "session.timeout.ms",
    "share.",
)
_PRODUCER_ONLY: Final = (
    "acks",
    "batch.",
    "compression.",
    "delivery.",
    "enable.gapless.",
    "enable.idempotence",
    "linger.ms",
    "message.send.",
    "message.timeout.",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.",
    "transaction",
)
"""
Prefixes of properties that apply to consumers only, or to producers only.

librdkafka warns about a property that does not apply to a client; the split is its own.
"""

_NAMES: Final = frozenset({"client.id", "group.instance.id", "transactional.id"})
"""Properties whose value is a name."""

_LISTENER_SCHEMES: Final = frozenset({"plaintext", "ssl", "sasl_plaintext", "sasl_ssl"})
"""Schemes that librdkafka accepts before a broker's address."""

_NUMBERS: Final = frozenset(
    {
        "fetch.max.bytes",
        "message.max.bytes",
        _RESPONSE_LIMIT,
        "socket.timeout.ms",
        "transaction.timeout.ms",
        "log_level",
    }
)
"""Properties that are also read here, before librdkafka checks them."""

_is_number = re.compile(r"-?\d{1,18}", re.ASCII).fullmatch
_not_text = re.compile(r"[\x00\ud800-\udfff]").search
_match_broker = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+(?:%\w+)?\]|[^\s:/\[\]@]+)(?::(?P<port>.*))?").fullmatch

_PROBE_PROPERTY: Final = "tradepipe.no.property"

_CALLBACKS: Final = frozenset({"error_cb", "on_delivery", "dr_cb", "dr_msg_cb", "rebalance_cb", "logger"})


def producer_config(config: Config) -> dict[str, Any]:
    """Return the configuration of an idempotent producer."""
    complete = _merge(config, owned=PRODUCER, defaults=PRODUCER_DEFAULTS)
    if "transactional.id" in config:
        # librdkafka would wait for a transaction that is never begun.
        raise ConfigurationError(
            "the Kafka property transactional.id is not allowed: this producer uses no transactions"
        )
    return check_client(confluent_kafka.Producer, complete)


def transactions_config(config: Config, *, transactional_id: str) -> dict[str, Any]:
    """Return the configuration of a transactional producer that shares `config` with a consumer."""
    owned = {**TRANSACTIONS, "transactional.id": transactional_id}
    merged = _merge(_without(config, _CONSUMER_ONLY), owned=owned, defaults=TRANSACTIONS_DEFAULTS)
    return check_client(confluent_kafka.Producer, merged)


def without_consumer_keys(config: Config) -> Config:
    """Return the properties that apply to a producer, of a `config` shared with a consumer."""
    return _without(config, _CONSUMER_ONLY)


def without_producer_keys(config: Config) -> Config:
    """Return the properties that apply to a consumer, of a `config` shared with a producer."""
    return _without(config, _PRODUCER_ONLY)


def consumer_config(config: Config, *, group: str) -> dict[str, Any]:
    """Return the configuration of a member of `group` whose offsets are stored outside Kafka."""
    merged = _merge(config, owned={**CONSUMER, "group.id": group}, defaults=CONSUMER_DEFAULTS)
    if _RESPONSE_LIMIT not in config:
        # librdkafka rejects a limit that is smaller than one fetch.
        fetched = max(int(merged["fetch.max.bytes"]), int(merged["message.max.bytes"]))
        merged[_RESPONSE_LIMIT] = max(CONSUMER_DEFAULTS[_RESPONSE_LIMIT], fetched + 512)
    return check_client(confluent_kafka.Consumer, merged)


def prefetches_little(config: Config) -> bool:
    """Return whether a consumer with these properties has those of `LITTLE_PREFETCH`."""
    return all(str(config.get(name)) == str(value) for name, value in LITTLE_PREFETCH.items())


def max_batch_bytes(config: Config) -> int:
    """Return the size of the largest batch that a consumer receives."""
    return int(consumer_config(config, group="tradepipe")[_RESPONSE_LIMIT]) - RESPONSE_OVERHEAD


def admin_config(config: Config) -> dict[str, Any]:
    """
    Return the configuration of an admin client that shares `config` with a producer or consumer.

    Raises:
        ConfigurationError: a property is forbidden, or librdkafka does not accept its name or value. Properties that
            an admin client does not use are checked too, so that a misspelt one is reported.
    """
    complete = _merge(config, owned={}, defaults={"socket.keepalive.enable": True})
    return check_client(confluent_kafka.Producer, _without(complete, (*_CONSUMER_ONLY, *_PRODUCER_ONLY)))


def librdkafka_version() -> str:
    """Return the version of the loaded librdkafka."""
    return str(confluent_kafka.libversion()[0])


def is_cooperative(config: Config) -> bool:
    """Return whether rebalances move single partitions (cooperative-sticky, KIP-848) instead of all of them."""
    return config.get("group.protocol") == "consumer" or "cooperative" in str(
        config.get("partition.assignment.strategy", "")
    )


def _check_accepted(config: Config) -> None:
    """Raise a ConfigurationError if librdkafka does not accept the name or the value of a property."""
    # The second condition: confluent_kafka, whose own it is, takes it as a bool alone; its value is that of `PRODUCER`.
    known = {key: value for key, value in config.items() if not callable(value) and key != "delivery.report.only.error"}
    if _find_rejection(known) is not None:
        # One by one: librdkafka names a property by its first name, where the user wrote an alias such as linger.ms.
        for key, value in known.items():
            if (reason := _find_rejection({key: value})) is not None:
                raise ConfigurationError(f"invalid Kafka client configuration: {key}: {reason.str()} ({reason.name()})")


def _without(config: Config, prefixes: tuple[str, ...]) -> dict[str, Any]:
    _check_mapping(config)
    return {key: value for key, value in config.items() if not key.startswith(prefixes)}


def _find_rejection(config: Config) -> KafkaError | None:
    """
    Return why librdkafka does not accept properties, or None if it accepts them, without creating a client.

    librdkafka applies properties in order. The last one does not exist, so creating
    the client always fails: there if the others are valid, earlier if one is not.
    """
    try:
        confluent_kafka.Producer({**config, _PROBE_PROPERTY: ""})
    except KafkaException as error:
        reason = unwrap(error)
        return None if _PROBE_PROPERTY in reason.str() else reason
    except TypeError as error:  # confluent_kafka checks its own properties, such as stats_cb
        return KafkaError(KafkaError._INVALID_ARG, str(error))
    return None


def _check_mapping(config: object) -> None:
    if not isinstance(config, Mapping):
        kind = type(config).__name__
        raise ConfigurationError(f"kafka must be a mapping of librdkafka's properties to their values, not {kind}")


def _merge(config: Config, *, owned: Config, defaults: Config) -> dict[str, Any]:
    _check_mapping(config)
    for key, value in config.items():
        if key in _CALLBACKS:
            raise ConfigurationError(f"the Kafka property {key} is set by tradepipe and cannot be overridden")
        if key in _NAMES:
            check_name(str(value), key)
        if isinstance(value, str) and _not_text(value):
            # Without the value, which may be a password.
            raise ConfigurationError(f"the Kafka property {key} is not valid text in UTF-8, or has the character NUL")
        if key.endswith(".location") and is_endless(str(value)):
            raise ConfigurationError(f"the Kafka property {key}={value} names a named pipe or a device, not a file")
        if key in _FORBIDDEN:
            raise ConfigurationError(f"the Kafka property {key} is refused: {_FORBIDDEN[key]}")
        if key in _NUMBERS and not _is_number(str(value)):
            raise ConfigurationError(f"the Kafka property {key}={value} is not a whole number")
        allowed, why = _ALLOWED_VALUES.get(key, ({str(value).lower()}, ""))
        if str(value).lower() not in allowed:
            raise ConfigurationError(f"the Kafka property {key}={value} is refused: {why}")
        name = _ALIASES.get(key, key)
        if name in owned and str(value).lower() != str(owned[name]).lower():
            reason = f"tradepipe's guarantees require {name}={owned[name]}"
            if argument := _ARGUMENTS.get(name):
                reason = f"use --{argument.replace('_', '-')}, or the argument {argument}"
            raise ConfigurationError(f"the Kafka property {key}={value} is not allowed: {reason}")
    servers = config.get("bootstrap.servers", config.get("metadata.broker.list"))
    if servers is None:
        raise ConfigurationError(
            "the Kafka configuration has no bootstrap.servers: name at least one broker, host:port"
        )
    check_brokers(str(servers))
    _check_accepted(config)
    return {"client.id": "tradepipe", **defaults, **config, **owned, "logger": ClientLog()}


def check_brokers(servers: str) -> None:
    """
    Check that each of the comma-separated brokers is HOST:PORT.

    librdkafka ignores what it cannot parse, looks a wrong port or scheme up as a name, and retries forever.

    Raises:
        ConfigurationError: an address is not valid, or there are no brokers.
    """
    for server in map(str.strip, servers.split(",")):
        if problem := find_padding(server):
            raise ConfigurationError(f"bootstrap.servers: {servers!r} {problem}")
        if problem := _find_broker_problem(server):
            of_list = f" in {servers!r}" if "," in servers else ""
            raise ConfigurationError(f"bootstrap.servers: {server!r}{of_list} {problem}")


def _find_broker_problem(server: str) -> str | None:
    scheme, separator, address = server.rpartition("://")
    if separator and scheme.lower() not in _LISTENER_SCHEMES:
        return (
            f"is a URL with the scheme {scheme}://, but brokers are HOST:PORT: "
            f"give {address.strip('/') or 'localhost:9092'} (the port of Kafka, not of the registry)"
        )
    if not address:
        return "is empty: brokers are HOST:PORT, separated by commas"
    found = _match_broker(address)
    if found is None:
        return "is not a broker: brokers are HOST:PORT, separated by commas, IPv6 addresses in brackets"
    port = found["port"]
    # More digits than Python converts are not a port either.
    if port is not None and not (port.isdecimal() and port.isascii() and len(port) < 6 and 0 < int(port) < 65_536):
        return f"has the port {port!r}, which is not a number from 1 to 65535"
    return None
