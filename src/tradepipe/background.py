"""Calls in a background thread."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def run_in_thread(call: Callable[[], T], name: str) -> Future[T]:
    """
    Make a call in a thread, and return the future of its result.

    The thread keeps running, and keeps the call's objects alive, until the call
    returns, even if its result is no longer awaited. The process does not
    wait for it.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            value = call()
        except BaseException as error:  # raised again by `result`
            result.set_exception(error)
        else:
            result.set_result(value)

    threading.Thread(target=run, name=name, daemon=True).start()
    return result
