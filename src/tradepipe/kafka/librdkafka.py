"""Workarounds for librdkafka: calls that may not return, its log, unreadable headers, first contact."""

import logging
import threading
import time
from collections.abc import Callable
from operator import methodcaller
from typing import Any, Final

import confluent_kafka
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError

from tradepipe.errors import ConfigurationError, TradepipeError
from tradepipe.kafka.failures import translate
from tradepipe.trade.record import Headers, Record

logger = logging.getLogger(__name__)


def call_with_timeout(call: Callable[[], object], seconds: float) -> None:
    """
    Make a call in a thread of its own, and raise what it raises.

    Raises:
        TimeoutError: it has not returned. Its thread is left behind, with all
            it holds, until it does; the process does not wait for it.
    """
    raised: list[BaseException] = []
    returned = threading.Event()

    def run() -> None:
        try:
            call()
        except BaseException as error:  # raised again below, where somebody waits for it
            raised.append(error)
        finally:
            returned.set()

    threading.Thread(target=run, name="tradepipe-bounded", daemon=True).start()
    if not returned.wait(seconds):
        raise TimeoutError
    if raised:
        raise raised[0]


logger = logging.getLogger("tradepipe.kafka.librdkafka")

LOG_LEVEL: Final = 6
"""The syslog level of librdkafka's messages about connections; `log_level` must be at least this to receive them."""

OUTAGE_LOG_INTERVAL: Final = 30.0
"""Seconds without an error after which the next error is logged as another outage."""

LOG_SUPPRESSION_SECONDS: Final = 30.0
"""Seconds for which librdkafka suppresses an error that repeats the broker's previous one."""

_CONNECTION_LOST: Final = frozenset({"FAIL", "REQTMOUT"})
"""librdkafka's names for a broken connection and for a request that timed out."""

_CONNECT_FAILED: Final = " in state CONNECT"
"""In the text of an error: the connection was never established, so no request was sent on it."""


class ConnectionLog:
    """
    Logger for one client that notes the errors of its connections.

    With more than one broker, librdkafka does not call `error_cb` when a connection
    breaks under a request; only its log reports it. The client calls the logger
    inside `poll`, and librdkafka serves log messages before delivery reports, so the
    error is known before any report that follows it.
    """

    def __init__(self) -> None:
        self.last_error: str | None = None
        """The last error, in librdkafka's words."""
        self.last_lost_at = float("-inf")
        """Time (`time.monotonic`) of the last error that may have interrupted a request."""

    def log(self, level: int, message: str, *args: str) -> None:
        """Receive one message from librdkafka: a format, the kind of message, the client, the text."""
        if args and args[0] in _CONNECTION_LOST:
            self.last_error = args[-1]
            if may_interrupt_requests(args[-1]):
                self.last_lost_at = time.monotonic()
        logger.log(level, message, *args)


def may_interrupt_requests(error: str) -> bool:
    """Return whether a connection error may have hit an established connection, where requests may be in flight."""
    return _CONNECT_FAILED not in error


UNREADABLE: Final[Headers] = (("", None),)
"""Stands for headers that cannot be read, as a name of theirs is not UTF-8; told apart by identity."""

# confluent_kafka returns headers that have no name, and leaves its UnicodeDecodeError pending, for a name that is not
# UTF-8. Where `message.headers()` is called often, Python looks at what it returns alone: the error then comes out
# somewhere else, or the process ends at the name that is not there. Called so, it is seen at once, as a SystemError.
_headers: Final[Any] = methodcaller("headers")

_new: Final[Any] = tuple.__new__
"""Makes a record without the detour of its own constructor, which is Python too."""


def read_headers(message: confluent_kafka.Message) -> Headers:
    """A message's headers; `UNREADABLE` where one has a name that is not UTF-8."""
    try:
        given = _headers(message)
    except SystemError:
        return UNREADABLE
    return tuple(given) if given else ()


def to_record(message: confluent_kafka.Message, topic: str, partition: int, offset: int) -> Record:
    """The record at this place with all it has; in one piece, as it is done for each one."""
    kind, milliseconds = message.timestamp()
    try:
        given = _headers(message)
        headers = tuple(given) if given else ()
    except SystemError:
        headers = UNREADABLE
    sent_at = None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds
    made: Record = _new(Record, (topic, partition, offset, message.key(), message.value(), sent_at, headers))
    return made


def to_record_without_headers(message: confluent_kafka.Message, topic: str, partition: int, offset: int) -> Record:
    """The same without timestamp and headers."""
    made: Record = _new(Record, (topic, partition, offset, message.key(), message.value(), None, ()))
    return made


def timestamp_of(message: confluent_kafka.Message) -> int | None:
    """When a message was sent or appended, in milliseconds since 1970; None where the log does not say."""
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds


_ADVICE: Final = "; check security.protocol, ssl.ca.location, ssl.certificate.location and ssl.key.location"


class FirstContact:
    """
    What one client of librdkafka heard of the brokers.

    librdkafka tries again for ever, also where it is refused for good, and its
    requests then end as in an outage. Until there has been an answer, a wrong
    password and a certificate that one side does not trust are told as what
    they are: neither heals by itself. Afterwards they count as an outage:
    certificates and users are being renewed, or a broker is not quite up.
    """

    def __init__(self) -> None:
        self.succeeded = False
        """Whether a broker has answered."""
        self.last_error = ""
        """Why none did, as the client told it last, with the broker's address."""
        self._refused: KafkaError | None = None
        self._distrusted: KafkaError | None = None

    def record_error(self, error: KafkaError) -> None:
        """Take account of an error that librdkafka reports."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # which says of none why
            self.last_error = error.str()
        if error.code() == KafkaError._AUTHENTICATION:
            self._refused = error
        elif error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._distrusted = error if _is_distrust(error) else None
        elif self._distrusted is not None:
            # Told once only; of several brokers one that is trusted is enough, so all have to be tried first.
            self._refused = self._distrusted

    def permanent_error(self, *, final: bool = False) -> TradepipeError | None:
        """
        Why no try will succeed; None as long as another one may.

        Args:
            final: time is up, so that the last error decides.
        """
        refused = self._refused or (self._distrusted if final else None)
        if refused is None or self.succeeded:
            return None
        if refused.code() == KafkaError._AUTHENTICATION:
            return translate(refused, "Kafka refuses us")
        return ConfigurationError(f"Kafka cannot be spoken to by TLS: {refused.str()} ({refused.name()}){_ADVICE}")


def _is_distrust(error: KafkaError) -> bool:
    """Whether OpenSSL found a fault in the other side, or the other side in us; not that a connection merely ended."""
    told = error.str()
    return (error.code() == KafkaError._SSL or "SSL routines" in told) and "unexpected eof" not in told
