"""An outage of a service in the log: one line when it begins, and one when it ends."""

import logging
import time


class Outage:
    """
    Log when a service becomes unavailable, and when it is available again.

    Args:
        service: its name in the two lines.

        logger: the caller's.
    """

    def __init__(self, service: str, logger: logging.Logger) -> None:
        self._service = service
        self._logger = logger
        self._began_at: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether it has begun and not ended."""
        return self._began_at is not None

    def begin(self, reason: object, what_follows: str = "retrying") -> None:
        """Log that the service is unavailable and what that leads to, unless that is logged already."""
        if self._began_at is None:
            self._began_at = time.monotonic()
            cause = str(reason).removeprefix(f"{self._service} is unavailable: ")
            self._logger.warning("%s is unavailable, %s: %s", self._service, what_follows, cause)

    def end(self, what_follows: str | None = None) -> None:
        """Log that the service is available again, if it was unavailable."""
        if self._began_at is not None:
            seconds, self._began_at = time.monotonic() - self._began_at, None
            more = f", {what_follows}" if what_follows else ""
            self._logger.warning("%s is available again after %.1f s%s", self._service, seconds, more)
