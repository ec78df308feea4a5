"""The ceiling: so many refusals that we are likelier to be wrong than the data."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tradepipe.contract.refusal import Refusal
from tradepipe.errors import CeilingReached, Misconfigured

SHARE: Final = 0.5
"""Refused of the last `WINDOW` offsets of a partition; above it the stage stops."""

WINDOW: Final = 1_000
LEAST: Final = 100
"""Offsets that must have been seen before a share says anything."""

RUN: Final = 100
"""Refusals one after the other that stop the stage whatever the share is."""


class Window(NamedTuple):
    """
    The recent past of one partition.

    `first` is the first offset that counts as seen, `refused` the offsets that
    were refused, in ascending order, `run` how many refusals it ends with.
    """

    first: int
    refused: tuple[int, ...] = ()
    run: int = 0


class Ceiling:
    """
    Stop a stage before it commits a batch that refuses too much.

    A wrong registry, a wrong build or a wrong topic looks like nothing but bad
    records; the ceiling keeps it from emptying the topic into the refusals. The
    window of a partition is filled from what was stored, so that a restart is no
    way around it.

    Args:
        share: of the last `WINDOW` offsets of one partition, above 0 and below
            1; None lets everything pass.
    """

    def __init__(self, share: float | None = SHARE) -> None:
        if share is not None and not 0 < share < 1:
            raise Misconfigured(f"max_refused is {share}: it is a share above 0 and below 1, or off")
        self._share = share
        self._windows: dict[int, Window] = {}

    @property
    def is_off(self) -> bool:
        """Whether everything passes."""
        return self._share is None

    def prime(self, partition: int, *, begin: int, next_offset: int, refused: Sequence[int]) -> None:
        """Fill a partition's window with the offsets below `next_offset` at which it was refused."""
        run = 0
        while run < len(refused) and refused[-1 - run] == next_offset - 1 - run:
            run += 1
        self._windows[partition] = Window(begin, tuple(refused), run)

    def check(self, partition: int, verdicts: Iterable[tuple[int, Refusal | None]]) -> Window:
        """
        The window a partition will have behind a batch: its offsets in order, each with its refusal if it has one.

        Raises:
            CeilingReached: the batch must not be committed.
        """
        window = self._windows.get(partition, Window(0))
        refused, run = list(window.refused), window.run
        for offset, refusal in verdicts:
            if refusal is None:
                run = 0
                continue
            run += 1
            refused.append(offset)
            recent = len(refused) - bisect_right(refused, offset - WINDOW)
            seen = min(WINDOW, offset + 1 - window.first)
            if self._exceeded(recent, seen, run):
                raise _reached(refusal, recent, seen)
        return Window(window.first, tuple(refused[-WINDOW:]), run)

    def keep(self, partition: int, window: Window) -> None:
        """The batch of a `check` was committed."""
        self._windows[partition] = window

    def _exceeded(self, recent: int, seen: int, run: int) -> bool:
        return self._share is not None and (run >= RUN or (seen >= LEAST and recent > self._share * seen))


def _reached(refusal: Refusal, recent: int, seen: int) -> CeilingReached:
    record = refusal.record
    return CeilingReached(
        f"{recent} of the last {seen} records of {record.topic}[{record.partition}] would be refused, the last one, "
        f"{record.coordinates}, as {', '.join(refusal.codes)}: {refusal.details[0]}. Nothing of this batch was "
        f"committed. Check the registry, the topic and this build; if the records are indeed bad, go on with "
        f"--max-refused off"
    )
