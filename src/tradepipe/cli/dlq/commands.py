"""Command `tradepipe dlq`: list, show, count, replay and export dead letters."""

import base64
import heapq
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, TextIO

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.dlq import render
from tradepipe.cli.dlq.options import All, DlqArguments, DlqStoreArguments, Limit
from tradepipe.cli.dlq.render import RecordDecoder
from tradepipe.cli.dlq.replay import dead_letter_topic, replay, trade_matcher
from tradepipe.cli.logs import print_status
from tradepipe.cli.options import Format, option
from tradepipe.cli.terminal import as_typed, echo, to_json, wrap
from tradepipe.files.drafts import write_file
from tradepipe.files.fields import json_value
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.dead_letters import iter_dead_letters, read_markers
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.plural import format_count
from tradepipe.postgres import refusals
from tradepipe.postgres.session import open_transaction
from tradepipe.redaction import escape
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity

PAGE_ROWS: Final = 1_000
"""Rows per query."""

OPEN_TRANSACTION_SECONDS: Final = 2.0
"""Seconds to wait for an open transaction; short, because listing may skip what follows it."""

_EPOCH: Final = datetime.min.replace(tzinfo=UTC)


class SearchResult(NamedTuple):
    """The newest selected dead letters (newest last), the number of selected ones, and notes to print."""

    dead_letters: Sequence[DeadLetter]
    total: int
    notes: Sequence[str] = ()


def open_store(arguments: DlqArguments, decoder: RecordDecoder) -> "TableStore | TopicStore":
    """Open the store that a command's options select."""
    if arguments.topic is not None:
        return TopicStore(arguments, decoder)
    return TableStore(arguments, decoder)


class TableStore:
    """The refusals of sinks."""

    name = "the table trade_refusals"

    def __init__(self, arguments: DlqArguments, decoder: RecordDecoder) -> None:
        self._open = partial(
            open_transaction, arguments.database or "", application_name="tradepipe-dlq", seconds=arguments.deadline
        )
        self._deadline = arguments.deadline
        self._decoder = decoder

    def newest(self, selection: DeadLetterFilter, limit: int | None) -> SearchResult:
        """Return the newest selected dead letters."""
        # Which records belong to a trade is known only after they were decoded, so then all are read.
        if selection.trade_id is not None:
            return SearchResult(*_keep_newest(self.each(selection), limit))

        def read() -> tuple[list[DeadLetter], int]:
            with self._open() as connection:
                return refusals.list_newest(connection, selection, limit), refusals.count(connection, selection)

        return SearchResult(*RetryUntil(self._deadline)(read))

    def each(self, selection: DeadLetterFilter) -> Iterator[DeadLetter]:
        """Yield all selected dead letters, in any order."""
        after: RecordIdentity | None = None
        # A connection for each page: between two pages the caller may take as long as it likes.
        while page := RetryUntil(self._deadline)(lambda: self._page(selection, after)):  # noqa: B023 - called at once
            yield from filter(trade_matcher(selection, self._decoder), page)
            after = page[-1].identity

    def _page(self, selection: DeadLetterFilter, after: RecordIdentity | None) -> list[DeadLetter]:
        with self._open() as connection:
            return refusals.list_page(connection, selection, after, PAGE_ROWS)


class TopicStore:
    """The dead letters of a validator."""

    def __init__(self, arguments: DlqArguments, decoder: RecordDecoder) -> None:
        self._kafka = arguments.kafka
        self._topic = arguments.topic or ""
        self._deadline = arguments.deadline
        self._decoder = decoder
        self._hidden: list[str] = []
        self.name = f"topic {self._topic}"

    def newest(self, selection: DeadLetterFilter, limit: int | None) -> SearchResult:
        """Return the newest selected dead letters."""
        return SearchResult(*_keep_newest(self.each(selection), limit), self._hidden)

    def each(self, selection: DeadLetterFilter) -> Iterator[DeadLetter]:
        """Yield all selected dead letters, in any order."""
        retry = RetryUntil(self._deadline)
        admin = TopicAdmin(self._kafka, request_timeout=retry.call_timeout)
        described = retry(lambda: dead_letter_topic(admin, self._topic))
        extents = retry(lambda: admin.watermarks(self._topic, described.partitions))
        matches_trade = trade_matcher(selection, self._decoder)
        with TopicReader(self._kafka, topic=self._topic, timeout=OPEN_TRANSACTION_SECONDS) as reader:
            # The topic is read twice, since a marker comes after the dead letter that it closes; up to the same
            # offsets, so that what arrives meanwhile is in neither pass.
            closed = retry(lambda: read_markers(reader.read(extents)))
            for kept, _ in iter_dead_letters(reader.read(extents), closed):
                if selection.matches(kept) and matches_trade(kept):
                    yield kept
            self._hidden = [
                f"a transaction is open in {self._topic}[{partition}]: records from offset {offset} on are not shown"
                for partition, offset in reader.blocked_offsets.items()
            ]


