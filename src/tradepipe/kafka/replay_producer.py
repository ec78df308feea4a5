"""
Transactional replay of a dead-letter topic: records and the markers that close their dead letters.

All replays of one dead-letter topic share one `transactional.id`: opening it aborts
the open transaction of an earlier replay, and fences a replay that still runs.
"""

from typing import Final

from tradepipe.errors import ConfigurationError, TradepipeError
from tradepipe.kafka.config import Config
from tradepipe.kafka.send import OutgoingRecords
from tradepipe.kafka.transactions import Fenced, RecordRejected, Transactions

MAX_RECORD_BYTES: Final = 1_000_000_000
"""Bytes of a record: librdkafka's highest limit, so that only the topic's own limit applies."""


class ReplaySuperseded(TradepipeError):
    """Another replay of the same dead-letter topic has started and fenced this one, which can be run again later."""

    exit_code = 75

    def __init__(self) -> None:
        super().__init__(
            "another replay of these dead letters has started and processes all of them; "
            "when it has ended, run this one again if any are left"
        )


class ReplayProducer:
    """
    The transactions of one replay of a dead-letter topic.

    After any failure, call `open` again and read the topic to find out what was committed.
    """

    def __init__(self, config: Config, *, dead_letters: str) -> None:
        # One record per batch: librdkafka never splits a batch, so one oversized record would take others with it.
        sizes = {"message.max.bytes": MAX_RECORD_BYTES, "batch.num.messages": 1}
        self._transactions = Transactions({**config, **sizes}, transactional_id=f"tradepipe-replay-{dead_letters}")

    def open(self) -> None:
        """
        Become the only replay; another one's open transaction is completed or aborted before this returns.

        Raises:
            ReplaySuperseded: another replay has started in the meantime.

            BrokerUnavailable: the same call may succeed later.

            ConfigurationError: the brokers deny access.
        """
        # A new client, and so a new epoch: an old one's late request cannot join the next transaction.
        self.close()
        try:
            self._transactions.open()
        except Fenced as error:
            raise ReplaySuperseded from error

    def write(self, outgoing: OutgoingRecords) -> None:
        """
        Write records in one transaction.

        Raises:
            ReplaySuperseded: another replay has started; nothing was written.

            BrokerUnavailable: nothing was written, or the outcome is unknown.

            ConfigurationError: nothing was written, and waiting does not help.
        """
        try:
            self._transactions.write(outgoing)
        except Fenced as error:
            raise ReplaySuperseded from error
        except RecordRejected as error:
            raise ConfigurationError(
                f"cannot replay records into topic {error.topic}: {error}; raise the topic's "
                "max.message.bytes slightly, since a replayed record has an additional header"
            ) from error

    def close(self) -> None:
        """Close the client; the next `open` aborts a transaction that is open."""
        self._transactions.close()
