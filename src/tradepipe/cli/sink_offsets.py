"""Command `tradepipe sink offsets`: show and reset what a group has stored."""

import getpass
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.logs import print_status
from tradepipe.cli.options import (
    DEADLINE,
    IS_NAME,
    IS_TOPIC,
    KAFKA,
    TOPIC,
    Database,
    DeadlineSeconds,
    Format,
    option,
    parse_start,
    parse_whole,
)
from tradepipe.cli.settings import Kafka, Logs
from tradepipe.cli.terminal import echo, format_table, print_result, to_json
from tradepipe.errors import ConfigurationError, OffsetOutOfRange, Unavailable
from tradepipe.kafka.admin import Topic as Described
from tradepipe.kafka.admin import TopicAdmin, Watermarks
from tradepipe.pipeline.partitions import StartPosition
from tradepipe.postgres import offsets
from tradepipe.postgres.offsets import StoredOffset
from tradepipe.postgres.session import open_transaction
from tradepipe.redaction import escape

app = command_line("Show and reset the offsets stored for a consumer group.")

GROUP: Final = "tradepipe-sink"
APPLICATION: Final = "tradepipe-offsets"
UNKNOWN: Final = "-"

SinkTopic = Annotated[
    str,
    option(
        "--topic NAME",
        "Topic of trades; with a validator, its topic of valid trades.",
        heading=KAFKA,
        variable="TRADEPIPE_SINK_TOPIC",
        callback=IS_TOPIC,
    ),
]
GroupName = Annotated[
    str,
    option(
        "--group NAME",
        "Consumer group; sinks of the same group share the partitions.",
        heading=KAFKA,
        variable="TRADEPIPE_SINK_GROUP",
        callback=IS_NAME,
    ),
]
To = Annotated[
    str,
    option(
        "--to POSITION",
        "Next offset to store: earliest, latest, a timestamp such as 2025-06-01T08:00:00Z, or an offset.",
        variable=None,
    ),
]
Partitions = Annotated[
    list[int] | None,
    option("--partition N", "Reset only this partition. Repeatable. [default: all]", min=0, variable=None),
]
DryRun = Annotated[bool, option("--dry-run", "Print the changes without making them.", variable=None)]
Yes = Annotated[
    bool, option("--yes", "Do not ask for confirmation; without a terminal nothing is asked.", variable=None)
]


@app.command()
def show(
    *,
    kafka: Kafka,
    database: Database,
    topic: SinkTopic = TOPIC,
    group: GroupName = GROUP,
    output: Format = "text",
    deadline: DeadlineSeconds = DEADLINE,
    logs: Logs,
) -> None:
    """
    Print the stored offsets, the watermarks of the log, and the lag.

    If Kafka is unavailable, only the stored offsets are printed.
    """
    logs.configure()
    retry = RetryUntil(deadline)
    stored = retry(lambda: _list_offsets(database, group, topic, retry))
    admin = TopicAdmin(kafka.config, request_timeout=retry.call_timeout)
    described: Described | None = None
    watermarks: dict[int, Watermarks] = {}
    notes: list[str] = []
    try:  # once, without retries: the stored offsets are useful without Kafka
        described = admin.describe(topic)
        watermarks = admin.watermarks(topic, described.partitions)
    except Unavailable as error:
        described, notes = None, [f"Kafka is unavailable, only the stored offsets are shown: {error}"]
    except ConfigurationError as error:
        described, notes = None, [f"only the stored offsets are shown: {error}"]
    by_number = {each.partition: each for each in stored}
    numbers = sorted(by_number.keys() | watermarks.keys())
    rows = [PartitionRow(each, by_number.get(each), watermarks.get(each)) for each in numbers]
    report = OffsetsReport(group, topic, described, rows)
    notes += report.problems
    if output == "json":
        echo(to_json({**report.document(), "notes": notes}))
        return
    echo(report.text())
    for note in notes:
        print_status(f"Note: {note}")