def _keep_newest(dead_letters: Iterable[DeadLetter], limit: int | None) -> tuple[list[DeadLetter], int]:
    """Return the newest dead letters, the newest last, and the number of all."""
    newest: list[tuple[datetime, RecordIdentity, int, DeadLetter]] = []
    total = 0
    for total, each in enumerate(dead_letters, 1):
        # At most `limit` of them are in memory, however many there are.
        heapq.heappush(newest, (each.refused_at or _EPOCH, each.identity, total, each))
        if limit is not None and len(newest) > limit:
            heapq.heappop(newest)
    return [each for *_, each in sorted(newest)], total


app = command_line("List, inspect, replay and export dead letters (refused records).")

LIMIT: Final = 15
"""Lines that fit on a terminal of 24 lines, with the summary and suggestions."""

Coordinates = Annotated[
    str,
    typer.Argument(
        metavar="COORDINATES", help="TOPIC[PARTITION]@OFFSET, as printed by ls; quote it, because of the brackets."
    ),
]
By = Annotated[
    Literal["code", "partition", "day"], option("--by code|partition|day", "What to group by.", variable=None)
]

Output = Annotated[
    Path | None, option("--output FILE", "Write to this file instead of stdout, readable by you alone.", variable=None)
]
Overwrite = Annotated[bool, option("--overwrite", "Replace the file if it exists.", variable=None)]

_match_coordinates = re.compile(
    r"(?P<topic>[\w.-]+)\[(?P<partition>\d{1,9})\]@(?P<offset>\d{1,18})", re.ASCII
).fullmatch


@app.command()
def ls(
    *, arguments: DlqArguments, limit: Limit = LIMIT, include_replayed: All = False, output: Format = "text"
) -> None:
    """
    List dead letters, the newest last, without replayed ones.

    Long trade ids are truncated; `show` prints them in full.
    """
    with render.RecordDecoder(arguments.registry, arguments.subject) as decoder:
        store = open_store(arguments, decoder)
        found = store.newest(arguments.selection._replace(replayed=include_replayed), limit)
        if output == "json":
            dead_letters = [document(each, decoder) for each in found.dead_letters]
            echo(to_json({"store": store.name, "total": found.total, "dead_letters": dead_letters}))
            return _note(found.notes)
        if found.dead_letters:
            echo(render.format_list(found.dead_letters, decoder))
    echo(
        render.format_summary(
            len(found.dead_letters),
            found.total,
            store.name,
            replayed=include_replayed,
            is_filtered=arguments.is_filtered,
        )
    )
    _note(found.notes)
    if found.dead_letters:
        last = shlex.quote(escape(found.dead_letters[-1].record.coordinates))
        _suggest(
            f"See why: tradepipe dlq show {last}{arguments.echo}",
            "Replay these: use replay instead of ls, with --dry-run first",
        )
    elif arguments.is_filtered:
        _suggest(
            *(() if include_replayed else ("Already replayed? Add --all",)),
            f"In the other store? Add {'--database URL' if arguments.topic is not None else '--dead-letters TOPIC'}",
            "Not processed yet? Run tradepipe sink offsets show",
        )


