"""Options of an input file."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from tradepipe.cli.input.file_kinds import Form
from tradepipe.cli.input.values import FIELDS, OPTIONAL
from tradepipe.cli.options import option

FILE: Final = "Input file"
"""Heading in `--help`."""


def _file_option(form: str, text: str, *, variable: str | None = None) -> Any:
    """Declare an option that has no variable unless it names one: what a file needs is kept in a mapping file."""
    return option(form, text, heading=FILE, variable=variable)


Input = Annotated[
    str | None,
    _file_option(
        "--input FILE|-",
        "Send trades from this file instead of sample trades: CSV with headers, JSON lines or a JSON array, optionally "
        "in a gzip or zip archive, a workbook (.xlsx) or a Parquet file; - reads stdin. "
        f"Headers and keys are {', '.join(FIELDS)}; {', '.join(OPTIONAL)} may be missing or empty.",
        variable="TRADEPIPE_INPUT",
    ),
]
InputFormat = Annotated[
    Form | None,
    _file_option(
        "--format csv|jsonl|json|xlsx|parquet",
        "Format of the file, if its name does not tell.",
        variable="TRADEPIPE_INPUT_FORMAT",
    ),
]
MappingFile = Annotated[
    Path | None,
    _file_option(
        "--mapping FILE.toml",
        "File with the columns and formats of the input; the options below override it.",
        variable="TRADEPIPE_MAPPING",
    ),
]
SuggestMapping = Annotated[
    str | None,
    _file_option(
        "--suggest-mapping FILE|-",
        "Write a mapping file for the input, from its headers and first rows, to a new file or stdout; send nothing.",
    ),
]
Columns = Annotated[
    list[str] | None,
    _file_option(
        "--column FIELD=HEADER",
        "Header of a field, if it differs from the field's name. Repeatable.",
        variable="TRADEPIPE_COLUMNS",
    ),
]
Defaults = Annotated[
    list[str] | None,
    _file_option(
        "--default FIELD=VALUE",
        "Value for a field that the file lacks, and for its empty cells. Repeatable.",
        variable="TRADEPIPE_DEFAULTS",
    ),
]
Values = Annotated[
    list[str] | None,
    _file_option("--value FIELD:TEXT=VALUE", "Value for a text in the file, as side:Buy=BUY. Repeatable."),
]
Delimiter = Annotated[
    str | None, _file_option("--delimiter CHAR|tab", "Delimiter of CSV; if omitted, the header line shows it.")
]
Encoding = Annotated[
    str | None, _file_option("--encoding NAME", "Encoding of a text file, such as cp1252. [default: utf-8]")
]
DatesAs = Annotated[
    str | None, _file_option("--date-format FORMAT", "Format of maturity_date, such as DD/MM/YYYY or DD-MMM-YY.")
]
TimesAs = Annotated[
    str | None, _file_option("--time-format FORMAT", "Format of created_at, such as 'DD/MM/YYYY hh:mm:ss'.")
]
Timezone = Annotated[
    str | None, _file_option("--timezone NAME", "Zone of times without an offset, such as Europe/London.")
]
DecimalSign = Annotated[str | None, _file_option("--decimal CHAR", "Decimal sign of numbers. [default: .]")]
Thousands = Annotated[
    str | None, _file_option("--thousands CHAR", "Sign that groups digits of numbers, as the commas in 1,250,000.50.")
]
Sheet = Annotated[str | None, _file_option("--sheet NAME", "Sheet of a workbook that has several.")]
Trim = Annotated[bool, _file_option("--trim", "Remove blanks around values.")]
OnError = Annotated[
    Literal["stop", "skip"],
    _file_option(
        "--on-error stop|skip",
        "What to do at an invalid record: stop, or write it to --rejects and continue.",
        variable="TRADEPIPE_ON_ERROR",
    ),
]
RejectsFile = Annotated[
    Path | None,
    _file_option(
        "--rejects FILE",
        "File for skipped records with the reasons, in the format of the input. "
        "Default: the input's name with .rejects and the format's ending.",
        variable="TRADEPIPE_REJECTS",
    ),
]
Overwrite = Annotated[bool, _file_option("--overwrite", "Replace the file of --rejects if it exists.")]
DryRun = Annotated[
    bool,
    _file_option(
        "--dry-run",
        "Check the file without sending anything; needs neither Kafka nor a registry.",
        variable="TRADEPIPE_DRY_RUN",
    ),
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
