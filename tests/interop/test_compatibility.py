"""The structural verdict is Java's, which registries give."""

from itertools import islice

import pytest

from tests.interop.schemas import pairs
from tradepipe.contract.compatibility import Level, incompatibilities

pytestmark = pytest.mark.real

PAIRS = 1500


def test_our_structural_verdict_is_javas_in_both_directions(peer):
    made = list(islice(pairs(7), PAIRS))
    asked = [*made, *((old, new) for new, old in made)]

    theirs = peer.ask("avro-can-read", pairs=asked)

    ours = [not incompatibilities(new, [old], Level.BACKWARD) for new, old in asked]
    assert [] == [pair for pair, our, their in zip(asked, ours, theirs, strict=True) if our != their]
    assert PAIRS // 5 < sum(theirs) < PAIRS * 9 // 5
