"""An outage of a service in the log: one line when it begins, and one when it ends."""

import logging
import time

from tradepipe.errors import Unavailable


class Outage:
    """
    Log when a service becomes unavailable, and when it is available again.

    Args:
        service: its name in the two lines, if the error names none.

        logger: the caller's.
    """

    def __init__(self, service: str, logger: logging.Logger) -> None:
        self._usual_name = service
        self._service: str | None = service
        self._logger = logger
        self._began_at: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether it has begun and not ended."""
        return self._began_at is not None

    def begin(self, reason: Unavailable | str, what_follows: str = "retrying") -> None:
        """Log that the service is unavailable and what that leads to, unless that is logged already."""
        if self._began_at is not None:
            return
        self._began_at = time.monotonic()
        self._service, cause = self._usual_name, reason
        if isinstance(reason, Unavailable):
            self._service, cause = reason.service, reason.reason
        if self._service is None:  # it is available, but another transaction, for one, is in the way
            self._logger.warning("%s: %s", what_follows, cause)
        else:
            self._logger.warning("%s is unavailable, %s: %s", self._service, what_follows, cause)

    def end(self, what_follows: str | None = None) -> None:
        """Log that the service is available again, if it was unavailable."""
        if self._began_at is not None:
            seconds, self._began_at = time.monotonic() - self._began_at, None
            more = f", {what_follows}" if what_follows else ""
            begin = "continuing" if self._service is None else f"{self._service} is available again"
            self._logger.warning("%s after %.1f s%s", begin, seconds, more)
