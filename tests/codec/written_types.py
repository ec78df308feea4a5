"""Strategies of writer schemas that resolve to a declaration's schema, and of what they write."""

from typing import Any

from hypothesis import strategies as st

from tests.codec.every_type import plain, schema_of
from tests.codec.writer_schemas import types
from tests.trade.all_types import values
from tradepipe.trade.declaration import Declaration
from tradepipe.trade.types import Member

_INTS = st.integers(-(2**24), 2**24)
_PROMOTED: dict[str, tuple[str, ...]] = {
    "long": ("long", "int"),
    "float": ("float", "int", "long"),
    "double": ("double", "float", "int", "long"),
    "string": ("string", "bytes"),
}
"""What may be written where a type is read; fastavro does not read bytes from a string."""


@st.composite
def written_records(draw: Any, declaration: Declaration) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw a writer schema, and a record of it in the form of fastavro."""
    names = iter(range(1_000))
    members = tuple(field.member for field in declaration.fields)
    schema, made = draw(_record(schema_of(declaration), members, names))
    return schema, draw(made)


@st.composite
def _record(draw: Any, schema: Any, members: tuple[Member, ...], names: Any) -> Any:
    """Draw another order of the fields, without some that have defaults and with some that the reader lacks."""
    fields, made = [], {}
    for node, member in zip(schema["fields"], members, strict=True):
        # fastavro gives any other default as it is in JSON.
        has_default = "default" in node and (node["default"] is None or node["type"] in ("int", "long", "string"))
        if has_default and draw(st.integers(0, 3)) == 0:
            continue
        found, made[node["name"]] = draw(_member(node["type"], member, names))
        fields.append({"name": node["name"], "type": found})
    for _ in range(draw(st.integers(0, 2))):
        name = f"more{next(names)}"
        # At least one byte, since a record may be an item.
        found, made[name] = draw(types(names, 2, nullable=False))
        fields.append({"name": name, "type": found})
    if not fields:
        fields, made = [{"name": "more", "type": "int"}], {"more": st.just(1)}
    return schema | {"fields": draw(st.permutations(fields))}, st.fixed_dictionaries(made)


@st.composite
def _member(draw: Any, node: Any, member: Member, names: Any) -> Any:
    """Draw a type alone, or in a union with null if the reader has one, in any order."""
    inner = next(each for each in node if each != "null") if isinstance(node, list) else node
    found, made = draw(_type(inner, member, names))
    shapes = ["alone", "union"] + ["null first", "null last", "null"] * member.is_nullable
    match draw(st.sampled_from(shapes)):
        case "union":
            return [found], made
        case "null first":
            return ["null", found], st.none() | made
        case "null last":
            return [found, "null"], st.none() | made
        case "null":
            return ("null", st.none()) if member.name else (["null"], st.none())
    return found, made


@st.composite
def _type(draw: Any, node: Any, member: Member, names: Any) -> Any:  # noqa: PLR0911 - one case for each kind of type
    type_ = member.type
    match type_.kind:
        case "array" | "map" as kind:
            key = "items" if kind == "array" else "values"
            found, made = draw(_member(node[key], type_.item, names))
            several = st.lists(made, max_size=3)
            return node | {key: found}, several if kind == "array" else st.dictionaries(
                st.text("abc"), made, max_size=3
            )
        case "record":
            return draw(_record(node, type_.members, names))
        case "enum":
            symbols = draw(st.permutations([*type_.symbols, "MORE"]))[: draw(st.integers(1, 70))]
            return node | {"symbols": symbols, "default": symbols[0]}, st.sampled_from(symbols)
        case kind if kind in _PROMOTED:
            written = draw(st.sampled_from(_PROMOTED[kind]))
            if written in ("int", "long"):
                return written, _INTS
            if written == "float":
                return written, st.floats(width=32, allow_nan=False, allow_infinity=False)
            return written, values(type_).map(lambda value: value.encode() if written == "bytes" else value)
    return node, values(type_).map(lambda value: plain(type_, value))
