"""`tradepipe dlq`: refused records found, read, counted, put back, and taken along."""

import re
import shlex
import sys
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.dlq.export import export
from tradepipe.cli.dlq.options import All, Asked, Limit, asked
from tradepipe.cli.dlq.places import place_of
from tradepipe.cli.dlq.reading import NoSuchLetter, Reading, plain
from tradepipe.cli.dlq.replay import replay
from tradepipe.cli.dlq.report import counted, in_full, listed, summed, ways_back
from tradepipe.contract.kept import Selection

app = command_line("Dead letters: find records that were refused, see why, and put them back.")

DOOR: Final = "python -m tradepipe.dlq"

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
@asked()
def ls(*, asked: Asked, limit: Limit = LIMIT, every: All = False) -> None:
    """
    List refused records, the newest last.

    Those that were replayed are left out. A trade's id is cut where the line is full; `show` has all of it.
    """
    with Reading(asked.registry, asked.subject) as reading:
        place = place_of(asked, reading)
        found = place.newest(asked.selection._replace(replayed=every), limit)
        if found.kept:
            typer.echo(listed(found.kept, reading))
    typer.echo(summed(len(found.kept), found.total, place.name, replayed=every, narrowed=asked.is_narrowed))
    _note(found.notes)
    if found.kept:
        last = shlex.quote(plain(found.kept[-1].record.coordinates))
        _suggest(
            f"See why: {DOOR} show {last}{asked.typed}",
            "Bring these back: replay in the place of ls, and --dry-run first",
        )
    elif asked.is_narrowed:
        _suggest(*_elsewhere(asked, every=every))


@app.command()
@asked(filters=False)
def show(coordinates: Coordinates, *, asked: Asked) -> None:
    """
    Show why a record was refused, and all it holds.

    Its fields, its headers, where it lay, how often it was tried. What cannot be decoded, and without a registry
    everything, is shown byte by byte.
    """
    with Reading(asked.registry, asked.subject) as reading:
        place = place_of(asked, reading)
        found = place.newest(Selection(place=_place(coordinates), replayed=True), None)
        if not found.kept:
            raise NoSuchLetter(
                f"there is no refused record {coordinates} in {place.name}; {DOOR} ls --all lists what is there"
            )
        typer.echo("\n\n".join(in_full(kept, reading(kept.record)) for kept in found.kept))
    _note(found.notes)
    _suggest(*ways_back(found.kept[-1], DOOR, asked.typed))


@app.command()
@asked()
def stats(*, asked: Asked, by: By = "code") -> None:
    """
    Count refused records, open and replayed.

    A record with several codes counts for each of them.
    """
    with Reading(asked.registry, asked.subject) as reading:
        place = place_of(asked, reading)
        meant = place.each(asked.selection._replace(replayed=True))
        typer.echo(counted(meant, by, place.name, narrowed=asked.is_narrowed))


app.command()(replay)
app.command()(export)


def _place(coordinates: str) -> tuple[str, int, int]:
    if (found := _is_place(coordinates)) is None:
        raise typer.BadParameter(
            f"they are written TOPIC[PARTITION]@OFFSET, as in 'trades[0]@42', not {plain(coordinates)!r}",
            param_hint="'COORDINATES'",
        )
    return found["topic"], int(found["partition"]), int(found["offset"])


def _suggest(*lines: str) -> None:
    """Say what to do next, to a person."""
    if sys.stdout.isatty():
        for line in lines:
            typer.echo(line, err=True)


def _elsewhere(asked: Asked, *, every: bool) -> Iterator[str]:
    """Where else it may be that somebody looks for."""
    if not every:
        yield "Brought back already? Add --all"
    other = "--database URL" if asked.topic is not None else "--dead-letters TOPIC"
    yield f"Refused elsewhere? Add {other}"
    yield "Not read yet? python -m tradepipe.sink offsets show"


def _note(notes: object) -> None:
    for note in notes if isinstance(notes, (list, tuple)) else ():
        typer.echo(f"Note: {note}", err=True)
