"""
Strict parsers of values for each kind of type: from texts, JSON values and typed cells.

Each raises ValueError, with a message for the user, for a value of another form.
"""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from tradepipe.files.errors import quote_cell, quote_json
from tradepipe.files.formats import Formats, NumberFormat, parse_date_cached, to_instant

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?")
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,308})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?")
_INSTANT: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]+))?(?P<offset>Z|[+-][0-9]{2}(?::[0-9]{2})?)?"
)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

FromText = Callable[[str], object]


def text(value: str) -> str:
    """Return a cell unchanged, including spaces."""
    return value


def whole_number(value: str, lowest: int, highest: int) -> int:
    """
    Parse a whole number of at most 19 plain digits, without leading zeros; its range is for the message.

    >>> whole_number("73", 1, 99)
    73
    """
    if not _INTEGER.fullmatch(value):
        raise ValueError(f"{quote_cell(value)} is not a whole number from {lowest} to {highest} in plain digits")
    return int(value)


def decimal(value: str) -> Decimal:
    """
    Parse a decimal number in plain digits, exactly: at most 19 before the point, and 18 after it.

    >>> decimal("1250000.50")
    Decimal('1250000.50')
    """
    if not _DECIMAL.fullmatch(value):
        hint = "; name its signs, as --thousands , or --decimal ," if "," in value else ""
        raise ValueError(f"{quote_cell(value)} is not a decimal number in plain digits, such as 1250000.50{hint}")
    return Decimal(value)


def floating(value: str) -> float:
    """
    Parse a number, which may have an exponent.

    >>> floating("1.5e-3")
    0.0015
    """
    if not _FLOAT.fullmatch(value):
        hint = "; name its signs, as --thousands , or --decimal ," if "," in value else ""
        raise ValueError(f"{quote_cell(value)} is not a number such as 1250.5 or 1.5e-3{hint}")
    return float(value)


def truth(value: str, field: str) -> bool:
    """
    Parse true or false.

    >>> truth("true", "cleared")
    True
    """
    if value in ("true", "false"):
        return value == "true"
    raise ValueError(f"{quote_cell(value)} is not true or false; map it with --value, as {field}:yes=true")


def symbol(value: str, field: str, enum: type[StrEnum]) -> StrEnum:
    """Parse a symbol of an enum, written as in the schema."""
    try:
        return enum(value)
    except ValueError:
        hint = ""
        if value.isalpha() and len(value) < 12:
            meant = next((each for each in enum if each.startswith(value[0].upper())), None)
            example = list(enum)[min(1, len(enum) - 1)]
            pair = f"{value}={meant}" if meant else f"{example.title()}={example}"
            hint = f"; map it with --value, as {field}:{pair}"
        raise ValueError(f"{quote_cell(value)} is not one of {', '.join(enum)}{hint}") from None


def unique_id(value: str) -> UUID:
    """Parse a UUID as 8-4-4-4-12 hexadecimal digits."""
    if not _UUID.fullmatch(value):
        raise ValueError(f"{quote_cell(value)} is not a UUID such as 0b0e1c1a-52a3-4a6e-9f5e-2f0f6f3c1f77")
    return UUID(value)


def octets(value: str) -> bytes:
    r"""
    Parse bytes: hexadecimal digits after 0x or \x, otherwise base64.

    >>> octets("0x00ff"), octets("AP8=")
    (b'\x00\xff', b'\x00\xff')
    """
    try:
        if value[:2] in ("0x", "\\x"):
            return bytes.fromhex(value[2:])
        return base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(f"{quote_cell(value)} is not bytes in base64, or in hexadecimal as 0x00ff") from None


def calendar_date(value: str) -> date:
    """
    Parse a date as YYYY-MM-DD; other ISO 8601 forms are errors.

    >>> calendar_date("2030-01-31")
    datetime.date(2030, 1, 31)
    """
    if not _DATE.fullmatch(value):
        hint = "; name its format, as --date-format DD/MM/YYYY" if re.search(r"[0-9][/.][0-9]", value) else ""
        raise ValueError(f"{quote_cell(value)} is not a date as YYYY-MM-DD{hint}")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{quote_cell(value)} is not a date: {error}") from None


def time_of_day(value: str) -> time:
    """
    Parse a time of day as hh:mm, hh:mm:ss or hh:mm:ss.ffffff.

    >>> time_of_day("08:30:00.5")
    datetime.time(8, 30, 0, 500000)
    """
    if not _TIME.fullmatch(value):
        raise ValueError(f"{quote_cell(value)} is not a time of day such as 08:30:00")
    try:
        return time.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{quote_cell(value)} is not a time of day: {error}") from None


def instant(value: str, zone: ZoneInfo | None = None) -> datetime:
    """
    Parse an ISO 8601 timestamp with `Z` or an offset such as `+02:00`, with at most microseconds.

    A space instead of the `T` is accepted, as RFC 3339 allows and PostgreSQL writes.

    >>> instant("2025-06-01T08:00:00.5Z").isoformat()
    '2025-06-01T08:00:00.500000+00:00'

    Args:
        zone: zone of a time without an offset; None makes it an error.
    """
    moment = _timestamp(value, "2025-06-01T08:00:00Z or 2025-06-01T10:00:00+02:00")
    return moment if moment.tzinfo else localize(moment, zone, value)


