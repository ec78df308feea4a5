"""A Kafka broker without a server, librdkafka's mock cluster in this process, and a reader of its topics."""

import ctypes
import time
from typing import Any, Final, Self
from uuid import uuid4

import confluent_kafka.cimpl
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tradepipe.trade.record import Record

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

REQUEST_TIMEOUT: Final = 5.0
"""Seconds that a request of `LogStarts` may take."""


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
    """

    def __init__(self, *, brokers: int = 1) -> None:
        self._brokers = brokers
        # By the module that is linked to it, however it was installed, so that its functions are those of the clients.
        self._library = ctypes.CDLL(confluent_kafka.cimpl.__file__)
        for name, (result, arguments) in _SIGNATURES.items():
            # Without these types ctypes truncates pointers to 32 bits.
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._client = self._cluster = None

    @property
    def bootstrap_servers(self) -> str:
        """Value of `bootstrap.servers` for clients; starts the broker if necessary."""
        return str(self._call("cluster_bootstraps").decode())

    def start(self) -> Self:
        """Start the broker unless it is running."""
        if self._cluster is not None:
            return self
        library, configuration = self._library, self._library.rd_kafka_conf_new()
        # 2 is "critical": this client has no brokers and would log that.
        reason = ctypes.create_string_buffer(512)
        library.rd_kafka_conf_set(configuration, b"log_level", b"2", reason, len(reason))
        self._client = library.rd_kafka_new(0, configuration, reason, len(reason))
        if not self._client:
            raise OSError(f"the mock broker did not start: {reason.value.decode()}")
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, self._brokers)
        # Without a controller an admin call waits for one until it times out; with one it fails at once as unsupported.
        self._call("set_controller_id", 1)
        # Kafka waits 3 s for further members before the first assignment of a group.
        self._call("group_initial_rebalance_delay_ms", 0)
        # The answer to a heartbeat informs a member of a rebalance; the default interval is 3 s.
        self._call("set_group_consumer_heartbeat_interval_ms", HEARTBEAT_MS)
        return self

    def create_topic(self, name: str, *, partitions: int = DEFAULT_PARTITIONS) -> None:
        """Create a topic; ValueError if it exists, or cannot have that many partitions."""
        error = self._call("topic_create", name.encode(), partitions, 1)
        _check(error, f"topic {name!r} with {partitions} partitions")

    def fail_requests(self, api_key: int, *errors: int) -> None:
        """
        Answer the next requests of one kind with these errors, one error per request.

        Args:
            api_key: the kind, by its number in Kafka's protocol: 0 is Produce, 1 is Fetch.

            errors: Kafka's error codes; `KafkaError._TRANSPORT` cuts the connection instead.
        """
        array = (ctypes.c_int * len(errors))(*errors)
        self._call("push_request_errors_array", api_key, len(errors), array)

    def delete_topic(self, name: str) -> None:
        """Delete an existing topic with its records; a new topic of this name has another id."""
        _check(self._call("topic_delete", name.encode()), f"topic {name!r}")

    def delete_records(self, name: str, partition: int, before: int) -> None:
        """Delete the records of a partition before an offset, as retention would; ValueError if the log lacks it."""
        error = self._call("partition_delete_records", name.encode(), partition, before)
        _check(error, f"partition {partition} of topic {name!r} before {before}")

    def down(self, number: int = ALL_BROKERS) -> None:
        """Close all connections of one broker or of all, and accept none until `up`; topics and records are kept."""
        self._call("broker_set_down", number)

    def up(self) -> None:
        """Accept connections again."""
        self._call("broker_set_up", ALL_BROKERS)

    def close(self) -> None:
        """Stop the broker and delete its topics and records."""
        if self._cluster is not None:
            # In this order: the cluster runs in the client's threads.
            self._call("cluster_destroy")
            self._library.rd_kafka_destroy(self._client)
            self._client = self._cluster = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _call(self, function: str, *arguments: object) -> Any:
        """Call a function of the mock cluster, and start the cluster if necessary."""
        self.start()
        return getattr(self._library, f"rd_kafka_mock_{function}")(self._cluster, *arguments)


class LogStarts:
    """Find the records that a broker has dropped, of all its topics, by the starts of their logs."""

    def __init__(self, bootstrap_servers: str) -> None:
        # 2 is "critical": the broker closes the connections when it stops, as expected.
        self._client: Any = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
        self._dropped: dict[str, int] = {}

    def poll(self) -> dict[str, int]:
        """Return the topics that lost records since the last call, each with the number it has lost in all."""
        dropped: dict[str, int] = {}
        try:
            topics = self._client.list_topics(timeout=REQUEST_TIMEOUT).topics
            first = {
                TopicPartition(name, partition): OffsetSpec.earliest()
                for name, topic in topics.items()
                for partition in topic.partitions
            }
            starts = self._client.list_offsets(first, request_timeout=REQUEST_TIMEOUT) if first else {}
            for place, start in starts.items():
                # Offsets begin at 0.
                dropped[place.topic] = dropped.get(place.topic, 0) + int(start.result().offset)
        except KafkaException:  # the broker is stopping, or a topic was deleted in between
            return {}
        grown = {topic: number for topic, number in dropped.items() if number > self._dropped.get(topic, 0)}
        self._dropped = dropped
        return grown


def _check(error: int, what: str) -> None:
    if error:
        raise ValueError(f"{what}: {confluent_kafka.KafkaError(error).str()}")


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


READ_TIMEOUT: Final = 10.0
"""Default time limit for reading a topic, in seconds."""


def read_records(
    bootstrap_servers: str, topic: str, *, at_least: int = 0, within: float = READ_TIMEOUT
) -> list[Record]:
    """
    Return the records of a topic, ordered by partition and offset.

    Reads to the end of the log. If it holds fewer than `at_least` records, waits
    for more until `within` seconds have passed and returns what has arrived.

    Raises:
        LookupError: the broker has no such topic.

        TimeoutError: the end of the log was not reached within that time, or the broker does not answer.
    """
    client = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"log-{uuid4().hex}",  # librdkafka wants one; nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "log_level": 2,
        }
    )
    try:
        deadline = time.monotonic() + within
        partitions = _partitions(client, topic, within)
        client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        found: list[Record] = []
        unread = set(partitions)
        while (unread or len(found) < at_least) and (left := deadline - time.monotonic()) > 0:
            message = client.poll(left)
            if message is None:  # a message without a value is false
                continue
            if (error := message.error()) is None:
                found.append(_record(message))
            # Other errors are transient: the client retries, and the deadline ends it.
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition() or 0)
        if unread:
            raise TimeoutError(f"the log was not read to its end in time; partitions {sorted(unread)} are left")
    finally:
        client.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def _partitions(client: Consumer, topic: str, timeout: float) -> set[int]:
    try:
        # All topics are asked for: asked for one, the broker would create it.
        topics = client.list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise TimeoutError(f"the broker does not answer: {error.args[0].str()}") from error
    if topic not in topics:
        raise LookupError(f"the broker has no topic {topic!r}")
    return set(topics[topic].partitions)


def _record(message: Message) -> Record:
    headers: Any = message.headers() or ()
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.key(),
        message.value(),
        message.timestamp()[1],
        tuple(headers),
    )
