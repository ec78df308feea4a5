"""What a validator has done: counted for its caller and for Prometheus."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tradepipe.contract.refusal import Refusal
from tradepipe.metrics import AGE, BATCH_ROWS, BATCH_SECONDS, LAST_PROGRESS, PRODUCERS, REFUSED, TRANSACTIONS, VALIDATED
from tradepipe.pipeline.books import Books

_RESULTS: Final = ("passed", "refused")
_OUTCOMES: Final = ("committed", "interrupted")


@dataclass(slots=True)
class Validated:
    """
    What a validator has done since it began.

    `refused` counts records by their first code.
    """

    passed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class ValidatorBooks(Books):
    """The books of one validator."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.counts = Validated()
        self._begun_at = time.monotonic()
        self._made = 0
        for result in _RESULTS:
            self.meter.count(VALIDATED, topic, result, by=0)
        for outcome in _OUTCOMES:
            self.meter.count(TRANSACTIONS, topic, outcome, by=0)
        self.meter.count(PRODUCERS, topic, by=0)
        self.partitions(0, {}, {}, paused=False)

    def began(self) -> None:
        """A batch is about to be written."""
        self._begun_at = time.monotonic()

    def committed(self, passed: int, refusals: Sequence[Refusal], first_at: float | None) -> None:
        """A batch is in the log; its first record was sent at `first_at`, Unix time, if that is known."""
        self.counts.passed += passed
        for refusal in refusals:
            self.counts.refused[refusal.codes[0]] += 1
            self.meter.count(REFUSED, self._topic, refusal.codes[0])
        for result, number in zip(_RESULTS, (passed, len(refusals)), strict=True):
            self.meter.count(VALIDATED, self._topic, result, by=number)
        self.meter.count(TRANSACTIONS, self._topic, "committed")
        self.meter.set(LAST_PROGRESS, time.time())
        self.meter.observe(BATCH_ROWS, passed + len(refusals), self._topic)
        self.meter.observe(BATCH_SECONDS, time.monotonic() - self._begun_at, self._topic)
        if first_at is not None:  # by the producer's clock, which may be ahead of ours
            self.meter.observe(AGE, max(0.0, time.time() - first_at), self._topic)

    def interrupted(self) -> None:
        """What became of a batch is to be asked."""
        self.meter.count(TRANSACTIONS, self._topic, "interrupted")

    def clients(self, made: int) -> None:
        """How many producers it took so far."""
        self.meter.count(PRODUCERS, self._topic, by=made - self._made)
        self._made = made
