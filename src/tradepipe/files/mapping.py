"""Mapping of a file: its formats, and the columns of the fields; from options and a mapping file."""

import codecs
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from tradepipe.files.errors import InvalidOption, quote_cell
from tradepipe.files.fields import FIELDS, OPTIONAL, ValueParser, field_parsers, from_text
from tradepipe.files.formats import DateFormat, Formats, NumberFormat
from tradepipe.small_files import read_small_file

MAX_MAPPING_BYTES: Final = 1 << 20

_TABLES: Final = ("columns", "defaults", "values")

Document = Mapping[str, Any]
"""A mapping file's keys and tables, or the same from options."""


class FileMapping(NamedTuple):
    """
    A file's format and the places of its fields.

    Attributes:
        delimiter: None to find it in the header line.

        sheet: sheet of a workbook; None for its only one.

        columns: headers of fields that have other headers.

        defaults: values of fields that the file lacks, and of their empty cells.

        values: for each field, values of texts that the file writes in its own way.
    """

    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    columns: Mapping[str, str] = {}
    defaults: Mapping[str, object] = {}
    values: Mapping[str, Mapping[str, object]] = {}
    formats: Formats = Formats()

    def parsers(self) -> dict[str, ValueParser]:
        """Return the parsers of all fields."""

        def known_or(known: Mapping[str, object], parse: Callable[[Any], object]) -> Callable[[Any], object]:
            def replace(value: object) -> object:
                if value is None and "" in known:
                    value = ""
                return known[value] if type(value) is str and value in known else parse(value)

            return replace

        found, empty = field_parsers(self.formats), {**OPTIONAL, **self.defaults}
        for field, parser in found.items():
            # Texts that need no parser: the empty one if it has a value, and mapped ones.
            known = {"": empty[field]} if field in empty else {}
            if known := {**known, **self.values.get(field, {})}:
                found[field] = ValueParser(*(known_or(known, parse) for parse in parser))
        return found

    def header(self, field: str) -> str:
        """Return the header that was named for a field, or the field's name."""
        return self.columns.get(field, field)


def read_mapping(
    path: Path | None, options: Document, columns: Sequence[str], defaults: Sequence[str], values: Sequence[str]
) -> FileMapping:
    """
    Read a mapping file, which options override key by key.

    Args:
        options: values of the options that are keys of the file too.

        columns: FIELD=HEADER of fields with other headers.

        defaults: FIELD=VALUE for fields that the file lacks, and for their empty cells.

        values: FIELD:TEXT=VALUE for texts to replace.

    Raises:
        InvalidOption: a key or a value is invalid.
    """
    given = {
        **options,
        "columns": _by_field(columns, "--column", "FIELD=HEADER"),
        "defaults": _by_field(defaults, "--default", "FIELD=VALUE"),
        "values": _by_field_and_text(values),
    }
    parts = [_check(given, _option_error)]
    if path is not None:
        parts.insert(0, _check(_load(path), lambda key, text: _file_error(path, f"{key}: {text}")))
    merged: dict[str, Any] = {key: value for part in parts for key, value in part.items() if key not in _TABLES}
    columns_of, defaults_of = ({k: v for part in parts for k, v in part[name].items()} for name in _TABLES[:2])
    values_of = {
        field: {k: v for part in parts for k, v in part["values"].get(field, {}).items()}
        for part in parts
        for field in part["values"]
    }
    decimal, thousands = merged.get("decimal"), merged.get("thousands")
    # After the merge: the file may name one sign and the options the other.
    if (decimal or thousands) and (decimal or ".") == thousands:
        raise _option_error("thousands", f"{thousands!r} is the decimal sign too; name the other with --decimal")
    return FileMapping(
        merged.get("delimiter"),
        merged.get("encoding"),
        merged.get("sheet"),
        columns_of,
        defaults_of,
        values_of,
        Formats(
            merged.get("date-format"),
            merged.get("time-format"),
            merged.get("timezone"),
            NumberFormat(decimal or ".", thousands or "") if decimal or thousands else None,
            merged.get("trim", False),
        ),
    )


def parse_delimiter(text: str) -> str:
    """Parse a delimiter: one character, or the word tab."""
    delimiter = {"tab": "\t", "\\t": "\t"}.get(text.lower(), text)
    if len(delimiter) != 1 or delimiter in '"\r\n\0 ':
        raise ValueError(f"{quote_cell(text)} is not a delimiter: one character such as ; or the word tab")
    return delimiter


def parse_encoding(text: str) -> str:
    """Return an encoding's name in Python, if its lines end as in ASCII."""
    try:
        # Lines are split before they are decoded.
        if "\n;A".encode(text) == b"\n;A":
            return codecs.lookup(text).name
    except (LookupError, ValueError):
        pass
    raise ValueError(f"{quote_cell(text)} is not an encoding such as utf-8, cp1252 or latin-1")


def parse_zone(text: str) -> ZoneInfo:
    """Return a time zone by its name."""
    try:
        return ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"{quote_cell(text)} is not a time zone such as Europe/London or UTC") from None


