"""What `until_end` has to reach: where the log ended when a stage began; and how far its group is."""

import logging
import time
from collections.abc import Mapping
from typing import Final

from tradepipe.kafka.topics import Extent

logger = logging.getLogger(__name__)

ASK_EVERY: Final = 0.5
TELL_EVERY: Final = 5.0


class Goal:
    """The end of a topic's log at one moment; reached when the group is done with every partition up to there."""

    def __init__(self, extents: Mapping[int, Extent]) -> None:
        # An emptied log counts too: what it held may never have been stored, which its claim finds out.
        self._missing = {number: extent.end for number, extent in extents.items() if extent.end > 0}
        self._next: dict[int, int] = {}
        self._ask_due = time.monotonic() + ASK_EVERY
        self._tell_due = time.monotonic() + TELL_EVERY

    @property
    def reached(self) -> bool:
        """Whether nothing is missing any more."""
        return not self._missing

    def note(self, next_offsets: Mapping[int, int]) -> None:
        """Take account of what is done."""
        self._next |= next_offsets
        for number, offset in next_offsets.items():
            if offset >= self._missing.get(number, offset + 1):
                del self._missing[number]
                self._tell_due = time.monotonic() + TELL_EVERY

    def worth_asking(self, waiting_for: str | None) -> bool:
        """Whether it is time to ask what others of the group have done, while we wait for a part or for nothing."""
        now = time.monotonic()
        if now < self._ask_due:
            return False
        self._ask_due = now + ASK_EVERY
        if now >= self._tell_due:
            self._tell_due = now + TELL_EVERY
            self._tell(waiting_for)
        return True

    def _tell(self, waiting_for: str | None) -> None:
        missing = (f"[{number}] {self._next.get(number, 'nothing')} of {end}" for number, end in self._missing.items())
        whom = f"for {waiting_for}" if waiting_for else "for others of the group, or the end of a transaction"
        logger.info("waiting for the end of the log: %s; %s", ", ".join(sorted(missing)), whom)
