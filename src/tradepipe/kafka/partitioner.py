"""Partitioner that Kafka's clients use by default for records with a key."""

from typing import Final

_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def default_partition(key: bytes, partitions: int) -> int:
    """
    Return the partition of a key in a topic with `partitions` partitions.

    As Java's client and librdkafka's `murmur2` partitioner. A producer with another one
    puts the versions of a trade on two partitions, where they lose their order.

    >>> default_partition(b"T1", 4)
    0
    """
    # Kafka's variant of MurmurHash2, as an unsigned number of 32 bits.
    length = len(key)
    tail = length & 3
    value = 0x9747B28C ^ length
    for begin in range(0, length - tail, 4):
        word = int.from_bytes(key[begin : begin + 4], "little") * _M & _MASK
        word = (word ^ word >> 24) * _M & _MASK
        value = value * _M & _MASK ^ word
    if tail:
        value = (value ^ int.from_bytes(key[length - tail :], "little")) * _M & _MASK
    value = (value ^ value >> 13) * _M & _MASK
    value ^= value >> 15
    # Java clears the sign bit instead of taking the absolute value, which differs for negative hashes.
    return (value & 0x7FFFFFFF) % partitions
