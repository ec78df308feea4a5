"""Dead letters of the table come back: judged again, and stored if they are trades now. Kafka has no part in it."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Final, NamedTuple

from tradepipe.errors import SchemaIdNotYetKnown, UnsupportedSchema
from tradepipe.postgres.replay import RefusalReplayer, ReplayResult, ValidatedRefusal
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity
from tradepipe.trade.record import Record, Refusal, ValidRecord

PAGE: Final = 500
"""Refusals in one transaction, at most."""


class TableReplayStep(NamedTuple):
    """
    One transaction of a replay.

    `left` are refusals that were not touched, each with the reason.
    """

    replayed: ReplayResult = ReplayResult()
    left: tuple[tuple[DeadLetter, str], ...] = ()


class TableReplay:
    """
    Judge refused records again and store those that are trades now.

    Each step is one transaction, in which a record is stored and its refusal
    marked, or the refusal has one attempt more. Of two replays at once each has
    other records in hand; what one of them refused again the other may try too.
    What is stored keeps the coordinates it had in the log, but is out of order:
    newer versions of a trade may have been stored before it.

    Args:
        judge: the verdict on a record, as a sink's.

        means: which refusals of the selection are meant after all.

        max_replays: what was replayed so often, and refused again, is left.

        limit: how many are tried at most.

        keep: False rolls each step back.
    """

    def __init__(
        self,
        shelf: RefusalReplayer,
        judge: Callable[[Record], ValidRecord | Refusal],
        selection: DeadLetterFilter,
        *,
        means: Callable[[DeadLetter], bool] = lambda kept: True,
        max_replays: int = 3,
        limit: int | None = None,
        keep: bool = True,
    ) -> None:
        self._shelf = shelf
        self._judge = judge
        self._selection = selection._replace(replayed=False)
        self._means = means
        self._max_replays = max_replays
        self._room = limit
        self._keep = keep
        self._behind: RecordIdentity | None = None
        self._page: list[DeadLetter] = []

    def run_step(self) -> TableReplayStep | None:
        """
        The next transaction, None when all are done; a step that failed may be tried again.

        Raises:
            RegistryUnavailable: a schema cannot be had now.

            DatabaseUnavailable, ConfigurationError: as the methods of `Shelf`.
        """
        if not self._page and self._room != 0:
            self._page = self._shelf.next_page(self._selection, self._behind, PAGE)
        if not self._page:
            return None
        part = _same_topic(self._page)
        tried, tired = self._select(part)
        judged, unfit = self._validate(tried)
        replayed = self._shelf.replay(judged, keep=self._keep) if judged else ReplayResult()
        self._behind = part[-1].identity
        self._page = self._page[len(part) :] if self._room is None or len(tried) < self._room else []
        if self._room is not None:
            self._room -= len(tried)
        return TableReplayStep(replayed, (*tired, *unfit))

    def _select(self, part: Iterable[DeadLetter]) -> tuple[list[DeadLetter], list[tuple[DeadLetter, str]]]:
        """What is to be tried, and what was tried too often."""
        meant = [kept for kept in part if self._means(kept)]
        tried = [kept for kept in meant if kept.replay_count < self._max_replays]
        tired = [(kept, exhausted_message(kept)) for kept in meant if kept.replay_count >= self._max_replays]
        return tried[: self._room], tired

    def _validate(self, tried: Iterable[DeadLetter]) -> tuple[list[ValidatedRefusal], list[tuple[DeadLetter, str]]]:
        """Verdicts, and what this build cannot judge; every unknown schema id is asked for before any is waited for."""
        judged: list[ValidatedRefusal] = []
        unfit: list[tuple[DeadLetter, str]] = []
        pending: SchemaIdNotYetKnown | None = None
        for kept in tried:
            try:
                judged.append((kept, self._judge(kept.record)))
            except UnsupportedSchema as error:
                unfit.append((kept, str(error)))
            except SchemaIdNotYetKnown as error:
                pending = error
        if pending is not None:
            raise pending
        return judged, unfit


def exhausted_message(kept: DeadLetter) -> str:
    """Why a refusal is left."""
    times = "once" if kept.replay_count == 1 else f"{kept.replay_count} times"
    return f"replayed {times} and refused again each time"


def _same_topic(page: Iterable[DeadLetter]) -> list[DeadLetter]:
    """The first ones that are of one topic and one topic id."""
    return list(next(groupby(page, key=lambda kept: kept.identity[:2]))[1])
