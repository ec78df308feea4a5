"""Replay of the refusals in PostgreSQL: validated again, and stored if they are valid now."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from tradepipe.errors import SchemaIdNotYetKnown, UnsupportedSchema
from tradepipe.postgres.replay import RefusalReplayer, ReplayResult, ValidatedRefusal
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity
from tradepipe.trade.record import Record, Refusal
from tradepipe.trade.validated import ValidRecord

PAGE: Final = 500
"""Refusals in one transaction at most."""


class TableReplayStep(NamedTuple):
    """
    Result of one transaction of a replay.

    `skipped` holds the refusals that were skipped, each with the reason.
    """

    replayed: ReplayResult = ReplayResult()
    skipped: tuple[tuple[DeadLetter, str], ...] = ()


class TableReplay:
    """
    Validate refused records again, and store those that are valid now.

    Each step is one transaction that either stores a record and marks its refusal
    as replayed, or counts one more attempt. Two concurrent replays never hold the
    same record, but each may try a record that the other has refused again.
    A stored record keeps its log coordinates, but may be out of order: newer
    versions of its trade may have been stored before it.

    Args:
        replayer: the refusals in the database.

        validate: validates a record as a sink does.

        announce: called with the records that are validated next, as `RecordValidator.announce`.

        matches: an additional condition on the selected refusals.

        max_replays: skip a refusal that was replayed this often and refused again.

        limit: the maximum number of refusals to replay.

        keep: False rolls each step back.
    """

    def __init__(
        self,
        replayer: RefusalReplayer,
        validate: Callable[[Record], ValidRecord | Refusal],
        selection: DeadLetterFilter,
        *,
        announce: Callable[[Sequence[Record]], None] = lambda records: None,
        matches: Callable[[DeadLetter], bool] = lambda dead_letter: True,
        max_replays: int = 3,
        limit: int | None = None,
        keep: bool = True,
    ) -> None:
        self._replayer = replayer
        self._validate = validate
        self._selection = selection._replace(replayed=False)
        self._announce = announce
        self._matches = matches
        self._max_replays = max_replays
        self._remaining = limit
        self._keep = keep
        self._last: RecordIdentity | None = None
        self._page: list[DeadLetter] = []

    def run_step(self) -> TableReplayStep | None:
        """Run the next transaction, or return None without any left; what raises an `Unavailable` may be run again."""
        if not self._page and self._remaining != 0:
            self._page = self._replayer.next_page(self._selection, self._last, PAGE)
        if not self._page:
            return None
        chunk = list(next(groupby(self._page, key=lambda dead_letter: dead_letter.identity[:2]))[1])
        selected: list[DeadLetter] = []
        skipped: list[tuple[DeadLetter, str]] = []
        for dead_letter in filter(self._matches, chunk):
            if dead_letter.incomplete_reason:
                skipped.append((dead_letter, dead_letter.incomplete_reason))
            elif dead_letter.replay_count >= self._max_replays:
                skipped.append((dead_letter, exhausted_message(dead_letter)))
            else:
                selected.append(dead_letter)
        selected = selected[: self._remaining]
        validated, unsupported = self._validate_all(selected)
        replayed = self._replayer.replay(validated, keep=self._keep) if validated else ReplayResult()
        # Only after the transaction: a step that failed starts at the same refusal again.
        self._last = chunk[-1].identity
        self._page = self._page[len(chunk) :] if self._remaining is None or len(selected) < self._remaining else []
        if self._remaining is not None:
            self._remaining -= len(selected)
        return TableReplayStep(replayed, (*skipped, *unsupported))

    def _validate_all(
        self, selected: Sequence[DeadLetter]
    ) -> tuple[list[ValidatedRefusal], list[tuple[DeadLetter, str]]]:
        """
        Validate the records; return the results, and the records this build does not support.

        Every unknown schema id is queried before the first one raises, so that all
        of them are confirmed after one wait instead of one wait each.
        """
        validated: list[ValidatedRefusal] = []
        unsupported: list[tuple[DeadLetter, str]] = []
        self._announce([dead_letter.record for dead_letter in selected])
        unknown_schema: SchemaIdNotYetKnown | None = None
        for dead_letter in selected:
            try:
                validated.append((dead_letter, self._validate(dead_letter.record)))
            except UnsupportedSchema as error:
                unsupported.append((dead_letter, str(error)))
            except SchemaIdNotYetKnown as error:
                unknown_schema = error
        if unknown_schema is not None:
            raise unknown_schema
        return validated, unsupported


def exhausted_message(dead_letter: DeadLetter) -> str:
    """Return why a dead letter that was replayed too often is skipped."""
    times = "once" if dead_letter.replay_count == 1 else f"{dead_letter.replay_count} times"
    return f"replayed {times} and refused again each time"
