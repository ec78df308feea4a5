"""Command `tradepipe dlq`: list, show, count, replay and export dead letters."""

import re
import shlex
import sys
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.dlq import render
from tradepipe.cli.dlq.export import document, export
from tradepipe.cli.dlq.options import All, DlqArguments, DlqStoreArguments, Limit
from tradepipe.cli.dlq.replay import replay
from tradepipe.cli.dlq.stores import open_store
from tradepipe.cli.logs import print_status
from tradepipe.cli.options import Format, option
from tradepipe.cli.terminal import echo, to_json
from tradepipe.redaction import escape
from tradepipe.trade.dead_letter import DeadLetterFilter

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
    Literal["code", "partition", "day"],
    option("--by code|partition|day", "What to group by.", variable=None),
]

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
                f"no dead letter {coordinates} in {store.name}; list them with tradepipe dlq ls --all{arguments.echo}"
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
            "Replay it after the cause is fixed, first with --dry-run:",
            f"  tradepipe dlq replay {place}{arguments.echo}",
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
app.command()(export)


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
            echo(line, err=True)


def _note(notes: Iterable[str]) -> None:
    for note in notes:
        print_status(f"Note: {note}")
