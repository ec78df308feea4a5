"""The validator's start offsets: after an interruption, and on new partitions."""

import re

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.eventually import eventually
from tests.pipeline.running_stages import done, running
from tradepipe import OffsetOutOfRange

pytestmark = pytest.mark.usefixtures("targets")

PRODUCE = 0
"""A request, as Kafka's protocol numbers it."""


@pytest.mark.embedded
def test_an_interrupted_batch_is_read_again_with_the_records_after_it(pipeline, services, some_trades):
    """All records are of one trade, and so in one partition; the failed request has written nothing."""
    (trade,) = some_trades(1)
    sent = pipeline.publish(trade._replace(version=number) for number in range(1, 101))
    services.broker.fail_requests(PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)

    pipeline.validate(delivery="at_least_once", batch_records=20)

    assert [pipeline.serialize(each) for each in sent] == [record.value for record in pipeline.sorted().clean]


def test_a_new_partition_is_read_from_its_first_record(pipeline, some_trades):
    """Its group has no offset of it, and the outputs hold records of the other partitions."""
    (trade,) = some_trades(1)
    record = (trade.trade_id.encode(), pipeline.serialize(trade))
    pipeline.publish_bytes([record], partition=0)
    pipeline.validate(delivery="at_least_once", group="another")
    commit(pipeline, f"{pipeline.topic}-validator", {0: 1, 1: 0, 2: 0})
    pipeline.publish_bytes([record] * 3, partition=3)

    with running(pipeline.validator(delivery="at_least_once")) as validator:
        eventually(lambda: done(validator) == 3)


def test_a_committed_offset_after_the_end_of_the_log_stops_the_validator(pipeline):
    """As for a topic that was restored from a backup: what is in the log may have been validated or not."""
    pipeline.publish_bytes([(b"K", b"\x01 no frame")], partition=0)
    commit(pipeline, f"{pipeline.topic}-validator", {number: 0 for number in range(3)} | {3: 1_000})

    with pytest.raises(OffsetOutOfRange, match=r"\[3\] is 1000, but its log reaches from 0 to 0"):
        pipeline.validate(delivery="at_least_once")


def test_a_new_group_warns_of_records_that_are_no_longer_in_the_log(pipeline, some_trades, services, caplog):
    pipeline.publish(some_trades(10))
    services.delete_records(pipeline.topic)

    for _ in range(2):
        pipeline.validate(delivery="at_least_once")

    numbers = re.findall(r"new group \S+-validator starts .* has the (\d+) records before it", caplog.text)
    assert 10 == sum(map(int, numbers))


def commit(pipeline, group, offsets):
    """Commit offsets of a group without members."""
    client = Consumer({"bootstrap.servers": pipeline.kafka["bootstrap.servers"], "group.id": group})
    places = [TopicPartition(pipeline.topic, number, offset) for number, offset in offsets.items()]
    client.commit(offsets=places, asynchronous=False)
    client.close()
