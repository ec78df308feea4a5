"""The first contact with the brokers: whether they will never let us in, or are only away."""

from typing import Final

from confluent_kafka import KafkaError

from tradepipe.errors import Misconfigured, TradepipeError
from tradepipe.kafka.failures import failure

_ADVICE: Final = "; check security.protocol, ssl.ca.location, ssl.certificate.location and ssl.key.location"


class Contact:
    """
    What one client of librdkafka heard of the brokers.

    librdkafka tries again for ever, also where it is refused for good, and its
    requests then end as in an outage. Until there has been an answer, a wrong
    password and a certificate that one side does not trust are told as what
    they are: neither heals by itself. Afterwards they count as an outage:
    certificates and users are being renewed, or a broker is not quite up.
    """

    def __init__(self) -> None:
        self.made = False
        """Whether a broker has answered."""
        self.obstacle = ""
        """Why none did, as the client told it last, with the broker's address."""
        self._refused: KafkaError | None = None
        self._distrusted: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        """Take account of an error that librdkafka reports."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # which says of none why
            self.obstacle = error.str()
        if error.code() == KafkaError._AUTHENTICATION:
            self._refused = error
        elif error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._distrusted = error if _is_distrust(error) else None
        elif self._distrusted is not None:
            # Told once only; of several brokers one that is trusted is enough, so all have to be tried first.
            self._refused = self._distrusted

    def refusal(self, *, at_last: bool = False) -> TradepipeError | None:
        """
        Why no try will succeed; None as long as another one may.

        Args:
            at_last: time is up, so that the last error decides.
        """
        refused = self._refused or (self._distrusted if at_last else None)
        if refused is None or self.made:
            return None
        if refused.code() == KafkaError._AUTHENTICATION:
            return failure(refused, "Kafka refuses us")
        return Misconfigured(f"Kafka cannot be spoken to by TLS: {refused.str()} ({refused.name()}){_ADVICE}")


def _is_distrust(error: KafkaError) -> bool:
    """Whether OpenSSL found a fault in the other side, or the other side in us; not that a connection merely ended."""
    told = error.str()
    return (error.code() == KafkaError._SSL or "SSL routines" in told) and "unexpected eof" not in told