def parse_date_format(text: str) -> DateFormat:
    """Parse a format of dates without a time of day."""
    format = DateFormat(text)
    if format.has_time or format.has_offset:
        raise ValueError(f"{quote_cell(text)} has a time of day; a date has none, such as DD/MM/YYYY")
    return format


def parse_sign(text: str) -> str:
    """Return a sign of numbers: one character that is not part of a number otherwise."""
    if len(text) != 1 or text.isalnum() or text in '-+"':
        raise ValueError(f"{quote_cell(text)} is not one sign, such as , or .")
    return text


_SETTINGS: Final[Mapping[str, Callable[[str], object]]] = {
    "delimiter": parse_delimiter,
    "encoding": parse_encoding,
    "sheet": str,
    "date-format": parse_date_format,
    "time-format": DateFormat,
    "timezone": parse_zone,
    "decimal": parse_sign,
    "thousands": parse_sign,
}

Fail = Callable[[str, str], InvalidOption]
"""Makes the error of a key."""


def _load(path: Path) -> Document:
    try:
        content = read_small_file(path, MAX_MAPPING_BYTES)
        # A byte order mark and CRLF come from editors on Windows. Floats stay texts, for exact decimals.
        return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"), parse_float=str)
    except OSError as error:
        raise _file_error(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _file_error(path, "is not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _file_error(path, f"is not TOML: {error}") from None


def _check(document: Document, fail: Fail) -> dict[str, Any]:
    """Parse all values of a document."""
    known = [*_SETTINGS, "trim", *_TABLES]
    if unknown := [key for key in document if key not in known]:
        raise fail(unknown[0], f"is not a key of a mapping{_did_you_mean(unknown[0], known)}")
    checked: dict[str, Any] = {
        key: _parse(parse, document[key], key, fail)
        for key, parse in _SETTINGS.items()
        if document.get(key) is not None
    }
    if (trim := document.get("trim")) is not None:
        if not isinstance(trim, bool):
            raise fail("trim", "must be true or false")
        checked["trim"] = trim
    tables = {name: _require_table(document.get(name, {}), name, fail) for name in _TABLES}
    for name, field in ((name, field) for name, table in tables.items() for field in table if field not in FIELDS):
        near = _did_you_mean(field, FIELDS) or f"; the fields are {', '.join(FIELDS)}"
        raise fail(f"{name}.{field}", f"{field!r} is not a field of a trade{near}")
    return {
        **checked,
        "columns": {
            field: _parse(_header, header, f"columns.{field}", fail) for field, header in tables["columns"].items()
        },
        "defaults": {
            field: _parse_plain(field, value, f"defaults.{field}", fail) for field, value in tables["defaults"].items()
        },
        "values": {
            field: {
                text: _parse_plain(field, value, f"values.{field}.{quote_cell(text)}", fail)
                for text, value in _require_table(texts, f"values.{field}", fail).items()
            }
            for field, texts in tables["values"].items()
        },
    }


def _require_table(table: object, name: str, fail: Fail) -> Document:
    if not isinstance(table, dict):
        raise fail(name, f"must be a table, as [{name}]")
    return table


def _header(text: str) -> str:
    if not text:
        raise ValueError("the header is empty; leave the key out if the file lacks the field")
    return text


def _parse(parse: Callable[[str], object], value: object, key: str, fail: Fail) -> object:
    if not isinstance(value, str):
        raise fail(key, "must be a text in quotes")
    try:
        return parse(value)
    except ValueError as error:
        raise fail(key, str(error)) from None


def _parse_plain(field: str, value: object, key: str, fail: Fail) -> object:
    """Parse the plain form of a value; TOML's own numbers and dates count as texts."""
    if isinstance(value, date):
        value = value.isoformat()
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return _parse(lambda text: from_text(field, text), value, key, fail)


def _did_you_mean(word: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = get_close_matches(word.lower(), list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _file_error(path: Path, text: str) -> InvalidOption:
    return InvalidOption(f"{path}: {text}", "--mapping")


def _option_error(key: str, text: str) -> InvalidOption:
    """Return the error of an option, whose message names what is in a table."""
    table, _, name = key.partition(".")
    option = {"columns": "--column", "defaults": "--default", "values": "--value"}.get(table, f"--{key}")
    field = name.partition(".")[0]
    is_named = not field or field not in FIELDS
    return InvalidOption(text if is_named else f"{field}: {text}", option)


def _by_field(texts: Sequence[str], option: str, form: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        field, equals, given = text.partition("=")
        if not field or not equals:
            raise InvalidOption(f"must be {form}, not {quote_cell(text)}", option)
        if field.strip() in found:
            raise InvalidOption(f"{field.strip()} is given twice", option)
        found[field.strip()] = given
    return found


def _by_field_and_text(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        field, colon, pair = text.partition(":")
        replaced, equals, value = pair.partition("=")
        if not colon or not equals:
            raise InvalidOption(f"must be FIELD:TEXT=VALUE, as side:Buy=BUY, not {quote_cell(text)}", "--value")
        found.setdefault(field.strip(), {})[replaced] = value
    return found
