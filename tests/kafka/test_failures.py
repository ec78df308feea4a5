"""What Kafka's errors mean."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import BrokerUnavailable, ConfigurationError
from tradepipe.kafka.failures import FailureClass, classify, translate, unwrap

CODES = {
    name: code for name, code in vars(KafkaError).items() if isinstance(code, int) and name.replace("_", "").isupper()
}

CONFIGURATION = """
CLUSTER_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTH_DISABLED
DELEGATION_TOKEN_EXPIRED DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH
DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DUPLICATE_RESOURCE DUPLICATE_VOTER FEATURE_UPDATE_FAILED FENCED_INSTANCE_ID
FENCED_STATE_EPOCH GROUP_AUTHORIZATION_FAILED GROUP_MAX_SIZE_REACHED GROUP_SUBSCRIBED_TO_TOPIC ILLEGAL_SASL_STATE
INCONSISTENT_GROUP_PROTOCOL INCONSISTENT_VOTER_SET INVALID_COMMIT_OFFSET_SIZE INVALID_CONFIG INVALID_GROUP_ID
INVALID_PARTITIONS INVALID_PRINCIPAL_TYPE INVALID_RECORD_STATE INVALID_REGISTRATION INVALID_REGULAR_EXPRESSION
INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_REQUEST INVALID_REQUIRED_ACKS
INVALID_SESSION_TIMEOUT INVALID_SHARE_SESSION_EPOCH INVALID_TRANSACTION_TIMEOUT INVALID_UPDATE_VERSION
INVALID_VOTER_KEY MISMATCHED_ENDPOINT_TYPE NON_EMPTY_GROUP NO_ERROR NO_REASSIGNMENT_IN_PROGRESS
OFFSET_METADATA_TOO_LARGE OFFSET_OUT_OF_RANGE OPERATION_NOT_ATTEMPTED POLICY_VIOLATION
PRINCIPAL_DESERIALIZATION_FAILURE RESOURCE_NOT_FOUND SASL_AUTHENTICATION_FAILED SECURITY_DISABLED
SHARE_SESSION_LIMIT_REACHED SHARE_SESSION_NOT_FOUND STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH
STREAMS_TOPOLOGY_FENCED TELEMETRY_TOO_LARGE TOPIC_ALREADY_EXISTS TOPIC_AUTHORIZATION_FAILED
TOPIC_DELETION_DISABLED TOPIC_EXCEPTION TRANSACTIONAL_ID_AUTHORIZATION_FAILED TRANSACTION_ABORTABLE
UNACCEPTABLE_CREDENTIAL UNKNOWN_CONTROLLER_ID UNKNOWN_TOPIC_OR_PART UNRELEASED_INSTANCE_ID UNSUPPORTED_ASSIGNOR
UNSUPPORTED_COMPRESSION_TYPE UNSUPPORTED_ENDPOINT_TYPE UNSUPPORTED_SASL_MECHANISM UNSUPPORTED_VERSION
VOTER_NOT_FOUND
_APPLICATION _AUTHENTICATION _AUTO_OFFSET_RESET _CONFLICT _CRIT_SYS_RESOURCE _DESTROY _EXISTING_SUBSCRIPTION _FAIL
_FS _INVALID_ARG _INVALID_DIFFERENT_RECORD _INVALID_TYPE _NOENT _NOOP _NOT_CONFIGURED _NOT_IMPLEMENTED _NO_OFFSET
_PARTITION_EOF _READ_ONLY _UNDERFLOW _UNKNOWN_GROUP _UNKNOWN_PARTITION _UNKNOWN_PROTOCOL _UNKNOWN_TOPIC
_UNSUPPORTED_FEATURE
"""
"""What is in no table, known one by one: a code that is new in librdkafka has to be put somewhere on purpose."""


def test_every_code_has_its_class_on_purpose():
    found = {name for name, code in CODES.items() if classify(KafkaError(code)) is FailureClass.CONFIGURATION}

    assert set(CONFIGURATION.split()) == found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_ALL_BROKERS_DOWN", FailureClass.UNAVAILABLE),
        ("_TRANSPORT", FailureClass.UNAVAILABLE),
        ("COORDINATOR_NOT_AVAILABLE", FailureClass.UNAVAILABLE),
        ("NOT_ENOUGH_REPLICAS", FailureClass.UNAVAILABLE),
        ("REBALANCE_IN_PROGRESS", FailureClass.UNAVAILABLE),
        ("_MAX_POLL_EXCEEDED", FailureClass.UNAVAILABLE),
        ("MSG_SIZE_TOO_LARGE", FailureClass.DATA),
        ("INVALID_RECORD", FailureClass.DATA),
        ("TOPIC_AUTHORIZATION_FAILED", FailureClass.CONFIGURATION),
        ("_AUTHENTICATION", FailureClass.CONFIGURATION),
        ("_FATAL", FailureClass.FATAL),
        ("_FENCED", FailureClass.FATAL),
        ("INVALID_PRODUCER_EPOCH", FailureClass.FATAL),
    ],
    ids=str,
)
def test_an_error_is_of_the_class_that_says_what_to_do(name, expected):
    assert expected is classify(KafkaError(CODES[name]))


def test_what_librdkafka_calls_fatal_is_fatal_whatever_its_code():
    assert FailureClass.FATAL is classify(KafkaError(KafkaError._TRANSPORT, "gone", True))


def test_what_librdkafka_calls_retriable_is_away_whatever_its_code():
    assert FailureClass.UNAVAILABLE is classify(KafkaError(KafkaError.INVALID_REQUEST, "again", False, True))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._TRANSPORT, BrokerUnavailable),
        (KafkaError._TIMED_OUT, BrokerUnavailable),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ConfigurationError),
        (KafkaError._INVALID_ARG, ConfigurationError),
    ],
    ids=lambda value: KafkaError(value).name() if isinstance(value, int) else value.__name__,
)
def test_a_caller_sees_one_of_our_own_failures(code, kind):
    assert kind is type(translate(KafkaError(code), "it failed"))


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "create it: tradepipe topics create"),
        (KafkaError._UNKNOWN_TOPIC, "create it: tradepipe topics create"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "needs READ (to consume) or WRITE (to produce) on the topic"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "needs READ on the consumer group"),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "also IDEMPOTENT_WRITE on the cluster"),
        (KafkaError._AUTHENTICATION, "check sasl.mechanism, sasl.username and sasl.password"),
        (KafkaError.FENCED_INSTANCE_ID, "give each its own"),
    ],
    ids=lambda value: KafkaError(value).name() if isinstance(value, int) else "",
)
def test_a_message_says_what_failed_why_and_what_to_do(code, advice):
    message = str(translate(KafkaError(code), "topic trades cannot be read"))

    assert message.startswith("topic trades cannot be read: ")
    assert KafkaError(code).name() in message
    assert message.endswith(advice)


def test_the_error_is_found_in_whatever_it_comes_wrapped_in():
    """librdkafka's fatal errors come as the cause of a SystemError."""
    inner = KafkaError(KafkaError._FENCED)
    wrapped = SystemError("returned a result with an exception set")
    wrapped.__cause__ = KafkaException(inner)

    assert [inner] * 3 == [unwrap(inner), unwrap(KafkaException(inner)), unwrap(wrapped)]


@pytest.mark.parametrize("other", [SystemError("another"), KafkaException("text"), ValueError("no")], ids=repr)
def test_what_is_no_error_of_kafkas_is_not_taken_for_one(other):
    with pytest.raises(TypeError, match="not an error of Kafka's client") as raised:
        unwrap(other)

    assert other is raised.value.__cause__
