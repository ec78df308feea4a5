"""Topic administration: description, configuration, watermarks, creation."""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from threading import Event, Lock
from typing import Any, Final, NamedTuple, TypeVar

from confluent_kafka import OFFSET_INVALID, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from tradepipe.errors import BrokerUnavailable, ConfigurationError, TopicUnusable
from tradepipe.kafka.clients import create_client
from tradepipe.kafka.config import Config, admin_config
from tradepipe.kafka.failures import FailureClass, classify, translate, unwrap
from tradepipe.kafka.librdkafka import FirstContact

logger = logging.getLogger(__name__)

T = TypeVar("T")

REQUEST_TIMEOUT: Final = 10.0
"""Seconds an admin request may take."""

QUERY_TIMEOUT: Final = 2.0
"""Seconds a request in the background may take: while a leader is down, librdkafka spins until the timeout."""

POLL_SECONDS: Final = 0.05
"""Seconds between two polls for the client's errors while waiting for a response."""

_NO_DESCRIBE: Final = frozenset(
    {KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
)
_REFUSED_SETTINGS: Final = frozenset({KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION})

MOCK_PARTITIONS: Final = 4
"""Partitions of a topic that librdkafka's mock creates at its first use."""

_MOCK_CLUSTER_ID: Final = "mockCluster"
"""Prefix of the cluster id of librdkafka's mock; Kafka's own cluster ids are the base64 text of a UUID."""

_OUTDATED: Final = frozenset(
    {KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION}
)
"""Errors that a client gets for up to a minute after a broker restarts, because its metadata is outdated."""


class Topic(NamedTuple):
    """
    A topic as its brokers describe it.

    `topic_id` changes when the topic is deleted and recreated; it is None if the
    broker does not support topic ids. `replication` is the replication factor of
    the least replicated partition.
    """

    name: str
    topic_id: str | None
    partitions: tuple[int, ...]
    replication: int | None = None


class Watermarks(NamedTuple):
    """
    The start and end offsets of a partition's log.

    `high` is the offset of the next record, including the records of open transactions.
    """

    low: int
    high: int


class TopicAdmin:
    """
    Describe and create topics, over a separate connection.

    Raises, in every method:
        BrokerUnavailable: no broker responds.

        ConfigurationError: the brokers reject the request or the credentials.
    """

    def __init__(self, config: Config, *, request_timeout: float = REQUEST_TIMEOUT) -> None:
        self._config = admin_config(config)
        self._timeout = request_timeout
        self._client: AdminClient | None = None
        self._contact = FirstContact()
        # Not a plain attribute: what librdkafka's thread calls may not refer to this object (see `_await`).
        self._outdated = Event()

    def close(self) -> None:
        """End the connections and threads; a later request would begin them again."""
        self._client = None

    def is_mock(self) -> bool:
        """
        Return whether the broker is librdkafka's mock, which the embedded services use.

        The mock accepts transactions, but loses their offsets, and a consumer that checks CRCs cannot
        read past the markers at their ends.
        """
        try:
            cluster = self._await(self._admin().describe_cluster(request_timeout=self._timeout))
        except KafkaException as error:
            if unwrap(error).code() in _NO_DESCRIBE:
                return False
            raise translate(error, "cannot describe the cluster") from error
        return str(cluster.cluster_id).startswith(_MOCK_CLUSTER_ID)

    def describe(self, name: str) -> Topic:
        """Return the brokers' description of a topic; `TopicUnusable` if it does not exist."""
        try:
            described = self._await(self._request_description(name))
        except KafkaException as error:
            if unwrap(error).code() not in _NO_DESCRIBE:
                raise _describe_error(name, error) from error
            described = None
        if described is None:
            # From the metadata, which has neither the id nor the replicas.
            try:
                metadata = self._admin().list_topics(timeout=self._timeout).topics.get(name)
            except KafkaException as error:
                raise translate(error, f"cannot describe topic {name}") from error
            if metadata is None:
                raise TopicUnusable(_no_topic(name))
            return Topic(name, None, tuple(sorted(metadata.partitions)))
        replication = min((len(each.replicas) for each in described.partitions), default=None)
        return Topic(
            name, str(described.topic_id), tuple(sorted(each.id for each in described.partitions)), replication
        )

    def topic_id(self, name: str) -> "Future[str | None]":
        """Return a future of the topic's id; its result is None if the broker has no topic ids or does not respond."""
        topic_id: Future[str | None] = Future()

        def set_topic_id(description: "Future[Any]") -> None:
            topic_id.set_result(None if description.exception() else str(description.result().topic_id))

        self._request_description(name).add_done_callback(set_topic_id)
        return topic_id

    def check_not_compacted(self, name: str) -> None:
        """Refuse a compacted topic as `TopicUnusable`: Kafka deletes single old records in it."""
        refuse_compaction(name, self.config(name))

    def config(self, name: str) -> dict[str, str]:
        """Return the topic's configuration, including defaults; empty if the broker does not reveal it."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        try:
            response = self._admin().describe_configs([resource], request_timeout=self._timeout)[resource]
            entries = self._await(response)
        except KafkaException as error:
            code = unwrap(error).code()
            if code in _NO_DESCRIBE or code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                logger.debug("the broker does not reveal the configuration of %s: %s", name, unwrap(error).str())
                return {}
            raise _describe_error(name, error) from error
        return {setting: entry.value for setting, entry in entries.items() if entry.value is not None}

    def max_message_bytes(self, name: str) -> int | None:
        """Return the largest batch that the topic accepts, in bytes; None if the broker does not reveal it."""
        limit = self.config(name).get("max.message.bytes")
        return None if limit is None else int(limit)

    def watermarks(self, name: str, partitions: Iterable[int]) -> dict[int, Watermarks]:
        """Return the current watermarks of partitions."""
        places = [TopicPartition(name, partition) for partition in partitions]
        begins = self._offsets({place: OffsetSpec.earliest() for place in places})
        ends = self._offsets({place: OffsetSpec.latest() for place in places})
        return {partition: Watermarks(begin, ends[partition]) for partition, begin in begins.items()}

    def high_watermarks_async(
        self, name: str, partitions: Iterable[int], *, stable: bool = False, timeout: float = QUERY_TIMEOUT
    ) -> "Future[dict[int, int | None]]":
        """
        Return a future of the high watermarks of partitions, without those for which no leader answered.

        It is None for a partition whose leader refused to tell it, e.g. for lack of a right.

        Args:
            stable: return the last stable offsets instead, at which the first open transaction begins.
        """
        partitions_to_list = {TopicPartition(name, partition): OffsetSpec.latest() for partition in partitions}
        isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        responses = self._admin().list_offsets(
            partitions_to_list, isolation_level=isolation, request_timeout=min(timeout, self._timeout)
        )
        watermarks: Future[dict[int, int | None]] = Future()
        outdated = self._outdated
        # Callbacks of several partitions may run in different threads; only one of them may set the result.
        lock = Lock()

        def set_watermarks(_response: "Future[Any]") -> None:
            with lock:
                if all(each.done() for each in responses.values()) and not watermarks.done():
                    answers = {place.partition: _watermark_of(each) for place, each in responses.items()}
                    current = {part: offset for part, offset in answers.items() if offset != OFFSET_INVALID}
                    if not current:
                        outdated.set()
                    watermarks.set_result(current)

        for response in responses.values():
            response.add_done_callback(set_watermarks)
        return watermarks

    def offsets_for_time(self, name: str, partitions: Iterable[int], timestamp_ms: int) -> dict[int, int]:
        """Return each partition's first offset at or after `timestamp_ms`, or else its high watermark."""
        spec = OffsetSpec.for_timestamp(max(0, timestamp_ms))  # negative values mean earliest and latest
        found = self._offsets({TopicPartition(name, partition): spec for partition in partitions})
        if any(offset < 0 for offset in found.values()):
            ends = self._offsets({TopicPartition(name, partition): OffsetSpec.latest() for partition in found})
            return {partition: offset if offset >= 0 else ends[partition] for partition, offset in found.items()}
        return found

    def create(
        self,
        name: str,
        *,
        partitions: int,
        replication: int,
        config: Mapping[str, str],
        preferred: Mapping[str, str] | None = None,
        on_refused: Callable[[str], None] | None = None,
    ) -> bool:
        """
        Create a topic; return False if it already existed.

        librdkafka's mock creates a topic of 4 partitions without settings, at its first use.

        Args:
            preferred: further settings, without which the topic is created if the broker refuses them.

            on_refused: called with the broker's reason if it has refused them.
        """
        topic = NewTopic(name, partitions, replication, config={**config, **(preferred or {})})
        try:
            self._await(self._admin().create_topics([topic], request_timeout=self._timeout)[name])
        except KafkaException as error:
            if unwrap(error).code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            if preferred and unwrap(error).code() in _REFUSED_SETTINGS:
                created = self.create(name, partitions=partitions, replication=replication, config=config)
                if created and on_refused is not None:
                    on_refused(unwrap(error).str())
                return created
            if unwrap(error).code() == KafkaError._UNSUPPORTED_FEATURE:
                if self.is_mock():
                    return self._create_by_use(name, partitions=partitions, config=config)
                raise ConfigurationError(
                    f"topic {name} could not be created: this broker does not support creating topics; "
                    f"create it with the broker's tools, or use another broker"
                ) from error
            raise translate(error, f"topic {name} could not be created") from error
        return True

    def _create_by_use(self, name: str, *, partitions: int, config: Mapping[str, str]) -> bool:
        """Create a topic on the mock, by a request for its metadata; `describe` does not create it."""
        if partitions != MOCK_PARTITIONS or config:
            wanted = ", ".join([f"{partitions} partitions", *config])
            raise ConfigurationError(
                f"topic {name} could not be created with {wanted}: the embedded broker creates topics with "
                f"{MOCK_PARTITIONS} partitions and without settings; for another number of partitions, start it with "
                f"tradepipe embedded --topic {name}:{partitions}"
            )
        try:
            self._admin().list_topics(name, timeout=self._timeout)
        except KafkaException as error:
            raise translate(error, f"topic {name} could not be created") from error
        return True

    def _offsets(self, specs: dict[TopicPartition, OffsetSpec]) -> dict[int, int]:
        if not specs:
            return {}
        try:
            responses = self._admin().list_offsets(specs, request_timeout=self._timeout)
            found = {place.partition: self._await(response).offset for place, response in responses.items()}
        except KafkaException as error:
            if unwrap(error).code() in _OUTDATED:
                self._outdated.set()
            raise translate(error, "could not read the watermarks") from error
        # If some leaders answer and others do not in time, librdkafka reports no error for the others.
        if unknown := sorted(partition for partition, offset in found.items() if offset == OFFSET_INVALID):
            self._outdated.set()
            raise BrokerUnavailable(f"could not read the watermarks: no leader answers for partitions {unknown}")
        return found

    def _request_description(self, name: str) -> "Future[Any]":
        responses: dict[str, Future[Any]] = self._admin().describe_topics(
            TopicCollection([name]), request_timeout=self._timeout
        )
        return responses[name]

    def _await(self, response: "Future[T]") -> T:
        """
        Wait for a response; raise a permanent error at once, where librdkafka would retry until the timeout.

        No reference cycle may contain the client, such as that of an exception with a
        frame of its traceback. It would be left to the garbage collector, which may run
        in the client's own thread, and librdkafka aborts a process that closes a client there.
        """
        while not wait([response], POLL_SECONDS).done:
            self._receive_errors()
            self._raise_permanent_error()
            if self._contact.should_report_unreachable():  # librdkafka itself would try again until the timeout
                raise BrokerUnavailable(f"no broker answers: {self._contact.last_error}")
        error = response.exception()
        if not isinstance(error, KafkaException) or unwrap(error).code() > 0:  # librdkafka's own codes are negative
            self._contact.succeeded = True
        self._receive_errors()
        self._raise_permanent_error(final=True)
        if not isinstance(error, KafkaException):
            return response.result()
        if unwrap(error).code() == KafkaError._TIMED_OUT:
            self._outdated.set()
            if self._contact.last_error and not self._contact.succeeded:
                # "Timed out" does not help the operator; the connection's last error does.
                raise BrokerUnavailable(f"no broker answers: {self._contact.last_error}") from error
        # A new one: the callers' frames refer to the response, and the response to its exception.
        raise KafkaException(*error.args)

    def _receive_errors(self) -> None:
        # A separate function: tracebacks keep the variables of their frames, and so would keep a client that is closed.
        if (client := self._client) is not None:
            client.poll(0)

    def _raise_permanent_error(self, *, final: bool = False) -> None:
        error = self._contact.permanent_error(final=final)
        try:
            if error is not None:
                raise error
        finally:
            del error  # this frame is in its traceback

    def _admin(self) -> AdminClient:
        # A new client has new metadata: the old one waits for a controller or leader that is gone, for up to minutes.
        if self._client is None or self._outdated.is_set():
            config: dict[str, Any] = {**self._config, "error_cb": self._contact.record_error}
            self._client = create_client(AdminClient, config)
            self._outdated.clear()
        return self._client


def refuse_compaction(name: str, config: Mapping[str, str]) -> None:
    """Raise `TopicUnusable` if a topic with this configuration is compacted."""
    policy = config.get("cleanup.policy", "delete")
    if "compact" in policy:
        raise TopicUnusable(
            f"topic {name} has cleanup.policy={policy}: compaction would drop versions of trades; "
            f"set cleanup.policy=delete, or name another topic"
        )


def _watermark_of(response: "Future[Any]") -> int | None:
    """Return an answered watermark; None for a refusal, `OFFSET_INVALID` without an answer."""
    error = response.exception()
    if error is None:
        return int(response.result().offset)
    is_refused = isinstance(error, KafkaException) and classify(unwrap(error)) is FailureClass.CONFIGURATION
    return None if is_refused else OFFSET_INVALID


def _describe_error(name: str, error: KafkaException) -> Exception:
    if unwrap(error).code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:
        return TopicUnusable(_no_topic(name))
    return translate(error, f"cannot describe topic {name}")


def _no_topic(name: str) -> str:
    return f"there is no topic {name}; create it: tradepipe topics create --topic {name}"
