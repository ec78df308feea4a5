"""Avro's own compatibility checker, a second opinion on the rules that find structural incompatibilities."""

import json

import avro.name
import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from tradepipe.evolution.resolution import find_mismatches
from tradepipe.evolution.schema_tree import full_name, parse_schema_tree, qualify


def can_read(reader, writer):
    """Return whether a reader resolves a writer's records, as Java does."""
    checker = ReaderWriterCompatibilityChecker()
    parsed = (
        avro.schema.make_avsc_object(structure(json.loads(each), ""), avro.name.Names()) for each in (reader, writer)
    )
    if checker.get_compatibility(*parsed).compatibility is SchemaCompatibilityType.incompatible:
        return False
    # Refused by Java, but not by this checker.
    found = find_mismatches(parse_schema_tree(reader), parse_schema_tree(writer))
    return all(each.rule != "ambiguous-alias" for each in found)


def structure(node, namespace):
    """Copy a schema in the form that the checker handles as Java does."""
    if isinstance(node, list):
        return [structure(item, namespace) for item in node]
    if not isinstance(node, dict):
        return node
    further = {}
    if "name" in node and node.get("type") in ("record", "error", "enum", "fixed"):
        namespace = full_name(node, namespace).rpartition(".")[0]
        # The checker supports neither the type error nor aliases relative to a namespace.
        if node["type"] == "error":
            further["type"] = "record"
        if "aliases" in node:
            further["aliases"] = [qualify(alias, namespace) for alias in node["aliases"]]
    below = {
        name: structure(value, namespace) if name in ("type", "items", "values", "fields") else value
        for name, value in node.items()
        if name != "logicalType"
    }
    return {**below, **further}
