"""What `produce` and the demo send: new trades, trades sent again, bad records, in given shares."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from random import Random
from typing import Final, NamedTuple

from tradepipe.contract.samples import BadRecord, bad_records, trades
from tradepipe.contract.trade import Trade

REMEMBERED: Final = 10_000
"""Trades that may be sent again; bounds memory where there is no count."""

ANY_SEED: Final = 1 << 40
"""Seeds are drawn below it: two of a thousand runs have the same trades with a chance of one in two million."""


class New(NamedTuple):
    """A trade that is sent for the first time."""

    trade: Trade


class Again(NamedTuple):
    """A trade that was sent before, the same in every field."""

    trade: Trade


class Changed(NamedTuple):
    """A trade whose KEY was sent before, with another content: a collision."""

    trade: Trade


Item = New | Again | Changed | BadRecord


def any_seed() -> int:
    """A seed no other run is likely to have."""
    return Random().randrange(1, ANY_SEED)


def mixture(
    seed: int, encode: Callable[[Trade], bytes], *, bad: float = 0.0, resend: float = 0.0, change: float = 0.0
) -> Iterator[Item]:
    """
    Items without end, the same for the same arguments.

    Args:
        encode: the framed value of any trade.

        bad: the share of bad records in all items.

        resend: the share of trades that are sent again.

        change: the share of trades that are sent again with another content.
    """
    random = Random(seed)
    new, wrong = trades(seed), bad_records(seed, encode)
    sent: deque[Trade] = deque(maxlen=REMEMBERED)
    for kind in _kinds({BadRecord: bad, Again: resend, Changed: change}):
        if kind is BadRecord:
            yield next(wrong)
        elif kind is Again and sent:
            yield Again(random.choice(sent))
        elif kind is Changed and sent:
            trade = random.choice(sent)
            yield Changed(trade._replace(book_id=f"{trade.book_id}-other"))
        else:
            sent.append(next(new))
            yield New(sent[-1])


def _kinds(shares: Mapping[type, float]) -> Iterator[type]:
    """Evenly spread, so that any number of items has its shares as nearly as can be."""
    exact = {kind: Fraction(str(share)) for kind, share in shares.items()}
    due = dict.fromkeys(exact, Fraction(1, 2))
    while True:
        for kind, share in exact.items():
            due[kind] += share
        kind = max(due, key=due.__getitem__)
        if due[kind] >= 1:
            due[kind] -= 1
            yield kind
        else:
            yield New
