"""Requests to hostile servers end at their deadline, and read a limited number of bytes."""

import gzip
import itertools
import time
from collections.abc import Iterable, Iterator

import pytest

from tests.registry.hostile_server import TOO_LATE, HostileServer
from tradepipe.errors import RegistryUnavailable
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.transport import MAX_RESPONSE

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def endless(*first: bytes | None, then: bytes) -> Iterable[bytes | None]:
    """Pieces that start over for each connection."""

    class Pieces:
        def __iter__(self) -> Iterator[bytes | None]:
            return itertools.chain(first, itertools.repeat(then))

    return Pieces()


ENDLESS = {
    "head": endless(b"HTTP/1.1 200 OK\r\n", then=b"X: y\r\n"),
    "a byte of the head": endless(then=b"H"),
    "100 Continue": endless(then=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 Early Hints": endless(then=b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    "body": endless(HEAD + b"Content-Length: 1000000\r\n\r\n", then=b" "),
    "chunks": endless(CHUNKED, then=b"1\r\n \r\n"),
    "chunk size": endless(CHUNKED, then=b"0"),
    "chunk extension": endless(CHUNKED + b"5;", then=b"x"),
    "trailer": endless(CHUNKED + b"0\r\n", then=b"X: y\r\n"),
}


@pytest.mark.parametrize("pieces", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_response_without_end_is_abandoned_at_the_deadline(pieces):
    began = time.monotonic()
    with (
        HostileServer(pieces) as server,
        SchemaRegistry(server.url, timeout=0.4, retries=0) as client,
        pytest.raises(RegistryUnavailable),
    ):
        client.schema(1)

    assert time.monotonic() - began < TOO_LATE / 2


def test_a_deadline_holds_on_a_connection_that_was_used_before():
    answer = b'{"schema": "{}"}'
    good = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer)
    with (
        HostileServer(endless(good, None, then=b" ")) as server,
        SchemaRegistry(server.url, timeout=2, retries=0) as client,
    ):
        client.schema(1)
        began = time.monotonic()
        with pytest.raises(RegistryUnavailable):
            client.schema(1)

    assert time.monotonic() - began < TOO_LATE / 2
    assert 1 == server.connections


@pytest.mark.parametrize(
    "first",
    [HEAD + b"Content-Length: 1000000000\r\n\r\n", CHUNKED + b"40000000\r\n", CHUNKED + b"5;"],
    ids=["length", "chunk", "extension"],
)
def test_a_response_is_read_up_to_a_limit_of_bytes(first):
    piece = bytes(65_536).replace(b"\0", b" ")
    sent = 0

    def pieces():
        nonlocal sent
        yield first
        while True:
            sent += len(piece)
            yield piece

    with (
        HostileServer(pieces(), pause=0) as server,
        SchemaRegistry(server.url, timeout=10, retries=0) as client,
        pytest.raises(RegistryUnavailable),
    ):
        client.schema(1)

    # The socket buffers of both sides hold some more.
    assert sent < 8 * MAX_RESPONSE


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "deflate", "br"])
def test_a_compressed_response_is_not_unpacked(encoding):
    content = gzip.compress(gzip.compress(b'{"schema": "{}"}'))
    head = HEAD + f"Content-Encoding: {encoding}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    with (
        HostileServer([head + content]) as server,
        SchemaRegistry(server.url, timeout=5, retries=0) as client,
        pytest.raises(RegistryUnavailable, match="the response is compressed"),
    ):
        client.schema(1)
