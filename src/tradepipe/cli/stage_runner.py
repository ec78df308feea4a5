"""Common parts of `sink` and `validate`: options, metrics endpoint, progress, memory, summary."""

import ctypes
import gc
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext, suppress
from importlib.metadata import version
from typing import Annotated, Final, NamedTuple, TypeVar

from tradepipe import metrics
from tradepipe.cli.health_server import HealthServer, pending_service
from tradepipe.cli.logs import print_status, print_summary
from tradepipe.cli.options import IS_NAME, option
from tradepipe.cli.signals import StopOnSignal
from tradepipe.cli.terminal import OutputFormat, Progress, StatusLine
from tradepipe.codec.admission import UnknownFields
from tradepipe.errors import TradepipeError
from tradepipe.evolution.history import current
from tradepipe.pipeline.stage import Stage
from tradepipe.pipeline.validation import RecordKey
from tradepipe.postgres.packaged_revisions import required_revision
from tradepipe.trade.record import Stale

C = TypeVar("C")

UntilEnd = Annotated[bool, option("--until-end", "Exit when everything currently in the topic has been processed.")]
MaxRefused = Annotated[
    str,
    option(
        "--max-refused SHARE|off", "Stop if more than this share of a partition's last 1000 records would be refused."
    ),
]
UnknownFieldsOption = Annotated[
    UnknownFields,
    option(
        "--unknown-fields stop|drop",
        "When records have fields that this build does not know: stop, or drop these fields for good.",
    ),
]
RecordKeyOption = Annotated[
    RecordKey,
    option(
        "--record-key refuse|accept",
        "What to do with a record whose Kafka key is not its trade_id; its versions may be out of order.",
    ),
]
StaleOption = Annotated[
    Stale, option("--stale accept|refuse", "What to do with a version older than one already stored.")
]
MetricsPort = Annotated[
    int | None,
    option(
        "--metrics-port PORT",
        "Serve a status page, /metrics for Prometheus, /livez and /readyz; 0 picks a free port and prints it.",
        min=0,
        max=65535,
    ),
]
MetricsHost = Annotated[
    str, option("--metrics-host ADDRESS", "Address to serve metrics on; 0.0.0.0 for all interfaces.", callback=IS_NAME)
]

STOP_GRACE_SECONDS: Final = 25.0
"""Seconds after a signal in which the current batch must end; orchestrators kill a process after 30."""

MIN_MILLIONS: Final = 10_000_000
"""Smallest number that the status line shows in millions."""

GC_THRESHOLD: Final = 100_000
"""Allocations between two garbage collections; more than the objects of the batches in memory."""

LARGE_BLOCK: Final = 1 << 20
"""Bytes of a block of memory that is returned to the system as soon as it is freed."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Parameters of glibc's `mallopt`."""


class StageSummary(NamedTuple):
    """
    Counts of the records a stage has processed.

    Attributes:
        accepted: number of records by outcome, such as stored, in display order.
        refused: number of refused records by their first code.
    """

    accepted: Mapping[str, int]
    refused: Counter[str]

    @property
    def numbers(self) -> dict[str, int]:
        """Number of records by outcome, refused ones last."""
        return {**self.accepted, "refused": self.refused.total()}

    @property
    def records(self) -> int:
        """Number of records."""
        return sum(self.numbers.values())

    def __str__(self) -> str:
        return ", ".join(f"{number:,} {word}" for word, number in self.numbers.items())

    def document(self) -> dict[str, object]:
        """Return the JSON document of `--format json`."""
        return {**self.numbers, "refused_by_code": dict(self.refused.most_common())}

    def summary(self) -> str:
        """Format the counts, with the codes of refused records."""
        codes = ", ".join(f"{code} {number:,}" for code, number in self.refused.most_common())
        return f"{self}: {codes}" if codes else str(self)


def run_stage(
    stage: Stage[C],
    summarize: Callable[[C], StageSummary],
    status: StatusLine | None,
    *,
    on_start: Callable[[], None] = lambda: None,
    until_end: bool,
    host: str,
    port: int | None,
    output: OutputFormat,
) -> None:
    """
    Run a stage until it is done or stopped, and print a summary.

    Args:
        summarize: turns the stage's counts into a summary.
        status: status line for the progress; None shows none.
        on_start: called once the configuration is known to be valid, before the stage connects.
        host, port: address of the metrics endpoint; None as port serves none.
    """

    is_live = status is not None and status.is_live

    def progress() -> tuple[int, str]:
        done = summarize(stage.counts)
        return done.records, format_progress(done, pending_service(stage), stage.lag, short=is_live)

    def show_summary() -> None:
        done = summarize(stage.counts)
        print_summary(done.summary(), done.document(), output)

    stopping = StopOnSignal(
        stage.stop,
        lambda: "stopping after the current batch" if stage.has_batch else "stopping",
        grace=STOP_GRACE_SECONDS,
    )
    # The stage is entered first, and so closed last: signals and metrics use it until then.
    with stage, stopping, ExitStack() as opened:
        if port is not None:
            stage.meter.set(metrics.BUILD, 1, version("tradepipe"), str(current().number), required_revision())
            server = opened.enter_context(HealthServer(stage, host=host, port=port))
            print_status(f"metrics at {server.address}/metrics")
        on_start()
        tune_garbage_collection()
        return_large_blocks()
        try:
            with Progress(status, progress) if status else nullcontext():
                stage.run(until_end=until_end)
        except TradepipeError:
            if summarize(stage.counts).records:
                show_summary()
            raise
        show_summary()


def tune_garbage_collection() -> None:
    """
    Exclude the objects created at start from garbage collection, and collect the others rarely.

    Records have no reference cycles; collecting took a seventh of a stage's time (docs/measurements.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def return_large_blocks() -> None:
    """
    Have malloc return large blocks to the system when they are freed.

    glibc raises the threshold to the largest block that was freed so far, and keeps what is
    smaller in its heap. If a hostile writer has Kafka's client unpack hundreds of megabytes
    at once, what the heap keeps would be added to what is in use.
    """
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
        # glibc too keeps this at twice the other threshold, but no longer once one of them is set.
        mallopt(_M_TRIM_THRESHOLD, 2 * LARGE_BLOCK)


def format_progress(done: StageSummary, waiting_for: str | None, lag: int | None, *, short: bool) -> str:
    """Format a stage's counts, the service it waits for, and its lag; `short` fits 80 columns with a rate."""

    def show(number: int) -> str:
        return f"{number / 1e6:,.1f}M" if short and number >= MIN_MILLIONS else f"{number:,}"

    items = [f"{show(number)} {word}" for word, number in done.numbers.items()]
    if short and waiting_for and len(items) > 2:  # three counts and the service exceed 80 columns
        del items[1:]
    if lag is not None:
        items.append(f"lag {show(lag)}")
    return (f"waiting for {waiting_for}: " if waiting_for else "") + ", ".join(items)
