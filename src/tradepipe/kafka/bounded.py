"""A call that may never return, given up after some time."""

import threading
from collections.abc import Callable


def bounded(call: Callable[[], object], seconds: float) -> None:
    """
    Make a call in a thread of its own, and raise what it raises.

    Raises:
        TimeoutError: it has not returned. Its thread is left behind, with all
            it holds, until it does; the process does not wait for it.
    """
    raised: list[BaseException] = []
    returned = threading.Event()

    def run() -> None:
        try:
            call()
        except BaseException as error:  # raised again below, where somebody waits for it
            raised.append(error)
        finally:
            returned.set()

    threading.Thread(target=run, name="tradepipe-bounded", daemon=True).start()
    if not returned.wait(seconds):
        raise TimeoutError
    if raised:
        raise raised[0]
