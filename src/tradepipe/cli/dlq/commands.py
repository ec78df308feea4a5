"""Command `tradepipe dlq`: list, show, count, replay and export dead letters."""

import base64
import re
import shlex
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TextIO

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.dlq import render
from tradepipe.cli.dlq.options import All, DlqArguments, DlqStoreArguments, Limit
from tradepipe.cli.dlq.replay import replay
from tradepipe.cli.dlq.stores import open_store
from tradepipe.cli.logs import print_status
from tradepipe.cli.options import Format, option
from tradepipe.cli.terminal import as_typed, echo, to_json, wrap
from tradepipe.files.drafts import write_file
from tradepipe.files.json_text import json_value
from tradepipe.plural import format_count
from tradepipe.redaction import escape
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter

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
