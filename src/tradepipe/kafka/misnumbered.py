"""Records that librdkafka delivers with an offset that their partition does not have."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message, TopicPartition

from tradepipe.kafka.assignment import Assignment, correct_offset, is_misnumbered
from tradepipe.trade.record import Record, UnreadableBatch


def is_reset(error: KafkaError | None) -> bool:
    """Return whether an error reports a position that is not in the log, where librdkafka fetches nothing."""
    return error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET


def is_after_misnumbered(message: Message, position: int) -> bool:
    """
    Return whether a message reports that librdkafka continued after the wrong offset of a misnumbered record.

    The report names that offset. It can arrive when the record itself was dropped, because a seek came between.
    """
    return is_reset(message.error()) and is_misnumbered(message.offset() or 0, position)


class Accepted(NamedTuple):
    """Records that are to be delivered, and how many offsets between them have no record."""

    records: list[Record]
    gaps: int


class MisnumberedRecords:
    """
    Puts misnumbered records where they belong, and continues after them.

    If one is the last record of a response, librdkafka continues after its wrong offset, which
    is not in the log, and ends the fetching of the partition.

    Args:
        incremental: whether single partitions can be assigned.
    """

    def __init__(self, topic: str, *, incremental: bool) -> None:
        self._topic = topic
        self._incremental = incremental
        self.ended: set[int] = set()
        """The partitions whose fetching has ended, but whose position is in the log; emptied by `restart`."""

    def accept(self, assignments: Mapping[int, Assignment], records: Iterable[Record]) -> Accepted:
        """
        Move the positions past records.

        Returns:
            The records that are to be delivered; a misnumbered one as unreadable, at its true offset.
        """
        accepted, gaps = [], 0
        for record in records:
            state = assignments.get(record.partition)
            # librdkafka 2.16 itself drops records fetched before a seek or a pause, so no test can produce a lower
            # offset. Accepting one would move the position back, over records that are already stored.
            if state is None or state.next_offset is None or record.offset < state.next_offset:
                continue
            delivered = record
            if is_misnumbered(record.offset, state.next_offset):
                if (offset := correct_offset(record.offset, state.next_offset)) is None:
                    continue  # it was read already
                error = f"Kafka's client reads its offset as {record.offset}"
                delivered = UnreadableBatch(self._topic, record.partition, offset, offset, error)
            gaps += delivered.offset - state.next_offset
            state.next_offset = delivered.offset + 1
            accepted.append(delivered)
        return Accepted(accepted, gaps)

    def restart(self, client: confluent_kafka.Consumer, assignments: Mapping[int, Assignment]) -> None:
        """
        Assign the partitions whose fetching has ended again, at their positions, without leaving the group.

        librdkafka keeps the partitions paused that are.
        """
        states = [each for number, each in assignments.items() if number in self.ended or not self._incremental]
        self.ended.clear()
        offsets = [OFFSET_BEGINNING if each.next_offset is None else each.next_offset for each in states]
        places = [TopicPartition(self._topic, s.partition, at) for s, at in zip(states, offsets, strict=True)]
        if self._incremental:
            client.incremental_unassign(places)
            client.incremental_assign(places)
        else:
            client.assign(places)
