"""
What librdkafka tells its log alone: that a connection broke.

After that it sends again what had no answer, as if nothing had happened, and
says so to no callback. It says it once only: the same trouble within half a
minute is left out.
"""

import logging
from typing import Final

logger = logging.getLogger("tradepipe.kafka.librdkafka")

LEVEL: Final = 6
"""The syslog level from which on librdkafka tells of connections; it tells nothing above the one it is given."""

_BROKEN: Final = frozenset({"FAIL", "REQTMOUT"})
"""How librdkafka names a connection that broke, and a request that timed out."""


class Watched:
    """A logger for one client, which notes trouble on the way to the brokers."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        """The last trouble, as it was told."""

    def log(self, level: int, message: str, *args: str) -> None:
        """Take a line of librdkafka's: a format, what it is about, the client, the text."""
        if args and args[0] in _BROKEN:
            self.trouble = args[-1]
        logger.log(level, message, *args)
