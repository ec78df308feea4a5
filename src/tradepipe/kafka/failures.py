"""Failure classes of Kafka errors: wait, refuse one record, stop, or recreate the client."""

from enum import Enum
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import BrokerUnavailable, ConfigurationError, TradepipeError


class FailureClass(Enum):
    """The reaction to an error."""

    UNAVAILABLE = "unavailable"
    """Kafka is unavailable: keep the batch and retry."""

    DATA = "data"
    """This record is invalid; the others are not affected."""

    CONFIGURATION = "configuration"
    """Waiting does not help; the configuration or the cluster must be changed."""

    FATAL = "fatal"
    """The client is unusable; a new one must replace it."""


_DATA: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError._BAD_MSG,
        KafkaError._BAD_COMPRESSION,
        KafkaError._VALUE_SERIALIZATION,
        KafkaError._KEY_SERIALIZATION,
        KafkaError._VALUE_DESERIALIZATION,
        KafkaError._KEY_DESERIALIZATION,
    }
)
_FATAL: Final = frozenset(
    {
        KafkaError._FATAL,
        KafkaError._FENCED,
        KafkaError._GAPLESS_GUARANTEE,
        KafkaError._INCONSISTENT,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._PURGE_QUEUE,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.DUPLICATE_SEQUENCE_NUMBER,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.INVALID_TXN_STATE,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)
_UNAVAILABLE: Final = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._SSL,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._IN_PROGRESS,
        KafkaError._PREV_IN_PROGRESS,
        KafkaError._ISR_INSUFF,
        KafkaError._NODE_UPDATE,
        KafkaError._RETRY,
        KafkaError._QUEUE_FULL,
        KafkaError._OUTDATED,
        KafkaError._STATE,
        KafkaError._PARTIAL,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._REVOKE_PARTITIONS,
        KafkaError._ASSIGN_PARTITIONS,
        KafkaError._INTR,
        KafkaError._LOG_TRUNCATION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.NOT_CONTROLLER,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LOG_DIR_NOT_FOUND,
        KafkaError.FETCH_SESSION_ID_NOT_FOUND,
        KafkaError.INVALID_FETCH_SESSION_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
        KafkaError.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        KafkaError.ELECTION_NOT_NEEDED,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.MEMBER_ID_REQUIRED,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.STALE_CTRL_EPOCH,
        KafkaError.STALE_BROKER_EPOCH,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.REASSIGNMENT_IN_PROGRESS,
        KafkaError.REBOOTSTRAP_REQUIRED,
        KafkaError.LISTENER_NOT_FOUND,
        KafkaError.GROUP_ID_NOT_FOUND,
        KafkaError.UNKNOWN_SUBSCRIPTION_ID,
        KafkaError.UNKNOWN,
        KafkaError._UNKNOWN_BROKER,
        KafkaError._DESTROY_BROKER,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.INCONSISTENT_TOPIC_ID,
    }
)


def classify(error: KafkaError) -> FailureClass:
    """Return the class of an error; an unlisted error counts as configuration, which stops the stage."""
    code = error.code()
    if error.fatal() or code in _FATAL:
        return FailureClass.FATAL
    if code in _DATA:
        return FailureClass.DATA
    if code in _UNAVAILABLE or error.retriable():
        return FailureClass.UNAVAILABLE
    return FailureClass.CONFIGURATION


_ADVICE: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: "create it: tradepipe topics create",
    KafkaError._UNKNOWN_TOPIC: "create it: tradepipe topics create",
    KafkaError._UNKNOWN_PARTITION: "create it: tradepipe topics create",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the principal needs READ (to consume) or WRITE (to produce) on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the principal needs READ on the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: (
        "the principal needs WRITE on the topic; before Kafka 3.0 also IDEMPOTENT_WRITE on the cluster"
    ),
    KafkaError.SASL_AUTHENTICATION_FAILED: "check sasl.mechanism, sasl.username and sasl.password",
    KafkaError._AUTHENTICATION: "check sasl.mechanism, sasl.username and sasl.password",
    KafkaError.FENCED_INSTANCE_ID: "another member runs with the same group.instance.id; give each its own",
    KafkaError.UNRELEASED_INSTANCE_ID: "another member runs with the same group.instance.id; give each its own",
}


def translate(error: KafkaError | KafkaException, failure: str) -> TradepipeError:
    """Return tradepipe's exception for an error of librdkafka; `failure` names the action that failed."""
    cause = unwrap(error)
    advice = _ADVICE.get(cause.code())
    message = f"{failure}: {cause.str()} ({cause.name()})" + (f"; {advice}" if advice else "")
    if classify(cause) is FailureClass.CONFIGURATION:
        return ConfigurationError(message)
    return BrokerUnavailable(message)


def unwrap(error: BaseException | KafkaError) -> KafkaError:
    """Return the KafkaError inside an exception; confluent_kafka wraps fatal errors in a SystemError."""
    if isinstance(error, KafkaError):
        return error
    if isinstance(error, SystemError) and isinstance(error.__cause__, KafkaException):
        return unwrap(error.__cause__)
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        return error.args[0]
    raise TypeError(f"not an error of Kafka's client: {error!r}") from (
        error if isinstance(error, BaseException) else None
    )
