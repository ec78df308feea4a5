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
    """Who must be able to read whom."""

    BACKWARD = "new reads old"
    FORWARD = "old reads new"


class Level(StrEnum):
    """What a registry promises of a subject; a transitive level looks at every version, the others at the last."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions the level promises."""
        return tuple(direction for direction in Direction if self.startswith((direction.name, "FULL")))

    @property
    def is_transitive(self) -> bool:
        """Whether the level looks at every version."""
        return self.endswith("_TRANSITIVE")


class Incompatibility(NamedTuple):
    """
    One thing that breaks by the structural verdict.

    Attributes:
        against: index in the history of the version it breaks with.

        direction: who cannot read whom.

        message: what is in the way, and where in the schema.
    """

    against: int
    direction: Direction
    message: str


def structural_incompatibilities(new: str, history: Sequence[str], level: Level) -> tuple[Incompatibility, ...]:
    """
    All that keeps a schema from following a history (oldest first) at a level; empty if it may.

    The verdict is the Avro specification's schema resolution, as Java's
    `SchemaCompatibility` gives it: it does not see logical types, as no registry does.

    Raises:
        ValueError: `new` or a version of the history is not an Avro schema.

    >>> incompatibilities('"int"', ['"long"'], Level.FORWARD)
    ()
    >>> [finding.direction.value for finding in incompatibilities('"int"', ['"long"'], Level.FULL)]
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
    """The versions (oldest first) that the level looks at, the newest first."""
    return tuple(reversed(history if level.is_transitive else history[-1:]))


_NOT_A_SCHEMA: Final = (
    AvroException,
    SchemaParseException,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    RecursionError,
)
"""What the two parsers raise at texts that are no schema."""


def parse(text: str) -> avro.schema.Schema:
    """
    The schema as the structural check sees it: without its logical types.

    Both of Python's parsers must take it, for each passes mistakes that the other sees.

    Raises:
        ValueError: the text is not an Avro schema.
    """
    try:
        node = json.loads(text)
        fastavro.parse_schema(node)
        return avro.schema.make_avsc_object(_structure(node, ""), avro.name.Names())
    except _NOT_A_SCHEMA as error:
        raise ValueError(f"not an Avro schema: {error}") from error


def _structure(node: Any, namespace: str) -> Any:
    """
    What avro's checker is to see of a schema.

    No logical types, for avro warns of each that it does not know, and a
    verdict must not depend on them; aliases in full, for it does not complete
    them as Java does; records for errors, which it does not know.
    """
    if isinstance(node, list):
        return [_structure(item, namespace) for item in node]
    if not isinstance(node, dict):
        return node
    if "name" in node and node.get("type") in ("record", "error", "enum", "fixed"):
        return _definition(node, full_name(node, namespace).rpartition(".")[0])
    return _inner(node, namespace)


def _definition(node: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    structure = _inner(node, namespace)
    if node["type"] == "error":
        structure["type"] = "record"
    if isinstance(node.get("aliases"), list):
        structure["aliases"] = [qualify(str(alias), namespace) for alias in node["aliases"]]
    return structure


def _inner(node: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    return {
        name: _structure(value, namespace) if name in ("type", "items", "values", "fields") else value
        for name, value in node.items()
        if name != "logicalType"
    }


def _structural_messages(reader: str, writer: str) -> Iterator[str]:
    """
    What keeps a reader from resolving a writer's records.

    At most one message is avro's: it gives what it found as two unordered sets,
    which belong together only as a whole.
    """
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # avro does not type it
    result = checker.get_compatibility(parse(reader), parse(writer))
    if result.compatibility is SchemaCompatibilityType.incompatible:
        kinds = ", ".join(sorted({kind.value for kind in result.incompatibilities}))
        messages = "; ".join(sorted(result.messages))
        yield f"{kinds}: {messages} (at {', '.join(sorted(result.locations))})"
    for found in find_mismatches(parse_schema_tree(reader), parse_schema_tree(writer)):
        if found.rule == "ambiguous-alias":  # which Java refuses, and avro's checker does not
            yield f"reader field {found.reader} matches several writer fields: {found.writer}"
