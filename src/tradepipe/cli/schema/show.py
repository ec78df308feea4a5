"""`tradepipe schema show`: a version of this build, and the Python that was generated from it."""

from typing import Annotated, Literal

import typer

from tradepipe.contract.history import SchemaVersion, current, versions
from tradepipe.wire.codec import Decoder, encoder_source
from tradepipe.wire.glances import Glances
from tradepipe.wire.rows import Rows
from tradepipe.wire.trades import Trades

Form = Literal["schema", "decode", "copy_row", "glance", "encode"]

Version = Annotated[
    str | None, typer.Argument(metavar="VERSION", help="Its number; the one this build writes if not given.")
]
As = Annotated[
    Form,
    typer.Option(
        "--as",
        metavar="schema|decode|copy_row|glance|encode",
        help="The schema itself, or a function generated from it: records to trades, to rows for COPY, to a glance "
        "at whether they keep the rules, or trades to records.",
    ),
]


def show(version: Version = None, *, as_: As = "schema") -> None:
    """
    Print a version of the trade schema as this build has it, or the code generated from it.

    The lines of the code are those that a traceback names, as in <tradepipe: decode of schema id 7>, line 12.
    """
    chosen = _version(version) if version else current()
    if as_ == "encode" and chosen != current():
        told = f"trades are written as version {current().number} only: leave VERSION out"
        raise typer.BadParameter(told, param_hint="'--as encode'")
    typer.echo(_text(chosen, as_), nl=False)


def _version(name: str) -> SchemaVersion:
    number = name.removeprefix("v").removesuffix(".avsc")
    found = [each for each in versions() if number.isdecimal() and each.number == int(number)]
    if not found:
        told = f"{name} is none of the versions of this build, which are 1 to {current().number}"
        raise typer.BadParameter(told, param_hint="'VERSION'")
    return found[0]


def _text(version: SchemaVersion, form: Form) -> str:
    if form == "schema":
        return version.text
    if form == "encode":
        return encoder_source()
    target = next(each for each in (Trades(), Rows(), Glances()) if each.function == form)
    return Decoder(version.text, version.number).source(target).text
