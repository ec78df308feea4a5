"""Strict parsers of each field for texts, JSON values and typed cells."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from tradepipe.files.errors import SHOWN, quote_cell
from tradepipe.files.formats import Formats, parse_date_cached, to_instant
from tradepipe.trade.model import Side, Trade
from tradepipe.trade.record import Code, Violation
from tradepipe.trade.type_checks import MAX_INT

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]+))?(?P<offset>Z|[+-][0-9]{2}(?::[0-9]{2})?)?"
)


class ValueParser(NamedTuple):
    """Parsers of a field for a text, a JSON value and a typed cell; all raise ValueError with a message."""

    from_text: Callable[[str], object]
    from_json: Callable[[object], object]
    from_cell: Callable[[object], object]


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
        hint = "; name its format, as --date-format DD/MM/YYYY" if re.search(r"[0-9][/.][0-9]", value) else ""
        raise ValueError(f"{quote_cell(value)} is not a date as YYYY-MM-DD{hint}")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{quote_cell(value)} is not a date: {error}") from None


def instant(value: str, zone: ZoneInfo | None = None) -> datetime:
    """
    Parse an ISO 8601 timestamp with `Z` or an offset such as `+02:00`, with at most microseconds.

    A space instead of the `T` is accepted, as RFC 3339 allows and PostgreSQL writes.

    >>> instant("2025-06-01T08:00:00.5Z").isoformat()
    '2025-06-01T08:00:00.500000+00:00'

    Args:
        zone: zone of a time without an offset; None makes it an error.

    Raises:
        ValueError: the text has another form, no offset, or more than six fractional digits.
    """
    found = _INSTANT.fullmatch(value)
    if found is None:
        hint = "; name its format, as --time-format 'DD/MM/YYYY hh:mm'" if re.search(r"[0-9][/.-][0-9]", value) else ""
        raise ValueError(
            f"{quote_cell(value)} is not a timestamp such as 2025-06-01T08:00:00Z or 2025-06-01T10:00:00+02:00{hint}"
        )
    if len(found["fraction"] or "") > 6:
        raise ValueError(f"{quote_cell(value)} has more than six fractional digits (microseconds)")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{quote_cell(value)} is not a timestamp: {error}") from None
    return moment if moment.tzinfo else _localize(moment, zone, value)


def _localize(local: datetime, zone: ZoneInfo | None, shown: str) -> datetime:
    if zone is None:
        raise ValueError(
            f"{quote_cell(shown)} has no offset: append Z for UTC, or an offset such as +02:00, or name the zone, as "
            "--timezone Europe/London"
        )
    return to_instant(local, zone, shown)


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
        hint = "; map it with --value, as side:Buy=BUY" if value.isalpha() and len(value) < 12 else ""
        raise ValueError(f"{quote_cell(value)} is not one of {', '.join(Side)}{hint}") from None


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
        hint = "; name its signs, as --thousands , or --decimal ," if "," in value else ""
        raise ValueError(f"{quote_cell(value)} is not a decimal number in plain digits, such as 1250000.50{hint}")
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


def json_decimal(value: object, from_text: Callable[[str], object] = decimal) -> object:
    """Return a JSON number exactly, or a string of plain digits, which many programs write to avoid floats."""
    if isinstance(value, str):
        return from_text(value)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError(f"{quote_json(value)} is not a number")
    return Decimal(value)


def text_from_cell(value: object, from_text: Callable[[str], object]) -> object:
    """Parse a text, or a whole number, as spreadsheets store identifiers of digits alone."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{quote_json(value)} is not a text")
    return from_text(str(value))


def whole_number_from_cell(value: object, from_text: Callable[[str], object]) -> object:
    """Parse a text, or a number without a fraction."""
    if isinstance(value, str):
        return from_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or value % 1 != 0:
        raise ValueError(f"{quote_json(value)} is not a whole number")
    return int(value)


