"""`tradepipe dlq replay`: refused records judged again, or put back into their topics."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any, Final

import typer

from tradepipe.cli import parsing
from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.dlq.options import DlqArguments, Limit, with_dlq_options
from tradepipe.cli.dlq.render import RecordDecoder, escape
from tradepipe.cli.dlq.stores import dead_letter_topic, trade_matcher
from tradepipe.cli.exit_codes import ExitCode, StopOnSignal
from tradepipe.cli.settings import open_registry
from tradepipe.cli.stage_options import RecordKeyOption, RulesOption, StaleOption, UnknownFieldsOption
from tradepipe.cli.user_rules import load_rules as named_rules
from tradepipe.codec.admission import UnknownFields
from tradepipe.errors import TradepipeError
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.pipeline.replay_table import TableReplay
from tradepipe.pipeline.replay_table import TableReplayStep as TableStep
from tradepipe.pipeline.replay_topic import TopicReplay
from tradepipe.pipeline.replay_topic import TopicReplayStep as TopicStep
from tradepipe.pipeline.stage import check_subject
from tradepipe.pipeline.validation import RecordKey, RecordValidator, Rule
from tradepipe.postgres.replay import RefusalReplayer
from tradepipe.registry.serde import TradeDeserializer
from tradepipe.trade.dead_letter import DeadLetter
from tradepipe.trade.record import Refusal

MAX_REPLAYS: Final = 3

OUT_OF_ORDER: Final = "Note: what came back is out of order: newer versions may be there already"

DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would become of them, and change nothing.")]
MaxReplays = Annotated[
    int,
    typer.Option(
        "--max-replays",
        envvar="TRADEPIPE_MAX_REPLAYS",
        min=1,
        metavar="N",
        help="Leave what was replayed so often, and refused again each time.",
    ),
]


class ReplayCounts:
    """What a replay has done so far; each record that did not get through is told at once, in a line."""

    def __init__(self, max_replays: int, *, dry_run: bool) -> None:
        self.done: Counter[str] = Counter()
        self.topics: set[str] = set()
        self._dry_run = dry_run
        self._max_replays = max_replays

    @property
    def is_clean(self) -> bool:
        """Whether all got through."""
        return not self.done["refused"] and not self.done["left"]

    @property
    def has_moved(self) -> bool:
        """Whether anything came back."""
        return bool(self.done["stored"] or self.done["put back"]) and not self._dry_run

    def table(self, step: TableStep | None) -> bool:
        """Take account of a transaction of the table's; False when there was none."""
        if step is None:
            return False
        done = step.replayed
        self.done.update(stored=len(done.stored), present=len(done.already_stored), elsewhere=len(done.taken_by_other))
        for kept, refusal in done.refused:
            self._refused(kept, refusal)
        self._left(step.skipped)
        return True

    def topic(self, step: TopicStep | None) -> bool:
        """Take account of a transaction of the topic's; False when there was none."""
        if step is None:
            return False
        self.done["put back"] += len(step.replayed)
        self.topics.update(kept.record.topic for kept in step.replayed)
        self._left(step.skipped)
        return True

    def summary(self, *, stopped: bool = False) -> str:
        """All of it in a line; who `stopped` it may not know what is left."""
        done, would = self.done, "would be " if self._dry_run else ""
        into = f" into topic {', '.join(sorted(map(escape, self.topics)))}" if self.topics else ""
        parts = {
            f"{would}stored": done["stored"],
            "there already": done["present"],
            f"{would}refused again": done["refused"],
            f"{would}put back{into}": done["put back"],
            "in the hands of another replay": done["elsewhere"],
            "left": done["left"],
        }
        told = ", ".join(f"{number:,} {name}" for name, number in parts.items() if number)
        none = "nothing was replayed" if stopped else "there is nothing to replay"
        ends = (
            "; nothing was changed" if self._dry_run else "",
            "; stopped: run it again for the rest" if stopped else "",
        )
        return "".join((told or none, *ends))

    def _refused(self, kept: DeadLetter, refusal: Refusal) -> None:
        self.done["refused"] += 1
        for violation in refusal.violations:
            typer.echo(
                f"refused again {escape(kept.record.coordinates)}: {escape(violation.code)}: {escape(violation.detail)}"
            )

    def _left(self, left: Iterable[tuple[DeadLetter, str]]) -> None:
        for kept, reason in left:
            self.done["left"] += 1
            hint = (
                f"; --max-replays {kept.replay_count + 1} tries once more"
                if kept.replay_count >= self._max_replays
                else ""
            )
            typer.echo(f"left {escape(kept.record.coordinates)}: {escape(reason)}{hint}")


