"""
Which writer schemas are decoded.

The writer of a record chooses its schema, so a schema is hostile until it was
looked at: a recursive one can end the process from inside the codec, and one
with items of zero bytes can make gigabytes of five bytes. And a schema newer
than this build may hold what this build would silently lose.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from fastavro import parse_schema

from tradepipe.contract.history import current, fingerprint, versions
from tradepipe.errors import UnsupportedSchema

UnknownFields = Literal["stop", "drop"]

MAX_TEXT: Final = 256_000
"""Characters of a schema's text."""

MAX_DEPTH: Final = 16
"""Types within types."""

MAX_FIELDS: Final = 500
"""Fields and union branches, each counted as often as a value can hold it."""

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

COMPLEX: Final = frozenset({"record", "error", "enum", "fixed", "array", "map"})

MEANING: Final = ("default", "logicalType", "precision", "scale")
"""What says how decoded values are meant."""

_PROMOTIONS: Final = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}


class Parsed(NamedTuple):
    """A schema with its names resolved: the root, and every named type by its full name."""

    root: Any
    named: Mapping[str, Any]

    def at(self, schema: Any) -> Any:
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
    told: str
    fatal: bool


def admit(text: str, schema_id: int, *, unknown_fields: UnknownFields = "stop") -> dict[str, Any]:
    """
    A writer schema of the subject, its names resolved, if this build can hold its records.

    Every frozen version is admitted, and every other one that resolves to the
    current version; with `unknown_fields="drop"` also one that loses fields,
    symbols or logical types on the way.

    Raises:
        UnsupportedSchema: the schema lies outside the limits of this module,
            cannot be resolved, or would lose values.
    """
    parsed = _bounded(text, schema_id)
    if fingerprint(text) not in {version.sha256 for version in versions()}:
        _require_lossless(parsed, schema_id, unknown_fields)
    root: dict[str, Any] = parsed.at(parsed.root)
    return root


def _bounded(text: str, schema_id: int) -> Parsed:
    """The parsed schema, if it lies within the limits."""
    if len(text) > MAX_TEXT:
        raise UnsupportedSchema(f"schema id {schema_id} has {len(text)} characters, more than {MAX_TEXT}")
    try:
        schema = json.loads(text)
        if not isinstance(schema, dict):
            raise ValueError("it is not a record")
        parsed = parse(schema)
        require_bounds(parsed)
    except Exception as error:  # a decode guard: parsers raise anything on a hostile schema
        problem = str(error)[:200] or type(error).__name__
        raise UnsupportedSchema(f"schema id {schema_id} is not decoded here: {problem}") from error
    return parsed


def parse(schema: Any) -> Parsed:
    """A schema with its names resolved; raises whatever fastavro's parser raises."""
    named: dict[str, Any] = {}
    # Reduced first: fastavro believes a schema that says of itself that it was parsed.
    root = parse_schema(plain(schema, MEANING), named)
    return Parsed(root, named)


def plain(schema: Any, more: Collection[str] = ()) -> Any:
    """A schema reduced to what decides about bytes, and to the attributes named in `more`."""
    if isinstance(schema, list):
        return [plain(branch, more) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: schema[key] for key in ("name", "namespace", "symbols", "size", *more) if key in schema}
    inner = {key: plain(schema[key], more) for key in ("type", "items", "values", "fields") if key in schema}
    return kept | inner


def require_bounds(parsed: Parsed) -> None:
    """
    Refuse a schema whose values can exhaust the stack or the memory.

    Raises:
        ValueError: with the limit that is broken.
    """
    root = parsed.at(parsed.root)
    if not isinstance(root, dict) or root["type"] != "record":
        raise ValueError("it is not a record")
    _Walk(parsed).takes_bytes(parsed.root, 0, frozenset())


