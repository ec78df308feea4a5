"""Parsers of the fields of a trade, chosen by their declared types."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from annotated_types import Ge, Gt, Le, Lt

from tradepipe.files import values
from tradepipe.files.errors import quote_cell, quote_json
from tradepipe.files.formats import Formats
from tradepipe.files.values import FromText
from tradepipe.trade.constraints import limit_of
from tradepipe.trade.declaration import REQUIRED, Declaration
from tradepipe.trade.model import DECLARATION, Trade
from tradepipe.trade.record import Code, Violation
from tradepipe.trade.type_checks import MAX_INT, MAX_LONG, MIN_INT, MIN_LONG
from tradepipe.trade.types import Member, Type


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {quote_cell(twice)} is duplicated")
    return found


def _exact(number: str) -> Decimal:
    """Parse a JSON number with a point or an exponent, exactly."""
    try:
        return Decimal(number)
    except ArithmeticError:
        raise ValueError(f"the exponent of the number {quote_cell(number)} is too large") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_exact, parse_constant=_no_constant)


def decode(text: str, type_: Type) -> Any:
    """Return the JSON value of a cell's text; a text that is not JSON is a ValueError."""
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        example = {"array": "[...]", "map": '{"key": ...}'}.get(
            type_.kind, "{" + ", ".join(f'"{member.name}": ...' for member in type_.members) + "}"
        )
        raise ValueError(f"{quote_cell(text)} is not JSON such as {example}: {error.msg}") from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def json_value(value: Any) -> Any:  # noqa: PLR0911 - one case for each kind of value
    """
    Return a field's value as JSON that is read back exactly: decimals as strings, bytes in hexadecimal, times in UTC.

    >>> from decimal import Decimal
    >>> json_value({"rate": Decimal("1.50"), "digest": b"\\x00\\xff"})
    {'rate': '1.50', 'digest': '0x00ff'}
    """
    match value:
        case None | bool() | int() | float():
            return value
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
        case date() | time():
            return value.isoformat()
        case bytes():
            return f"0x{value.hex()}"
        case list():
            return [json_value(each) for each in value]
        case dict():
            return {key: json_value(each) for key, each in value.items()}
        case tuple():
            return {name: json_value(each) for name, each in zip(value._fields, value, strict=True)}  # type: ignore[attr-defined]  # a NamedTuple
    return str(value)


_Convert = Callable[[object], object]
"""Converts a JSON value or a typed cell that is not a text."""


class ValueParser(NamedTuple):
    """Parsers of a field for a text, a JSON value and a typed cell; all raise ValueError with a message."""

    from_text: FromText
    from_json: Callable[[Any], object]
    from_cell: Callable[[Any], object]


def field_parsers(formats: Formats, declaration: Declaration = DECLARATION) -> dict[str, ValueParser]:
    """Return the parsers of all fields, in their order."""
    return {
        each.name: _parser(each.name, each.type, formats, _range(each.type, each.constraints))
        for each in declaration.fields
    }


def _range(type_: Type, constraints: Iterable[object] = ()) -> tuple[int, int]:
    """Return the whole numbers that a type and constraints allow, for messages."""
    lowest, highest = (MIN_LONG, MAX_LONG) if type_.kind == "long" else (MIN_INT, MAX_INT)
    for constraint in constraints:
        match constraint:
            case Ge() | Gt():
                lowest = max(lowest, limit_of(constraint) + isinstance(constraint, Gt))
            case Le() | Lt():
                highest = min(highest, limit_of(constraint) - isinstance(constraint, Lt))
    return lowest, highest


def _parser(name: str, type_: Type, formats: Formats, whole_range: tuple[int, int]) -> ValueParser:
    if type_.is_nested:
        from_value = _nested(name, type_, formats, lambda parser: parser.from_json)
        from_nested_cell = _nested(name, type_, formats, lambda parser: parser.from_cell)

        def from_json_text(value: str) -> object:
            return from_value(decode(value, type_))

        from_cell = partial(_text_or_other, from_json_text, from_nested_cell)
        return ValueParser(from_json_text, from_value, partial(_full_cell, from_cell))
    from_text, json_other, cell_other = _conversions(name, type_, formats, whole_range)
    parse = (lambda value: from_text(value.strip())) if formats.trim else from_text
    from_json = json_other if type_.kind in _NO_JSON_TEXTS else partial(_text_or_other, parse, json_other)
    return ValueParser(parse, from_json, partial(_full_cell, partial(_text_or_other, parse, cell_other)))


_NO_JSON_TEXTS: Final = ("boolean", "int", "long", "float", "double")
"""Kinds whose values are not texts in JSON; texts of digits are decimals, which many programs write to avoid floats."""


def _text_or_other(parse: FromText, convert: _Convert, value: object) -> object:
    return parse(value) if isinstance(value, str) else convert(value)


