"""Free TCP ports on 127.0.0.1."""

import random
import socket
from collections.abc import Iterator
from typing import Final

_BELOW_OUTGOING: Final = range(15_000, 32_000)
"""Linux gives outgoing connections ports from 32768 on: one of those may be gone when a stopped server comes back."""


def free_port() -> int:
    """A port nobody listens on, and that no outgoing connection will take."""
    return next(port for port in _candidates() if _is_free(port))


def _candidates() -> Iterator[int]:
    # Not the seeded generator of `random`: a program that seeds it would get the same ports in all its processes.
    chance = random.SystemRandom()
    while True:
        yield chance.choice(_BELOW_OUTGOING)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