@app.command()
def show(coordinates: Coordinates, *, arguments: DlqStoreArguments, output: Format = "text") -> None:
    """
    Show why a record was refused, and everything known about it.

    Prints its fields, headers, coordinates and number of attempts. A value that is not decodable, or any value without
    a registry, is printed as a hex dump.
    """
    with render.RecordDecoder(arguments.registry, arguments.subject) as decoder:
        store = open_store(arguments, decoder)
        found = store.newest(DeadLetterFilter(coordinates=_parse_coordinates(coordinates), replayed=True), None)
        if not found.dead_letters:
            raise render.NoSuchDeadLetter(
                f"no dead letter {coordinates} in {store.name}; list them: tradepipe dlq ls --all{arguments.echo}"
            )
        if output == "json":
            echo(to_json([document(each, decoder) for each in found.dead_letters]))
            return _note(found.notes)
        echo("\n\n".join(render.format_details(each, decoder(each.record)) for each in found.dead_letters))
    _note(found.notes)
    last = found.dead_letters[-1]
    if last.replayed_at is None and not last.is_foreign and last.refusal.is_complete:
        topic, partition, offset = last.record[:3]
        place = f"--source {shlex.quote(escape(topic))} --partition {partition} --offsets {offset}"
        _suggest(
            f"Replay it after the cause is fixed, first with --dry-run: tradepipe dlq replay {place}{arguments.echo}"
        )


@app.command()
def stats(*, arguments: DlqArguments, by: By = "code", output: Format = "text") -> None:
    """
    Count open and replayed dead letters.

    A record with several codes is counted for each of them.
    """
    with render.RecordDecoder(arguments.registry, arguments.subject) as decoder:
        store = open_store(arguments, decoder)
        selected = store.each(arguments.selection._replace(replayed=True))
        counts = render.count_dead_letters(selected, by)
        if output == "json":
            echo(to_json({"store": store.name, **counts.document(by)}))
        else:
            echo(render.format_stats(counts, by, store.name, is_filtered=arguments.is_filtered))


app.command()(replay)


@app.command()
def export(
    *,
    arguments: DlqArguments,
    limit: Limit = None,
    include_replayed: All = False,
    output: Output = None,
    overwrite: Overwrite = False,
) -> None:
    """
    Write dead letters as JSON lines.

    Each line has the record's bytes, as base64, and, with a registry, the fields of a decodable value.
    """
    target: AbstractContextManager[TextIO] = nullcontext(sys.stdout)
    if output is not None:
        target = write_file(output, overwrite=overwrite, private=True, option="--output")
    with render.RecordDecoder(arguments.registry, arguments.subject) as decoder, target as file:
        store = open_store(arguments, decoder)
        found = islice(store.each(arguments.selection._replace(replayed=include_replayed)), limit)
        number = 0
        for number, each in enumerate(found, 1):  # noqa: B007 - the last number is the count
            file.write(f"{to_json(document(each, decoder), indent=None)}\n")
        file.flush()
    place = f" to {output}" if output else ""
    print_status(f"exported {format_count(number, 'dead letter')} from {store.name}{place}")


def document(dead_letter: DeadLetter, decoder: render.RecordDecoder) -> dict[str, Any]:
    """Return the JSON document of a dead letter."""
    record, trade = dead_letter.record, decoder(dead_letter.record).trade
    return {
        "topic": record.topic,
        "topic_id": dead_letter.topic_id,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _base64(record.key),
        "value": _base64(record.value),
        "omitted": {
            name: {"bytes": digest.size, "sha256": digest.sha256.hex()}
            for name, digest in dead_letter.refusal.omitted._asdict().items()
            if digest is not None
        },
        "headers": [[name, _base64(value)] for name, value in record.headers],
        "violations": [violation._asdict() for violation in dead_letter.refusal.violations],
        "schema_id": dead_letter.refusal.schema_id,
        "group": dead_letter.group,
        "refused_at": json_value(dead_letter.refused_at),
        "replays": dead_letter.replay_count,
        "replayed_at": json_value(dead_letter.replayed_at),
        "letter": dead_letter.topic_record
        and [dead_letter.topic_record.topic, dead_letter.topic_record.partition, dead_letter.topic_record.offset],
        "foreign": dead_letter.is_foreign,
        "trade": trade and {name: json_value(value) for name, value in trade._asdict().items()},
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _parse_coordinates(coordinates: str) -> tuple[str, int, int]:
    if (found := _match_coordinates(coordinates)) is None:
        raise typer.BadParameter(
            f"must be TOPIC[PARTITION]@OFFSET, such as 'trades[0]@42', not {escape(coordinates)!r}",
            param_hint="'COORDINATES'",
        )
    return found["topic"], int(found["partition"]), int(found["offset"])


def _suggest(*lines: str) -> None:
    """Print what to do next, if stdout is a terminal."""
    if sys.stdout.isatty():
        for line in lines:
            echo(wrap(as_typed(line)), err=True)


def _note(notes: Iterable[str]) -> None:
    for note in notes:
        print_status(f"Note: {note}")
