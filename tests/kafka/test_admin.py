"""Topics as brokers describe them, and errors of unavailable brokers."""

import gc
import socket
import time
import uuid
import weakref
from contextlib import suppress

import pytest
from confluent_kafka import KafkaError

from tests.eventually import eventually
from tests.proxy import Proxy
from tradepipe.embedded.broker import Broker
from tradepipe.errors import BrokerUnavailable, ConfigurationError, TopicUnusable
from tradepipe.kafka.admin import TopicAdmin, Watermarks

NOON = 1_750_000_000_000
"""Some moment, in milliseconds."""

LIBRDKAFKA_TIMEOUT = 60
"""Seconds that a request takes if no timeout is given."""


@pytest.fixture
def topics(kafka):
    return TopicAdmin(kafka)


@pytest.fixture
def missing():
    return f"missing-{uuid.uuid4().hex}"


def patiently(ask, *arguments):
    """Retry until a new leader answers."""

    def answer():
        with suppress(BrokerUnavailable):
            return ask(*arguments)

    return eventually(answer)


def wait_for_config(topics, name):
    """Return the configuration of a new topic, once the broker knows the topic."""

    def config():
        with suppress(BrokerUnavailable, TopicUnusable):
            return topics.config(name)

    return eventually(config)


def test_a_topic_is_described_with_its_id_and_partitions(topics, topic):
    described = topics.describe(topic)

    assert (topic, (0, 1, 2, 3)) == (described.name, described.partitions)
    assert described.topic_id


def test_two_topics_have_two_ids(topics, topic, services):
    other = f"other-{uuid.uuid4().hex}"
    services.create_topic(other)

    assert topics.describe(topic).topic_id != topics.describe(other).topic_id


def test_an_id_can_be_asked_for_without_waiting(topics, topic):
    assert topics.describe(topic).topic_id == topics.topic_id(topic).result(120)


def test_a_missing_topic_has_no_id(topics, missing):
    assert topics.topic_id(missing).result(120) is None


def test_a_missing_topic_is_reported_with_the_command_that_creates_it(topics, missing):
    with pytest.raises(TopicUnusable) as raised:
        topics.describe(missing)

    assert f"there is no topic {missing}; create it: tradepipe topics create --topic {missing}" == str(raised.value)


def test_asking_for_a_topic_does_not_create_it(topics, missing):
    for _ in range(2):
        with pytest.raises(TopicUnusable):
            topics.describe(missing)


@pytest.fixture
def no_collection():
    """Objects are deleted with their last reference, or never."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "request_by",
    [
        lambda topics, topic, missing: topics.describe(missing),
        lambda topics, topic, missing: topics.config(missing),
        lambda topics, topic, missing: topics.watermarks(missing, [0]),
        lambda topics, topic, missing: topics.high_watermarks_async(topic, [0, 1]),
        lambda topics, topic, missing: topics.topic_id(missing),
        lambda topics, topic, missing: topics.create(topic, partitions=4, replication=1, config={}),
    ],
    ids=["describe", "config", "watermarks", "high_watermarks_async", "topic_id", "create"],
)
def test_a_client_is_closed_when_its_admin_is_deleted(kafka, topic, missing, no_collection, request_by):
    """The garbage collector may run in the client's own thread, where closing the client aborts the process."""
    topics = TopicAdmin(kafka, request_timeout=2)
    client = weakref.ref(topics._admin())
    with suppress(BrokerUnavailable, ConfigurationError, TopicUnusable):
        request_by(topics, topic, missing)

    del topics

    assert client() is None


