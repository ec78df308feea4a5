"""Avro schemas and defaults of declared types: what the draft of a schema writes, and what its defaults mean."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from itertools import count
from typing import Any, Final
from uuid import UUID

from tradepipe.trade.types import REQUIRED, Member, Type

EPOCH: Final = datetime(1970, 1, 1)
_UTC_EPOCH: Final = EPOCH.replace(tzinfo=UTC)

EXACT: Final = Context(prec=2_000, traps=[Inexact, InvalidOperation])
"""Decimal context that raises instead of rounding, independent of the thread's context."""

_UNITS: Final = {"millis": 1_000, "micros": 1, "nanos": 1}


def record_schema(name: str, members: Iterable[Member], defined: set[str] | None = None) -> dict[str, Any]:
    """Return the schema of a record; a type that occurs again is referred to by its name."""
    defined = set() if defined is None else defined
    defined.add(name)
    return {"type": "record", "name": name, "fields": [field_schema(member, defined) for member in members]}


def field_schema(member: Member, defined: set[str]) -> dict[str, Any]:
    """
    Return the schema of a record's field, with its default.

    Args:
        defined: names of the types that are defined before it; those of the field are added.
    """
    found = {"name": member.name, "type": member_schema(member, defined)}
    if member.default is not REQUIRED:
        found["default"] = None if member.default is None else to_default(member.type, member.default)
    return found


def member_schema(member: Member, defined: set[str]) -> Any:
    """Return the schema of a member's type; the branch of its default comes first."""
    schema = type_schema(member.type, defined, member.name)
    if not member.is_nullable:
        return schema
    # A default belongs to the first branch of a union, and older parsers refuse any other.
    return ["null", schema] if member.default in (None, REQUIRED) else [schema, "null"]


def type_schema(type_: Type, defined: set[str], name: str = "") -> Any:  # noqa: PLR0911 - one case for each kind of type
    """Return the schema of a type; `name` is that of the field, after which a fixed is named."""
    match type_.kind:
        case "array":
            return {"type": "array", "items": member_schema(type_.item, defined)}
        case "map":
            return {"type": "map", "values": member_schema(type_.item, defined)}
        case "record":
            record = type_.python.__name__
            return record if record in defined else record_schema(record, type_.members, defined)
        case "enum":
            name = type_.python.__name__
            if name in defined:
                return name
            defined.add(name)
            # The default stands for symbols that a reader does not know.
            return {"type": "enum", "name": name, "symbols": list(type_.symbols), "default": type_.symbols[0]}
    base: dict[str, Any] = {"type": type_.base}
    if type_.base == "fixed":
        camel_case = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
        # Named after its field: the names of types are unique within a schema.
        unused = camel_case = camel_case or "Fixed"
        numbers = count(2)
        while unused in defined:
            unused = f"{camel_case}{next(numbers)}"
        defined.add(unused)
        base |= {"name": unused, "size": type_.size}
    if type_.kind == "decimal":
        return base | {"logicalType": "decimal", "precision": type_.precision, "scale": type_.scale}
    if type_.kind != type_.base:
        return base | {"logicalType": type_.kind}
    return base if len(base) > 1 else type_.base


def to_default(type_: Type, value: Any) -> Any:  # noqa: PLR0911 - one case for each kind of type
    """Return a value in the JSON form of Avro's defaults."""
    match type_.kind:
        case "array":
            return [to_member_default(type_.item, each) for each in value]
        case "map":
            return {key: to_member_default(type_.item, each) for key, each in value.items()}
        case "record":
            return {
                member.name: to_member_default(member, each) for member, each in zip(type_.members, value, strict=True)
            }
        case "enum":
            return str(value.value)
        case "decimal":
            # In Avro's JSON, a byte is the character with its number.
            return decimal_bytes(type_, value).decode("latin-1")
        case "uuid":
            return str(value) if type_.base == "string" else value.bytes.decode("latin-1")
        case "bytes" | "fixed":
            return value.decode("latin-1")
        case _:
            return to_number(type_, value)


def to_member_default(member: Member, value: Any) -> Any:
    """Return a value of a type that may be null in the JSON form of Avro's defaults."""
    return None if value is None else to_default(member.type, value)


def from_default(type_: Type, default: Any) -> Any:  # noqa: PLR0911 - one case for each kind of type
    """Return the value of a default, given in JSON."""
    match type_.kind:
        case "array":
            return [from_member_default(type_.item, each) for each in default]
        case "map":
            return {key: from_member_default(type_.item, each) for key, each in default.items()}
        case "record":
            # A default of a record may leave out the fields that have one.
            return type_.python(
                *(
                    member.default
                    if member.name not in default and member.default is not REQUIRED
                    else from_member_default(member, default[member.name])
                    for member in type_.members
                )
            )
        case "enum":
            return type_.python(default)
        case "decimal":
            # From sign, digits and exponent: arithmetic would round to the precision of the thread's context.
            unscaled = int.from_bytes(default.encode("latin-1"), "big", signed=True)
            return Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -type_.scale))
        case "uuid":
            return UUID(default) if type_.base == "string" else UUID(bytes=default.encode("latin-1"))
        case "bytes" | "fixed":
            return default.encode("latin-1")
        case "float" | "double":
            return float(default)
        case _:
            return from_number(type_, default)


def from_member_default(member: Member, default: Any) -> Any:
    """Return the value of a default of a type that may be null."""
    return None if default is None else from_default(member.type, default)


def to_number(type_: Type, value: Any) -> Any:
    """Return the int of a date, time or timestamp; another value unchanged."""
    if isinstance(value, datetime):
        return to_unit(type_, value - (_UTC_EPOCH if value.tzinfo else EPOCH))
    if isinstance(value, date):
        # After datetime, which is a subclass of date.
        return value.toordinal() - EPOCH.toordinal()
    if isinstance(value, time):
        return to_unit(type_, datetime.combine(EPOCH, value) - EPOCH)
    return value


def to_unit(type_: Type, since: timedelta) -> int:
    """Return a duration in the unit of a time or timestamp."""
    # A division by a timedelta takes three times as long.
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return micros * 1_000 if type_.kind.endswith("nanos") else micros // _UNITS[type_.kind.rpartition("-")[2]]


def from_number(type_: Type, number: Any) -> Any:
    """Return the value of a number in the unit of a date, time or timestamp; another value unchanged."""
    name, _, unit = type_.kind.rpartition("-")
    if type_.kind == "date":
        return date.fromordinal(number + EPOCH.toordinal())
    if not name:
        return number
    moment = EPOCH + timedelta(microseconds=number // 1_000 if unit == "nanos" else number * _UNITS[unit])
    if name == "time":
        return moment.time()
    return moment if name == "local-timestamp" else moment.replace(tzinfo=UTC)


def decimal_bytes(type_: Type, value: Decimal) -> bytes:
    """Return the bytes of a decimal's unscaled integer."""
    unscaled = int(EXACT.scaleb(value, type_.scale))
    # The fewest bytes of two's complement, as Java's BigInteger: one bit is for the sign.
    size = type_.size or ((unscaled if unscaled >= 0 else ~unscaled).bit_length() >> 3) + 1
    return unscaled.to_bytes(size, "big", signed=True)
