"""Command `tradepipe dlq replay`: validate dead letters again, or send them back to their topics."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any, Final

import typer

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.dlq.options import DlqArguments, Limit
from tradepipe.cli.dlq.render import RecordDecoder
from tradepipe.cli.exit_codes import ExitCode
from tradepipe.cli.logs import print_status
from tradepipe.cli.options import Format, MissingOptions, option
from tradepipe.cli.settings import Registry
from tradepipe.cli.signals import SIGNAL_BASE, StopOnSignal
from tradepipe.cli.stage_runner import RecordKeyOption, StaleOption, UnknownFieldsOption
from tradepipe.cli.terminal import OutputFormat, echo, print_result, wrap
from tradepipe.cli.user_rules import RulesOption, load_rules
from tradepipe.codec.admission import UnknownFields
from tradepipe.errors import TopicUnusable, TradepipeError
from tradepipe.kafka.admin import Topic, TopicAdmin
from tradepipe.pipeline.replay_table import TableReplay
from tradepipe.pipeline.replay_table import TableReplayStep as TableStep
from tradepipe.pipeline.replay_topic import TopicReplay
from tradepipe.pipeline.replay_topic import TopicReplayStep as TopicStep
from tradepipe.pipeline.validation import RecordKey, RecordValidator, Rule
from tradepipe.postgres.replay import RefusalReplayer
from tradepipe.redaction import escape
from tradepipe.registry.schema_ids import SubjectCheck
from tradepipe.registry.serde import TradeDeserializer
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter
from tradepipe.trade.record import Stale

MAX_REPLAYS: Final = 3

STOP_GRACE_SECONDS: Final = 10.0
"""Seconds after a signal in which the current transaction must end; then the process exits, which rolls it back."""

OUT_OF_ORDER: Final = "Note: replayed records are out of order; newer versions may already be stored"

DryRun = Annotated[bool, option("--dry-run", "Print the result without changing anything.", variable=None)]
MaxReplays = Annotated[
    int, option("--max-replays N", "Skip dead letters that were already replayed this many times.", min=1)
]


IncludeConnect = Annotated[
    bool,
    option("--include-connect", "Also send back what Kafka Connect wrote to the dead-letter topic.", variable=None),
]
Unverified = Annotated[
    bool, option("--unverified", "Also send back copies of records that Kafka has deleted, uncompared.", variable=None)
]


class ReplayCounts:
    """Counts of a replay; as text, a line is printed for each record that is refused again or skipped."""

    def __init__(self, max_replays: int, *, dry_run: bool, output: OutputFormat) -> None:
        self.counts: Counter[str] = Counter()
        self.topics: set[str] = set()
        self._dry_run = dry_run
        self._output = output
        self._notes: list[dict[str, object]] = []
        self._max_replays = max_replays

    @property
    def is_clean(self) -> bool:
        """Whether no record was refused again or skipped."""
        return not self.counts["refused"] and not self.counts["skipped"]

    @property
    def has_replayed(self) -> bool:
        """Whether any record was replayed."""
        return bool(self.counts["stored"] or self.counts["sent"]) and not self._dry_run

    def add_table_step(self, step: TableStep | None) -> bool:
        """Count a transaction of the table; return False if there was none."""
        if step is None:
            return False
        done = step.replayed
        # `elsewhere`: another replay, which runs at the same time, has taken the refusal.
        self.counts.update(
            stored=len(done.stored), present=len(done.already_stored), elsewhere=len(done.taken_by_other)
        )
        self.counts["refused"] += len(done.refused)
        for kept, refusal in done.refused:
            for violation in refusal.violations:
                self._note("refused again", kept, f"{violation.code}: {violation.detail}")
        self._add_skipped(step.skipped)
        return True

    def add_topic_step(self, step: TopicStep | None) -> bool:
        """Count a transaction of the topic; return False if there was none."""
        if step is None:
            return False
        self.counts["sent"] += len(step.replayed)
        self.topics.update(each.record.topic for each in step.replayed)
        self._add_skipped(step.skipped)
        return True

    def print_summary(self, *, stopped: bool = False) -> None:
        """Print the counts, as JSON with the records that were refused again or skipped."""
        counts = self.counts
        document = {
            "dry_run": self._dry_run,
            "stored": counts["stored"],
            "already_stored": counts["present"],
            "refused": counts["refused"],
            "sent": counts["sent"],
            "topics": sorted(self.topics),
            "taken_by_another_replay": counts["elsewhere"],
            "skipped": counts["skipped"],
            "stopped": stopped,
            "records": self._notes,
        }
        print_result(self.summary(stopped=stopped), document, self._output)

    def summary(self, *, stopped: bool = False) -> str:
        """Format the counts in a line."""
        counts, would = self.counts, "would be " if self._dry_run else ""
        to = f" to topic {', '.join(sorted(map(escape, self.topics)))}" if self.topics else ""
        numbers = {
            f"{would}stored": counts["stored"],
            "already stored": counts["present"],
            f"{would}refused again": counts["refused"],
            f"{would}sent back{to}": counts["sent"],
            "taken by another replay": counts["elsewhere"],
            "skipped": counts["skipped"],
        }
        text = ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number)
        nothing = "nothing was replayed" if stopped else "nothing to replay"
        ends = (
            "; nothing was changed" if self._dry_run else "",
            "; stopped, run the command again for the rest" if stopped else "",
        )
        return "".join((text or nothing, *ends))

    def _note(self, outcome: str, kept: DeadLetter, reason: str) -> None:
        if self._output == "json":
            self._notes.append({"record": kept.record.coordinates, "outcome": outcome, "reason": reason})
        else:
            line = f"{outcome} {escape(kept.record.coordinates)}: {escape(reason)}"
            echo(wrap(line, indent="  ", err=False))

    def _add_skipped(self, skipped: Iterable[tuple[DeadLetter, str]]) -> None:
        for kept, reason in skipped:
            self.counts["skipped"] += 1
            retry = (
                f"; --max-replays {kept.replay_count + 1} replays it once more"
                if kept.replay_count >= self._max_replays
                else ""
            )
            self._note("skipped", kept, f"{reason}{retry}")


def trade_matcher(selection: DeadLetterFilter, decoder: RecordDecoder) -> Callable[[DeadLetter], bool]:
    """Return a check of the trade id, which stores cannot do: only the decoded value or the whole key is reliable."""
    trade_id = selection.trade_id
    return (lambda _: True) if trade_id is None else (lambda each: decoder.is_of(each, trade_id))


def dead_letter_topic(admin: TopicAdmin, name: str) -> Topic:
    """Describe a dead-letter topic; raise `TopicUnusable` with advice if it does not exist."""
    try:
        return admin.describe(name)
    except TopicUnusable as error:
        raise TopicUnusable(
            f"dead-letter topic {name} does not exist: check --dead-letters and --bootstrap-servers, or create it: "
            f"tradepipe topics create --topic {name} --like SOURCE"
        ) from error


def replay(
    *,
    arguments: DlqArguments,
    limit: Limit = None,
    topic: Annotated[str, option("--topic NAME", "Topic to which dead letters of a topic are sent back.")] = "trades",
    include_connect: IncludeConnect = False,
    unverified: Unverified = False,
    dry_run: DryRun = False,
    max_replays: MaxReplays = MAX_REPLAYS,
    unknown_fields: UnknownFieldsOption = "stop",
    rules: RulesOption = None,
    record_key: RecordKeyOption = "refuse",
    stale: StaleOption = "accept",
    output: Format = "text",
) -> None:
    """
    Replay dead letters, each exactly once.

    Dead letters in the table are validated again and stored, without Kafka. Those in a topic are sent back to their
    source topic, if it is --topic or named by --source, and if they equal the record that they name.

    Ctrl-C stops after the current transaction; running the command again is always safe. Exits with 1 if records were
    refused again or skipped. Replayed records are out of order: newer versions of a trade may already be stored.
    """
    stopped = threading.Event()
    counts = ReplayCounts(max_replays, dry_run=dry_run, output=output)
    retry = partial(RetryUntil, arguments.deadline, stopped=stopped)
    with ExitStack() as opened:
        is_selected = trade_matcher(
            arguments.selection, opened.enter_context(RecordDecoder(arguments.registry, arguments.subject))
        )

        def matches(dead_letter: DeadLetter) -> bool:
            if stopped.is_set():
                raise typer.Exit  # ends the search for more dead letters, before their transaction
            return is_selected(dead_letter)

        shared = {"matches": matches, "max_replays": max_replays, "limit": limit, "keep": not dry_run}
        if arguments.topic is not None:
            sources = arguments.selection.topics or (topic,)
            chosen = {"sources": sources, "include_connect": include_connect, "unverified": unverified}
            step = _open_topic(arguments, counts, opened, retry(), **chosen, **shared)
        else:
            step = _open_table(
                arguments,
                counts,
                opened,
                retry,
                unknown_fields=unknown_fields,
                rules=load_rules(rules),
                record_key=record_key,
                stale=stale,
                **shared,
            )
        signal = _run_steps(step, counts, stopped, retry)
    _finish(counts, signal=signal)


def _finish(counts: ReplayCounts, *, signal: int) -> None:
    """Print the counts, and exit with the code they mean."""
    counts.print_summary(stopped=bool(signal))
    if counts.has_replayed:
        print_status(OUT_OF_ORDER)
    if signal:
        raise typer.Exit(SIGNAL_BASE + signal)
    if not counts.is_clean:
        raise typer.Exit(ExitCode.FINDINGS)


def _open_topic(
    arguments: DlqArguments, counts: ReplayCounts, opened: ExitStack, retry: RetryUntil, **options: Any
) -> Callable[[], bool]:
    """Return a function that runs the next transaction of a topic, and returns whether there was one."""
    name = arguments.topic or ""
    admin = TopicAdmin(arguments.kafka, request_timeout=retry.call_timeout)
    retry(lambda: dead_letter_topic(admin, name))
    replay = TopicReplay(arguments.kafka, name, arguments.selection, wait=arguments.deadline, **options)
    opened.callback(replay.close)
    return lambda: counts.add_topic_step(replay.run_step())


def _open_table(
    arguments: DlqArguments,
    counts: ReplayCounts,
    opened: ExitStack,
    new_deadline: Callable[[], RetryUntil],
    *,
    unknown_fields: UnknownFields,
    rules: Sequence[Rule],
    record_key: RecordKey,
    stale: Stale,
    **options: Any,
) -> Callable[[], bool]:
    """Return a function that runs the next transaction of the table, and returns whether there was one."""
    if arguments.registry is None:
        raise MissingOptions(Registry)
    registry = opened.enter_context(arguments.registry.open())
    new_deadline()(SubjectCheck(registry, arguments.subject))
    # As a sink with the same options validates, which refuses the same records.
    deserializer = TradeDeserializer(registry, subject=arguments.subject, unknown_fields=unknown_fields)
    validator = RecordValidator(deserializer, rules, record_key)
    replayer = opened.enter_context(RefusalReplayer(arguments.database or "", stale=stale))
    new_deadline()(replayer.connect)
    replay = TableReplay(replayer, validator, arguments.selection, announce=validator.announce, **options)
    return lambda: counts.add_table_step(replay.run_step())


def _run_steps(
    step: Callable[[], bool], counts: ReplayCounts, stopped: threading.Event, new_deadline: Callable[[], RetryUntil]
) -> int:
    """Run transactions until none is left or a signal stops the command, and return the signal, 0 for none."""
    # Only now: until here nothing was replayed, and a signal ends the command at once.
    stopping = StopOnSignal(stopped.set, "stopping after the current transaction", grace=STOP_GRACE_SECONDS)
    try:
        with stopping:
            while not stopped.is_set() and new_deadline()(step):
                pass
    except TradepipeError:
        if counts.counts.total():
            counts.print_summary()
        raise
    except typer.Exit:
        pass  # stopped in the middle of a step, before its transaction
    return stopping.number
