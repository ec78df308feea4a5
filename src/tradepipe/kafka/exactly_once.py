"""Records and the offsets they came from, in one Kafka transaction."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import TopicPartition

from tradepipe.errors import BrokerAway, Misconfigured
from tradepipe.kafka.client import Config
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.transactions import Aborted, Fenced, NotTaken, Offsets, Refused, Transactions
from tradepipe.kafka.writing import Interrupted, Outgoing, not_taken

FENCED_OFTEN: Final = 3
FENCED_WITHIN: Final = 60.0
"""So often within so many seconds is no accident: two processes take the same `transactional.id` from each other."""

REFUSED_OFTEN: Final = 3
"""Times in a row that the brokers may refuse us."""

REFUSED_FOR: Final = 5.0
"""Seconds they may, if they have taken anything from us before: rights that are being changed heal."""


class ExactlyOnce:
    """
    Write records and commit the offsets they came from, all of it or nothing.

    Whoever takes the `transactional.id` from us has it taken back, as it is a
    member of the same group that was thought dead; but not for ever.

    Args:
        limits: what the topics take, as librdkafka's properties.
    """

    def __init__(
        self, config: Config, consumer: Consumer, *, topic: str, transactional_id: str, limits: Mapping[str, int]
    ) -> None:
        self._transactions = Transactions({**limits, **config}, transactional_id=transactional_id)
        self._consumer = consumer
        self._topic = topic
        self._id = transactional_id
        self._fenced_at: deque[float] = deque(maxlen=FENCED_OFTEN)
        self._refused = 0
        self._refused_at = 0.0
        self._was_taken = False

    @property
    def is_open(self) -> bool:
        return self._transactions.is_open

    @property
    def made(self) -> int:
        return self._transactions.made

    def open(self) -> None:
        """
        Take over the `transactional.id`; what was open under it is settled before this returns.

        Raises:
            BrokerAway: call it again later.

            Misconfigured: nothing heals by waiting.
        """
        try:
            self._transactions.open()
        except (Fenced, Refused) as error:
            self._bear(error)
            raise BrokerAway(str(error)) from error

    def write(self, outgoing: Outgoing, offsets: Mapping[int, int], meanwhile: Callable[[], object]) -> None:
        """
        One transaction.

        Raises:
            Interrupted: it is undone, or nobody knows; the committed offsets tell.

            Misconfigured: nothing heals by waiting; it is undone.
        """
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            membership = self._consumer.membership()
        except BrokerAway as error:
            raise Interrupted(str(error), undone=True) from error
        try:
            self._transactions.write(outgoing, Offsets(places, membership), meanwhile)
        except NotTaken as error:
            raise not_taken(error.error, error.topic) from error
        except (Fenced, Refused) as error:
            self._bear(error)
            raise Interrupted(str(error)) from error
        except BrokerAway as error:
            raise Interrupted(str(error), undone=isinstance(error, Aborted)) from error
        self._refused, self._was_taken = 0, True

    def close(self) -> None:
        """Let go of the client; nothing is open between two transactions."""
        self._transactions.close()

    def _bear(self, error: Fenced | Refused) -> None:
        """Stop rather than be refused, or take an id from each other, for ever."""
        now = time.monotonic()
        if isinstance(error, Refused):
            self._refused_at = self._refused_at if self._refused else now
            self._refused += 1
            if self._refused >= REFUSED_OFTEN and now - self._refused_at >= REFUSED_FOR * self._was_taken:
                raise error
            return
        self._fenced_at.append(now)
        if len(self._fenced_at) == FENCED_OFTEN and now - self._fenced_at[0] < FENCED_WITHIN:
            raise Misconfigured(
                f"transactional.id {self._id} was taken from this process {FENCED_OFTEN} times within "
                f"{FENCED_WITHIN:.0f} s: another process runs with the same; give each its own, or none"
            ) from error
