"""The size of a batch is that of its encoding."""

import pytest

from tests.kafka.raw_batches import encode_batch, encode_record, hollow_headers
from tradepipe.kafka.record_batch import batch_size
from tradepipe.trade.record import Record


@pytest.mark.parametrize("key", [0, 63, 64, 8_191, 8_192])
@pytest.mark.parametrize("value", [0, 63, 64, 8_000, 8_192])
def test_the_size_of_a_batch_is_that_of_its_encoding(key, value):
    record = Record("trades", 0, 0, bytes(key), bytes(value))
    encoded = encode_batch(encode_record(0, record.key, record.value), 1, codec=0)

    assert len(encoded) == batch_size(record)


def test_the_size_of_a_batch_includes_headers():
    start, zeros = hollow_headers(0, b"key", 1_000)
    empty = Record("trades", 0, 0, b"key", None, None, (("", b""),) * 1_000)
    filled = empty._replace(headers=(("\u00e9", b"12"), ("", None), *empty.headers[2:]))

    assert len(encode_batch(start + bytes(zeros), 1, codec=0)) == batch_size(empty)
    assert batch_size(empty) + 4 == batch_size(filled)
