"""Records judged, sorted by their verdicts and held until they are written."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tradepipe.errors import ConfigurationError, RegistryUnavailable, UnsupportedSchema
from tradepipe.kafka.dead_letters import strip_replay_header
from tradepipe.kafka.librdkafka import UNREADABLE
from tradepipe.pipeline.refusal_limit import RefusalLimit, Window
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.trade.record import Code, Record, Refusal, Violation

CHUNK_RECORDS: Final = 100
"""Records judged before the clock is looked at."""

_UNREADABLE_HEADERS: Final = Violation(
    Code.UNDECODABLE, "the record's headers cannot be read: a name among them is not UTF-8"
)


class ValidatorBatch(NamedTuple):
    """
    What one transaction writes.

    `offsets` says where each partition goes on behind it, `windows` what its
    ceiling knows by then.
    """

    passed: list[Record]
    refusals: list[Refusal]
    offsets: Mapping[int, int]
    windows: Mapping[int, Window]
    first_timestamp: float | None


class ValidatorBuffer:
    """What has been read and not been written, judged or still to be; of each partition in the order of its offsets."""

    def __init__(self, judge: RecordValidator, ceiling: RefusalLimit) -> None:
        self._judge = judge
        self._ceiling = ceiling
        self._unjudged: list[Record] = []
        self._passed: list[Record] = []
        self._refusals: list[Refusal] = []
        self._bytes = 0
        # Of each partition its refusals, with an offset that passed between two that do not follow each other.
        self._history: dict[int, list[tuple[int, Refusal | None]]] = {}
        self._passed_last: dict[int, int] = {}

    def __len__(self) -> int:
        """How many are judged."""
        return len(self._passed) + len(self._refusals)

    @property
    def bytes(self) -> int:
        """How many bytes of values are judged."""
        return self._bytes

    def add(self, records: Sequence[Record]) -> None:
        """Keep records until they are judged."""
        self._unjudged += records

    def validate(self) -> tuple[list[Record], RegistryUnavailable | UnsupportedSchema | None]:
        """
        Judge what is held; the records that are left, and what kept the first of them from being judged.

        Valid records are held without the count of their replays.

        Raises:
            ConfigurationError: a rule of the user's own does not do what a rule does; it will again.
        """
        error = self._validate_next(len(self._unjudged))
        left, self._unjudged = self._unjudged, []
        return left, error

    def validate_ahead(self, seconds: float) -> None:
        """Judge what nobody has to be asked about, and what no rule stumbles over, for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            piece = self._unjudged[:CHUNK_RECORDS]
            if not piece or not all(map(self._judge.is_schema_known, piece)):
                break
            try:
                self._validate_next(len(piece))
            except ConfigurationError:
                break

    def drop(self, partition: int) -> None:
        """Forget what is held of a partition."""
        self._unjudged = [record for record in self._unjudged if record.partition != partition]
        self._passed = [record for record in self._passed if record.partition != partition]
        self._refusals = [refusal for refusal in self._refusals if refusal.record.partition != partition]
        self._bytes = sum(len(record.value or b"") for record in self._records())
        self._history.pop(partition, None)
        self._passed_last.pop(partition, None)

    def take_batch(self, offsets: Mapping[int, int], first_at: float | None) -> ValidatorBatch:
        """
        Hand over all that is judged.

        Raises:
            TooManyRefusals: too much of it is refused.
        """
        batch = ValidatorBatch(self._passed, self._refusals, offsets, self._limit_windows(), first_at)
        self._passed, self._refusals, self._bytes = [], [], 0
        self._history, self._passed_last = {}, {}
        return batch

    def _validate_next(self, count: int) -> RegistryUnavailable | UnsupportedSchema | None:
        """Judge the first of what is held; what kept one of them from being judged."""
        records, judged = self._unjudged, 0
        refusal_of, passed, last = self._judge.find_refusal, self._passed, self._passed_last
        try:
            for record in records[:count]:
                refusal = refusal_of(record) if record.headers is not UNREADABLE else _refuse_unreadable_headers(record)
                if refusal is not None:
                    self._add_refusal(refusal)
                else:
                    passed.append(_strip_replay_header(record) if record.headers else record)
                    last[record.partition] = record.offset
                self._bytes += len(record.value or b"")
                judged += 1
        except (RegistryUnavailable, UnsupportedSchema) as error:
            return error
        finally:
            self._unjudged = records[judged:]
        return None

    def _records(self) -> Iterable[Record]:
        yield from self._passed
        yield from (refusal.record for refusal in self._refusals)

    def _add_refusal(self, refusal: Refusal) -> None:
        self._refusals.append(refusal)
        partition = refusal.record.partition
        history = self._history.setdefault(partition, [])
        if (passed := self._passed_last.pop(partition, None)) is not None:
            history.append((passed, None))
        history.append((refusal.record.offset, refusal))

    def _limit_windows(self) -> dict[int, Window]:
        for partition, offset in self._passed_last.items():
            self._history.setdefault(partition, []).append((offset, None))
        return {number: self._ceiling.check(number, history) for number, history in self._history.items()}


def _refuse_unreadable_headers(record: Record) -> Refusal:
    return Refusal(record._replace(headers=()), (_UNREADABLE_HEADERS,))


def _strip_replay_header(record: Record) -> Record:
    return record._replace(headers=strip_replay_header(record.headers))
