"""What stands in a file as a trade: each field's text or JSON value, read strictly, and nothing else."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from tradepipe.trade.model import Side, Trade
from tradepipe.trade.record import Code, Violation
from tradepipe.trade.rules import MAX_VERSION

SHOWN: Final = 60
"""Characters of a value that a message shows."""

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]+))?(?P<offset>Z|[+-][0-9]{2}(?::[0-9]{2})?)?"
)


class ValueParser(NamedTuple):
    """How a field is read: from a cell of CSV, and from a value of JSON; both raise ValueError that says what it is."""

    from_text: Callable[[str], object]
    from_json: Callable[[object], object]


def text(value: str) -> str:
    """A cell as it stands: blanks count, nothing is trimmed."""
    return value


def whole_number(value: str) -> int:
    """
    A whole number in plain digits.

    >>> whole_number("73")
    73

    Raises:
        ValueError: it has a blank, a plus, a point, an exponent, leading zeros, or more than 19 digits.
    """
    if not _INTEGER.fullmatch(value):
        raise ValueError(f"{quote_cell(value)} is not a whole number from 1 to {MAX_VERSION} in plain digits")
    return int(value)


def calendar_date(value: str) -> date:
    """
    A date as YYYY-MM-DD, and in no other of ISO 8601's forms.

    >>> calendar_date("2030-01-31")
    datetime.date(2030, 1, 31)

    Raises:
        ValueError: it is written otherwise, or no calendar has it.
    """
    if not _DATE.fullmatch(value):
        raise ValueError(f"{quote_cell(value)} is not a date as YYYY-MM-DD")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{quote_cell(value)} is no date: {error}") from None


def instant(value: str) -> datetime:
    """
    An instant by ISO 8601, with `Z` or an offset such as `+02:00`, to the microsecond at most.

    Between date and time a blank may stand for the `T`, as RFC 3339 allows and PostgreSQL writes.

    >>> instant("2025-06-01T08:00:00.5Z").isoformat()
    '2025-06-01T08:00:00.500000+00:00'

    Raises:
        ValueError: it is written otherwise, has no offset, or is finer than a microsecond.
    """
    found = _INSTANT.fullmatch(value)
    if found is None:
        raise ValueError(
            f"{quote_cell(value)} is not an instant such as 2025-06-01T08:00:00Z or 2025-06-01T10:00:00+02:00"
        )
    if found["offset"] is None:
        raise ValueError(
            f"{quote_cell(value)} has no offset: write Z behind it if it is in UTC, or an offset such as +02:00"
        )
    if len(found["fraction"] or "") > 6:
        raise ValueError(f"{quote_cell(value)} is finer than a microsecond: six digits behind the point at most")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{quote_cell(value)} is no instant: {error}") from None


def side(value: str) -> Side:
    """
    A side, as its name in capital letters.

    >>> side("BUY")
    <Side.BUY: 'BUY'>

    Raises:
        ValueError: it is none.
    """
    try:
        return Side(value)
    except ValueError:
        raise ValueError(f"{quote_cell(value)} is not one of {', '.join(Side)}") from None


def decimal(value: str) -> Decimal:
    """
    A decimal number in plain digits, to its last place.

    >>> decimal("1250000.50")
    Decimal('1250000.50')

    Raises:
        ValueError: it has a blank, a plus, an exponent, leading zeros, a comma, or more than 19 digits before the
            point or 18 behind it.
    """
    if not _DECIMAL.fullmatch(value):
        raise ValueError(f"{quote_cell(value)} is not a decimal number in plain digits, such as 1250000.50")
    return Decimal(value)


def json_text(value: object) -> str:
    """A JSON string; a number is none, however it looks."""
    if not isinstance(value, str):
        raise ValueError(f"{quote_json(value)} is not a string")
    return value


def json_whole_number(value: object) -> int:
    """A JSON number without point and exponent; `true` is none, `"1"` is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{quote_json(value)} is not a whole number")
    return value


def json_decimal(value: object) -> Decimal:
    """A JSON number to its last place, or a string of plain digits: many write one, lest a float be made of it."""
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
"""Every field of a trade, in its order; a test holds it to `Trade`."""

OPTIONAL: Final[Mapping[str, object]] = Trade._field_defaults
"""The fields a file may lack or leave empty, with what they are then."""


def from_text(field: str, value: str) -> object:
    """A field of a cell of CSV: an empty one is the default of a field that has one."""
    return FIELDS[field].from_text(value) if value or field not in OPTIONAL else OPTIONAL[field]


def from_json(field: str, value: object) -> object:
    """A field of a JSON value: null is the default of a field that has one."""
    return FIELDS[field].from_json(value) if value is not None or field not in OPTIONAL else OPTIONAL[field]


def read(values: Mapping[str, Callable[[], object]]) -> Trade | tuple[Violation, ...]:
    """
    The trade of all its fields' values, or what is wrong with them, in the order of the fields.

    Args:
        values: for each field what gives its value, or raises ValueError.
    """
    found: dict[str, object] = {}
    wrong: list[Violation] = []
    for field, value in values.items():
        try:
            found[field] = value()
        except ValueError as error:
            wrong.append(Violation(code_of(field), f"{field}: {error}"))
    return tuple(wrong) if wrong else Trade(**found)  # type: ignore[arg-type]  # FIELDS pairs names and types


def code_of(field: str) -> Code:
    """The code of a value that cannot be read: the field's own, where the rules have one for it."""
    return Code.__members__.get(field.upper(), Code.UNDECODABLE)


def quote_cell(value: str) -> str:
    """A value as a message shows it."""
    return repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}… ({len(value)} characters)"


def quote_json(value: object) -> str:
    """A JSON value as a message shows it, in JSON's own words."""
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
