"""One run of `tradepipe produce`."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import islice
from typing import Final, NamedTuple

import typer

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.exit_codes import ExitCode
from tradepipe.cli.logs import print_summary
from tradepipe.cli.settings import Registry
from tradepipe.cli.signals import SIGNAL_BASE, StopOnSignal
from tradepipe.cli.terminal import OutputFormat, Progress, StatusLine, echo
from tradepipe.errors import DeadlineExceeded, TradepipeError
from tradepipe.files.errors import BadInput
from tradepipe.files.trade_file import TradeFile
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import Config
from tradepipe.pipeline.load_generator import LoadGenerator, SendCounts
from tradepipe.plural import format_count
from tradepipe.redaction import escape
from tradepipe.registry.serde import TradeSerializer
from tradepipe.trade.samples import BadRecord, SampleRecord, sample_stream, trades

logger = logging.getLogger(__name__)


STOP_GRACE_SECONDS: Final = 10.0
"""Seconds after a signal in which the command must end: it waits for acknowledgements while they arrive."""


class Destination(NamedTuple):
    """The topic to send to, and its services."""

    kafka: Config
    registry: Registry
    topic: str
    subject: str


class ProduceRun:
    """
    One run of `produce`.

    Args:
        destination: None for a dry run.
        deadline: seconds to wait for an unavailable service, and at the end for the acknowledgements.
        verbose: print each trade instead of the progress.
    """

    def __init__(
        self,
        destination: Destination | None,
        *,
        status: StatusLine,
        count: int | None,
        rate: float | None,
        deadline: float,
        verbose: bool,
        output: OutputFormat,
    ) -> None:
        self.stopped = threading.Event()
        self._destination = destination
        self._status = status
        # islice accepts no larger number.
        self._count = count and min(count, sys.maxsize)
        self._rate = rate
        self._deadline = deadline
        self._verbose = verbose
        self._output = output
        self._counts = SendCounts()
        self._all_acknowledged = True
        self._stopping = StopOnSignal(
            self.stopped.set,
            lambda: "stopping: waiting for the acknowledgements" if self._counts.waiting else "stopping",
            grace=STOP_GRACE_SECONDS,
        )

    def send_samples(self, seed: int, *, bad: float, resend: float) -> None:
        """Send sample trades; `DeadlineExceeded` if some were not acknowledged in time."""
        self._send(
            lambda encode: sample_stream(seed, encode, bad=bad, resend=resend),
            f"seed {seed}",
            lambda counts: self._progress(lambda: (counts.sent, progress_text(counts, self._count))),
        )
        print_summary(summary(self._counts, seed), {"seed": seed, **self._counts.document()}, self._output)
        self._end(f"--seed {seed}", is_complete=self._count in (None, self._counts.sent))

    def send_file(self, file: TradeFile) -> None:
        """Send the trades of a file, or check it; raises as `send_samples`, and `BadInput` at an invalid record."""
        try:
            try:
                if self._destination is None:
                    self._check(file)
                else:
                    self._send(
                        lambda _: file,
                        file.name,
                        lambda counts: self._progress(
                            lambda: (counts.sent, f"{counts.sent:,} sent{file.progress_text()}"), file
                        ),
                    )
            finally:
                # Before the summary, which says whether the rejects were written.
                file.close()
        except TradepipeError as error:
            # The summary goes before the error: it has the number of trades in the topic.
            if file.valid and self._destination is not None:
                self._print_summary(file)
            if isinstance(error, BadInput):
                error.add_note(_advice(file, is_dry_run=self._destination is None))
            raise
        self._print_summary(file)
        self._end("the same command", is_complete=not self.stopped.is_set())
        if file.invalid:
            raise typer.Exit(ExitCode.FINDINGS)

    def _send(
        self,
        items: Callable[[TradeSerializer], Iterable[SampleRecord]],
        description: str,
        progress: Callable[[SendCounts], AbstractContextManager[object]],
    ) -> None:
        destination = self._destination
        assert destination is not None
        retry = RetryUntil(self._deadline)
        with destination.registry.open(timeout=retry.call_timeout) as client:
            encode = TradeSerializer(client, subject=destination.subject)
            generator = LoadGenerator(
                destination.kafka,
                registry=client,
                topic=destination.topic,
                subject=destination.subject,
                stopped=self.stopped,
                flush_timeout=self._deadline,
            )
            self._counts = generator.counts
            # Fail early if the registry lacks the schema, or the topic does not exist.
            retry(lambda: encode(next(trades(0))))
            retry(lambda: TopicAdmin(destination.kafka, request_timeout=retry.call_timeout).describe(destination.topic))
            logger.info("sending to %s, %s", destination.topic, description)
            # Only now: while nothing is sent, a signal ends the command at once.
            with self._stopping:
                try:
                    with progress(generator.counts):
                        for item in generator.run(islice(items(encode), self._count), rate=self._rate):
                            self._print(item)
                finally:
                    # After an error too: the summary counts what was acknowledged.
                    self._all_acknowledged = generator.finish()
            if self._all_acknowledged and not self._stopping.number:
                _warn_of_dropped_records(destination)

    def _check(self, file: TradeFile) -> None:
        with self._stopping, self._progress(lambda: (file.valid, f"{file.valid:,} valid{file.progress_text()}"), file):
            for _ in islice(file, self._count):
                pass

    def _progress(
        self, counts: Callable[[], tuple[int, str]], file: TradeFile | None = None
    ) -> AbstractContextManager[object]:
        if self._verbose and self._destination is not None:
            return nullcontext()
        file_progress = file.progress if file is not None and file.is_sized else None
        return Progress(self._status, counts, file=file_progress)

    def _print(self, item: SampleRecord) -> None:
        if self._verbose and not isinstance(item, BadRecord):
            echo(f"Sent trade with ID {escape(item.trade.trade_id)} and version {item.trade.version}")

    def _print_summary(self, file: TradeFile) -> None:
        rejects = str(file.written_rejects) if file.written_rejects else None
        document = {
            "file": file.name,
            "valid": file.valid,
            "invalid": file.invalid,
            "invalid_by_code": dict(file.codes),
            "rejects": rejects,
            "stopped_at": file.position if self.stopped.is_set() else None,
            **({} if self._destination is None else self._counts.document()),
        }
        read = f"{format_count(file.valid, 'trade')}, {format_count(file.invalid, 'invalid record')}"
        if file.codes:
            codes = sorted(file.codes.items(), key=lambda item: (-item[1], item[0]))
            read += f" ({', '.join(f'{code} {number:,}' for code, number in codes)})"
        if self.stopped.is_set():
            read += f"; stopped at {file.position}: run the command again to send all trades"
        if rejects:
            read += f"\nwrote the invalid records to {rejects}"
        if self._destination is None:
            text = f"checked {file.name}: {read}\nnothing was sent"
        else:
            sent = format_count(self._counts.sent, "record")
            text = f"read {file.name}: {read}\nsent {sent}: {outcome(self._counts)}"
        print_summary(text, document, self._output)

    def _end(self, repeat: str, *, is_complete: bool) -> None:
        counts = self._counts
        if self._stopping.number:
            if counts.unknown:
                logger.warning(
                    "not acknowledged: %s, which may or may not be in the log: send all again with %s; "
                    "each version of a trade is stored once",
                    format_count(counts.unknown, "record"),
                    repeat,
                )
            if counts.unknown or not counts.sent or not is_complete:
                raise typer.Exit(SIGNAL_BASE + self._stopping.number)
        if not self._all_acknowledged:
            raise DeadlineExceeded(
                f"not acknowledged within {self._deadline:g} s: {format_count(counts.unknown, 'record')}, which may or "
                f"may not be in the log: send all again with {repeat} when Kafka is available; each version of a trade "
                "is stored once"
            )
        if counts.refused or counts.unknown:
            raise typer.Exit(ExitCode.FINDINGS)


def _warn_of_dropped_records(destination: Destination) -> None:
    """Warn if the embedded broker, whose partitions are small, has dropped records of the topic."""
    admin = TopicAdmin(destination.kafka)
    with suppress(TradepipeError):
        if admin.is_mock():
            starts = admin.watermarks(destination.topic, admin.describe(destination.topic).partitions)
            if dropped := sum(each.low for each in starts.values()):
                logger.warning(
                    "topic %s has lost its oldest %s: the embedded broker keeps at most 5 MiB of a partition",
                    destination.topic,
                    format_count(dropped, "record"),
                )


def progress_text(counts: SendCounts, total: int | None = None) -> str:
    """Format the counts of a running `produce`, of `total` records if that is known."""
    of = f" of {total:,}" if total else ""
    return f"{counts.sent:,}{of} sent, {counts.acknowledged:,} acknowledged"


def summary(counts: SendCounts, seed: int) -> str:
    """Format the counts of a finished run with sample trades."""
    return (
        f"sent {format_count(counts.sent, 'record')} of seed {seed}: {format_count(counts.new, 'new trade')}, "
        f"{counts.resent:,} sent again, {counts.bad:,} invalid\n{outcome(counts)}"
    )


def outcome(counts: SendCounts) -> str:
    """Format the delivery results of a finished run."""
    others = {"refused": counts.refused, "with unknown outcome": counts.unknown}
    numbers = [f"{counts.acknowledged:,} acknowledged", *(f"{each:,} {name}" for name, each in others.items() if each)]
    return f"{', '.join(numbers)}, in {counts.seconds:.1f} s ({counts.rate:,.0f} records/s)"


def _advice(file: TradeFile, *, is_dry_run: bool) -> str:
    """Return what to do about an invalid record."""
    if is_dry_run:
        return "fix it, or list all invalid records with --on-error skip"
    before = f"{format_count(file.valid, 'trade')} before it sent; " if file.valid else "nothing was sent; "
    return (
        f"{before}fix it and run the command again (each version of a trade is stored once), "
        "or skip invalid records with --on-error skip"
    )
