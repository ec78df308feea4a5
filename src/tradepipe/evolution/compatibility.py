"""Compatibility levels, directions, and structural compatibility of two schemas."""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar

import avro.schema
import fastavro
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from fastavro.schema import SchemaParseException

from tradepipe.evolution.resolution import find_mismatches
from tradepipe.evolution.schema_tree import full_name, parse_schema_tree, qualify

T = TypeVar("T")


class Direction(StrEnum):
    """Direction of compatibility: which side reads the records of the other."""

    BACKWARD = "new reads old"
    FORWARD = "old reads new"


class Level(StrEnum):
    """Compatibility level of a subject; a transitive level checks every version, the others only the last."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Directions that the level guarantees."""
        return tuple(direction for direction in Direction if self.startswith((direction.name, "FULL")))

    @property
    def is_transitive(self) -> bool:
        """Whether the level checks every version."""
        return self.endswith("_TRANSITIVE")


class Incompatibility(NamedTuple):
    """
    One violation of structural compatibility.

    Attributes:
        against: index, in the history, of the incompatible version.

        direction: the direction in which reading fails.

        message: the reason and its location in the schema.
    """

    against: int
    direction: Direction
    message: str


def structural_incompatibilities(new: str, history: Sequence[str], level: Level) -> tuple[Incompatibility, ...]:
    """
    Return what makes a schema incompatible with its history (oldest first) at a level.

    The check is the schema resolution of the Avro specification, as in Java's
    `SchemaCompatibility`. Like every registry, it ignores logical types.

    Raises:
        ValueError: `new` or a version of the history is not an Avro schema.

    >>> structural_incompatibilities('"int"', ['"long"'], Level.FORWARD)
    ()
    >>> [finding.direction.value for finding in structural_incompatibilities('"int"', ['"long"'], Level.FULL)]
    ['new reads old']
    """
    parse(new)
    return tuple(
        Incompatibility(against, direction, message)
        for against, old in versions_to_check(tuple(enumerate(history)), level)
        for direction in level.directions
        for message in _structural_messages(*((new, old) if direction is Direction.BACKWARD else (old, new)))
    )


def versions_to_check(history: Sequence[T], level: Level) -> Sequence[T]:
    """Return the versions of a history (oldest first) that a level checks, newest first."""
    return tuple(reversed(history if level.is_transitive else history[-1:]))


_PARSE_ERRORS: Final = (
    AvroException,
    SchemaParseException,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    RecursionError,
)
"""Exceptions of the two parsers for texts that are not a schema."""


def parse(text: str) -> avro.schema.Schema:
    """
    Parse a schema without its logical types, for the structural check.

    The text must pass both Python parsers, since each misses some mistakes.

    Raises:
        ValueError: the text is not an Avro schema.
    """
    try:
        node = json.loads(text)
        fastavro.parse_schema(node)
        return avro.schema.make_avsc_object(_structure(node, ""), avro.name.Names())
    except _PARSE_ERRORS as error:
        raise ValueError(f"not an Avro schema: {error}") from error


def _structure(node: Any, namespace: str) -> Any:
    """Copy a schema in the form that avro's compatibility checker handles as Java does."""
    if isinstance(node, list):
        return [_structure(item, namespace) for item in node]
    if not isinstance(node, dict):
        return node
    if "name" in node and node.get("type") in ("record", "error", "enum", "fixed"):
        return _definition(node, full_name(node, namespace).rpartition(".")[0])
    return _inner(node, namespace)


def _definition(node: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    structure = _inner(node, namespace)
    # The checker supports neither the type error nor aliases relative to a namespace.
    if node["type"] == "error":
        structure["type"] = "record"
    if isinstance(node.get("aliases"), list):
        structure["aliases"] = [qualify(str(alias), namespace) for alias in node["aliases"]]
    return structure


def _inner(node: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    # avro warns of each unknown logical type, and the result must not depend on logical types.
    return {
        name: _structure(value, namespace) if name in ("type", "items", "values", "fields") else value
        for name, value in node.items()
        if name != "logicalType"
    }


def _structural_messages(reader: str, writer: str) -> Iterator[str]:
    """
    Yield the reasons why a reader cannot resolve a writer's records.

    avro's findings make at most one message: they are two unordered sets, whose
    elements cannot be paired.
    """
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # avro does not type it
    result = checker.get_compatibility(parse(reader), parse(writer))
    if result.compatibility is SchemaCompatibilityType.incompatible:
        kinds = ", ".join(sorted({kind.value for kind in result.incompatibilities}))
        messages = "; ".join(sorted(result.messages))
        yield f"{kinds}: {messages} (at {', '.join(sorted(result.locations))})"
    for found in find_mismatches(parse_schema_tree(reader), parse_schema_tree(writer)):
        if found.rule == "ambiguous-alias":  # refused by Java, but not by avro's checker
            yield f"reader field {found.reader} matches several writer fields: {found.writer}"
