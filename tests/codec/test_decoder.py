"""Generated decoder of one schema: generation, source and size limit."""

import pytest

from tests.codec.sample_schema import SAMPLE, encode, make_decoder
from tradepipe.codec.codec import MAX_BODY, Decoder
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.history import current, versions
from tradepipe.trade.model import Trade


def test_a_decoder_is_generated_at_first_use_and_cached():
    made = Decoder(current().text, 1)

    assert "decode" not in vars(made)
    assert made.decode is made.decode


@pytest.mark.parametrize("version", versions(), ids=lambda version: f"v{version.number}")
def test_the_source_of_every_versions_decoder_is_available(version):
    shown = Decoder(version.text, 0).source().text

    assert shown.startswith("def decode(_body):\n")
    assert [f"# {field}: " in shown for field in Trade._fields] == [True] * len(Trade._fields)
    assert max(map(len, shown.splitlines())) < 400


def test_a_body_that_is_too_large_is_refused_unread():
    with pytest.raises(UndecodableRecord, match=f"the body has more than {MAX_BODY} bytes"):
        make_decoder()(bytes(MAX_BODY + 1))


def test_a_text_may_be_nearly_as_long_as_a_body():
    long = SAMPLE._replace(trade_id="x" * (MAX_BODY - 100))

    assert long == make_decoder()(encode(long))
