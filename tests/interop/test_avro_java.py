"""Apache Avro's Java library: equal bytes and values, for every writer and reader version."""

import pytest

from tests.interop.trades import VERSIONS, at_the_edges, held, records, some
from tradepipe.codec.codec import Decoder, Encoder
from tradepipe.evolution.history import current
from tradepipe.registry.serde import HEADER_SIZE, frame

pytestmark = pytest.mark.real

TRADES = some(500) + at_the_edges()

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.number}")


def ours():
    encode = Encoder().encode
    return [frame(7, encode(trade)).hex() for trade in TRADES]


def written(peer, version):
    """Return the trades as Java writes them with a version."""
    return peer.ask("avro-write", writer=version.text, id=7, records=records(version, TRADES))


def test_java_writes_the_same_bytes(peer):
    assert ours() == written(peer, current())


@each_version
def test_records_that_java_wrote_with_any_version_are_read(peer, version):
    decode = Decoder(version.text, 7).decode

    read = [decode(bytes.fromhex(value)[HEADER_SIZE:]) for value in written(peer, version)]

    assert [held(version, trade) for trade in TRADES] == read


@each_version
def test_java_reads_our_records_of_any_version(peer, version):
    read = peer.ask("avro-read", writer=current().text, reader=version.text, values=ours())

    assert records(version, TRADES) == read
