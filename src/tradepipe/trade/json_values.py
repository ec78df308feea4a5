"""
JSON of values, as PostgreSQL stores lists, maps and records in jsonb.

Numbers are exact: jsonb holds them as numeric. Bytes have the form of bytea's
text (`\\x00ff`), dates, times and timestamps that of ISO 8601, timestamps in UTC.
Casts in SQL give the values back, as in `(legs -> 0 ->> 'rate')::numeric`.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from tradepipe.trade.types import Member, Type


def to_json(type_: Type, value: Any) -> str:  # noqa: PLR0911 - one case for each kind of type
    """Return a value as JSON text; a number that JSON lacks, infinity or NaN, is a ValueError."""
    # Not json.dumps of the whole: it does not write decimals.
    match type_.kind:
        case "array":
            return f"[{', '.join(_member(type_.item, each) for each in value)}]"
        case "map":
            found = (f"{json.dumps(key)}: {_member(type_.item, each)}" for key, each in value.items())
            return f"{{{', '.join(found)}}}"
        case "record":
            named = zip(type_.members, value, strict=True)
            found = (f'"{member.name}": {_member(member, each)}' for member, each in named)
            return f"{{{', '.join(found)}}}"
        case "decimal":
            # Without an exponent, so that all digits are there; jsonb keeps them, trailing zeros too.
            return f"{value:f}"
        case "boolean" | "int" | "long" | "string" | "float" | "double":
            # Python would write NaN and Infinity, which JSON does not have, and PostgreSQL would refuse the row.
            return json.dumps(value, allow_nan=False)
        case "bytes" | "fixed":
            return json.dumps(f"\\x{value.hex()}")
        case "enum" | "uuid":
            return json.dumps(str(value))
        case _:
            # A date, time or timestamp.
            utc = value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value
            return json.dumps(utc.isoformat())


def from_json(type_: Type, text: str) -> Any:
    """Return the value of JSON text."""
    return _from_value(type_, json.loads(text, parse_float=Decimal))


def _member(member: Member, value: Any) -> str:
    return "null" if value is None else to_json(member.type, value)


def _from_value(type_: Type, value: Any) -> Any:
    match type_.kind:
        case "array":
            return [_from_member(type_.item, each) for each in value]
        case "map":
            return {key: _from_member(type_.item, each) for key, each in value.items()}
        case "record":
            return type_.python(*(_from_member(member, value.get(member.name)) for member in type_.members))
    read = _READERS.get(type_.python)
    return read(value) if read else type_.python(value)


def _from_member(member: Member, value: Any) -> Any:
    return None if value is None else _from_value(member.type, value)


_READERS: Final[Mapping[type, Callable[[Any], Any]]] = {
    bytes: lambda text: bytes.fromhex(text.removeprefix("\\x")),
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    UUID: UUID,
}
"""How the values of a class are read; the others by the class itself."""