def _conversions(  # noqa: PLR0911 - one case for each kind of type
    name: str, type_: Type, formats: Formats, whole_range: tuple[int, int]
) -> tuple[FromText, _Convert, _Convert]:
    """Return the parser of texts of a type, and what converts JSON values and cells that are not texts."""
    number = formats.number
    match type_.kind:
        case "string":
            return values.text, values.refuse, values.text_of_cell
        case "boolean":
            return partial(values.truth, field=name), values.boolean, values.boolean
        case "int" | "long":
            whole: FromText = partial(values.whole_number, lowest=whole_range[0], highest=whole_range[1])
            parse = values.formatted_number(number, whole) if number else whole
            return parse, values.json_whole_number, values.whole_number_of_cell
        case "float" | "double":
            parse = values.formatted_number(number, values.floating) if number else values.floating
            return parse, values.nearest_float, values.nearest_float
        case "decimal":
            return number.parse if number else values.decimal, values.json_decimal, values.decimal_of_cell
        case "enum":
            return partial(values.symbol, field=name, enum=type_.python), values.refuse, values.refuse
        case "uuid":
            return values.unique_id, values.refuse, values.refuse
        case "bytes" | "fixed":
            return values.octets, values.refuse, values.bytes_of_cell
        case "date":
            return values.formatted_date(formats), values.refuse, values.date_of_cell
        case "time-micros" | "time-millis":
            return values.time_of_day, values.refuse, values.time_of_cell
    if type_.kind.startswith("local"):
        finish, plain = values.without_offset, values.local_time
    else:
        zone = formats.timezone
        plain = partial(values.instant, zone=zone)

        def finish(moment: datetime, shown: str) -> datetime:
            return moment if moment.tzinfo else values.localize(moment, zone, shown)

    parse = values.formatted_timestamp(formats, plain, finish)
    return parse, values.refuse, partial(values.timestamp_of_cell, finish=finish)


def _full_cell(parse: Callable[[object], object], value: object) -> object:
    if value is None:
        raise ValueError("the cell is empty")
    return parse(value)


def _nested(
    name: str, type_: Type, formats: Formats, form: Callable[[ValueParser], Callable[[Any], object]]
) -> Callable[[Any], object]:
    members = [(each, _member(name, each, formats, form)) for each in type_.members]

    def parse(value: Any) -> object:
        match type_.kind:
            case "array":
                if not isinstance(value, list):
                    raise ValueError(f"{quote_json(value)} is not an array")
                return [_at(f"[{place}]", members[0][1], each) for place, each in enumerate(value)]
            case "map":
                if not isinstance(value, dict):
                    raise ValueError(f"{quote_json(value)} is not an object")
                return {key: _at(f"[{quote_cell(str(key))}]", members[0][1], each) for key, each in value.items()}
        return _record(type_, members, value)

    return parse


def _record(type_: Type, members: list[tuple[Member, Callable[[Any], object]]], value: Any) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"{quote_json(value)} is not an object")
    known = {member.name for member, _ in members}
    if unknown := [key for key in value if key not in known]:
        raise ValueError(f"{quote_cell(str(unknown[0]))} is not a field of {type_}: use {', '.join(sorted(known))}")
    found = []
    for member, parse in members:
        # null stands for the default of a member that has one.
        if member.name in value and not (value[member.name] is None and member.default is not REQUIRED):
            found.append(_at(f".{member.name}", parse, value[member.name]))
        elif member.default is REQUIRED and not member.is_nullable:
            raise ValueError(f".{member.name} is missing")
        else:
            found.append(None if member.default is REQUIRED else member.default)
    return type_.python(*found)


def _member(
    name: str, member: Member, formats: Formats, form: Callable[[ValueParser], Callable[[Any], object]]
) -> Callable[[Any], object]:
    parse = form(_parser(member.name or name, member.type, formats, _range(member.type)))
    return (lambda value: None if value is None else parse(value)) if member.is_nullable else parse


def _at(place: str, parse: Callable[[Any], object], value: object) -> object:
    try:
        return parse(value)
    except ValueError as error:
        text = str(error)
        # Places of nested values are joined, as in legs[1].rate.
        raise ValueError(f"{place}{text}" if text.startswith(("[", ".")) else f"{place}: {text}") from None


FIELDS: Final[Mapping[str, ValueParser]] = field_parsers(Formats())
"""Parsers of the plain form of each field."""

OPTIONAL: Final[Mapping[str, object]] = Trade._field_defaults
"""Fields that may be missing or empty, with their defaults."""


def from_text(field: str, value: str) -> object:
    """Parse the plain form of a value; an empty text is the field's default, if it has one."""
    return FIELDS[field].from_text(value) if value or field not in OPTIONAL else OPTIONAL[field]


def read(fields: Mapping[str, Callable[[], object]]) -> Trade | tuple[Violation, ...]:
    """
    Build a trade from its fields, or return the violations, in the order of the fields.

    Args:
        fields: for each field, a function that returns its value or raises ValueError.
    """
    parsed: dict[str, object] = {}
    violations: list[Violation] = []
    for field, value in fields.items():
        try:
            parsed[field] = value()
        except ValueError as error:
            violations.append(Violation(code_of(field), f"{field}: {error}"))
    return tuple(violations) if violations else Trade(**parsed)  # type: ignore[arg-type]  # FIELDS pairs names and types


def code_of(field: str) -> str:
    """Return the code for an unparsable value: the field's code, or UNDECODABLE if it has none."""
    return field.upper() if field in Trade._fields else Code.UNDECODABLE
