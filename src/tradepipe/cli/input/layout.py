"""Where in a file a trade's fields stand: by their own names, or as the options say."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Literal

import typer

from tradepipe.cli.input.fields import FIELDS, OPTIONAL, from_text, shown
from tradepipe.cli.options import pairs

Form = Literal["csv", "jsonl"]

_ENDINGS: Final[dict[str, Form]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_LISTED: Final = 20
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


class Layout:
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
                    f"{name} has {headers.count(header)} columns {shown(header)}: which of them is {field}? "
                    "rename the others",
                    param_hint="'--input'",
                )
        if unneeded := [field for field in self.defaults if field in headers]:
            raise typer.BadParameter(
                f"{name} has a column {unneeded[0]}, and --default is for fields the file lacks",
                param_hint="'--default'",
            )

    def lacked(self, field: str) -> Callable[[], object]:
        """What gives the value of a field that a record lacks, or says that it must not."""
        if field in self.defaults:
            return self.defaults[field]
        return partial(_is_missing, field, self.headers[field])

    def ignored(self, headers: Iterable[str]) -> list[str]:
        """The headers that no field has."""
        used = set(self.headers.values())
        return [header for header in headers if header not in used]


def listed(names: Sequence[str]) -> str:
    """Names for a message: not more than a reader would read."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(shown(name) for name in names[:_LISTED]) + more


def _is_missing(field: str, header: str) -> object:
    if field in OPTIONAL:
        return OPTIONAL[field]
    key = "" if field == header else f"the key {shown(header)} "
    raise ValueError(f"{key}is missing; if the whole file lacks it, give --default {field}=VALUE")


def _missing(name: str, missing: dict[str, str], headers: Sequence[str], what: str) -> typer.BadParameter:
    field = next(iter(missing))
    needed = ", ".join(key if key == header else f"{key} ({shown(header)})" for key, header in missing.items())
    return typer.BadParameter(
        f"{name} has no column for {needed}; its {what} are {listed(headers) or 'none'}. Name the right one by "
        f"--column {field}=HEADER, or give one value for all by --default {field}=VALUE",
        param_hint="'--input'",
    )


def _by_field(texts: Sequence[str], option: str, value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        for field, given in pairs([text], option=option, form=f"FIELD={value}").items():
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
