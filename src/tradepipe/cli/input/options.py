"""The options that say which file `produce` reads, and how."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from tradepipe.cli.input.fields import FIELDS, OPTIONAL

FILE: Final = "A file of trades"
"""The heading in `--help`."""

Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        envvar="TRADEPIPE_INPUT",
        metavar="FILE|-",
        help="Send the trades of a file instead of made-up ones: CSV with headers or JSON lines, also packed by gzip; "
        f"- reads stdin. Headers and keys are {', '.join(FIELDS)}; "
        f"{', '.join(OPTIONAL)} may be missing or empty.",
        show_default=False,
        rich_help_panel=FILE,
    ),
]
InputFormat = Annotated[
    Literal["csv", "jsonl"] | None,
    typer.Option(
        "--format",
        envvar="TRADEPIPE_INPUT_FORMAT",
        metavar="csv|jsonl",
        help="What the file is, if its name does not end in .csv, .jsonl or .ndjson, or so before .gz.",
        show_default=False,
        rich_help_panel=FILE,
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        envvar="TRADEPIPE_COLUMNS",
        metavar="FIELD=HEADER",
        help="The file's header for a field, where it is another; may be repeated.",
        show_default=False,
        rich_help_panel=FILE,
    ),
]
Defaults = Annotated[
    list[str] | None,
    typer.Option(
        "--default",
        envvar="TRADEPIPE_DEFAULTS",
        metavar="FIELD=VALUE",
        help="The value of a field that the file lacks; may be repeated.",
        show_default=False,
        rich_help_panel=FILE,
    ),
]
OnError = Annotated[
    Literal["stop", "skip"],
    typer.Option(
        "--on-error",
        envvar="TRADEPIPE_ON_ERROR",
        metavar="stop|skip",
        help="At a record that is no valid trade: stop, or write it to --rejects and go on.",
        rich_help_panel=FILE,
    ),
]
RejectsFile = Annotated[
    Path | None,
    typer.Option(
        "--rejects",
        envvar="TRADEPIPE_REJECTS",
        metavar="FILE",
        help="Where skipped records go, as JSON lines with their reasons; the input's name with .rejects.jsonl if not "
        "given. What stood there is replaced at the end.",
        show_default=False,
        rich_help_panel=FILE,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        envvar="TRADEPIPE_DRY_RUN",
        help="Only check the file: nothing is sent, and neither Kafka nor registry are needed.",
        rich_help_panel=FILE,
    ),
]


def require_none(given: dict[str, Any], why: str) -> None:
    """
    Return if none of these options was given.

    Raises:
        BadParameter: one was.
    """
    for option, value in given.items():
        if value:
            raise typer.BadParameter(why, param_hint=repr(option))
