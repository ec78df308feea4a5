"""Whatever Avro's own checker finds incompatible is explained, and nothing else is called so."""

import copy
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.schemas import text
from tradepipe.contract.compatibility import Level, incompatibilities
from tradepipe.contract.evolution import Numbered, findings
from tradepipe.contract.finding import Severity
from tradepipe.contract.obstacles import STRUCTURAL

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
    """What tells a union's branches apart."""
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
    """The schema with each of its names once: a generator draws some twice."""
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


SCHEMAS = records(TYPES).map(renamed).map(lambda schema: {**schema, "name": "Trade"}).map(text)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, SCHEMAS)
def test_what_is_structurally_incompatible_is_explained_and_nothing_else_is(old, new):
    """The rules themselves say so, not the last resort that repeats the verdict."""
    for level in (Level.BACKWARD, Level.FORWARD):
        found = [each for each in findings(new, [Numbered(1, old)], level) if each.severity is Severity.ERROR]

        structural = [each for each in found if each.rule in STRUCTURAL | {"ambiguous-alias"}]
        assert "resolution" not in {each.rule for each in found}
        assert bool(structural) == bool(incompatibilities(new, [old], level))
