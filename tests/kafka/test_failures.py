"""What Kafka's errors mean: which stop a stage, and which are waited for."""

from contextlib import suppress

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.eventually import eventually
from tradepipe.errors import BrokerUnavailable, ConfigurationError
from tradepipe.kafka import failures
from tradepipe.kafka.failures import FAILURE_CLASSES, Confirmation, FailureClass, classify, translate, unwrap

CODES = {
    name: code for name, code in vars(KafkaError).items() if isinstance(code, int) and name.replace("_", "").isupper()
}

WAIT = FailureClass.UNAVAILABLE

CONNECTION = """
_TRANSPORT _ALL_BROKERS_DOWN _TIMED_OUT _TIMED_OUT_QUEUE _RESOLVE _SSL _AUTHENTICATION SASL_AUTHENTICATION_FAILED
ILLEGAL_SASL_STATE REQUEST_TIMED_OUT NETWORK_EXCEPTION BROKER_NOT_AVAILABLE THROTTLING_QUOTA_EXCEEDED UNKNOWN
_UNKNOWN_BROKER _DESTROY_BROKER _RETRY _OUTDATED _STATE _INTR REBOOTSTRAP_REQUIRED INVALID_REQUEST _CRIT_SYS_RESOURCE
"""
ELECTION = """
LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REPLICA_NOT_AVAILABLE LISTENER_NOT_FOUND FENCED_LEADER_EPOCH
UNKNOWN_LEADER_EPOCH OFFSET_NOT_AVAILABLE KAFKA_STORAGE_ERROR UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID
PREFERRED_LEADER_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE ELECTION_NOT_NEEDED
"""
COORDINATOR = "COORDINATOR_NOT_AVAILABLE COORDINATOR_LOAD_IN_PROGRESS NOT_COORDINATOR _WAIT_COORD"
MEMBERSHIP = """
REBALANCE_IN_PROGRESS ILLEGAL_GENERATION UNKNOWN_MEMBER_ID MEMBER_ID_REQUIRED FENCED_MEMBER_EPOCH STALE_MEMBER_EPOCH
_ASSIGNMENT_LOST _MAX_POLL_EXCEEDED GROUP_ID_NOT_FOUND UNKNOWN_SUBSCRIPTION_ID
"""
OUTAGES = {
    "list_offsets": CONNECTION + ELECTION + "_NOENT _PARTIAL _WAIT_CACHE",
    "describe_topics, describe_configs, list_topics": CONNECTION + ELECTION + "NOT_CONTROLLER STALE_CTRL_EPOCH "
    "STALE_BROKER_EPOCH OPERATION_NOT_ATTEMPTED INVALID_UPDATE_VERSION UNKNOWN_CONTROLLER_ID",
    "committed": CONNECTION + COORDINATOR + MEMBERSHIP + "UNSTABLE_OFFSET_COMMIT _NO_OFFSET",
    "commit": CONNECTION + COORDINATOR + MEMBERSHIP + "_NO_OFFSET",
    "poll": CONNECTION + ELECTION + COORDINATOR + MEMBERSHIP + "_LOG_TRUNCATION FETCH_SESSION_ID_NOT_FOUND "
    "INVALID_FETCH_SESSION_EPOCH REASSIGNMENT_IN_PROGRESS _FS OFFSET_OUT_OF_RANGE",
    "init_transactions, begin, send_offsets, commit and abort of a transaction": CONNECTION
    + COORDINATOR
    + MEMBERSHIP
    + "CONCURRENT_TRANSACTIONS TRANSACTION_ABORTABLE _PREV_IN_PROGRESS _IN_PROGRESS",
    "delivery reports": CONNECTION + ELECTION + "_MSG_TIMED_OUT _QUEUE_FULL _ISR_INSUFF NOT_ENOUGH_REPLICAS "
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND LOG_DIR_NOT_FOUND",
}
"""The errors of each call while brokers start, elect, or are unavailable."""

DENIALS = {
    "list_offsets": "TOPIC_AUTHORIZATION_FAILED UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC _UNKNOWN_PARTITION",
    "describe_topics": "TOPIC_AUTHORIZATION_FAILED UNKNOWN_TOPIC_OR_PART TOPIC_EXCEPTION UNSUPPORTED_VERSION",
    "committed": "GROUP_AUTHORIZATION_FAILED INVALID_GROUP_ID",
    "commit": "GROUP_AUTHORIZATION_FAILED TOPIC_AUTHORIZATION_FAILED OFFSET_METADATA_TOO_LARGE",
    "poll": "GROUP_AUTHORIZATION_FAILED TOPIC_AUTHORIZATION_FAILED UNKNOWN_TOPIC_OR_PART INCONSISTENT_GROUP_PROTOCOL "
    "FENCED_INSTANCE_ID UNRELEASED_INSTANCE_ID UNSUPPORTED_ASSIGNOR GROUP_MAX_SIZE_REACHED INVALID_SESSION_TIMEOUT",
    "transactions": "TRANSACTIONAL_ID_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED INVALID_TRANSACTION_TIMEOUT",
    "delivery reports": "TOPIC_AUTHORIZATION_FAILED UNKNOWN_TOPIC_OR_PART _UNKNOWN_PARTITION INVALID_REQUIRED_ACKS",
}
"""The errors of each call that an operator must repair."""