class _Walk:
    """One walk over all a value can hold; a named type is walked as often as it is used."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._fields = 0

    def takes_bytes(self, schema: Any, depth: int, within: frozenset[str]) -> bool:
        """Whether each value takes at least one byte."""
        if depth > MAX_DEPTH:
            raise ValueError(f"its types are nested more than {MAX_DEPTH} deep")
        schema = self._parsed.at(schema)
        if isinstance(schema, str):
            return schema != "null"
        if isinstance(schema, list):
            for branch in schema:
                self._count()
                self.takes_bytes(branch, depth + 1, within)
            return True
        return self._complex_takes_bytes(schema, depth, within)

    def _complex_takes_bytes(self, schema: dict[str, Any], depth: int, within: frozenset[str]) -> bool:
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._record_takes_bytes(schema, depth, within)
        if kind in ("array", "map"):
            if not self.takes_bytes(schema["items" if kind == "array" else "values"], depth + 1, within):
                raise ValueError(f"it has {kind} items that take no bytes")
            return True
        if kind == "fixed":
            return bool(schema["size"] > 0)
        return bool(kind != "null")

    def _record_takes_bytes(self, schema: dict[str, Any], depth: int, within: frozenset[str]) -> bool:
        name = schema["name"]
        if name in within:
            raise ValueError(f"its type {name} holds itself")
        sizes = []
        for field in schema["fields"]:
            self._count()
            sizes.append(self.takes_bytes(field["type"], depth + 1, within | {name}))
        return any(sizes)

    def _count(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise ValueError(f"it has more than {MAX_FIELDS} fields")


def _require_lossless(writer: Parsed, schema_id: int, unknown_fields: UnknownFields) -> None:
    found = list(differences(writer, parse(current().schema)))
    fatal = [difference for difference in found if difference.fatal]
    if fatal:
        raise UnsupportedSchema(
            f"schema id {schema_id} cannot be read as version {current().number} of the trade schema: "
            f"{_told(fatal)}; upgrade tradepipe here"
        )
    if found and unknown_fields == "stop":
        raise UnsupportedSchema(
            f"schema id {schema_id} holds more than version {current().number} of the trade schema, which would lose "
            f"{_told(found)}; upgrade tradepipe here, or choose --unknown-fields drop"
        )


def _told(found: list[Difference]) -> str:
    return "; ".join(f"{difference.told} (at {difference.path})" for difference in found)


def differences(writer: Parsed, reader: Parsed) -> Iterator[Difference]:
    """
    What is lost between two schemas, by Avro's rules of schema resolution.

    Stricter than Avro in one point: types whose logical types differ do not
    resolve, since the same bytes would be read as another value. Aliases are
    not followed: the trade schema renames nothing. Both schemas must be within
    `require_bounds`.
    """
    return _Resolution(writer, reader).of(writer.root, reader.root, "")


class _Resolution:
    def __init__(self, writer: Parsed, reader: Parsed) -> None:
        self._writer = writer
        self._reader = reader

    def of(self, writes: Any, reads: Any, path: str) -> Iterator[Difference]:
        """The differences between two types."""
        writes, reads = self._writer.at(writes), self._reader.at(reads)
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
        yield from min(tried, key=lambda found: (sum(difference.fatal for difference in found), len(found)))

    def _of_one(self, writes: Any, reads: Any, path: str) -> Iterator[Difference]:
        kind, wanted = _kind(writes), _kind(reads)
        if kind == wanted == "record":
            yield from self._of_records(writes, reads, path)
        elif kind == wanted == "enum":
            yield from _of_enums(writes, reads, path)
        elif kind == wanted == "array":
            yield from self.of(writes["items"], reads["items"], f"{path}[]")
        elif kind == wanted == "map":
            yield from self.of(writes["values"], reads["values"], f"{path}{{}}")
        elif kind != wanted and wanted not in _PROMOTIONS.get(kind, ()):
            yield Difference(path, f"{kind} is not {wanted}", fatal=True)
        elif kind == "fixed" and (writes["size"], _short(writes)) != (reads["size"], _short(reads)):
            yield Difference(path, "another fixed type", fatal=True)
        yield from _of_logical_types(writes, reads, path)

    def _of_records(self, writes: Any, reads: Any, path: str) -> Iterator[Difference]:
        path = path or _short(writes)
        if _short(writes) != _short(reads):
            yield Difference(path, f"record {_short(writes)} is not {_short(reads)}", fatal=True)
        written = {field["name"]: field for field in writes["fields"]}
        for field in reads["fields"]:
            name = field["name"]
            if name in written:
                yield from self.of(written.pop(name)["type"], field["type"], f"{path}.{name}")
            elif "default" not in field:
                yield Difference(f"{path}.{name}", f"field {name} is missing", fatal=True)
        for name in written:
            yield Difference(f"{path}.{name}", f"field {name}", fatal=False)


def _of_enums(writes: Any, reads: Any, path: str) -> Iterator[Difference]:
    if _short(writes) != _short(reads):
        yield Difference(path, f"enum {_short(writes)} is not {_short(reads)}", fatal=True)
    for symbol in writes["symbols"]:
        if symbol not in reads["symbols"]:
            yield Difference(path, f"symbol {symbol}", fatal="default" not in reads)


def _of_logical_types(writes: Any, reads: Any, path: str) -> Iterator[Difference]:
    written, read = _logical(writes), _logical(reads)
    if written == read:
        return
    if read:
        yield Difference(path, f"logical type {_shown(written)} is not {_shown(read)}", fatal=True)
    else:
        yield Difference(path, f"logical type {_shown(written)}", fatal=False)


def _kind(schema: Any) -> str:
    kind = schema if isinstance(schema, str) else schema["type"]
    return "record" if kind == "error" else str(kind)


def _short(schema: Any) -> str:
    """A named type's name without its namespace, which Avro's resolution ignores."""
    return str(schema["name"]).rpartition(".")[2]


def _logical(schema: Any) -> tuple[Any, ...]:
    if isinstance(schema, str) or "logicalType" not in schema:
        return ()
    if schema["logicalType"] == "decimal":
        return ("decimal", schema.get("precision"), schema.get("scale", 0))
    return (schema["logicalType"],)


def _shown(logical: tuple[Any, ...]) -> str:
    if not logical:
        return "none"
    return f"{logical[0]}({logical[1]},{logical[2]})" if logical[0] == "decimal" else str(logical[0])