def decimal_from_cell(value: object, from_text: Callable[[str], object]) -> object:
    """Parse a text or a number; a float is the shortest decimal that denotes it, as a spreadsheet shows it."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError(f"{value} is not a number")
    return json_decimal(value, from_text)


def date_from_cell(value: object, from_text: Callable[[str], object]) -> object:
    """Parse a text, or a date; a time of day is an error."""
    if isinstance(value, datetime):
        if value.time() != time.min:
            raise ValueError(f"{value} has a time of day")
        return value.date()
    return value if isinstance(value, date) else from_text(json_text(value))


def instant_from_cell(value: object, from_text: Callable[[str], object], zone: ZoneInfo | None) -> object:
    """Parse a text or a time; a time without an offset is in `zone`."""
    if isinstance(value, datetime):
        return value if value.tzinfo else _localize(value, zone, str(value))
    if isinstance(value, date):
        raise ValueError(f"{value} is a date without a time of day")
    return from_text(json_text(value))


def field_parsers(formats: Formats) -> dict[str, ValueParser]:
    """Return the parsers of all fields, in the order of `Trade`; a test checks that none is missing."""

    def parser(
        from_text: Callable[[str], object],
        from_json: Callable[..., object],
        from_cell: Callable[..., object],
    ) -> ValueParser:
        parse = (lambda value: from_text(value.strip())) if formats.trim else from_text
        return ValueParser(
            parse, partial(from_json, from_text=parse), partial(_full_cell, partial(from_cell, from_text=parse))
        )

    return {
        "trade_id": parser(text, _json_string, text_from_cell),
        "version": parser(_whole_number_parser(formats), _json_number, whole_number_from_cell),
        "counterparty_id": parser(text, _json_string, text_from_cell),
        "book_id": parser(text, _json_string, text_from_cell),
        "maturity_date": parser(_date_parser(formats), _json_string, date_from_cell),
        "created_at": parser(_instant_parser(formats), _json_string, partial(instant_from_cell, zone=formats.timezone)),
        "side": parser(side, _json_string, _json_string),
        "notional": parser(formats.number.parse if formats.number else decimal, json_decimal, decimal_from_cell),
        "currency": parser(text, _json_string, _json_string),
    }


def _full_cell(parse: Callable[[object], object], value: object) -> object:
    if value is None:
        raise ValueError("the cell is empty")
    return parse(value)


def _json_string(value: object, from_text: Callable[[str], object]) -> object:
    return from_text(json_text(value))


def _json_number(value: object, from_text: Callable[[str], object]) -> object:
    return json_whole_number(value)


def _whole_number_parser(formats: Formats) -> Callable[[str], object]:
    if formats.number is None:
        return whole_number
    number = formats.number

    def parse(value: str) -> int:
        try:
            plain = str(number.parse(value))
        except ValueError:
            plain = value
        return whole_number(plain)

    return parse


def _date_parser(formats: Formats) -> Callable[[str], object]:
    if (format := formats.date) is None:
        return calendar_date

    def parse(value: str) -> date:
        try:
            return parse_date_cached(format, value).date()
        except ValueError as error:
            raise ValueError(f"{quote_cell(value)} is not a date as {format.pattern}: {error}") from None

    return parse


def _instant_parser(formats: Formats) -> Callable[[str], object]:
    if (format := formats.time) is None:
        return partial(instant, zone=formats.timezone)

    def parse(value: str) -> datetime:
        try:
            moment = format.parse(value)
        except ValueError as error:
            # The only way to write a time that clocks showed twice.
            if (plain := _INSTANT.fullmatch(value)) and plain["offset"]:
                return instant(value)
            raise ValueError(f"{quote_cell(value)} is not a time as {format.pattern}: {error}") from None
        return moment if moment.tzinfo else _localize(moment, formats.timezone, value)

    return parse


FIELDS: Final[Mapping[str, ValueParser]] = field_parsers(Formats())
"""Parsers of the plain form of each field."""

OPTIONAL: Final[Mapping[str, object]] = Trade._field_defaults
"""Fields that may be missing or empty, with their defaults."""


def from_text(field: str, value: str) -> object:
    """Parse the plain form of a value; an empty text is the field's default, if it has one."""
    return FIELDS[field].from_text(value) if value or field not in OPTIONAL else OPTIONAL[field]


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


def quote_json(value: object) -> str:
    """Describe a JSON value or a typed cell for a message."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case dict():
            return "an object"
        case list():
            return "an array"
        case str():
            return f"the string {quote_cell(value)}"
        case date() | time():
            return str(value)
    return f"the number {str(value)[:SHOWN]}"
