"""Columns of an input file, and the options that map them to fields."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from tradepipe.cli.input.values import FIELDS, OPTIONAL, from_text, quote_cell
from tradepipe.cli.parsing import parse_pairs

Form = Literal["csv", "jsonl"]

_ENDINGS: Final[dict[str, Form]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_LIST_SEPARATOR: Final = 20
"""Names that a message lists."""


def form_of(path: str) -> Form:
    """
    The format a file's name tells.

    >>> form_of("trades.csv.gz")
    'csv'

    Raises:
        BadParameter: it tells none.
    """
    name = path.lower().removesuffix(".gz")
    for ending, form in _ENDINGS.items():
        if name.endswith(ending):
            return form
    what = "stdin has no name that would tell its format" if path == "-" else f"the name {path!r} tells no format"
    raise typer.BadParameter(f"{what}: say --format csv or --format jsonl", param_hint="'--format'")


class ColumnMapping:
    """
    The header of each field, and the value of each field that the file lacks.

    A field that is optional, and not named by an option, may be lacking too.

    Args:
        columns: FIELD=HEADER of the fields whose headers differ.

        defaults: FIELD=VALUE of the fields the file lacks, written as in CSV.

    Raises:
        BadParameter: a text is no such pair, or names a field twice, or a value cannot be read.
    """

    def __init__(self, columns: Sequence[str] = (), defaults: Sequence[str] = ()) -> None:
        given = _by_field(columns, "--column", "HEADER")
        self.defaults = {
            field: _default(field, value) for field, value in _by_field(defaults, "--default", "VALUE").items()
        }
        if both := [field for field in given if field in self.defaults]:
            raise typer.BadParameter(
                f"{both[0]} has a --column and a --default: the file has it or lacks it", param_hint="'--default'"
            )
        self.headers = {field: given.get(field, field) for field in FIELDS if field not in self.defaults}
        self._needed = [field for field in self.headers if field in given or field not in OPTIONAL]

    def require(self, name: str, headers: Sequence[str], what: str = "headers") -> None:
        """
        Return if a file with these headers has all that is needed, each once.

        Raises:
            BadParameter: a column is missing or there twice, or one is there that `--default` says is not.
        """
        if missing := {field: self.headers[field] for field in self._needed if self.headers[field] not in headers}:
            raise _missing(name, missing, headers, what)
        for field, header in self.headers.items():
            if headers.count(header) > 1:
                raise typer.BadParameter(
                    f"{name} has {headers.count(header)} columns {quote_cell(header)}: which of them is {field}? "
                    "rename the others",
                    param_hint="'--input'",
                )
        if unneeded := [field for field in self.defaults if field in headers]:
            raise typer.BadParameter(
                f"{name} has a column {unneeded[0]}, and --default is for fields the file lacks",
                param_hint="'--default'",
            )

    def missing(self, field: str) -> Callable[[], object]:
        """What gives the value of a field that a record lacks, or says that it must not."""
        if field in self.defaults:
            return self.defaults[field]
        return partial(_is_missing, field, self.headers[field])

    def ignored(self, headers: Iterable[str]) -> list[str]:
        """The headers that no field has."""
        used = set(self.headers.values())
        return [header for header in headers if header not in used]


def parse_list(names: Sequence[str]) -> str:
    """Names for a message: not more than a reader would read."""
    more = f" and {len(names) - _LIST_SEPARATOR} more" if len(names) > _LIST_SEPARATOR else ""
    return ", ".join(quote_cell(name) for name in names[:_LIST_SEPARATOR]) + more


def _is_missing(field: str, header: str) -> object:
    if field in OPTIONAL:
        return OPTIONAL[field]
    key = "" if field == header else f"the key {quote_cell(header)} "
    raise ValueError(f"{key}is missing; if the whole file lacks it, give --default {field}=VALUE")


def _missing(name: str, missing: dict[str, str], headers: Sequence[str], what: str) -> typer.BadParameter:
    field = next(iter(missing))
    needed = ", ".join(key if key == header else f"{key} ({quote_cell(header)})" for key, header in missing.items())
    return typer.BadParameter(
        f"{name} has no column for {needed}; its {what} are {parse_list(headers) or 'none'}. Name the right one by "
        f"--column {field}=HEADER, or give one value for all by --default {field}=VALUE",
        param_hint="'--input'",
    )


def _by_field(texts: Sequence[str], option: str, value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        for field, given in parse_pairs([text], option=option, form=f"FIELD={value}").items():
            if field not in FIELDS:
                raise typer.BadParameter(
                    f"{field!r} is no field of a trade: those are {', '.join(FIELDS)}", param_hint=repr(option)
                )
            if field in found:
                raise typer.BadParameter(f"{field} is given twice", param_hint=repr(option))
            found[field] = given
    return found


def _default(field: str, value: str) -> Callable[[], object]:
    try:
        parsed = from_text(field, value)
    except ValueError as error:
        raise typer.BadParameter(f"{field}: {error}", param_hint="'--default'") from None
    return lambda: parsed


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
