"""Strict parsers for each field's text or JSON value."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from tradepipe.trade.declaration import MAX_INT
from tradepipe.trade.model import Side, Trade
from tradepipe.trade.record import Code, Violation

SHOWN: Final = 60
"""Maximum number of characters of a value in a message."""

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]+))?(?P<offset>Z|[+-][0-9]{2}(?::[0-9]{2})?)?"
)


class ValueParser(NamedTuple):
    """Parsers of a field for a CSV cell and a JSON value; both raise ValueError with a message."""

    from_text: Callable[[str], object]
    from_json: Callable[[object], object]


def text(value: str) -> str:
    """Return a cell unchanged, including spaces."""
    return value


def whole_number(value: str) -> int:
    """
    Parse a whole number in plain digits.

    >>> whole_number("73")
    73

    Raises:
        ValueError: the text has a space, plus, point, exponent, leading zeros, or more than 19 digits.
    """
    if not _INTEGER.fullmatch(value):
        raise ValueError(f"{quote_cell(value)} is not a whole number from 1 to {MAX_INT} in plain digits")
    return int(value)


def calendar_date(value: str) -> date:
    """
    Parse a date as YYYY-MM-DD; other ISO 8601 forms are errors.

    >>> calendar_date("2030-01-31")
    datetime.date(2030, 1, 31)

    Raises:
        ValueError: the text has another form, or the date does not exist.
    """
    if not _DATE.fullmatch(value):
        raise ValueError(f"{quote_cell(value)} is not a date as YYYY-MM-DD")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{quote_cell(value)} is not a date: {error}") from None


def instant(value: str) -> datetime:
    """
    Parse an ISO 8601 timestamp with `Z` or an offset such as `+02:00`, with at most microseconds.

    A space instead of the `T` is accepted, as RFC 3339 allows and PostgreSQL writes.

    >>> instant("2025-06-01T08:00:00.5Z").isoformat()
    '2025-06-01T08:00:00.500000+00:00'

    Raises:
        ValueError: the text has another form, no offset, or more than six fractional digits.
    """
    found = _INSTANT.fullmatch(value)
    if found is None:
        raise ValueError(
            f"{quote_cell(value)} is not a timestamp such as 2025-06-01T08:00:00Z or 2025-06-01T10:00:00+02:00"
        )
    if found["offset"] is None:
        raise ValueError(f"{quote_cell(value)} has no offset: append Z for UTC, or an offset such as +02:00")
    if len(found["fraction"] or "") > 6:
        raise ValueError(f"{quote_cell(value)} has more than six fractional digits (microseconds)")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{quote_cell(value)} is not a timestamp: {error}") from None


def side(value: str) -> Side:
    """
    Parse a side, as its name in capital letters.

    >>> side("BUY")
    <Side.BUY: 'BUY'>

    Raises:
        ValueError: there is no such side.
    """
    try:
        return Side(value)
    except ValueError:
        raise ValueError(f"{quote_cell(value)} is not one of {', '.join(Side)}") from None


def decimal(value: str) -> Decimal:
    """
    Parse a decimal number in plain digits, exactly.

    >>> decimal("1250000.50")
    Decimal('1250000.50')

    Raises:
        ValueError: the text has a space, plus, exponent, comma, leading zeros, or more than 19 digits before the
            point or 18 after it.
    """
    if not _DECIMAL.fullmatch(value):
        raise ValueError(f"{quote_cell(value)} is not a decimal number in plain digits, such as 1250000.50")
    return Decimal(value)


def json_text(value: object) -> str:
    """Return a JSON string; anything else is an error."""
    if not isinstance(value, str):
        raise ValueError(f"{quote_json(value)} is not a string")
    return value


def json_whole_number(value: object) -> int:
    """Return a JSON integer; `true` and `"1"` are errors."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{quote_json(value)} is not a whole number")
    return value


def json_decimal(value: object) -> Decimal:
    """Return a JSON number exactly, or a string of plain digits, which many programs write to avoid floats."""
    if isinstance(value, str):
        return decimal(value)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError(f"{quote_json(value)} is not a number")
    return Decimal(value)


def _string(read: Callable[[str], object]) -> Callable[[object], object]:
    return lambda value: read(json_text(value))


FIELDS: Final[Mapping[str, ValueParser]] = {
    "trade_id": ValueParser(text, json_text),
    "version": ValueParser(whole_number, json_whole_number),
    "counterparty_id": ValueParser(text, json_text),
    "book_id": ValueParser(text, json_text),
    "maturity_date": ValueParser(calendar_date, _string(calendar_date)),
    "created_at": ValueParser(instant, _string(instant)),
    "side": ValueParser(side, _string(side)),
    "notional": ValueParser(decimal, json_decimal),
    "currency": ValueParser(text, json_text),
}
"""Parsers of all fields, in the order of `Trade`; a test checks that none is missing."""

OPTIONAL: Final[Mapping[str, object]] = Trade._field_defaults
"""Fields that may be missing or empty, with their defaults."""


def from_text(field: str, value: str) -> object:
    """Parse a CSV cell; an empty one is the field's default, if it has one."""
    return FIELDS[field].from_text(value) if value or field not in OPTIONAL else OPTIONAL[field]


def from_json(field: str, value: object) -> object:
    """Parse a JSON value; null is the field's default, if it has one."""
    return FIELDS[field].from_json(value) if value is not None or field not in OPTIONAL else OPTIONAL[field]


def read(values: Mapping[str, Callable[[], object]]) -> Trade | tuple[Violation, ...]:
    """
    Build a trade from its fields, or return the violations, in the order of the fields.

    Args:
        values: for each field, a function that returns its value or raises ValueError.
    """
    parsed: dict[str, object] = {}
    violations: list[Violation] = []
    for field, value in values.items():
        try:
            parsed[field] = value()
        except ValueError as error:
            violations.append(Violation(code_of(field), f"{field}: {error}"))
    return tuple(violations) if violations else Trade(**parsed)  # type: ignore[arg-type]  # FIELDS pairs names and types


def code_of(field: str) -> str:
    """Return the code for an unparsable value: the field's code, or UNDECODABLE if it has none."""
    return field.upper() if field in Trade._fields else Code.UNDECODABLE


def quote_cell(value: str) -> str:
    """Quote a text for a message, truncated."""
    return repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}… ({len(value)} characters)"


def quote_json(value: object) -> str:
    """Describe a JSON value for a message."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case dict():
            return "an object"
        case list():
            return "an array"
        case str():
            return f"the string {quote_cell(value)}"
    return f"the number {str(value)[:SHOWN]}"
