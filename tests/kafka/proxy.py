"""A TCP proxy for a Kafka broker that recognizes requests, for tests of clients whose requests are late."""

import contextlib
import socket
import struct
import threading
import time
from queue import SimpleQueue
from typing import Final, NamedTuple

from tests.proxy import Proxy, _Link

PRODUCE: Final = 0
LIST_OFFSETS: Final = 2
FIND_COORDINATOR: Final = 10
API_VERSIONS: Final = 18
INIT_PRODUCER_ID: Final = 22
ADD_PARTITIONS_TO_TXN: Final = 24
ADD_OFFSETS_TO_TXN: Final = 25
END_TXN: Final = 26
TXN_OFFSET_COMMIT: Final = 28
"""Requests, as Kafka's protocol numbers them."""

AT_LONGEST: Final = 30.0
"""Seconds until a request that is held is let go, or is believed to have no answer."""

_HOST: Final = b"127.0.0.1"
_LENGTH: Final = struct.Struct(">i")
_REQUEST: Final = struct.Struct(">hhi")


class Late:
    """
    A request that reaches the broker late, or whose answer reaches the client late.

    Attributes:
        begun: the request has come.

        answered: the broker has answered it.

        over: the answer was delivered, if its connection was still there.
    """

    def __init__(self, *, seconds: float = 0.0, behind: int = 0) -> None:
        self.seconds = seconds
        self.behind = behind
        self.begun = threading.Event()
        self.released = threading.Event()
        self.answered = threading.Event()
        self.over = threading.Event()

    def release(self) -> None:
        """Forward the request to the broker, and wait for its answer."""
        self.released.set()
        assert self.answered.wait(AT_LONGEST)


class _Answer(NamedTuple):
    due: float
    frame: bytes
    late: Late | None


class KafkaProxy(Proxy):
    """
    Forwards connections to the one broker there, whole requests and whole answers at a time.

    A broker tells its clients where to find it; on the way through here that
    becomes the proxy's own port.

    Attributes:
        answers_after: seconds by which each answer is late; they overlap, as on a long way.

        answers: how many answers were sent.

        greetings: how many connections clients have begun to use.
    """

    def __init__(self, target: int) -> None:
        self.answers_after = 0.0
        self.answers = 0
        self.greetings = 0
        self._late: dict[int, Late] = {}
        self._choosing = threading.Lock()
        self._awaited: dict[tuple[_Link, int], Late] = {}
        super().__init__(target)

    def hold_answer(self, request: int, *, seconds: float) -> Late:
        """Delay the answer to the next request of a kind."""
        self._late[request] = late = Late(seconds=seconds)
        late.released.set()
        return late

    def hold_request(self, request: int, *, behind: int = 0) -> Late:
        """Hold a request of a kind, after others of it, and what follows on its connection, until its release."""
        self._late[request] = late = Late(behind=behind)
        return late

    def _requests(self, link: _Link) -> None:
        while frame := _frame(link.client):
            kind, _, number = _REQUEST.unpack_from(frame, _LENGTH.size)
            self.greetings += kind == API_VERSIONS
            if (late := self._late_one(kind)) is None:
                link.server.sendall(frame)
            else:
                self._awaited[link, number] = late
                late.begun.set()
                late.released.wait(AT_LONGEST)
                link.server.sendall(frame)
                # Its client may have left, and what was just sent would go with the connection.
                late.answered.wait(AT_LONGEST)

    def _late_one(self, kind: int) -> Late | None:
        with self._choosing:
            if (late := self._late.get(kind)) is not None and late.behind:
                late.behind -= 1
                return None
            return self._late.pop(kind, None)

    def _replies(self, link: _Link) -> None:
        answers: SimpleQueue[_Answer | None] = SimpleQueue()
        threading.Thread(target=self._listen, args=(link, answers), name="proxy ear", daemon=True).start()
        while answer := answers.get():
            time.sleep(max(0.0, answer.due - time.monotonic()))
            try:
                link.client.sendall(answer.frame)
                self.answers += 1
            finally:
                if answer.late is not None:
                    answer.late.over.set()

    def _listen(self, link: _Link, answers: "SimpleQueue[_Answer | None]") -> None:
        with contextlib.suppress(OSError):
            while frame := _frame(link.server):
                (number,) = _LENGTH.unpack_from(frame, _LENGTH.size)
                late = self._awaited.pop((link, number), None)
                delay = self.answers_after
                if late is not None:
                    late.answered.set()
                    delay = max(delay, late.seconds)
                answers.put(_Answer(time.monotonic() + delay, self._led_here(frame), late))
        answers.put(None)

    def _led_here(self, frame: bytes) -> bytes:
        """Replace the broker's address in an answer by the proxy's."""
        return frame.replace(_HOST + _LENGTH.pack(self.target), _HOST + _LENGTH.pack(self.port))


def _frame(connection: socket.socket) -> bytes:
    """Read the next request or answer with its length; empty at the end."""
    head = _exactly(connection, _LENGTH.size)
    return head and head + _exactly(connection, *_LENGTH.unpack(head))


def _exactly(connection: socket.socket, size: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        piece = connection.recv(size - len(pieces))
        if not piece:
            return b""
        pieces += piece
    return bytes(pieces)
