"""How a stage runs as a command: metrics served, progress shown, garbage left alone."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from tradepipe import metrics
from tradepipe.cli.serving import Serving, Stage
from tradepipe.cli.terminal import StatusLine
from tradepipe.contract.history import current
from tradepipe.postgres.revision import head

MANY: Final = 10_000_000
"""From here on a number is told in millions where there is little room."""

GARBAGE: Final = 100_000
"""Objects between two searches for garbage: above what the batches in hand hold, which no search can free."""


@contextmanager
def served(stage: Stage, host: str, port: int | None, status: StatusLine) -> Iterator[None]:
    """Serve a stage's metrics within the block, if a port is given."""
    if port is None:
        yield
        return
    stage.meter.set(metrics.BUILD, 1, version("tradepipe"), str(current().number), head())
    with Serving(stage, host=host, port=port) as serving:
        status.write(f"metrics at {serving.address}/metrics")
        yield


def spare_garbage_collection() -> None:
    """
    Let the cyclic collector alone with what the start has made, and look rarely at the rest.

    What a stage reads and writes has no cycles; looking for some took a seventh of its time (docs/measurements.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


def short(number: int) -> str:
    """A number where there is little room."""
    return f"{number:,}" if number < MANY else f"{number / 1e6:,.1f}M"