def test_a_rejected_client_is_closed_when_its_admin_is_deleted(no_collection):
    """Its request is still open then."""
    with socket.create_server(("127.0.0.1", 0)) as plain:
        topics = TopicAdmin({"bootstrap.servers": f"127.0.0.1:{plain.getsockname()[1]}"})
        client = weakref.ref(topics._admin())
        topics._contact.record_error(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
        with pytest.raises(ConfigurationError):
            topics.describe("trades")

        del topics

        assert client() is None


def test_an_empty_log_begins_where_it_ends(topics, topic):
    assert {0: Watermarks(0, 0), 3: Watermarks(0, 0)} == patiently(topics.watermarks, topic, [0, 3])


def test_the_high_watermark_follows_the_last_record(topics, topic, produce):
    produce(b"1", b"2", partition=1)

    assert {0: Watermarks(0, 0), 1: Watermarks(0, 2)} == patiently(topics.watermarks, topic, [0, 1])


def test_the_extent_of_no_partition_is_nothing(topics, topic):
    assert {} == topics.watermarks(topic, [])


def test_the_watermarks_of_a_partition_without_a_leader_are_unavailable(topics, topic):
    """As while brokers start or elect: "No leaders found" is also the error for a missing partition."""
    with pytest.raises(BrokerUnavailable, match="could not read the watermarks"):
        topics.watermarks(topic, [7])


@pytest.mark.real
def test_a_topic_is_created_without_preferred_settings_that_the_broker_refuses(topics, missing):
    settings = {"partitions": 1, "replication": 1, "config": {"retention.ms": "604800000"}}

    refused = []

    assert topics.create(missing, **settings, preferred={"compression.type": "x"}, on_refused=refused.append)
    assert topics.create(
        f"{missing}.zstd", **settings, preferred={"compression.type": "zstd"}, on_refused=refused.append
    )
    assert 1 == len(refused)

    created = [wait_for_config(topics, each) for each in (missing, f"{missing}.zstd")]
    assert [("604800000", "producer"), ("604800000", "zstd")] == [
        (each["retention.ms"], each["compression.type"]) for each in created
    ]


@pytest.mark.real
def test_a_time_has_an_offset(topics, topic, produce):
    """
    That of the first record that is not older; the end if there is no such record.

    To Kafka the millisecond before 1970 is a name for the end.
    """
    for minute in range(3):
        produce(b"%d" % minute, timestamp=NOON + minute * 60_000)
    times = [-1, NOON - 1, NOON, NOON + 1, NOON + 120_001]

    found = [patiently(topics.offsets_for_time, topic, [0, 1], moment) for moment in times]

    assert [{0: 0, 1: 0}, {0: 0, 1: 0}, {0: 0, 1: 0}, {0: 1, 1: 0}, {0: 3, 1: 0}] == found


@pytest.mark.real
def test_a_topic_is_created_once(topics, missing):
    settings = {"partitions": 2, "replication": 1, "config": {"cleanup.policy": "delete"}}

    assert [True, False] == [topics.create(missing, **settings) for _ in range(2)]
    assert (0, 1) == topics.describe(missing).partitions


@pytest.mark.real
def test_a_failure_to_create_a_topic_is_reported(topics, missing):
    with pytest.raises(ConfigurationError, match=f"topic {missing} could not be created: .*replication factor"):
        topics.create(missing, partitions=1, replication=3, config={})


def test_a_broker_that_does_not_support_creating_topics_is_reported(missing):
    with Broker() as broker, pytest.raises(ConfigurationError, match=f"topic {missing} could not be created"):
        TopicAdmin({"bootstrap.servers": broker.bootstrap_servers}).create(
            missing, partitions=1, replication=1, config={}
        )


@pytest.mark.real
@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_compacted_topic_is_refused(topics, create_topic, policy):
    name = create_topic(cleanup_policy=policy)

    with pytest.raises(TopicUnusable, match=rf"topic {name} has cleanup\.policy={policy}: .* set cleanup\.policy=del"):
        topics.check_not_compacted(name)


def test_a_topic_that_is_not_compacted_is_accepted(topics, topic):
    """So is a topic of a broker that does not describe its topics, such as the embedded one."""
    topics.check_not_compacted(topic)


@pytest.mark.real
def test_the_largest_batch_is_that_of_the_topics_settings(topics, create_topic):
    assert 2_000_000 == topics.max_message_bytes(create_topic(max_message_bytes="2000000"))


@pytest.mark.real
@pytest.mark.parametrize("question", ["check_not_compacted", "max_message_bytes"])
def test_the_settings_of_a_missing_topic_cannot_be_read(topics, missing, question):
    with pytest.raises(TopicUnusable, match=f"there is no topic {missing}"):
        getattr(topics, question)(missing)


ASKED = {
    "describe": lambda topics: topics.describe("trades"),
    "watermarks": lambda topics: topics.watermarks("trades", [0]),
    "offsets_for_time": lambda topics: topics.offsets_for_time("trades", [0], NOON),
    "create": lambda topics: topics.create("other", partitions=1, replication=1, config={}),
    "check_not_compacted": lambda topics: topics.check_not_compacted("trades"),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_unreachable_brokers_are_unavailable_after_the_timeout(ask):
    topics = TopicAdmin({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, request_timeout=0.5)
    began = time.monotonic()

    with pytest.raises(BrokerUnavailable, match=r"no broker answers: 127\.0\.0\.1:.* Connection refused"):
        ask(topics)
    assert 0.4 < time.monotonic() - began < LIBRDKAFKA_TIMEOUT


def test_unreachable_brokers_are_reported_long_before_the_timeout():
    """A person would wait ten seconds for the first word otherwise; the timeout still holds for the next attempt."""
    topics = TopicAdmin({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, request_timeout=600.0)
    began = time.monotonic()

    with pytest.raises(BrokerUnavailable, match=r"no broker answers: 127\.0\.0\.1:.* Connection refused$"):
        topics.describe("trades")
    assert time.monotonic() - began < LIBRDKAFKA_TIMEOUT


def test_brokers_that_do_not_respond_are_unavailable_after_the_timeout():
    with Broker() as broker, Proxy(int(broker.bootstrap_servers.rpartition(":")[2])) as proxy:
        proxy.blackhole()
        topics = TopicAdmin({"bootstrap.servers": f"127.0.0.1:{proxy.port}", "log_level": 0}, request_timeout=0.5)

        with pytest.raises(BrokerUnavailable):
            topics.describe("trades")


def test_a_broker_that_is_back_answers_again():
    with Broker() as broker:
        broker.create_topic("trades", partitions=1)
        config = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0, "reconnect.backoff.max.ms": 100}
        broker.down()
        with pytest.raises(BrokerUnavailable):
            TopicAdmin(config, request_timeout=0.5).describe("trades")
        broker.up()

        assert (0,) == TopicAdmin(config).describe("trades").partitions


def test_an_id_that_cannot_be_asked_for_is_not_known():
    topics = TopicAdmin({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, request_timeout=0.5)

    assert topics.topic_id("trades").result(60) is None


def test_an_unknown_property_is_reported():
    with pytest.raises(ConfigurationError, match=r'invalid Kafka client configuration: .*"ssl\.no\.such\.property"'):
        TopicAdmin({"bootstrap.servers": "localhost:9092", "ssl.no.such.property": "1"})


def test_partitions_whose_leader_does_not_answer_have_no_watermarks():
    """librdkafka reports no error for them, if other leaders answer."""
    with Broker(brokers=3) as broker:
        broker.create_topic("trades", partitions=3)
        topics = TopicAdmin({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}, request_timeout=2.0)
        assert dict.fromkeys(range(3), Watermarks(0, 0)) == patiently(topics.watermarks, "trades", range(3))

        broker.down(2)

        with pytest.raises(BrokerUnavailable, match="no leader answers for partitions"):
            topics.watermarks("trades", range(3))
        assert len(topics.high_watermarks_async("trades", range(3)).result(120)) < 3


def test_a_watermark_that_a_broker_refuses_is_told_apart_from_one_without_an_answer():
    """Partition 7 does not exist."""
    with Broker() as broker:
        broker.create_topic("trades", partitions=1)
        topics = TopicAdmin({"bootstrap.servers": broker.bootstrap_servers})

        # A broker that has just started may leave the first request without an answer.
        eventually(lambda: {0: 0, 7: None} == topics.high_watermarks_async("trades", [0, 7]).result(60))
