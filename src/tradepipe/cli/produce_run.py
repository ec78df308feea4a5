"""One run of `produce`: from where to where, what is told on the way, and how it ends."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import NamedTuple

import typer

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.exit_codes import ExitCode, StopOnSignal
from tradepipe.cli.input.lines import BadInput
from tradepipe.cli.input.trade_file import TradeFile
from tradepipe.cli.load_generator import LoadGenerator, SendCounts
from tradepipe.cli.settings import open_registry
from tradepipe.cli.terminal import Progress, StatusLine
from tradepipe.errors import DeadlineExceeded, TradepipeError
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import Config
from tradepipe.registry.serde import TradeSerializer
from tradepipe.trade.samples import BadRecord, SampleRecord, sample_stream, trades

logger = logging.getLogger(__name__)


class Destination(NamedTuple):
    """Where to send."""

    kafka: Config
    registry: str
    topic: str
    subject: str


class ProduceRun:
    """
    One run of `produce`.

    Args:
        target: None if nothing is to be sent.

        count: how many records at most.

        rate: records a second at most.

        deadline: seconds to wait for a part, and in the end for the acknowledgements.

        verbose: print each trade instead of the progress.
    """

    def __init__(
        self,
        target: Destination | None,
        *,
        status: StatusLine,
        count: int | None,
        rate: float | None,
        deadline: float,
        verbose: bool,
    ) -> None:
        self.stopped = threading.Event()
        self._target = target
        self._status = status
        self._count = count and min(count, sys.maxsize)
        self._rate = rate
        self._deadline = deadline
        self._verbose = verbose
        self._tally = SendCounts()
        self._in_time = True

    def send_samples(self, seed: int, *, bad: float, resend: float) -> None:
        """
        Send made-up trades.

        Raises:
            DeadlineExceeded: not all was acknowledged in time.
        """
        self._send(
            lambda encode: sample_stream(seed, encode, bad=bad, resend=resend),
            f"seed {seed}",
            lambda tally: self._progress(lambda: (tally.sent, progress_text(tally))),
        )
        typer.echo(summary(self._tally, seed))
        self._end(f"--seed {seed}")

    def send_file(self, file: TradeFile) -> None:
        """
        Send the trades of a file, or only check it.

        Raises:
            BadInput: a record that is wrong stopped it.

            DeadlineExceeded: not all was acknowledged in time.
        """
        try:
            if self._target is None:
                self._check(file)
            else:
                self._send(
                    lambda _: file,
                    file.name,
                    lambda tally: self._progress(
                        lambda: (tally.sent, f"{tally.sent:,} sent{file.progress_text()}"), file
                    ),
                )
        except TradepipeError as error:
            if file.good and self._target is not None:
                typer.echo(self._summary(file))
            if isinstance(error, BadInput):
                error.add_note(_format_seconds(file, self._target is None))
            raise
        typer.echo(self._summary(file))
        self._end("the same command")
        if file.bad:
            raise typer.Exit(ExitCode.FINDINGS)

    def _send(
        self,
        items: Callable[[TradeSerializer], Iterable[SampleRecord]],
        what: str,
        progress: Callable[[SendCounts], AbstractContextManager[object]],
    ) -> None:
        target = self._target
        assert target is not None
        patience = RetryUntil(self._deadline, stopped=self.stopped)
        with (
            StopOnSignal(self.stopped.set, "stopping: waiting for the acknowledgements"),
            open_registry(target.registry, timeout=patience.call_timeout) as client,
        ):
            encode = TradeSerializer(client, subject=target.subject)
            sending = LoadGenerator(
                target.kafka,
                registry=client,
                topic=target.topic,
                subject=target.subject,
                stopped=self.stopped,
                patience=self._deadline,
            )
            self._tally = sending.tally
            patience(lambda: encode(next(trades(0))))
            patience(lambda: TopicAdmin(target.kafka, request_timeout=patience.call_timeout).describe(target.topic))
            logger.info("sending to %s, %s", target.topic, what)
            try:
                with progress(sending.tally):
                    for item in sending.run(islice(items(encode), self._count), rate=self._rate):
                        self._print(item)
            finally:
                self._in_time = sending.finish()

    def _check(self, file: TradeFile) -> None:
        with (
            StopOnSignal(self.stopped.set, "stopping"),
            self._progress(lambda: (file.good, f"{file.good:,} good{file.progress_text()}"), file),
        ):
            for _ in islice(file, self._count):
                pass

    def _progress(
        self, tell: Callable[[], tuple[int, str]], file: TradeFile | None = None
    ) -> AbstractContextManager[object]:
        if self._verbose and self._target is not None:
            return nullcontext()
        way = file.progress if file is not None and file.is_sized else None
        return Progress(self._status, tell, "records", way=way)

    def _print(self, item: SampleRecord) -> None:
        if self._verbose and not isinstance(item, BadRecord):
            typer.echo(f"Sent trade with ID {item.trade.trade_id} and version {item.trade.version}")

    def _summary(self, file: TradeFile) -> str:
        read = f"{_format_counts(file.good, 'trade')}, {_format_counts(file.bad, 'bad record')}"
        if file.bad and file.place is not None:
            read += f", which are in {file.place}"
        if self.stopped.is_set():
            read += f"; stopped at line {file.line:,}: run it again to send all"
        if self._target is None:
            return f"checked {file.name}: {read}; nothing was sent"
        return f"read {file.name}: {read}\nsent {self._tally.sent:,} records: {outcome(self._tally)}"

    def _end(self, again: str) -> None:
        tally = self._tally
        if not self._in_time:
            raise DeadlineExceeded(
                f"{tally.unknown} records were not acknowledged within {self._deadline:g} s and may or may not be in "
                f"the log: when Kafka is back, send all again by {again}; each version of a trade is stored once"
            )
        if tally.refused or tally.unknown:
            raise typer.Exit(ExitCode.FINDINGS)


def progress_text(tally: SendCounts) -> str:
    """How far a run is."""
    return f"{tally.sent:,} sent, {tally.acknowledged:,} acknowledged"


def summary(tally: SendCounts, seed: int) -> str:
    """What a run did."""
    return (
        f"sent {tally.sent:,} records by seed {seed}: {tally.new:,} new trades, {tally.resent:,} sent again, "
        f"{tally.bad:,} bad\n{outcome(tally)}"
    )


def outcome(tally: SendCounts) -> str:
    """What became of what was sent."""
    return (
        f"{tally.acknowledged:,} acknowledged, {tally.refused:,} refused, {tally.unknown:,} of unknown fate, "
        f"in {tally.seconds:.1f} s ({tally.rate:,.0f} records/s)"
    )


def _format_seconds(file: TradeFile, checked: bool) -> str:
    """What to do about a record that stopped a run."""
    if checked:
        return "mend it, or see all such records by --on-error skip"
    before = f"what stands before it was sent ({file.good:,} trades); " if file.good else "nothing was sent; "
    return (
        f"{before}mend it and run it again, each version of a trade is stored once, "
        "or skip such records by --on-error skip"
    )


def _format_counts(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
