"""`tradepipe dlq`: refused records found, read, counted, put back, and taken along."""

import re
import shlex
import sys
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.dlq.export import export
from tradepipe.cli.dlq.options import All, DlqArguments, Limit, with_dlq_options
from tradepipe.cli.dlq.render import (
    NoSuchDeadLetter,
    RecordDecoder,
    escape,
    format_details,
    format_list,
    format_stats,
    format_summary,
    replay_hint,
)
from tradepipe.cli.dlq.replay import replay
from tradepipe.cli.dlq.stores import open_store
from tradepipe.trade.dead_letter import DeadLetterFilter

app = command_line("Dead letters: find records that were refused, see why, and put them back.")

DOOR: Final = "tradepipe dlq"

LIMIT: Final = 15
"""Lines that leave room for the rest on the smallest terminal."""

Coordinates = Annotated[
    str,
    typer.Argument(
        metavar="COORDINATES", help="TOPIC[PARTITION]@OFFSET, as ls shows it; in quotes, as shells read brackets."
    ),
]
By = Annotated[
    Literal["code", "partition", "day"],
    typer.Option("--by", metavar="code|partition|day", help="What to count by."),
]

_is_place = re.compile(r"(?P<topic>[\w.-]+)\[(?P<partition>\d{1,9})\]@(?P<offset>\d{1,18})", re.ASCII).fullmatch


@app.command()
@with_dlq_options()
def ls(*, asked: DlqArguments, limit: Limit = LIMIT, every: All = False) -> None:
    """
    List refused records, the newest last.

    Those that were replayed are left out. A trade's id is cut where the line is full; `show` has all of it.
    """
    with RecordDecoder(asked.registry, asked.subject) as reading:
        place = open_store(asked, reading)
        found = place.newest(asked.selection._replace(replayed=every), limit)
        if found.dead_letters:
            typer.echo(format_list(found.dead_letters, reading))
    typer.echo(
        format_summary(len(found.dead_letters), found.total, place.name, replayed=every, narrowed=asked.is_filtered)
    )
    _note(found.notes)
    if found.dead_letters:
        last = shlex.quote(escape(found.dead_letters[-1].record.coordinates))
        _suggest(
            f"See why: {DOOR} show {last}{asked.echo}",
            "Bring these back: replay in the place of ls, and --dry-run first",
        )
    elif asked.is_filtered:
        _suggest(*_elsewhere(asked, every=every))


@app.command()
@with_dlq_options(filters=False)
def show(coordinates: Coordinates, *, asked: DlqArguments) -> None:
    """
    Show why a record was refused, and all it holds.

    Its fields, its headers, where it lay, how often it was tried. What cannot be decoded, and without a registry
    everything, is shown byte by byte.
    """
    with RecordDecoder(asked.registry, asked.subject) as reading:
        place = open_store(asked, reading)
        found = place.newest(DeadLetterFilter(coordinates=_place(coordinates), replayed=True), None)
        if not found.dead_letters:
            raise NoSuchDeadLetter(
                f"there is no refused record {coordinates} in {place.name}; {DOOR} ls --all lists what is there"
            )
        typer.echo("\n\n".join(format_details(kept, reading(kept.record)) for kept in found.dead_letters))
    _note(found.notes)
    _suggest(*replay_hint(found.dead_letters[-1], DOOR, asked.echo))


@app.command()
@with_dlq_options()
def stats(*, asked: DlqArguments, by: By = "code") -> None:
    """
    Count refused records, open and replayed.

    A record with several codes counts for each of them.
    """
    with RecordDecoder(asked.registry, asked.subject) as reading:
        place = open_store(asked, reading)
        meant = place.each(asked.selection._replace(replayed=True))
        typer.echo(format_stats(meant, by, place.name, narrowed=asked.is_filtered))


app.command()(replay)
app.command()(export)


def _place(coordinates: str) -> tuple[str, int, int]:
    if (found := _is_place(coordinates)) is None:
        raise typer.BadParameter(
            f"they are written TOPIC[PARTITION]@OFFSET, as in 'trades[0]@42', not {escape(coordinates)!r}",
            param_hint="'COORDINATES'",
        )
    return found["topic"], int(found["partition"]), int(found["offset"])


def _suggest(*lines: str) -> None:
    """Say what to do next, to a person."""
    if sys.stdout.isatty():
        for line in lines:
            typer.echo(line, err=True)


def _elsewhere(asked: DlqArguments, *, every: bool) -> Iterator[str]:
    """Where else it may be that somebody looks for."""
    if not every:
        yield "Brought back already? Add --all"
    other = "--database URL" if asked.topic is not None else "--dead-letters TOPIC"
    yield f"Refused elsewhere? Add {other}"
    yield "Not read yet? tradepipe sink offsets show"


def _note(notes: object) -> None:
    for note in notes if isinstance(notes, (list, tuple)) else ():
        typer.echo(f"Note: {note}", err=True)