@pytest.mark.parametrize("call", OUTAGES)
def test_errors_of_starting_and_electing_brokers_are_outages(call):
    assert {} == {
        name: kind for name in OUTAGES[call].split() if (kind := classify(KafkaError(CODES[name]))) is not WAIT
    }


@pytest.mark.parametrize("call", DENIALS)
def test_errors_that_an_operator_must_fix_are_configuration_errors(call):
    found = {name: classify(KafkaError(CODES[name])) for name in DENIALS[call].split()}

    assert dict.fromkeys(found, FailureClass.CONFIGURATION) == found


def test_an_error_that_the_table_does_not_name_is_an_outage():
    unknown = max(CODES.values()) + 100

    assert (WAIT, BrokerUnavailable) == (
        classify(KafkaError(unknown)),
        type(translate(KafkaError(unknown), "it failed")),
    )


def test_every_error_of_the_table_is_not_an_outage():
    found = {code for code in CODES.values() if classify(KafkaError(code)) is not WAIT}

    assert set(FAILURE_CLASSES) == found


@pytest.fixture
def short_confirmation(monkeypatch):
    """Confirm a configuration error after a fifth of a second."""
    monkeypatch.setattr(failures, "CONFIRM_SECONDS", 0.2)


def deny():
    raise ConfigurationError("denied")


def test_a_denial_before_the_first_success_counts_at_once():
    with pytest.raises(ConfigurationError, match="^denied$"):
        Confirmation()(deny)


def test_a_denial_after_a_success_is_an_outage():
    confirm = Confirmation()
    assert 7 == confirm(lambda: 7)

    with pytest.raises(BrokerUnavailable, match="^denied; the stage ends if this lasts for a minute$"):
        confirm(deny)

    assert confirm.is_failing


def test_a_denial_that_lasts_is_raised(short_confirmation):
    confirm = Confirmation(has_succeeded=True)

    def deny_again() -> None:
        with suppress(BrokerUnavailable):
            confirm(deny)

    with pytest.raises(ConfigurationError, match="^denied$"):
        eventually(deny_again)


@pytest.mark.parametrize(
    "between", [Confirmation.record_success, Confirmation.record_outage], ids=["success", "outage"]
)
def test_a_denial_that_passed_does_not_count_with_a_later_one(between):
    confirm = Confirmation(has_succeeded=True)
    assert not confirm.confirm()
    between(confirm)
    assert not confirm.is_failing

    assert not confirm.confirm()


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
        ("_AUTHENTICATION", FailureClass.UNAVAILABLE),
        ("_FATAL", FailureClass.FATAL),
        ("_FENCED", FailureClass.FATAL),
        ("INVALID_PRODUCER_EPOCH", FailureClass.FATAL),
    ],
    ids=str,
)
def test_an_error_has_the_failure_class_that_decides_the_reaction(name, expected):
    assert expected is classify(KafkaError(CODES[name]))


def test_what_librdkafka_calls_fatal_is_fatal_whatever_its_code():
    assert FailureClass.FATAL is classify(KafkaError(KafkaError._TRANSPORT, "gone", True))


def test_what_librdkafka_calls_retriable_is_an_outage_whatever_its_code():
    assert FailureClass.UNAVAILABLE is classify(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "again", False, True))


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
def test_a_message_has_the_action_the_reason_and_advice(code, advice):
    message = str(translate(KafkaError(code), "topic trades cannot be read"))

    assert message.startswith("topic trades cannot be read: ")
    assert KafkaError(code).name() in message
    assert message.endswith(advice)


def test_the_error_is_found_inside_its_wrappers():
    """A fatal error of librdkafka is the cause of a SystemError."""
    inner = KafkaError(KafkaError._FENCED)
    wrapped = SystemError("returned a result with an exception set")
    wrapped.__cause__ = KafkaException(inner)
    following = KafkaException(inner)
    following.__cause__ = KafkaException(KafkaError(KafkaError._STATE))

    assert [inner] * 4 == [unwrap(each) for each in (inner, KafkaException(inner), wrapped, following)]


@pytest.mark.parametrize("other", [SystemError("another"), KafkaException("text"), ValueError("no")], ids=repr)
def test_another_exception_is_no_error_of_kafka(other):
    with pytest.raises(TypeError, match="not an error of Kafka's client") as raised:
        unwrap(other)

    assert other is raised.value.__cause__


def test_a_fatal_error_has_the_advice_of_its_cause():
    """As the new group protocol reports it: the code is fatal, and the text has the cause."""
    cause = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED).str()
    fatal = KafkaError(KafkaError._FATAL, f"Fatal error: {cause}: ConsumerGroupHeartbeat fatal error: {cause}", True)

    assert KafkaError.GROUP_AUTHORIZATION_FAILED == failures.code_of(fatal)
    assert str(translate(fatal, "it failed")).endswith("the principal needs READ on the consumer group")