def local_time(value: str) -> datetime:
    """Parse a timestamp without an offset; an offset is an error."""
    return without_offset(_timestamp(value, "2025-06-01T08:00:00"), value)


def without_offset(moment: datetime, shown: str) -> datetime:
    """Return a local time; an offset is an error."""
    if moment.tzinfo:
        raise ValueError(f"{quote_cell(shown)} has an offset, but the field holds local times: remove the offset")
    return moment


def _timestamp(value: str, example: str) -> datetime:
    found = _INSTANT.fullmatch(value)
    if found is None:
        hint = "; name its format, as --time-format 'DD/MM/YYYY hh:mm'" if re.search(r"[0-9][/.-][0-9]", value) else ""
        raise ValueError(f"{quote_cell(value)} is not a timestamp such as {example}{hint}")
    if len(found["fraction"] or "") > 6:
        raise ValueError(f"{quote_cell(value)} has more than six fractional digits (microseconds)")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{quote_cell(value)} is not a timestamp: {error}") from None


def localize(local: datetime, zone: ZoneInfo | None, shown: str) -> datetime:
    """Return the instant of a local time in a zone; no zone is an error."""
    if zone is None:
        raise ValueError(
            f"{quote_cell(shown)} has no offset: append Z for UTC, or an offset such as +02:00, or name the zone, as "
            "--timezone Europe/London"
        )
    return to_instant(local, zone, shown)


def formatted_number(format: NumberFormat, parse: FromText) -> FromText:
    """Return a parser of numbers in a format, by a parser of plain numbers."""

    def parse_formatted(value: str) -> object:
        try:
            plain = str(format.parse(value))
        except ValueError:
            plain = value
        return parse(plain)

    return parse_formatted


def formatted_date(formats: Formats) -> FromText:
    """Return a parser of dates in the file's format."""
    if (format := formats.date) is None:
        return calendar_date

    def parse(value: str) -> date:
        try:
            return parse_date_cached(format, value).date()
        except ValueError as error:
            raise ValueError(f"{quote_cell(value)} is not a date as {format.pattern}: {error}") from None

    return parse


def formatted_timestamp(formats: Formats, plain: FromText, finish: Callable[[datetime, str], datetime]) -> FromText:
    """
    Return a parser of timestamps in the file's format.

    Args:
        plain: parser of the plain form.

        finish: completes a timestamp that has the format.
    """
    if (format := formats.time) is None:
        return plain

    def parse(value: str) -> object:
        try:
            moment = format.parse(value)
        except ValueError as error:
            # The only way to write a time that clocks showed twice.
            if (found := _INSTANT.fullmatch(value)) and found["offset"]:
                return plain(value)
            raise ValueError(f"{quote_cell(value)} is not a time as {format.pattern}: {error}") from None
        return finish(moment, value)

    return parse


def refuse(value: object) -> object:
    """Refuse a value that is not a text."""
    raise ValueError(f"{quote_json(value)} is not a string")


def boolean(value: object) -> object:
    """Return a boolean; `"true"` and `1` are errors."""
    if not isinstance(value, bool):
        raise ValueError(f"{quote_json(value)} is not true or false")
    return value


def json_whole_number(value: object) -> object:
    """Return a JSON integer; `true` and `"1"` are errors."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{quote_json(value)} is not a whole number")
    return value


def whole_number_of_cell(value: object) -> object:
    """Return a number without a fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or value % 1 != 0:
        raise ValueError(f"{quote_json(value)} is not a whole number")
    return int(value)


def json_decimal(value: object) -> object:
    """Return a JSON number exactly."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError(f"{quote_json(value)} is not a number")
    return Decimal(value)


def decimal_of_cell(value: object) -> object:
    """Return a number; a float is the shortest decimal that denotes it, as a spreadsheet shows it."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError(f"{value} is not a number")
    return json_decimal(value)


def nearest_float(value: object) -> object:
    """Return a number as the nearest float."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError(f"{quote_json(value)} is not a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{quote_json(value)} is too large") from None


def text_of_cell(value: object) -> object:
    """Return the text of a whole number, as spreadsheets store identifiers of digits alone."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{quote_json(value)} is not a text")
    return str(value)


def bytes_of_cell(value: object) -> object:
    """Return bytes."""
    return value if isinstance(value, bytes) else refuse(value)


def date_of_cell(value: object) -> object:
    """Return a date; a time of day is an error."""
    if isinstance(value, datetime):
        if value.time() != time.min:
            raise ValueError(f"{value} has a time of day")
        return value.date()
    return value if isinstance(value, date) else refuse(value)


def time_of_cell(value: object) -> object:
    """Return a time of day."""
    return value if isinstance(value, time) else refuse(value)


def timestamp_of_cell(value: object, finish: Callable[[datetime, str], datetime]) -> object:
    """Return a timestamp, which `finish` completes."""
    if isinstance(value, datetime):
        return finish(value, str(value))
    if isinstance(value, date):
        raise ValueError(f"{value} is a date without a time of day")
    return refuse(value)
