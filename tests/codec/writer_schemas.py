"""Strategies of writer schemas that resolve to the sample schema, and of their records."""

import json
from decimal import Decimal

from hypothesis import strategies as st

from tests.codec.sample_schema import DATE, DECIMAL, INSTANT, SAMPLES, SCHEMA, Side

TEXT_TYPES = ("string", "bytes", ["string"], ["bytes", "string"], ["string", "bytes"])

TYPES = {
    "trade_id": TEXT_TYPES,
    "version": ("int", ["int"]),
    "maturity_date": (DATE, [DATE]),
    "created_at": (INSTANT, [INSTANT]),
    "side": tuple(
        {"type": "enum", "name": "Side", "symbols": symbols}
        for symbols in (["SELL", "UNKNOWN", "BUY"], [*Side], [*Side, "HOLD"])
    ),
    "notional": (DECIMAL, ["null", DECIMAL], [DECIMAL, "null"], "null"),
    "currency": (*TEXT_TYPES, ["null", "string"], ["string", "null"], ["bytes", "null", "string"], "null"),
}
"""Types that resolve to each field."""

LEAVES = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=200),
    "string": st.text(st.characters(exclude_categories=("Cs",)), max_size=200),
}


@st.composite
def types(draw, names, depth=3, nullable=True):
    """Draw a type and a strategy of its values; items of arrays and maps take at least one byte."""
    kind = draw(st.sampled_from([*LEAVES, "fixed", "enum"] + ["array", "map", "union", "record"] * (depth > 0)))
    if kind == "null" and not nullable:
        kind = "boolean"
    if kind in LEAVES:
        return kind, LEAVES[kind]
    name = f"N{next(names)}"
    if kind == "fixed":
        size = draw(st.integers(0 if nullable else 1, 40))
        return {"type": "fixed", "name": name, "size": size}, st.binary(min_size=size, max_size=size)
    if kind == "enum":
        symbols = [f"S{number}" for number in range(draw(st.integers(1, 70)))]
        return {"type": "enum", "name": name, "symbols": symbols}, st.sampled_from(symbols)
    return draw(_nested(kind, name, names, depth))


@st.composite
def _nested(draw, kind, name, names, depth):
    if kind == "union":
        return draw(_union(names, depth))
    if kind == "record":
        fields = [draw(types(names, depth - 1, number > 0)) for number in range(draw(st.integers(1, 4)))]
        schema = [{"name": f"f{number}", "type": inner} for number, (inner, _) in enumerate(fields)]
        values = {f"f{number}": made for number, (_, made) in enumerate(fields)}
        return {"type": "record", "name": name, "fields": schema}, st.fixed_dictionaries(values)
    inner, made = draw(types(names, depth - 1, False))
    if kind == "array":
        return {"type": "array", "items": inner}, st.lists(made, max_size=4)
    return {"type": "map", "values": inner}, st.dictionaries(st.text("abc", max_size=5), made, max_size=4)


@st.composite
def _union(draw, names, depth):
    """Draw a union whose values belong to one branch only: null and one more type, in any order."""
    inner, made = draw(types(names, depth - 1, False))
    if isinstance(inner, list):
        inner, made = "long", LEAVES["long"]
    return draw(st.permutations(["null", inner])), st.none() | made


@st.composite
def writer_samples(draw):
    """Draw a writer schema and the fields of a record."""
    sample = draw(SAMPLES)._asdict()
    fields = []
    for field in SCHEMA["fields"]:
        if "default" in field and draw(st.integers(0, 4)) == 0:
            continue
        kind = draw(st.sampled_from(TYPES[field["name"]]))
        fields.append({"name": field["name"], "type": kind})
        sample[field["name"]] = _as_written(kind, sample[field["name"]])
    names = iter(range(1_000))
    for number in range(draw(st.integers(0, 3))):
        kind, made = draw(types(names))
        fields.append({"name": f"more{number}", "type": kind})
        sample[f"more{number}"] = draw(made)
    schema = SCHEMA | {"fields": draw(st.permutations(fields))}
    return json.loads(json.dumps(schema)), {field["name"]: sample[field["name"]] for field in fields}


def _as_written(kind, value):
    """Return the value, or another one of the type."""
    if kind == "null" or (value is None and "null" in kind):
        return None
    if value is None:
        value = "EUR" if kind in TEXT_TYPES else Decimal(7)
    return value.encode() if kind == "bytes" else value
