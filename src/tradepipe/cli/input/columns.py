"""Columns of an input file, and the options that map them to fields."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from tradepipe.cli.input.values import FIELDS, OPTIONAL, from_text, quote_cell
from tradepipe.cli.options import option
from tradepipe.cli.parsing import parse_pairs

Form = Literal["csv", "jsonl"]

_ENDINGS: Final[dict[str, Form]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_MAX_LISTED: Final = 20
"""Maximum number of names in a message."""


def form_of(path: str) -> Form:
    """
    Derive the format from a file's name.

    >>> form_of("trades.csv.gz")
    'csv'

    Raises:
        BadParameter: the name has no known ending.
    """
    name = path.lower().removesuffix(".gz")
    for ending, form in _ENDINGS.items():
        if name.endswith(ending):
            return form
    subject = "the format of stdin is unknown" if path == "-" else f"the name {path!r} has no known ending"
    raise typer.BadParameter(f"{subject}: pass --format csv or --format jsonl", param_hint="'--format'")


class ColumnMapping:
    """
    Headers of the fields, and values for the fields that the file lacks.

    An optional field may be missing unless an option names it.

    Args:
        columns: FIELD=HEADER of fields with other headers.

        defaults: FIELD=VALUE of fields that the file lacks, written as in CSV.

    Raises:
        BadParameter: a text is not such a pair, a field is given twice, or a value is invalid.
    """

    def __init__(self, columns: Sequence[str] = (), defaults: Sequence[str] = ()) -> None:
        given = _by_field(columns, "--column", "HEADER")
        self.defaults = {
            field: _default(field, value) for field, value in _by_field(defaults, "--default", "VALUE").items()
        }
        if both := [field for field in given if field in self.defaults]:
            raise typer.BadParameter(
                f"{both[0]} has both a --column and a --default: pass only one", param_hint="'--default'"
            )
        self.headers = {field: given.get(field, field) for field in FIELDS if field not in self.defaults}
        self._needed = [field for field in self.headers if field in given or field not in OPTIONAL]

    def require(self, name: str, headers: Sequence[str], what: str = "headers") -> None:
        """
        Check that a file with these headers has each required column once.

        Raises:
            BadParameter: a column is missing or duplicated, or has a `--default`.
        """
        if missing := {field: self.headers[field] for field in self._needed if self.headers[field] not in headers}:
            raise _missing_columns(name, missing, headers, what)
        for field, header in self.headers.items():
            if headers.count(header) > 1:
                raise typer.BadParameter(
                    f"{name} has {headers.count(header)} columns {quote_cell(header)} for {field}: rename all but one",
                    param_hint="'--input'",
                )
        if unneeded := [field for field in self.defaults if field in headers]:
            raise typer.BadParameter(
                f"{name} has a column {unneeded[0]}, but --default is only for fields that the file lacks",
                param_hint="'--default'",
            )

    def missing(self, field: str) -> Callable[[], object]:
        """Return a function that gives the value of a missing field, or raises ValueError if it is required."""
        if field in self.defaults:
            return self.defaults[field]
        return partial(_default_of_missing, field, self.headers[field])

    def ignored(self, headers: Iterable[str]) -> list[str]:
        """Return the headers that belong to no field."""
        used = set(self.headers.values())
        return [header for header in headers if header not in used]


def format_names(names: Sequence[str]) -> str:
    """Format names for a message, truncated."""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(quote_cell(name) for name in names[:_MAX_LISTED]) + more


def _default_of_missing(field: str, header: str) -> object:
    if field in OPTIONAL:
        return OPTIONAL[field]
    key = "" if field == header else f"the key {quote_cell(header)} "
    raise ValueError(f"{key}is missing; if the whole file lacks it, pass --default {field}=VALUE")


def _missing_columns(name: str, missing: dict[str, str], headers: Sequence[str], what: str) -> typer.BadParameter:
    field = next(iter(missing))
    needed = ", ".join(key if key == header else f"{key} ({quote_cell(header)})" for key, header in missing.items())
    return typer.BadParameter(
        f"{name} has no column for {needed}; its {what} are {format_names(headers) or 'none'}. Pass "
        f"--column {field}=HEADER to name the column, or --default {field}=VALUE to use one value for all trades",
        param_hint="'--input'",
    )


def _by_field(texts: Sequence[str], name: str, value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        for field, given in parse_pairs([text], option=name, form=f"FIELD={value}").items():
            if field not in FIELDS:
                raise typer.BadParameter(
                    f"{field!r} is not a field of a trade; the fields are {', '.join(FIELDS)}", param_hint=repr(name)
                )
            if field in found:
                raise typer.BadParameter(f"{field} is given twice", param_hint=repr(name))
            found[field] = given
    return found


def _default(field: str, value: str) -> Callable[[], object]:
    try:
        parsed = from_text(field, value)
    except ValueError as error:
        raise typer.BadParameter(f"{field}: {error}", param_hint="'--default'") from None
    return lambda: parsed


FILE: Final = "Input file"
"""Heading in `--help`."""

Input = Annotated[
    str | None,
    option(
        "--input FILE|-",
        "Send trades from this file instead of sample trades: CSV with headers or JSON lines, optionally gzipped; "
        f"- reads stdin. Headers and keys are {', '.join(FIELDS)}; "
        f"{', '.join(OPTIONAL)} may be missing or empty.",
        heading=FILE,
    ),
]
InputFormat = Annotated[
    Form | None,
    option(
        "--format csv|jsonl",
        "Format of the file, if its name does not end in .csv, .jsonl or .ndjson (or one of these and .gz).",
        heading=FILE,
        variable="TRADEPIPE_INPUT_FORMAT",
    ),
]
Columns = Annotated[
    list[str] | None,
    option(
        "--column FIELD=HEADER",
        "Header of a field, if it differs from the field's name. Repeatable.",
        heading=FILE,
        variable="TRADEPIPE_COLUMNS",
    ),
]
Defaults = Annotated[
    list[str] | None,
    option(
        "--default FIELD=VALUE",
        "Value for a field that the file lacks. Repeatable.",
        heading=FILE,
        variable="TRADEPIPE_DEFAULTS",
    ),
]
OnError = Annotated[
    Literal["stop", "skip"],
    option(
        "--on-error stop|skip",
        "What to do at an invalid record: stop, or write it to --rejects and continue.",
        heading=FILE,
    ),
]
RejectsFile = Annotated[
    Path | None,
    option(
        "--rejects FILE",
        "File for skipped records, as JSON lines with the reasons; replaced at the end of the run. "
        "Default: the input's name with .rejects.jsonl.",
        heading=FILE,
    ),
]
DryRun = Annotated[
    bool,
    option("--dry-run", "Check the file without sending anything; needs neither Kafka nor a registry.", heading=FILE),
]


def require_none(given: dict[str, Any], why: str) -> None:
    """
    Check that none of these options was given.

    Raises:
        BadParameter: one was given.
    """
    for name, value in given.items():
        if value:
            raise typer.BadParameter(why, param_hint=repr(name))
