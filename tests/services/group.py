"""Services that start together."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class ServiceGroup:
    """Services of which the first use of one starts all, and waits only for that one."""

    def __init__(self, *services: Any) -> None:
        self._services = services
        self._starts: dict[object, Future[Any]] = {}

    def start(self) -> None:
        """Begin to start all."""
        if not self._starts:
            starter = ThreadPoolExecutor(len(self._services))
            self._starts = {each: starter.submit(each.start) for each in self._services}
            starter.shutdown(wait=False)

    def started(self, service: T) -> T:
        """Return one of them when it has started."""
        self.start()
        self._starts[service].result()
        return service

    def wait(self) -> None:
        """Wait until all have started that have begun to."""
        for start in self._starts.values():
            start.result()

    def close(self) -> None:
        """Stop all."""
        for service, start in self._starts.items():
            start.exception()  # wait: a service that is still starting has nothing to close yet
            service.close()
        self._starts.clear()
