"""Dead letters of the table come back: judged again, and stored if they are trades now. Kafka has no part in it."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Final, NamedTuple

from tradepipe.contract.kept import Identity, Kept, Selection
from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Refusal
from tradepipe.errors import SchemaPending, UnsupportedSchema
from tradepipe.postgres.accepted import Accepted
from tradepipe.postgres.replay import Judged, Replayed, Shelf

PAGE: Final = 500
"""Refusals in one transaction, at most."""


class Step(NamedTuple):
    """
    One transaction of a replay.

    `left` are refusals that were not touched, each with the reason.
    """

    replayed: Replayed = Replayed()
    left: tuple[tuple[Kept, str], ...] = ()


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
        shelf: Shelf,
        judge: Callable[[Record], Accepted | Refusal],
        selection: Selection,
        *,
        means: Callable[[Kept], bool] = lambda kept: True,
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
        self._behind: Identity | None = None
        self._page: list[Kept] = []

    def step(self) -> Step | None:
        """
        The next transaction, None when all are done; a step that failed may be tried again.

        Raises:
            RegistryAway: a schema cannot be had now.

            DatabaseAway, Misconfigured: as the methods of `Shelf`.
        """
        if not self._page and self._room != 0:
            self._page = self._shelf.page(self._selection, self._behind, PAGE)
        if not self._page:
            return None
        part = _same_topic(self._page)
        tried, tired = self._chosen(part)
        judged, unfit = self._judged(tried)
        replayed = self._shelf.settle(judged, keep=self._keep) if judged else Replayed()
        self._behind = part[-1].identity
        self._page = self._page[len(part) :] if self._room is None or len(tried) < self._room else []
        if self._room is not None:
            self._room -= len(tried)
        return Step(replayed, (*tired, *unfit))

    def _chosen(self, part: Iterable[Kept]) -> tuple[list[Kept], list[tuple[Kept, str]]]:
        """What is to be tried, and what was tried too often."""
        meant = [kept for kept in part if self._means(kept)]
        tried = [kept for kept in meant if kept.replays < self._max_replays]
        tired = [(kept, too_often(kept)) for kept in meant if kept.replays >= self._max_replays]
        return tried[: self._room], tired

    def _judged(self, tried: Iterable[Kept]) -> tuple[list[Judged], list[tuple[Kept, str]]]:
        """Verdicts, and what this build cannot judge; every unknown schema id is asked for before any is waited for."""
        judged: list[Judged] = []
        unfit: list[tuple[Kept, str]] = []
        pending: SchemaPending | None = None
        for kept in tried:
            try:
                judged.append((kept, self._judge(kept.record)))
            except UnsupportedSchema as error:
                unfit.append((kept, str(error)))
            except SchemaPending as error:
                pending = error
        if pending is not None:
            raise pending
        return judged, unfit


def too_often(kept: Kept) -> str:
    """Why a refusal is left."""
    times = "once" if kept.replays == 1 else f"{kept.replays} times"
    return f"replayed {times} and refused again each time"


def _same_topic(page: Iterable[Kept]) -> list[Kept]:
    """The first ones that are of one topic and one topic id."""
    return list(next(groupby(page, key=lambda kept: kept.identity[:2]))[1])
