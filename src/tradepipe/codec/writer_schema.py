"""What a value loses on its way from the writer's schema to the reader's: Avro's resolution and logical types."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

from fastavro import parse_schema

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

COMPLEX: Final = frozenset({"record", "error", "enum", "fixed", "array", "map"})

SEMANTIC_KEYS: Final = ("default", "logicalType", "precision", "scale")
"""What says how decoded values are meant."""

_LOGICAL_OF: Final = {
    "date": ("int",),
    "decimal": ("bytes", "fixed"),
    "duration": ("fixed",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-nanos": ("long",),
    "time-micros": ("long",),
    "time-millis": ("int",),
    "timestamp-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-nanos": ("long",),
    "uuid": ("string", "fixed"),
}
"""What a logical type may stand on; on anything else it counts for nothing, as the specification says."""

_PROMOTIONS: Final = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}


class ParsedSchema(NamedTuple):
    """A schema with its names resolved: the root, and every named type by its full name."""

    root: Any
    named: Mapping[str, Any]

    def resolve(self, schema: Any) -> Any:
        """The type itself behind references and wrappers: a primitive's name, a list of branches, or a dict."""
        while True:
            kind = schema["type"] if isinstance(schema, dict) else None
            if isinstance(schema, str) and schema not in PRIMITIVES:
                schema = self.named[schema]
            elif kind is not None and (not isinstance(kind, str) or kind not in PRIMITIVES | COMPLEX):
                schema = kind
            else:
                return schema


class Difference(NamedTuple):
    """What a value loses on its way from the writer's to the reader's schema, or why it cannot go it."""

    path: str
    description: str
    is_fatal: bool


def parse(schema: Any) -> ParsedSchema:
    """A schema with its names resolved; raises whatever fastavro's parser raises."""
    named: dict[str, Any] = {}
    # Reduced first: fastavro believes a schema that says of itself that it was parsed.
    root = parse_schema(strip_schema(schema, SEMANTIC_KEYS), named)
    return ParsedSchema(root, named)


def strip_schema(schema: Any, more: Collection[str] = ()) -> Any:
    """A schema reduced to what decides about bytes, and to the attributes named in `more`."""
    if isinstance(schema, list):
        return [strip_schema(branch, more) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: schema[key] for key in ("name", "namespace", "symbols", "size", *more) if key in schema}
    inner = {key: strip_schema(schema[key], more) for key in ("type", "items", "values", "fields") if key in schema}
    return kept | inner


def differences(writer: ParsedSchema, reader: ParsedSchema) -> Iterator[Difference]:
    """
    What is lost between two schemas, by Avro's rules of schema resolution.

    Stricter than Avro in one point: types whose logical types differ do not
    resolve, since the same bytes would be read as another value. Aliases are
    not followed: the trade schema renames nothing. Both schemas must be within
    `require_bounds`.
    """
    return _Resolution(writer, reader).of(writer.root, reader.root, "")


class _Resolution:
    def __init__(self, writer: ParsedSchema, reader: ParsedSchema) -> None:
        self._writer = writer
        self._reader = reader

    def of(self, writes: Any, reads: Any, path: str) -> Iterator[Difference]:
        """The differences between two types."""
        writes, reads = self._writer.resolve(writes), self._reader.resolve(reads)
        if isinstance(writes, list):
            for branch in writes:
                yield from self._to_any(branch, reads, path)
        elif isinstance(reads, list):
            yield from self._to_any(writes, reads, path)
        else:
            yield from self._of_one(writes, reads, path)

    def _to_any(self, writes: Any, reads: Any, path: str) -> Iterator[Difference]:
        """The differences to the branch that fits best."""
        branches = reads if isinstance(reads, list) else [reads]
        tried = [list(self.of(writes, branch, path)) for branch in branches]
        yield from min(tried, key=lambda found: (sum(difference.is_fatal for difference in found), len(found)))

    def _of_one(self, writes: Any, reads: Any, path: str) -> Iterator[Difference]:
        kind, wanted = kind_of(writes), kind_of(reads)
        if kind == wanted == "record":
            yield from self._of_records(writes, reads, path)
        elif kind == wanted == "enum":
            yield from _of_enums(writes, reads, path)
        elif kind == wanted == "array":
            yield from self.of(writes["items"], reads["items"], f"{path}[]")
        elif kind == wanted == "map":
            yield from self.of(writes["values"], reads["values"], f"{path}{{}}")
        elif kind != wanted and wanted not in _PROMOTIONS.get(kind, ()):
            yield Difference(path, f"{kind} is not {wanted}", is_fatal=True)
        elif kind == "fixed" and (writes["size"], _short(writes)) != (reads["size"], _short(reads)):
            yield Difference(path, "another fixed type", is_fatal=True)
        yield from _of_logical_types(writes, reads, path)

    def _of_records(self, writes: Any, reads: Any, path: str) -> Iterator[Difference]:
        path = path or _short(writes)
        if _short(writes) != _short(reads):
            yield Difference(path, f"record {_short(writes)} is not {_short(reads)}", is_fatal=True)
        written = {field["name"]: field for field in writes["fields"]}
        for field in reads["fields"]:
            name = field["name"]
            if name in written:
                yield from self.of(written.pop(name)["type"], field["type"], f"{path}.{name}")
            elif "default" not in field:
                yield Difference(f"{path}.{name}", f"field {name} is missing", is_fatal=True)
        for name in written:
            yield Difference(f"{path}.{name}", f"field {name}", is_fatal=False)


def _of_enums(writes: Any, reads: Any, path: str) -> Iterator[Difference]:
    if _short(writes) != _short(reads):
        yield Difference(path, f"enum {_short(writes)} is not {_short(reads)}", is_fatal=True)
    for symbol in writes["symbols"]:
        if symbol not in reads["symbols"]:
            yield Difference(path, f"symbol {symbol}", is_fatal="default" not in reads)


def _of_logical_types(writes: Any, reads: Any, path: str) -> Iterator[Difference]:
    written, read = _logical(writes), _logical(reads)
    if written == read:
        return
    if read:
        yield Difference(path, f"logical type {_shown(written)} is not {_shown(read)}", is_fatal=True)
    else:
        yield Difference(path, f"logical type {_shown(written)}", is_fatal=False)


def kind_of(schema: Any) -> str:
    """The name of a type that is no union and no reference."""
    kind = schema if isinstance(schema, str) else schema["type"]
    return "record" if kind == "error" else str(kind)


def _short(schema: Any) -> str:
    """A named type's name without its namespace, which Avro's resolution ignores."""
    return str(schema["name"]).rpartition(".")[2]


def _logical(schema: Any) -> tuple[Any, ...]:
    logical = None if isinstance(schema, str) else schema.get("logicalType")
    if not isinstance(logical, str) or kind_of(schema) not in _LOGICAL_OF.get(logical, COMPLEX | PRIMITIVES):
        return ()
    if logical == "decimal":
        return ("decimal", schema.get("precision"), schema.get("scale", 0))
    return (logical,)


def _shown(logical: tuple[Any, ...]) -> str:
    if not logical:
        return "none"
    return f"{logical[0]}({logical[1]},{logical[2]})" if logical[0] == "decimal" else str(logical[0])
