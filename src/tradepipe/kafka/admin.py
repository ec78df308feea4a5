"""Topics as the stages need them: what a topic is, where its log begins and ends, creating one."""

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from tradepipe.errors import BrokerUnavailable, ConfigurationError, TopicUnusable
from tradepipe.kafka.config import Config, admin_config
from tradepipe.kafka.failures import translate, unwrap
from tradepipe.kafka.librdkafka import FirstContact

logger = logging.getLogger(__name__)

T = TypeVar("T")

REQUEST_TIMEOUT: Final = 10.0
"""Seconds an admin request may take."""

POLL_SECONDS: Final = 0.05
"""Seconds between two looks at what the client has to report while it waits for an answer."""

_NO_DESCRIBE: Final = frozenset(
    {KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
)
_OUTDATED: Final = frozenset(
    {KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION}
)
"""What a client keeps hearing for a minute after a broker came back: it asks by what it knew of it before."""


class Topic(NamedTuple):
    """
    A topic as its brokers describe it.

    `topic_id` changes when a topic of the same name is created anew; None from
    a broker that has no topic ids. `replication` is on how many brokers its
    least replicated partition lies.
    """

    name: str
    topic_id: str | None
    partitions: tuple[int, ...]
    replication: int | None = None


class Watermarks(NamedTuple):
    """
    Where a partition's log begins and ends.

    `end` is the high watermark: the offset the next record will have, open
    transactions included.
    """

    low: int
    high: int


class TopicAdmin:
    """
    Questions about topics, asked over a connection of their own.

    Raises, in every method:
        BrokerUnavailable: no broker answers now.

        ConfigurationError: the brokers answer, and it is no.
    """

    def __init__(self, config: Config, *, request_timeout: float = REQUEST_TIMEOUT) -> None:
        self._config = admin_config(config)
        self._timeout = request_timeout
        self._client: AdminClient | None = None
        self._contact = FirstContact()

    def describe(self, name: str) -> Topic:
        """
        What the brokers know of a topic.

        Raises:
            TopicUnusable: there is no such topic.
        """
        try:
            described = self._await(self._request_description(name))
        except KafkaException as error:
            if unwrap(error).code() in _NO_DESCRIBE:
                return self._describe_by_metadata(name)
            raise _missing(name, error) from error
        replication = min((len(part.replicas) for part in described.partitions), default=None)
        return Topic(
            name, str(described.topic_id), tuple(sorted(part.id for part in described.partitions)), replication
        )

    def topic_id(self, name: str) -> "Future[str | None]":
        """The topic's id, when the answer has come; None where the broker has none or cannot say now."""
        answer: Future[str | None] = Future()

        def settle(asked: "Future[Any]") -> None:
            answer.set_result(None if asked.exception() else str(asked.result().topic_id))

        self._request_description(name).add_done_callback(settle)
        return answer

    def check_not_compacted(self, name: str) -> None:
        """
        Refuse a topic whose old records Kafka may drop one by one.

        Raises:
            TopicUnusable: the topic is compacted.
        """
        policy = self.config(name).get("cleanup.policy", "delete")
        if "compact" in policy:
            raise TopicUnusable(
                f"topic {name} has cleanup.policy={policy}: compaction would drop versions of trades; "
                f"set cleanup.policy=delete, or name another topic"
            )

    def config(self, name: str) -> dict[str, str]:
        """The topic's configuration, defaults included; empty where the broker does not tell us."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        try:
            asked = self._admin().describe_configs([resource], request_timeout=self._timeout)[resource]
            answer = self._await(asked)
        except KafkaException as error:
            code = unwrap(error).code()
            if code in _NO_DESCRIBE or code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                logger.debug("the broker does not tell the configuration of %s: %s", name, unwrap(error).str())
                return {}
            raise _missing(name, error) from error
        return {setting: entry.value for setting, entry in answer.items() if entry.value is not None}

    def max_message_bytes(self, name: str) -> int | None:
        """The largest batch of records the topic takes, in bytes; None where the broker does not say."""
        limit = self.config(name).get("max.message.bytes")
        return None if limit is None else int(limit)

    def watermarks(self, name: str, partitions: Iterable[int]) -> dict[int, Watermarks]:
        """Where the log of each partition begins and ends now."""
        places = [TopicPartition(name, partition) for partition in partitions]
        begins = self._offsets({place: OffsetSpec.earliest() for place in places})
        ends = self._offsets({place: OffsetSpec.latest() for place in places})
        return {partition: Watermarks(begin, ends[partition]) for partition, begin in begins.items()}

    def high_watermarks_async(self, name: str, partitions: Iterable[int]) -> "Future[dict[int, int]]":
        """Where the log of each partition ends, when the answers have come; without those that cannot be had now."""
        places = {TopicPartition(name, partition): OffsetSpec.latest() for partition in partitions}
        asked = self._admin().list_offsets(places, request_timeout=self._timeout)
        answer: Future[dict[int, int]] = Future()

        def settle(_asked: "Future[Any]") -> None:
            with settling:
                if all(each.done() for each in asked.values()) and not answer.done():
                    told = {place.partition: each for place, each in asked.items() if not each.exception()}
                    answer.set_result({partition: each.result().offset for partition, each in told.items()})

        settling = Lock()
        for each in asked.values():
            each.add_done_callback(settle)
        return answer

    def offsets_for_time(self, name: str, partitions: Iterable[int], timestamp_ms: int) -> dict[int, int]:
        """The first offset of each partition whose record is not older than `timestamp_ms`; the end where none is."""
        spec = OffsetSpec.for_timestamp(max(0, timestamp_ms))  # below are Kafka's names for the log's ends
        found = self._offsets({TopicPartition(name, part): spec for part in partitions})
        if any(offset < 0 for offset in found.values()):
            ends = self._offsets({TopicPartition(name, part): OffsetSpec.latest() for part in found})
            return {part: offset if offset >= 0 else ends[part] for part, offset in found.items()}
        return found

    def create(self, name: str, *, partitions: int, replication: int, config: Mapping[str, str]) -> bool:
        """Create a topic; False when it was there already."""
        topic = NewTopic(name, partitions, replication, config=dict(config))
        try:
            self._await(self._admin().create_topics([topic], request_timeout=self._timeout)[name])
        except KafkaException as error:
            if unwrap(error).code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            if unwrap(error).code() == KafkaError._UNSUPPORTED_FEATURE:
                raise ConfigurationError(
                    f"topic {name} could not be created: this broker takes no requests to create topics; "
                    f"create it with the broker's own means, or use another broker"
                ) from error
            raise translate(unwrap(error), f"topic {name} could not be created") from error
        return True

    def _offsets(self, specs: dict[TopicPartition, OffsetSpec]) -> dict[int, int]:
        if not specs:
            return {}
        try:
            answers = self._admin().list_offsets(specs, request_timeout=self._timeout)
            return {place.partition: self._await(answer).offset for place, answer in answers.items()}
        except KafkaException as error:
            if unwrap(error).code() in _OUTDATED:
                self._client = None
            raise translate(unwrap(error), "the extent of the log could not be asked") from error

    def _describe_by_metadata(self, name: str) -> Topic:
        try:
            known = self._admin().list_topics(timeout=self._timeout).topics.get(name)
        except KafkaException as error:
            raise translate(unwrap(error), f"topic {name} could not be described") from error
        if known is None:
            raise TopicUnusable(_no_topic(name))
        return Topic(name, None, tuple(sorted(known.partitions)))

    def _request_description(self, name: str) -> "Future[Any]":
        asked: dict[str, Future[Any]] = self._admin().describe_topics(
            TopicCollection([name]), request_timeout=self._timeout
        )
        return asked[name]

    def _await(self, asked: "Future[T]") -> T:
        """The answer, or at once why there will be none: to a client refusal and outage are the same."""
        client = self._admin()
        while not wait([asked], POLL_SECONDS).done:
            client.poll(0)
            if refusal := self._contact.permanent_error():
                raise refusal
        error = asked.exception()
        if not isinstance(error, KafkaException) or unwrap(error).code() > 0:  # below 0 are the client's own
            self._contact.succeeded = True
        client.poll(0)
        if refusal := self._contact.permanent_error(final=True):
            raise refusal
        if isinstance(error, KafkaException) and unwrap(error).code() == KafkaError._TIMED_OUT:
            self._check_contact(error)
        return asked.result()

    def _check_contact(self, error: KafkaException) -> None:
        """Tell why no broker ever answered: that a request timed out tells nobody what to do."""
        if self._contact.last_error and not self._contact.succeeded:
            raise BrokerUnavailable(f"no broker answers: {self._contact.last_error}") from error

    def _admin(self) -> AdminClient:
        if self._client is None:
            config: dict[str, Any] = {**self._config, "error_cb": self._contact.record_error}
            try:
                self._client = AdminClient(config)
            except KafkaException as error:
                raise translate(unwrap(error), "Kafka's client cannot be configured so") from error
        return self._client


def _missing(name: str, error: KafkaException) -> Exception:
    told = unwrap(error)
    if told.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:
        return TopicUnusable(_no_topic(name))
    return translate(told, f"topic {name} could not be described")


def _no_topic(name: str) -> str:
    return f"there is no topic {name}; create it: tradepipe topics create --topic {name}"
