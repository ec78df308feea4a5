"""A Kafka broker without a server: librdkafka's mock cluster, in this process."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import confluent_kafka

DEFAULT_PARTITIONS: Final = 4
"""Partitions of a topic that its first use creates."""

QUICK_CONSUMER: Final = {"fetch.wait.max.ms": 10, "group.protocol": "consumer"}
"""
Properties for consumers on this broker.

A fetch takes the whole wait, 500 ms by default, even when records arrive. With
the classic group protocol, a group that its last member has left does not answer
the next one before the session times out, after 44 s.
"""

HEARTBEAT_MS: Final = 100
"""Milliseconds between two heartbeats of a member, by the new group protocol."""

ALL_BROKERS: Final = -1


class Broker:
    """
    One broker, or several, that speak Kafka's protocol on 127.0.0.1, for demos and tests.

    Clients of any process can use it. It is librdkafka's mock cluster, not Kafka:

    - All records are in the memory of this process.
    - A partition keeps at most 5 MiB (compressed) or 100,000 batches, and drops its
      oldest records beyond that without reporting it. No setting changes this.
    - It accepts idempotent and transactional producers, but removes no duplicates,
      rolls nothing back, hides no uncommitted records and fences no producer. It
      loses the offsets of transactions, and consumers with `check.crcs` cannot read
      past the markers at their ends.
    - It has no topic administration: `create_topic` creates a topic, or its first
      use does, with 4 partitions. Groups cannot be listed, nor offsets found by time.
    - A fetch waits for all of `fetch.wait.max.ms` if there is nothing to fetch at its
      start, even when records arrive: set it to about 10.

    If librdkafka cannot be loaded by ctypes (the layout of the wheel differs), the
    mock runs inside a producer: each topic then has 4 partitions, and faults cannot
    be injected.
    """

    def __init__(self, *, brokers: int = 1) -> None:
        self._brokers = brokers
        self._mock: _Mock | _ProducerMock | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Value of `bootstrap.servers` for clients; starts the broker if necessary."""
        return self._require_started().bootstrap_servers

    def start(self) -> Self:
        """Start the broker unless it is running."""
        self._require_started()
        return self

    def create_topic(self, name: str, *, partitions: int = DEFAULT_PARTITIONS) -> None:
        """
        Create a topic.

        Raises:
            ValueError: the topic exists, or the broker cannot give it that many partitions.
        """
        self._require_started().create_topic(name, partitions)

    def fail_requests(self, api_key: int, *errors: int) -> None:
        """
        Answer the next requests of one kind with these errors, one error per request.

        Args:
            api_key: the kind, by its number in Kafka's protocol: 0 is Produce, 1 is Fetch.

            errors: Kafka's error codes; `KafkaError._TRANSPORT` cuts the connection instead.
        """
        self._faults().fail_requests(api_key, errors)

    def delete_topic(self, name: str) -> None:
        """
        Delete a topic with its records; a new topic of this name has another id.

        Raises:
            ValueError: the topic does not exist.
        """
        self._faults().delete_topic(name)

    def delete_records(self, name: str, partition: int, before: int) -> None:
        """
        Delete the records of a partition whose offsets are below `before`, as retention would.

        Raises:
            ValueError: the partition does not exist, or `before` is after its end.
        """
        self._faults().delete_records(name, partition, before)

    def down(self, number: int = ALL_BROKERS) -> None:
        """Close all connections of one broker or of all, and accept none until `up`; topics and records are kept."""
        self._faults().set_up(False, number)

    def up(self) -> None:
        """Accept connections again."""
        self._faults().set_up(True, ALL_BROKERS)

    def close(self) -> None:
        """Stop the broker and delete its topics and records."""
        if self._mock is not None:
            self._mock.close()
            self._mock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _require_started(self) -> "_Mock | _ProducerMock":
        if self._mock is None:
            library = _load_librdkafka()
            self._mock = _ProducerMock(self._brokers) if library is None else _Mock(library, self._brokers)
        return self._mock

    def _faults(self) -> "_Mock":
        mock = self._require_started()
        if not isinstance(mock, _Mock):
            raise NotImplementedError(
                "fault injection needs librdkafka's shared library, which was not found next to confluent_kafka"
            )
        return mock


