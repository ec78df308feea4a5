"""Compatibility levels and directions, and the parsers that a schema must pass."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, TypeVar

import avro.schema
import fastavro
from avro.errors import AvroException
from fastavro.schema import SchemaParseException

from tradepipe.evolution.history import without

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


def check_schema(text: str) -> None:
    """Raise ValueError unless both Python parsers accept a text as a schema, since each misses some mistakes."""
    try:
        node = json.loads(text)
        fastavro.parse_schema(node)
        # avro warns of each logical type that it does not know.
        avro.schema.make_avsc_object(without(node, "logicalType"), avro.name.Names())
    except _PARSE_ERRORS as error:
        raise ValueError(f"not an Avro schema: {error}") from error
