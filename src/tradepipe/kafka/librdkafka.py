"""Workarounds for librdkafka: its log, first contact."""

import logging
import re
import time
from typing import Final

from confluent_kafka import KafkaError

from tradepipe.errors import ConfigurationError, TradepipeError
from tradepipe.kafka.failures import translate

logger = logging.getLogger("tradepipe.kafka.librdkafka")


LOG_LEVEL: Final = 6
"""The syslog level of librdkafka's messages about connections; `log_level` must be at least this to receive them."""

LOG_SUPPRESSION_SECONDS: Final = 30.0
"""Seconds for which librdkafka suppresses an error that repeats the broker's previous one."""

_CONNECTION_LOST: Final = frozenset({"FAIL", "REQTMOUT"})
"""librdkafka's names for a broken connection and for a request that timed out."""

_CONNECT_FAILED: Final = " in state CONNECT"
"""In the text of an error: the connection was never established, so no request was sent on it."""


_CONNECTION_MESSAGES: Final = _CONNECTION_LOST | {"ERROR"}
"""librdkafka's names for messages about connections: about 20 a second in an outage, and each client repeats them."""


class ClientLog:
    """Logger for clients: messages about connections are logged for debugging only, since callers report outages."""

    def log(self, level: int, message: str, *args: str) -> None:
        """Receive one message from librdkafka: a format, the kind of message, the client, the text."""
        logger.log(logging.DEBUG if args and args[0] in _CONNECTION_MESSAGES else level, message, *args)


class ConnectionLog(ClientLog):
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
        """Receive one message from librdkafka, and note a connection error."""
        if args and args[0] in _CONNECTION_LOST:
            self.last_error = args[-1]
            if may_interrupt_requests(args[-1]):
                self.last_lost_at = time.monotonic()
        super().log(level, message, *args)


def may_interrupt_requests(error: str) -> bool:
    """Return whether a connection error may have hit an established connection, where requests may be in flight."""
    return _CONNECT_FAILED not in error


_AFTER: Final = re.compile(r" \(after \d+ms in state [^()]*(\(s\) suppressed)?\)")
"""How long a connection lasted and librdkafka's state of it, at the end of an error: of no use to a user."""


def without_state(error: KafkaError) -> str:
    """Return the text of an error without the state of the connection."""
    return _AFTER.sub("", error.str())


_ADVICE: Final = "; check security.protocol, ssl.ca.location, ssl.certificate.location and ssl.key.location"

ALL_DOWN_SECONDS: Final = 1.0
"""Seconds until brokers that are all down are reported: the client tries a name's other addresses first."""

_ADVICE_ON_SIZE: Final = ": increase receive.message.max.bytes"


class FirstContact:
    """
    The errors of one client before its first response from a broker.

    librdkafka retries forever, even after a permanent rejection, and its requests
    then time out as in an outage. Before the first response, a wrong password or an
    untrusted certificate is reported as a configuration error, since waiting helps
    with neither. Afterwards they count as an outage: certificates and users may be
    changing, or a broker may still be starting.
    """

    def __init__(self) -> None:
        self.succeeded = False
        """A broker has responded."""
        self.last_error = ""
        """The last error that the client reported, with the broker's address."""
        self._all_down_at: float | None = None
        self._permanent: KafkaError | None = None
        self._untrusted: KafkaError | None = None

    def record_error(self, error: KafkaError) -> None:
        """Record an error that librdkafka reports."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # it does not contain a reason
            self._all_down_at = time.monotonic()
        else:
            # librdkafka reads the first bytes as a size, and advises to accept more.
            self.last_error = without_state(error).replace(
                _ADVICE_ON_SIZE, "; is there a Kafka broker at this address?"
            )
        if error.code() == KafkaError._AUTHENTICATION:
            self._permanent = error
        elif error.code() != KafkaError._ALL_BROKERS_DOWN:
            # One side rejected the other's certificate; a connection that merely closed is not a rejection.
            text = error.str()
            is_tls = error.code() == KafkaError._SSL or "SSL routines" in text
            self._untrusted = error if is_tls and "unexpected eof" not in text else None
        elif self._untrusted is not None:
            # One trusted broker is enough, so the error is permanent only after all brokers have been tried.
            # librdkafka reports that once.
            self._permanent = self._untrusted

    def should_report_unreachable(self) -> bool:
        """Return True once for each report that all brokers are down, if none has responded since."""
        if self.succeeded or self._all_down_at is None or time.monotonic() - self._all_down_at < ALL_DOWN_SECONDS:
            return False
        self._all_down_at = None
        return True

    def permanent_error(self, *, final: bool = False) -> TradepipeError | None:
        """
        Return why no attempt will succeed, or None while another one may.

        Args:
            final: there is no time for another attempt, so the last error decides.
        """
        error = self._permanent or (self._untrusted if final else None)
        if error is None or self.succeeded:
            return None
        if error.code() == KafkaError._AUTHENTICATION:
            # Of the class of outages once a broker has answered, so not by the class of its code.
            return ConfigurationError(str(translate(error, "Kafka refused the connection")))
        return ConfigurationError(f"TLS connection to Kafka failed: {error.str()} ({error.name()}){_ADVICE}")