class _Mock:
    """The mock cluster, called through librdkafka's C functions."""

    def __init__(self, library: ctypes.CDLL, brokers: int) -> None:
        self._library = library
        configuration = library.rd_kafka_conf_new()
        # 2 is "critical": this client has no brokers and would log that.
        reason = ctypes.create_string_buffer(512)
        library.rd_kafka_conf_set(configuration, b"log_level", b"2", reason, len(reason))
        self._client = library.rd_kafka_new(0, configuration, reason, len(reason))
        if not self._client:
            raise OSError(f"the mock broker did not start: {reason.value.decode()}")
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, brokers)
        # Without a controller an admin call waits for one until it times out; with one it fails at once as unsupported.
        library.rd_kafka_mock_set_controller_id(self._cluster, 1)
        # Kafka waits 3 s for further members before the first assignment of a group.
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        # The answer to a heartbeat tells a member of a rebalance; the default interval is 3 s.
        library.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(self._cluster, HEARTBEAT_MS)
        self.bootstrap_servers: str = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create_topic(self, name: str, partitions: int) -> None:
        error = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if error:
            raise ValueError(f"topic {name!r} with {partitions} partitions: {_describe(error)}")

    def delete_topic(self, name: str) -> None:
        error = self._library.rd_kafka_mock_topic_delete(self._cluster, name.encode())
        if error:
            raise ValueError(f"topic {name!r}: {_describe(error)}")

    def delete_records(self, name: str, partition: int, before: int) -> None:
        error = self._library.rd_kafka_mock_partition_delete_records(self._cluster, name.encode(), partition, before)
        if error:
            raise ValueError(f"partition {partition} of topic {name!r} before {before}: {_describe(error)}")

    def fail_requests(self, api_key: int, errors: tuple[int, ...]) -> None:
        array = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api_key, len(errors), array)

    def set_up(self, up: bool, number: int) -> None:
        name = "rd_kafka_mock_broker_set_up" if up else "rd_kafka_mock_broker_set_down"
        getattr(self._library, name)(self._cluster, number)

    def close(self) -> None:
        # In this order: the cluster runs in the client's threads.
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


class _ProducerMock:
    """The mock cluster inside a producer, which must live as long as the broker."""

    def __init__(self, brokers: int) -> None:
        self._holder: confluent_kafka.Producer | None = confluent_kafka.Producer({"test.mock.num.brokers": brokers})
        addresses = self._holder.list_topics(timeout=10).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in addresses)

    def create_topic(self, name: str, partitions: int) -> None:
        if partitions != DEFAULT_PARTITIONS:
            raise ValueError(
                f"topic {name!r} with {partitions} partitions: this broker gives every topic {DEFAULT_PARTITIONS}"
            )
        if self._holder is not None:
            # Asking for its metadata creates the topic.
            self._holder.list_topics(name, timeout=10)

    def close(self) -> None:
        self._holder = None


def _describe(error: int) -> str:
    return str(confluent_kafka.KafkaError(error).str())


_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "rd_kafka_conf_new": (ctypes.c_void_p, []),
    "rd_kafka_conf_set": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
    ),
    "rd_kafka_new": (ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_new": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [ctypes.c_void_p]),
    "rd_kafka_mock_set_controller_id": (None, [ctypes.c_void_p, ctypes.c_int32]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [ctypes.c_void_p, ctypes.c_int32]),
    "rd_kafka_mock_set_group_consumer_heartbeat_interval_ms": (None, [ctypes.c_void_p, ctypes.c_int]),
    "rd_kafka_mock_topic_create": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    "rd_kafka_mock_topic_delete": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]),
    "rd_kafka_mock_partition_delete_records": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_int64],
    ),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [ctypes.c_void_p, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
    ),
    "rd_kafka_mock_broker_set_down": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
}
"""Result and argument types of the functions, from rdkafka.h and rdkafka_mock.h of librdkafka 2.16."""


def _load_librdkafka() -> ctypes.CDLL | None:
    """Load the library that confluent_kafka uses; return None if the layout of its wheel is unknown."""
    package = Path(confluent_kafka.__file__).parent
    folders = (package.parent / "confluent_kafka.libs", package / ".dylibs")
    for path in (path for folder in folders for path in sorted(folder.glob("librdkafka*"))):
        library = ctypes.CDLL(str(path))
        if all(_bind_function(library, name) for name in _SIGNATURES):
            return library
    return None


def _bind_function(library: ctypes.CDLL, name: str) -> bool:
    """Declare a function's types, without which ctypes truncates pointers to 32 bits; return False if it is missing."""
    function: Callable[..., Any] | None = getattr(library, name, None)
    if function is None:
        return False
    function.restype, function.argtypes = _SIGNATURES[name]  # type: ignore[attr-defined]  # ctypes' functions have them
    return True