@app.command()
def reset(
    *,
    kafka: Kafka,
    database: Database,
    to: To,
    partitions: Partitions = None,
    topic: SinkTopic = TOPIC,
    group: GroupName = GROUP,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: Format = "text",
    deadline: DeadlineSeconds = DEADLINE,
    logs: Logs,
) -> None:
    """
    Set the offsets at which a group resumes, also for a topic that was recreated.

    Running sinks are fenced first, then resume at the new offsets. Trades that
    are already stored are counted as duplicates and not written again.
    """
    logs.configure()
    # An offset first, because 20250601 is also an ISO 8601 date.
    offset = parse_whole(to)
    target = parse_start(to, option="--to", other="an offset, ") if offset is None else offset
    retry = RetryUntil(deadline)
    admin = TopicAdmin(kafka.config, request_timeout=retry.call_timeout)
    described = retry(lambda: admin.describe(topic))
    chosen = _select_partitions(described, partitions, target)
    targets = retry(lambda: _resolve_target(admin, topic, chosen, target))
    # Only for the output. The reset does not depend on it: it fences the owners that it finds itself.
    before = {each.partition: each for each in retry(lambda: _list_offsets(database, group, topic, retry))}
    rows = [
        {"partition": number, "before": before[number].next_offset if number in before else None, "after": after}
        for number, after in sorted(targets.items())
    ]
    if output == "text":
        cells = [[UNKNOWN if cell is None else str(cell) for cell in row.values()] for row in rows]
        echo(format_table(("partition", "before", "after"), cells))
    is_reset = not dry_run and (yes or _confirm(f"Reset the offsets of group {group} for topic {topic}?"))
    text = "nothing was changed"
    if is_reset:
        retry(lambda: _reset(database, group, described, targets, retry))
        text = f"reset the offsets of group {group} for topic {topic}; running sinks resume there within seconds"
    document = {"group": group, "topic": topic, "reset": is_reset, "partitions": rows}
    print_result(text, document, output)


def _list_offsets(database: str, group: str, topic: str, retry: RetryUntil) -> list[StoredOffset]:
    with open_transaction(database, application_name=APPLICATION, seconds=retry.call_timeout) as connection:
        return offsets.list_offsets(connection, group, topic)


def _reset(database: str, group: str, described: Described, targets: Mapping[int, int], retry: RetryUntil) -> None:
    name = "someone"
    with suppress(KeyError, OSError):  # a container's user may be missing from /etc/passwd
        name = getpass.getuser()
    with open_transaction(database, application_name=APPLICATION, seconds=retry.call_timeout) as connection:
        offsets.reset(
            connection,
            group,
            topic=described.name,
            topic_id=described.topic_id,
            next_offsets=targets,
            owner=f"reset by {name}@{socket.gethostname()}",
        )


