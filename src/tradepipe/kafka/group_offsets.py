"""Offsets that a consumer group commits to Kafka."""

import logging
from collections.abc import Iterable, Mapping
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaException, TopicPartition

from tradepipe.errors import BrokerUnavailable, ConfigurationError
from tradepipe.kafka.failures import translate, unwrap

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT: Final = 5.0
"""Seconds to wait for a response of the group coordinator."""

FOR_LAG_TOOLS: Final = "tradepipe sink"
"""Metadata of offsets that are committed for lag tools only, by which `committed_offsets` recognizes them."""


def committed_offsets(
    client: confluent_kafka.Consumer, group: str, topic: str, partitions: Iterable[int]
) -> dict[int, int]:
    """
    Return the group's committed offsets, without partitions that have none.

    Waits for open transactions that will commit offsets of these partitions.

    Raises:
        BrokerUnavailable: the coordinator did not respond; the same call may succeed later.

        ConfigurationError: the brokers reject the consumer, or a sink uses the same group.
    """
    places = [TopicPartition(topic, partition) for partition in partitions]
    failure = f"cannot read the committed offsets of group {group}"
    try:
        response = client.committed(places, timeout=REQUEST_TIMEOUT)
    except KafkaException as error:
        raise translate(error, failure) from error
    _check_partitions(response, failure)
    if any(each.metadata == FOR_LAG_TOOLS for each in response):
        # They say how far the sink is: resuming there would skip every record that the sink has stored.
        raise ConfigurationError(f"group {group} belongs to a sink of topic {topic}: use another group, --group NAME")
    return {each.partition: each.offset for each in response if each.offset >= 0}


def commit_offsets(client: confluent_kafka.Consumer, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """
    Commit offsets to Kafka and wait for the response; a member that the group has expelled commits nothing.

    Raises:
        BrokerUnavailable: the offsets are not committed, or the result is unknown.

        ConfigurationError: the brokers reject the consumer.
    """
    places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    failure = f"cannot commit offsets of group {group}"
    try:
        response = client.commit(offsets=places, asynchronous=False) or []
    except KafkaException as error:
        raise translate(error, failure) from error
    _check_partitions(response, failure)


def member_metadata(client: confluent_kafka.Consumer, group: str) -> bytes:
    """Return the metadata by which a transaction proves membership; `BrokerUnavailable` if the session has ended."""
    # Read before the member id is checked: if the session ends in between, the check fails.
    metadata: bytes = client.consumer_group_metadata()
    if not client.memberid():
        raise BrokerUnavailable(f"the session with group {group} has ended")
    return metadata


def _check_partitions(response: Iterable[TopicPartition], failure: str) -> None:
    # The call succeeds although single partitions failed.
    if error := next((each.error for each in response if each.error is not None), None):
        raise translate(error, failure)


def commit_for_lag(client: confluent_kafka.Consumer, topic: str, offsets: Mapping[int, int]) -> None:
    """Commit offsets for lag tools, without waiting."""
    places = [TopicPartition(topic, partition, offset, FOR_LAG_TOOLS) for partition, offset in offsets.items()]
    try:
        client.commit(offsets=places, asynchronous=True)
    except KafkaException as error:
        logger.debug("could not commit offsets for lag tools, will retry: %s", unwrap(error).str())
