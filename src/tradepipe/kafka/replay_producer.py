"""
Records put back where they came from, each with the marker that closes its letter, in one Kafka transaction.

All replays of one dead-letter topic have one `transactional.id`: whoever opens
it settles what a predecessor left open, and fences one that still runs.
"""

from typing import Final

from tradepipe.errors import ConfigurationError, TradepipeError
from tradepipe.kafka.config import Config
from tradepipe.kafka.send import OutgoingRecords
from tradepipe.kafka.transactions import Fenced, RecordRejected, Transactions

MAX_RECORD_BYTES: Final = 1_000_000_000
"""Bytes of a record: librdkafka's highest limit, since the topic's own is the one that counts."""


class ReplaySuperseded(TradepipeError):
    """Another replay of the same dead-letter topic has begun, and ended this one; it may be run again behind it."""

    exit_code = 75

    def __init__(self) -> None:
        super().__init__(
            "another replay of these dead letters has begun, and goes on with all of them; "
            "run this one again when that one has ended, if anything is left"
        )


class ReplayProducer:
    """
    Transactions of the one replay of a dead-letter topic.

    After any failure `open` comes first again, and the topic tells what was committed.
    """

    def __init__(self, config: Config, *, dead_letters: str) -> None:
        # A record a batch: a batch is never split, and one that a topic finds too large would hold records it takes.
        sizes = {"message.max.bytes": MAX_RECORD_BYTES, "batch.num.messages": 1}
        self._transactions = Transactions({**config, **sizes}, transactional_id=f"tradepipe-replay-{dead_letters}")

    def open(self) -> None:
        """
        Become the only replay; what another one had begun is settled when this returns.

        Raises:
            Superseded: another one has become so meanwhile.

            BrokerUnavailable: the same call may succeed later.

            ConfigurationError: the brokers refuse us.
        """
        self.close()
        try:
            self._transactions.open()
        except Fenced as error:
            raise ReplaySuperseded from error

    def write(self, outgoing: OutgoingRecords) -> None:
        """
        One transaction.

        Raises:
            Superseded: another replay has begun; nothing was written.

            BrokerUnavailable: nothing was written, or nobody knows.

            ConfigurationError: nothing was written, and waiting does not help.
        """
        try:
            self._transactions.write(outgoing)
        except Fenced as error:
            raise ReplaySuperseded from error
        except RecordRejected as error:
            raise ConfigurationError(
                f"records cannot be put back into topic {error.topic}: {error}; raise max.message.bytes of the "
                "topic a little, as a replayed record has one more header"
            ) from error

    def close(self) -> None:
        """Let go of the client; an open transaction is left to the next `open`."""
        self._transactions.close()
