"""Records judged, sorted by their verdicts and held until they are written."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Code, Refusal, Violation
from tradepipe.errors import RegistryAway, UnsupportedSchema
from tradepipe.kafka.dead_letters import forwarded
from tradepipe.kafka.messages import UNREADABLE
from tradepipe.pipeline.ceiling import Ceiling, Window
from tradepipe.pipeline.judge import Judge

_NAMELESS: Final = Violation(Code.UNDECODABLE, "the record's headers cannot be read: a name among them is not UTF-8")


class Batch(NamedTuple):
    """
    What one transaction writes.

    `offsets` says where each partition goes on behind it, `windows` what its
    ceiling knows by then.
    """

    passed: list[Record]
    refusals: list[Refusal]
    offsets: Mapping[int, int]
    windows: Mapping[int, Window]
    first_at: float | None


class Verdicts:
    """What has been judged and not been written; of each partition in the order of its offsets."""

    def __init__(self, judge: Judge, ceiling: Ceiling) -> None:
        self._judge = judge
        self._ceiling = ceiling
        self._passed: list[Record] = []
        self._refusals: list[Refusal] = []
        self._bytes = 0
        # Of each partition its refusals, with an offset that passed between two that do not follow each other.
        self._history: dict[int, list[tuple[int, Refusal | None]]] = {}
        self._passed_last: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._passed) + len(self._refusals)

    @property
    def bytes(self) -> int:
        """How many bytes of values are held."""
        return self._bytes

    def judge(self, records: Sequence[Record]) -> tuple[int, RegistryAway | UnsupportedSchema | None]:
        """
        Judge records and hold them; how many, and what kept the next one from being judged.

        Valid records are held without the count of their replays.

        Raises:
            Misconfigured: a rule of the user's own does not do what a rule does.
        """
        refusal_of, passed, last = self._judge.refusal, self._passed, self._passed_last
        for number, record in enumerate(records):
            try:
                refusal = refusal_of(record) if record.headers is not UNREADABLE else _nameless(record)
            except (RegistryAway, UnsupportedSchema) as error:
                return number, error
            if refusal is not None:
                self._refuse(refusal)
            else:
                passed.append(_forwarded(record) if record.headers else record)
                last[record.partition] = record.offset
            self._bytes += len(record.value or b"")
        return len(records), None

    def drop(self, partition: int) -> None:
        """Forget what is held of a partition."""
        self._passed = [record for record in self._passed if record.partition != partition]
        self._refusals = [refusal for refusal in self._refusals if refusal.record.partition != partition]
        self._bytes = sum(len(record.value or b"") for record in self._records())
        self._history.pop(partition, None)
        self._passed_last.pop(partition, None)

    def take(self, offsets: Mapping[int, int], first_at: float | None) -> Batch:
        """
        Hand over all that is held.

        Raises:
            CeilingReached: too much of it is refused.
        """
        batch = Batch(self._passed, self._refusals, offsets, self._windows(), first_at)
        self._passed, self._refusals, self._bytes = [], [], 0
        self._history, self._passed_last = {}, {}
        return batch

    def _records(self) -> Iterable[Record]:
        yield from self._passed
        yield from (refusal.record for refusal in self._refusals)

    def _refuse(self, refusal: Refusal) -> None:
        self._refusals.append(refusal)
        partition = refusal.record.partition
        history = self._history.setdefault(partition, [])
        if (passed := self._passed_last.pop(partition, None)) is not None:
            history.append((passed, None))
        history.append((refusal.record.offset, refusal))

    def _windows(self) -> dict[int, Window]:
        for partition, offset in self._passed_last.items():
            self._history.setdefault(partition, []).append((offset, None))
        return {number: self._ceiling.check(number, history) for number, history in self._history.items()}


def _nameless(record: Record) -> Refusal:
    return Refusal(record._replace(headers=()), (_NAMELESS,))


def _forwarded(record: Record) -> Record:
    return record._replace(headers=forwarded(record.headers))
