"""What `produce` and the demo send: new trades, trades sent again, bad records, in given shares."""

from collections import deque
from collections.abc import Callable, Iterator
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


Item = New | Again | BadRecord


def any_seed() -> int:
    """A seed no other run is likely to have."""
    return Random().randrange(1, ANY_SEED)


def mixture(seed: int, encode: Callable[[Trade], bytes], *, bad: float = 0.0, resend: float = 0.0) -> Iterator[Item]:
    """
    Items without end, the same for the same arguments.

    Args:
        encode: the framed value of any trade.

        bad: the share of bad records in all items.

        resend: the share of trades that are sent again in all items.
    """
    random = Random(seed)
    new, wrong = trades(seed), bad_records(seed, encode)
    sent: deque[Trade] = deque(maxlen=REMEMBERED)
    for kind in _kinds(Fraction(str(bad)), Fraction(str(resend))):
        if kind is BadRecord:
            yield next(wrong)
        elif kind is Again and sent:
            yield Again(sent[random.randrange(len(sent))])
        else:
            sent.append(next(new))
            yield New(sent[-1])


def _kinds(bad: Fraction, resend: Fraction) -> Iterator[type]:
    """Evenly spread, so that any number of items has its shares as nearly as can be."""
    bad_due = resend_due = Fraction()
    while True:
        bad_due += bad
        resend_due += resend
        if bad_due >= 1:
            bad_due -= 1
            yield BadRecord
        elif resend_due >= 1:
            resend_due -= 1
            yield Again
        else:
            yield New
