"""Agreement of the resolution rules with Avro's compatibility checker."""

import copy
from itertools import count

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.evolution.avro_checker import can_read
from tests.evolution.schemas import text
from tests.properties import examples
from tradepipe.evolution.compatibility import Level, check_schema
from tradepipe.evolution.compatibility_rules import VersionedSchema, structural_incompatibilities

NAMES = st.sampled_from(["A", "B", "C"])
PRIMITIVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
SYMBOLS = st.lists(st.sampled_from(["X", "Y", "Z"]), min_size=1, unique=True)


@st.composite
def enums(draw):
    symbols = draw(SYMBOLS)
    default = draw(st.sampled_from([None, *symbols]))
    return {"type": "enum", "name": draw(NAMES), "symbols": symbols, **({"default": default} if default else {})}


@st.composite
def fixeds(draw):
    return {"type": "fixed", "name": draw(NAMES), "size": draw(st.integers(1, 2))}


@st.composite
def records(draw, inner):
    fields = draw(st.lists(st.tuples(st.sampled_from("abc"), inner, st.booleans(), st.booleans()), max_size=3))
    unique = {name: (kind, has_default, has_alias) for name, kind, has_default, has_alias in fields}
    return {
        "type": "record",
        "name": draw(NAMES),
        "fields": [
            {"name": name, "type": ["null", kind], "default": None} | ({"aliases": ["a"]} if has_alias else {})
            if has_default and not isinstance(kind, list) and kind != "null"
            else {"name": name, "type": kind} | ({"aliases": ["b"]} if has_alias and name != "b" else {})
            for name, (kind, has_default, has_alias) in unique.items()
        ],
        **({"aliases": [draw(NAMES)]} if draw(st.booleans()) else {}),
    }


def unions(inner):
    return st.lists(inner.filter(lambda kind: not isinstance(kind, list)), min_size=1, max_size=3, unique_by=label)


def label(kind):
    """Return what distinguishes a union's branches."""
    return kind if isinstance(kind, str) else kind["type"] if kind["type"] in ("array", "map") else kind["name"]


def containers(inner):
    return st.one_of(
        inner.map(lambda kind: {"type": "array", "items": kind}),
        inner.map(lambda kind: {"type": "map", "values": kind}),
        unions(inner),
        records(inner),
    )


TYPES = st.recursive(st.one_of(PRIMITIVES, enums(), fixeds()), containers, max_leaves=6)


BELOW = ("type", "items", "values", "fields")


def renamed(schema):
    """Make the names of a schema unique: a generator draws some twice."""
    numbers, taken = count(), set()

    def walk(node):
        if isinstance(node, list):
            return [walk(each) for each in node]
        if not isinstance(node, dict):
            return node
        node = {
            key: walk(value) if key in ("type", "items", "values", "fields") else value for key, value in node.items()
        }
        if node.get("type") in ("record", "enum", "fixed"):
            if node["name"] in taken:
                node["name"] += str(next(numbers))
            taken.add(node["name"])
        return node

    return walk(copy.deepcopy(schema))


def edited(draw, node):
    """Redraw some parts of a schema."""
    if isinstance(node, list):
        return [edited(draw, each) for each in node]
    if isinstance(node, str):
        return draw(PRIMITIVES) if node in ("int", "string", "bytes") and draw(st.integers(0, 3)) == 0 else node
    node = {key: edited(draw, value) if key in BELOW and key != "type" else value for key, value in node.items()}
    if node["type"] not in ("record", "enum", "fixed"):
        node["type"] = edited(draw, node["type"])
    change = draw(st.integers(0, 9))
    if node["type"] == "enum" and change < 7:
        symbols = draw(SYMBOLS)
        node = {key: value for key, value in node.items() if key != "default"} | {"symbols": symbols}
        node |= {"default": symbols[0]} if change < 2 else {}
    elif node["type"] == "fixed" and change < 3:
        node["size"] = 3 - node["size"]
    elif "fields" in node and node["fields"] and change < 2:
        node["fields"] = node["fields"][1:]
    elif "symbols" not in node and "fields" not in node and "size" not in node and "name" in node and change < 2:
        node = {key: value for key, value in node.items() if key != "default"} | {
            "name": "n",
            "aliases": [node["name"]],
        }
    return node


def is_schema(schema):
    try:
        check_schema(text(schema))
    except ValueError:
        return False
    return True


@st.composite
def pairs(draw):
    """Draw a schema and a successor: often an edit of it, else any other schema."""
    old = draw(RECORDS)
    new = edited(draw, old) if draw(st.integers(0, 4)) else draw(RECORDS)
    assume(is_schema(new))
    return text(old), text(new)


RECORDS = records(TYPES).map(renamed).map(lambda schema: {**schema, "name": "Trade"}).filter(is_schema)


@settings(examples(250), suppress_health_check=list(HealthCheck))
@given(pairs())
def test_the_rules_find_exactly_what_avros_checker_finds(pair):
    old, new = pair
    found = [
        bool(structural_incompatibilities(new, [VersionedSchema(1, old)], level))
        for level in (Level.BACKWARD, Level.FORWARD)
    ]

    assert [not can_read(new, old), not can_read(old, new)] == found
