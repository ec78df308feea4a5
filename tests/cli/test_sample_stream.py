"""What is sent: shares, seeds, copies."""

from collections import Counter
from itertools import islice

from tradepipe.trade.model import PRIMARY_KEY
from tradepipe.trade.samples import BadRecord, ChangedTrade, NewTrade, ResentTrade, sample_stream


def encode(trade) -> bytes:
    """The mixture looks into no value."""
    return b"\x00\x00\x00\x00\x01" + repr(trade).encode()


def key_of(trade) -> tuple:
    return tuple(getattr(trade, field) for field in PRIMARY_KEY)


def test_without_shares_there_are_only_new_trades():
    assert {NewTrade} == {type(item) for item in islice(sample_stream(1, encode), 1_000)}


def test_shares_are_kept_to_the_record():
    items = islice(sample_stream(1, encode, bad=0.03, resend=0.1, change=0.01), 1_000)

    assert {NewTrade: 860, ResentTrade: 100, BadRecord: 30, ChangedTrade: 10} == Counter(type(item) for item in items)


def test_every_kind_of_bad_record_comes_in_turn():
    kinds = [item.kind for item in islice(sample_stream(1, encode, bad=1.0), 30)]

    assert 15 == len(set(kinds[:15]))
    assert kinds[:15] == kinds[15:]


def test_a_trade_sent_again_is_one_sent_before():
    sent = set()
    for item in islice(sample_stream(1, encode, resend=0.3), 1_000):
        assert isinstance(item, NewTrade) or item.trade in sent
        sent.add(item.trade)


def test_a_changed_trade_has_the_key_of_one_sent_before_and_another_content():
    sent = {}
    for item in islice(sample_stream(1, encode, change=0.3), 1_000):
        if isinstance(item, ChangedTrade):
            assert item.trade != sent[key_of(item.trade)]
        else:
            sent[key_of(item.trade)] = item.trade


def test_the_same_seed_gives_the_same_items():
    first, second = (list(islice(sample_stream(7, encode, bad=0.1, resend=0.1), 500)) for _ in range(2))

    assert first == second


def test_all_records_may_be_bad():
    assert {BadRecord} == {type(item) for item in islice(sample_stream(1, encode, bad=1.0), 50)}
