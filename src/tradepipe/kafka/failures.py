"""
Failure classes of Kafka errors: wait, refuse one record, stop, or recreate the client.

Every error that `FAILURE_CLASSES` does not name counts as an outage: a stage must not end because a broker
is starting, because partitions elect their leaders, or because a new version of Kafka or librdkafka has one
more error. A configuration error may also be temporary, so a running stage ends only when it has lasted
(`Confirmation`).
"""

import time
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import BrokerUnavailable, ConfigurationError, TradepipeError, Unavailable

T = TypeVar("T")


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


FAILURE_CLASSES: Final[dict[int, FailureClass]] = {
    **dict.fromkeys(
        (  # produce: of one record, whatever the others are; consume: bytes that cannot be unpacked
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
        ),
        FailureClass.DATA,
    ),
    **dict.fromkeys(
        (  # the state of an idempotent or transactional producer: a new producer has a new one
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
        ),
        FailureClass.FATAL,
    ),
    **dict.fromkeys(
        (
            # any call: what the principal may not do
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
            KafkaError.SECURITY_DISABLED,
            # any call: what the brokers do not have, or are too old for
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError.TOPIC_EXCEPTION,
            KafkaError._UNKNOWN_TOPIC,
            KafkaError._UNKNOWN_PARTITION,
            KafkaError.UNSUPPORTED_VERSION,
            KafkaError._UNSUPPORTED_FEATURE,
            # create_topics
            KafkaError.TOPIC_ALREADY_EXISTS,
            KafkaError.INVALID_PARTITIONS,
            KafkaError.INVALID_REPLICATION_FACTOR,
            KafkaError.INVALID_REPLICA_ASSIGNMENT,
            KafkaError.INVALID_CONFIG,
            KafkaError.POLICY_VIOLATION,
            # subscribe and poll: the group
            KafkaError.INVALID_GROUP_ID,
            KafkaError.INCONSISTENT_GROUP_PROTOCOL,
            KafkaError.INVALID_SESSION_TIMEOUT,
            KafkaError.GROUP_MAX_SIZE_REACHED,
            KafkaError.FENCED_INSTANCE_ID,
            KafkaError.UNRELEASED_INSTANCE_ID,
            KafkaError.UNSUPPORTED_ASSIGNOR,
            KafkaError.INVALID_REGULAR_EXPRESSION,
            KafkaError.GROUP_SUBSCRIBED_TO_TOPIC,
            KafkaError._AUTO_OFFSET_RESET,
            # commit
            KafkaError.OFFSET_METADATA_TOO_LARGE,
            KafkaError.INVALID_COMMIT_OFFSET_SIZE,
            # init_transactions and produce
            KafkaError.INVALID_TRANSACTION_TIMEOUT,
            KafkaError.INVALID_REQUIRED_ACKS,
            KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
            # any call: librdkafka's own objections to its arguments or to the order of calls
            KafkaError._INVALID_ARG,
            KafkaError._INVALID_TYPE,
            KafkaError._CONFLICT,
            KafkaError._EXISTING_SUBSCRIPTION,
            KafkaError._NOT_CONFIGURED,
            KafkaError._NOT_IMPLEMENTED,
            KafkaError._READ_ONLY,
            KafkaError._UNKNOWN_GROUP,
            KafkaError._UNKNOWN_PROTOCOL,
        ),
        FailureClass.CONFIGURATION,
    ),
}
"""
The classes of all errors that are not outages, with the calls that report them.

Outages with surprising names: `_NOENT` ("No leaders found": list_offsets after a restart of the
brokers), `_AUTHENTICATION` and SASL_AUTHENTICATION_FAILED (credentials are being changed; before the first
answer of a broker, `FirstContact` reports them), INVALID_REQUEST and TRANSACTION_ABORTABLE (transactions,
while coordinators move), OPERATION_NOT_ATTEMPTED and INVALID_UPDATE_VERSION (controllers that elect).
"""


def classify(error: KafkaError) -> FailureClass:
    """Return the class of an error; one that `FAILURE_CLASSES` does not name is an outage."""
    if error.fatal():
        return FailureClass.FATAL
    kind = FAILURE_CLASSES.get(error.code(), FailureClass.UNAVAILABLE)
    return FailureClass.UNAVAILABLE if kind is FailureClass.CONFIGURATION and error.retriable() else kind


NOT_IN_LOG: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
"""Errors after which a record is not in the log, unless an earlier attempt may have written it."""

CONFIRM_SECONDS: Final = 60.0
"""Seconds for which a configuration error must last before it ends a running stage."""


class Confirmation:
    """
    Tell a configuration error that lasts from one that passes.

    Brokers that start or elect may deny a topic, a group or a right that they know again
    seconds later. So, once a call has succeeded, its configuration errors count as an
    outage until they have lasted for `CONFIRM_SECONDS`. Before that, they count at once,
    so that a mistake is seen at the start of the stage.

    Args:
        has_succeeded: whether the call has succeeded before.
    """

    def __init__(self, *, has_succeeded: bool = False) -> None:
        self._has_succeeded = has_succeeded
        self._failing_since: float | None = None
        self._failed_at = float("-inf")

    @property
    def is_failing(self) -> bool:
        """Whether an error waits for its confirmation."""
        return self._failing_since is not None and time.monotonic() - self._failed_at < CONFIRM_SECONDS

    def record_success(self) -> None:
        """Note a success: an earlier error has passed."""
        self._has_succeeded, self._failing_since = True, None

    def record_outage(self) -> None:
        """Note an outage: what was denied before it may be allowed after it."""
        self._failing_since = None

    def confirm(self) -> bool:
        """Note a configuration error; return whether it is confirmed."""
        if not self._has_succeeded:
            return True
        now = time.monotonic()
        # After a longer silence it is another error: a success may have had nothing to show itself by.
        if self._failing_since is None or now - self._failed_at >= CONFIRM_SECONDS:
            self._failing_since = now
        self._failed_at = now
        return now - self._failing_since >= CONFIRM_SECONDS

    def __call__(self, call: Callable[[], T]) -> T:
        """Return the result of a call; its configuration errors are `BrokerUnavailable` until they are confirmed."""
        try:
            result = call()
        except Unavailable:
            self.record_outage()
            raise
        except ConfigurationError as error:
            if self.confirm():
                raise
            raise BrokerUnavailable(f"{error}; the stage ends if this lasts for a minute") from error
        self.record_success()
        return result


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
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: (
        "the group's members have another partition.assignment.strategy: stop them before you change it"
    ),
}


def code_of(error: KafkaError) -> int:
    """Return the code of an error, of a fatal one that of its cause: only its text names it."""
    if error.code() != KafkaError._FATAL:
        return error.code()
    return next((code for code in _ADVICE if KafkaError(code).str() in error.str()), KafkaError._FATAL)


def translate(error: KafkaError | KafkaException, failure: str) -> TradepipeError:
    """Return tradepipe's exception for an error of librdkafka; `failure` names the action that failed."""
    cause = unwrap(error)
    advice = _ADVICE.get(code_of(cause))
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