@with_dlq_options()
def replay(
    *,
    asked: DlqArguments,
    limit: Limit = None,
    dry_run: DryRun = False,
    max_replays: MaxReplays = MAX_REPLAYS,
    unknown_fields: UnknownFieldsOption = "stop",
    rules: RulesOption = None,
    record_key: RecordKeyOption = "refuse",
    stale: StaleOption = "accept",
) -> None:
    """
    Bring refused records back, each once.

    Those of the table are judged again and stored, with no part in it for Kafka. Those of a topic go back into the
    topic they came from, to be judged there.

    Ctrl-C ends it behind the transaction in hand, and it may be repeated after anything. It ends with 1 if some were
    refused again or left. A record that comes back is out of order: newer versions of its trade may be there.
    """
    stopped = threading.Event()
    patient = partial(RetryUntil, asked.deadline, stopped=stopped)
    tally = ReplayCounts(max_replays, dry_run=dry_run)
    chosen: dict[str, Any] = {"max_replays": max_replays, "limit": limit, "keep": not dry_run}
    with ExitStack() as opened, StopOnSignal(stopped.set, "stopping: the transaction in hand is finished first"):
        try:
            if asked.topic is not None:
                step = _from_topic(asked, tally, opened, patient(), **chosen)
            else:
                judge = _validator(
                    asked,
                    opened,
                    patient(),
                    unknown_fields=unknown_fields,
                    rules=named_rules(rules),
                    record_key=record_key,
                )
                shelf = opened.enter_context(RefusalReplayer(asked.database or "", stale=stale))
                step = _from_table(asked, tally, opened, shelf, judge, **chosen)
            while not stopped.is_set() and patient()(step):
                pass
        except TradepipeError:
            if tally.done.total():
                typer.echo(tally.summary())
            raise
        except typer.Exit:
            pass  # stopped while a part was away
    _finish(tally, stopped=stopped.is_set())


def _finish(tally: ReplayCounts, *, stopped: bool) -> None:
    typer.echo(tally.summary(stopped=stopped))
    if tally.has_moved:
        typer.echo(OUT_OF_ORDER, err=True)
    if not tally.is_clean:
        raise typer.Exit(ExitCode.FINDINGS)


def _from_topic(
    asked: DlqArguments, tally: ReplayCounts, opened: ExitStack, patience: RetryUntil, **chosen: Any
) -> Callable[[], bool]:
    """What does the next transaction, and tells whether there was one."""
    admin = TopicAdmin(asked.kafka, request_timeout=patience.call_timeout)
    patience(lambda: dead_letter_topic(admin, asked.topic or ""))
    selection, reading = asked.selection, opened.enter_context(RecordDecoder(asked.registry, asked.subject))
    replaying = TopicReplay(
        asked.kafka,
        asked.topic or "",
        selection,
        matches=trade_matcher(selection, reading),
        wait=asked.deadline,
        **chosen,
    )
    opened.callback(replaying.close)
    return lambda: tally.topic(replaying.run_step())


def _from_table(
    asked: DlqArguments,
    tally: ReplayCounts,
    opened: ExitStack,
    shelf: RefusalReplayer,
    judge: RecordValidator,
    **chosen: Any,
) -> Callable[[], bool]:
    selection, reading = asked.selection, opened.enter_context(RecordDecoder(asked.registry, asked.subject))
    replaying = TableReplay(shelf, judge, selection, matches=trade_matcher(selection, reading), **chosen)
    return lambda: tally.table(replaying.run_step())


def _validator(
    asked: DlqArguments,
    opened: ExitStack,
    patience: RetryUntil,
    *,
    unknown_fields: UnknownFields,
    rules: Sequence[Rule],
    record_key: RecordKey,
) -> RecordValidator:
    """The same verdicts as a sink's with the same options."""
    if asked.registry is None:
        raise parsing.missing_option("--registry", "SCHEMA_REGISTRY_URL")
    registry = opened.enter_context(open_registry(asked.registry))
    patience(lambda: check_subject(registry, asked.subject))
    return RecordValidator(
        TradeDeserializer(registry, subject=asked.subject, unknown_fields=unknown_fields), rules, record_key
    )