def _confirm(question: str) -> bool:
    """Ask for confirmation; return True without a terminal."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    try:
        return typer.confirm(escape(question), err=True)
    except typer.Abort:  # end of input: Ctrl-D
        echo("", err=True)
        return False


def _select_partitions(described: Described, partitions: list[int] | None, target: StartPosition | int) -> list[int]:
    existing = described.partitions
    if unknown := sorted(set(partitions or ()) - set(existing)):
        raise typer.BadParameter(
            f"topic {described.name} has no partition {unknown[0]}, its partitions are {existing[0]} to {existing[-1]}",
            param_hint="'--partition'",
        )
    # The same number is another place in each partition.
    if isinstance(target, int) and not partitions and len(existing) > 1:
        raise typer.BadParameter(
            f"an offset needs --partition, because topic {described.name} has {len(existing)} partitions",
            param_hint="'--to'",
        )
    return sorted(set(partitions or existing))


def _resolve_target(
    admin: TopicAdmin, topic: str, partitions: list[int], target: StartPosition | int
) -> dict[int, int]:
    """Return the offset of each partition; raise `OffsetOutOfRange` for an offset outside the log."""
    if isinstance(target, datetime):
        return admin.offsets_for_time(topic, partitions, int(target.timestamp() * 1000))
    watermarks = admin.watermarks(topic, partitions)
    if not isinstance(target, int):
        return {number: marks.low if target == "earliest" else marks.high for number, marks in watermarks.items()}
    for number, marks in watermarks.items():
        if not marks.low <= target <= marks.high:
            raise OffsetOutOfRange(
                f"offset {target} is outside {topic}[{number}], whose log reaches from {marks.low} to {marks.high}"
            )
    return dict.fromkeys(watermarks, target)


class PartitionRow(NamedTuple):
    """The stored offset and the watermarks of one partition, as far as they are known."""

    partition: int
    stored: StoredOffset | None
    watermarks: Watermarks | None

    @property
    def lag(self) -> int | None:
        """Number of offsets not stored yet, including those that retention has deleted."""
        if self.watermarks is None:
            return None
        return max(0, self.watermarks.high - (self.stored.next_offset if self.stored else self.watermarks.low))

    def find_problem(self, described: Described | None) -> str | None:
        """Return what stops a sink at this partition, or None."""
        stored, watermarks = self.stored, self.watermarks
        if stored is None or described is None:
            return None
        # Either may be missing: old brokers have no ids, and a sink stores an id only when it has learned it.
        if stored.topic_id and described.topic_id and stored.topic_id != described.topic_id:
            return "the topic was recreated, and the stored offset belongs to the earlier one"
        if watermarks is None:
            return "the topic no longer has this partition"
        if stored.next_offset < watermarks.low:
            return f"the log starts at {watermarks.low}, records before that are lost"
        if stored.next_offset > watermarks.high:
            return f"the log ends at {watermarks.high}, before the stored offset"
        return None

    def cells(self) -> tuple[str, ...]:
        """Return the row of the text report."""
        stored, marks = self.stored, self.watermarks
        known = (marks and marks.low, marks and marks.high, self.lag)
        texts = [UNKNOWN if each is None else str(each) for each in known]
        if stored is None:
            return str(self.partition), UNKNOWN, *texts, UNKNOWN, UNKNOWN, UNKNOWN
        units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
        unit, length = next((unit, length) for unit, length in units if stored.age >= 2 * length or length == 1)
        age = f"{stored.age / length:.0f} {unit} ago"
        return str(self.partition), str(stored.next_offset), *texts, str(stored.epoch), age, stored.owner

    def document(self) -> dict[str, Any]:
        """Return the row of the JSON report."""
        stored, marks = self.stored, self.watermarks
        return {
            "partition": self.partition,
            "log_begin": marks and marks.low,
            "log_end": marks and marks.high,
            "lag": self.lag,
            "next_offset": stored and stored.next_offset,
            "epoch": stored and stored.epoch,
            "owner": stored and stored.owner,
            "topic_id": stored and stored.topic_id,
            "updated_at": stored and stored.updated_at.astimezone(UTC).isoformat(),
            "age_seconds": stored and round(stored.age, 3),
        }


class OffsetsReport(NamedTuple):
    """Offsets of a group for a topic; `described` is None if Kafka was unavailable."""

    group: str
    topic: str
    described: Described | None
    lines: Sequence[PartitionRow]

    @property
    def lag(self) -> int | None:
        """Sum of the known lags of the partitions."""
        known = [line.lag for line in self.lines if line.lag is not None]
        return sum(known) if known else None

    @property
    def problems(self) -> list[str]:
        """Problems that stop a sink, each with the command that repairs it."""
        return [
            f"partition {line.partition}: {problem}; choose where to resume: tradepipe sink offsets reset "
            f"--topic {self.topic} --group {self.group} --partition {line.partition} --to earliest|latest|TIME|NUMBER"
            for line in self.lines
            if (problem := line.find_problem(self.described))
        ]

    def text(self) -> str:
        """Format a summary line and a table."""
        lag = "lag unknown" if self.lag is None else f"lag {self.lag:,}"
        nothing = "" if any(line.stored for line in self.lines) else ", nothing stored yet"
        headings = ("partition", "next", "log start", "log end", "lag", "epoch", "updated", "owner")
        table = [format_table(headings, [line.cells() for line in self.lines], left={7})] if self.lines else []
        return "\n".join([f"group {self.group}, topic {self.topic}: {lag}{nothing}", *table])

    def document(self) -> dict[str, Any]:
        """Return the JSON document of `--format json`."""
        return {
            "group": self.group,
            "topic": self.topic,
            "topic_id": self.described.topic_id if self.described else None,
            "lag": self.lag,
            "partitions": [line.document() for line in self.lines],
        }
