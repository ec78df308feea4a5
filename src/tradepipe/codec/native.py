"""
The compiled core: it does what the plans say, many times faster than Python.

It is built from `native/` where cargo is, and shipped in wheels; the package is
the same without it. `TRADEPIPE_NATIVE=0` turns it off.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tradepipe._native import Executor

INTERFACE: Final = 1
"""
Number of the interface between Python and the compiled core: its functions, and the plans that it takes.

It changes with them in both places. In a working copy, the core may have been
built from older sources; one with another number is not used.
"""


def make_executor() -> "Executor | None":
    """
    Return an executor without plans; None if there is no compiled core, or if it is turned off.

    Its `add` raises `ValueError` for a plan that only Python does.
    """
    native = _load()
    executor: Executor | None = None if native is None else native.Executor()
    return executor


def executor_name() -> str:
    """Return what does what the plans say: "compiled" or "Python"."""
    return "Python" if _load() is None else "compiled"


def _load() -> Any:
    if os.environ.get("TRADEPIPE_NATIVE") == "0":
        return None
    try:
        native = import_module("tradepipe._native")
    except ImportError:
        return None
    return native if native.INTERFACE == INTERFACE else None
