"""How a stage runs as a command: metrics served, progress shown, garbage left alone, and in the end summed up."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from typing import Final, NamedTuple, TypeVar

from tradepipe import metrics
from tradepipe.cli.exit_codes import StopOnSignal
from tradepipe.cli.health_server import HealthServer, pending_service
from tradepipe.cli.logs import print_status
from tradepipe.cli.terminal import Progress, StatusLine
from tradepipe.errors import TradepipeError
from tradepipe.evolution.history import current
from tradepipe.pipeline.stage import Stage
from tradepipe.postgres.revision import required_revision

C = TypeVar("C")

MANY: Final = 10_000_000
"""From here on a number is told in millions where there is little room."""

GC_THRESHOLD: Final = 100_000
"""Objects between two searches for garbage: above what the batches in hand hold, which no search can free."""


class StageSummary(NamedTuple):
    """
    What became of the records a stage has dealt with so far.

    Attributes:
        good: how many of each kind that was not refused, by the stage's word for it, the first word first.

        refused: the others by their first code.
    """

    accepted: Mapping[str, int]
    refused: Counter[str]

    @property
    def numbers(self) -> dict[str, int]:
        """How many by each word."""
        return {**self.accepted, "refused": self.refused.total()}

    @property
    def records(self) -> int:
        """How many in all."""
        return sum(self.numbers.values())

    def __str__(self) -> str:
        return ", ".join(f"{number:,} {word}" for word, number in self.numbers.items())

    def summary(self) -> str:
        """The same with the codes of the refused."""
        codes = ", ".join(f"{code} {number:,}" for code, number in self.refused.most_common())
        return f"{self}: {codes}" if codes else str(self)


def run_stage(
    stage: Stage[C],
    so_far: Callable[[C], StageSummary],
    status: StatusLine | None,
    *,
    until_end: bool,
    host: str,
    port: int | None,
) -> None:
    """
    Run a stage until it is done or asked to stop, and sum up.

    Args:
        so_far: puts into words what the stage has counted.

        status: where to show how far it is; None shows nothing.

        host, port: where to serve its metrics; None as port serves none.
    """
    stopping = StopOnSignal(stage.stop, "stopping: the batch in hand is finished first")
    with stage, stopping, _serve(stage, host, port):
        tune_garbage_collection()
        try:
            with _show_progress(stage, so_far, status) if status else nullcontext():
                stage.run(until_end=until_end)
        except TradepipeError:
            if (done := so_far(stage.counts)).records:
                print_status(done.summary())
            raise
        print_status(so_far(stage.counts).summary())


def tune_garbage_collection() -> None:
    """
    Let the cyclic collector alone with what the start has made, and look rarely at the rest.

    What a stage reads and writes has no cycles; looking for some took a seventh of its time (docs/measurements.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


@contextmanager
def _serve(stage: Stage[object], host: str, port: int | None) -> Iterator[None]:
    """Serve a stage's metrics within the block, if a port is given."""
    if port is None:
        yield
        return
    stage.meter.set(metrics.BUILD, 1, version("tradepipe"), str(current().number), required_revision())
    with HealthServer(stage, host=host, port=port) as served:
        print_status(f"metrics at {served.address}/metrics")
        yield


def _show_progress(stage: Stage[C], so_far: Callable[[C], StageSummary], status: StatusLine) -> Progress:
    def told() -> tuple[int, str]:
        done = so_far(stage.counts)
        return done.records, format_progress(done, pending_service(stage), stage.lag, briefly=status.is_live)

    return Progress(status, told, "records")


def format_progress(done: StageSummary, waiting: str | None, lag: int | None, *, briefly: bool) -> str:
    """How far a stage is, with what it waits for and what is still to do; `briefly` fits 80 columns with a rate."""
    show = _short if briefly else "{:,}".format
    parts = [f"{show(number)} {word}" for word, number in done.numbers.items()]
    if briefly and waiting and len(parts) > 2:  # three do not fit beside what it waits for
        del parts[1:]
    if lag is not None:
        parts.append(f"lag {show(lag)}")
    return (f"waiting for {waiting}: " if waiting else "") + ", ".join(parts)


def _short(number: int) -> str:
    """A number where there is little room."""
    return f"{number:,}" if number < MANY else f"{number / 1e6:,.1f}M"
