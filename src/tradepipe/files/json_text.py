"""Strict JSON: exact numbers, no duplicate keys, no NaN; and the text that it reads back."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from tradepipe.files.errors import quote_cell
from tradepipe.trade.types import Type


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
