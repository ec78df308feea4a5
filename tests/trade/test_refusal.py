"""Refusals keep a bounded part of their record, and the digest of the rest."""

import copy
import hashlib
import pickle

import pytest

from tradepipe.trade.record import MAX_KEPT_HEADERS, Digest, Omitted, Record, Refusal, UnreadableBatch, Violation

LIMIT = 100


def refusal(*, key=b"", value=b"", headers=()):
    return Refusal(Record("trades", 0, 5, key, value, None, headers), (Violation("FRAMING", "no frame"),))


def digest(data):
    return Digest(len(data), hashlib.sha256(data).digest())


def test_a_record_within_the_limit_is_kept_whole():
    whole = refusal(key=b"k" * 40, value=b"v" * 40, headers=(("name", b"value"), ("", None)))

    assert whole is whole.within(LIMIT)
    assert whole.is_complete


def test_a_long_value_is_omitted_first():
    cut = refusal(key=b"k" * 40, value=b"v" * 61, headers=(("a", None),)).within(LIMIT)

    assert (b"k" * 40, None, (("a", None),)) == (cut.record.key, cut.record.value, cut.record.headers)
    assert Omitted(value=digest(b"v" * 61)) == cut.omitted
    assert not cut.is_complete


def test_long_headers_are_omitted_next_and_a_long_key_last():
    headers = (("a", b"x" * 200),)

    assert Omitted(None, digest(b"v"), digest(b"a=" + b"x" * 200 + b"\n")) == (
        refusal(key=b"k", value=b"v", headers=headers).within(LIMIT).omitted
    )
    assert Omitted(digest(b"k" * 101)) == refusal(key=b"k" * 101).within(LIMIT).omitted


def test_many_short_headers_are_omitted():
    """In memory each takes far more than its bytes."""
    headers = (("a", None),) * (MAX_KEPT_HEADERS + 1)

    cut = refusal(value=b"v", headers=headers).within()

    assert (b"v", (), Omitted(headers=digest(b"a=\n" * len(headers)))) == (
        cut.record.value,
        cut.record.headers,
        cut.omitted,
    )


def test_a_refusal_that_is_cut_again_keeps_its_first_digests():
    once = refusal(key=b"k" * 90, value=b"v" * 90).within(LIMIT)

    assert Omitted(digest(b"k" * 90), digest(b"v" * 90)) == once.within(10).omitted


@pytest.mark.parametrize(("last", "offsets"), [(5, "offset 5"), (9, "offsets 5 to 9")])
def test_the_refusal_of_an_unreadable_batch_names_its_offsets_and_the_error(last, offsets):
    batch = UnreadableBatch("trades", 0, 5, last, "it does not unpack")

    assert f"{offsets} cannot be read, and remain in Kafka: it does not unpack" == batch.violation.detail
    assert not Refusal(batch, (batch.violation,)).is_complete


@pytest.mark.parametrize(
    "transfer", [lambda each: pickle.loads(pickle.dumps(each)), copy.deepcopy], ids=["pickle", "copy"]
)
def test_the_refusal_of_an_unreadable_batch_passes_to_another_process(transfer):
    """As all that is reported of a stored batch does."""
    batch = UnreadableBatch("trades", 3, 5, 7, "invalid compressed data")
    refused = Refusal(batch, (batch.violation,))

    received = transfer(refused)

    assert (refused, UnreadableBatch) == (received, type(received.record))
    assert batch.violation == received.record.violation
