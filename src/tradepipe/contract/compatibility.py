"""Compatibility of schema versions: levels, directions, and what breaks."""

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import avro.schema
import fastavro
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from fastavro.schema import SchemaParseException


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


class Finding(NamedTuple):
    """
    One thing that breaks.

    Attributes:
        against: index in the history of the version it breaks with.

        direction: who cannot read whom.

        message: what is in the way, and where in the schema.
    """

    against: int
    direction: Direction
    message: str


def incompatibilities(new: str, history: Sequence[str], level: Level) -> tuple[Finding, ...]:
    """
    All that keeps a schema from following a history (oldest first) at a level; empty if it may.

    The verdict is the Avro specification's schema resolution, as Java's
    `SchemaCompatibility` gives it: it does not see logical types.

    Raises:
        ValueError: `new` or a version of the history is not an Avro schema.

    >>> incompatibilities('"int"', ['"long"'], Level.FORWARD)
    ()
    >>> [finding.direction.value for finding in incompatibilities('"int"', ['"long"'], Level.FULL)]
    ['new reads old']
    """
    schema = parse(new)
    versions = list(enumerate(history))
    return tuple(
        Finding(against, direction, message)
        for against, text in reversed(versions if level.is_transitive else versions[-1:])
        for direction in level.directions
        for message in _obstacles(schema, parse(text), direction)
    )


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
        return avro.schema.make_avsc_object(_without_logical_types(node), avro.name.Names())
    except (
        AvroException,
        SchemaParseException,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise ValueError(f"not an Avro schema: {error}") from error


def _without_logical_types(node: Any) -> Any:
    """Stripped, for avro warns of each logical type it does not know, and a verdict must not depend on them."""
    if isinstance(node, list):
        return [_without_logical_types(item) for item in node]
    if isinstance(node, dict):
        return {
            name: value if name == "default" else _without_logical_types(value)
            for name, value in node.items()
            if name != "logicalType"
        }
    return node


def _obstacles(new: avro.schema.Schema, old: avro.schema.Schema, direction: Direction) -> Iterator[str]:
    """At most one message: avro gives what it found as two unordered sets, which belong together only as a whole."""
    reader, writer = (new, old) if direction is Direction.BACKWARD else (old, new)
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # avro does not type it
    result = checker.get_compatibility(reader, writer)
    if result.compatibility is SchemaCompatibilityType.incompatible:
        kinds = ", ".join(sorted({kind.value for kind in result.incompatibilities}))
        messages = "; ".join(sorted(result.messages))
        yield f"{kinds}: {messages} (at {', '.join(sorted(result.locations))})"
