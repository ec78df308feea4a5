"""
The compiled core, `tradepipe._native`: it does what Python can do here too, many times faster.

It is built from `native/` if cargo is installed, and shipped in wheels; the
package does the same without it. `TRADEPIPE_NATIVE=0` turns it off.
"""

import os
from importlib import import_module
from typing import Any, Final

INTERFACE: Final = 8
"""
Number of the interface between Python and the compiled core: its functions, and the plans that it takes.

It changes with them in both places. In a working copy, the core may have been
built from older sources; one with another number is not used.
"""


def load() -> Any:
    """Return the compiled core; None if it is not built, or is turned off."""
    if os.environ.get("TRADEPIPE_NATIVE") == "0":
        return None
    try:
        native = import_module("tradepipe._native")
    except ImportError:
        return None
    return native if native.INTERFACE == INTERFACE else None


def executor_name() -> str:
    """Return what executes the plans: "compiled" or "Python"."""
    return "Python" if load() is None else "compiled"
