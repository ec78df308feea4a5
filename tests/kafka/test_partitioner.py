"""The partition that Kafka's clients choose for a key."""

import pytest

from tradepipe.pipeline.partitions import default_partition

# From the test of `Utils.murmur2` in Apache Kafka, as numbers without a sign.
HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", HASHES)
def test_the_hash_is_that_of_apache_kafka(key):
    positive = HASHES[key] & 0x7FFFFFFF

    assert [positive % count for count in (1, 4, 1_000)] == [default_partition(key, count) for count in (1, 4, 1_000)]
