"""Avro schema as a tree of types, with JSON pointers and logical types."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

BASE_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "date": frozenset({"int"}),
    "decimal": frozenset({"bytes", "fixed"}),
    "duration": frozenset({"fixed"}),
    "local-timestamp-micros": frozenset({"long"}),
    "local-timestamp-millis": frozenset({"long"}),
    "local-timestamp-nanos": frozenset({"long"}),
    "time-micros": frozenset({"long"}),
    "time-millis": frozenset({"int"}),
    "timestamp-micros": frozenset({"long"}),
    "timestamp-millis": frozenset({"long"}),
    "timestamp-nanos": frozenset({"long"}),
    "uuid": frozenset({"fixed", "string"}),
}
"""The logical types of the Avro 1.12 specification and the types they annotate; on other types readers ignore them."""

RARE_LOGICAL_TYPES: Final = frozenset(
    {("long", "timestamp-nanos"), ("long", "local-timestamp-nanos"), ("fixed", "uuid"), ("fixed", "duration")}
)
"""The types and their logical types that some languages read as the plain type: those of Avro 1.12, and duration."""

_FIXED_SIZES: Final = {"duration": 12, "uuid": 16}
"""The size in bytes of a fixed that one of these logical types annotates."""


class Logical(NamedTuple):
    """A logical type, with precision and scale if it is a decimal."""

    name: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"{self.name}({self.precision},{self.scale})" if self.name == "decimal" else self.name


def logical_of(node: Any) -> Logical | None:
    """
    Return the logical type of a schema node, or None if readers ignore it.

    A logical type that is not in `BASE_TYPES` counts, since some reader may
    implement it.
    """
    name = node.get("logicalType") if isinstance(node, dict) else None
    if not isinstance(name, str) or (name in BASE_TYPES and ignored_reason(node)):
        return None
    return Logical(name, node["precision"], node.get("scale", 0)) if name == "decimal" else Logical(name)


def ignored_reason(node: Mapping[str, Any]) -> str | None:  # noqa: PLR0911 - one case for each reason
    """Explain why readers ignore the node's logical type, which is in `BASE_TYPES`; None if they do not."""
    name, kind = node["logicalType"], node.get("type")
    if kind not in BASE_TYPES[name]:
        return f"{name} on {kind} is ignored: it annotates {' or '.join(sorted(BASE_TYPES[name]))}"
    if kind == "fixed" and node.get("size") != _FIXED_SIZES.get(name, node.get("size")):
        return f"{name} on a fixed of {node.get('size')} bytes is ignored: it needs {_FIXED_SIZES[name]} bytes"
    if name != "decimal":
        return None
    precision: Any = node.get("precision")
    scale: Any = node.get("scale", 0)
    if not _is_count(precision) or precision == 0:
        return f"precision {precision!r} is not a positive integer"
    if not _is_count(scale) or scale > precision:
        return f"scale {scale!r} is not between 0 and precision {precision}"
    if kind == "fixed" and precision > max_digits(node.get("size")):
        return f"precision {precision} is more than the {max_digits(node.get('size'))} digits its bytes can hold"
    return None


def max_digits(size: Any) -> int:
    """Return how many decimal digits a signed integer of a size in bytes can always hold."""
    return len(str(2 ** (8 * size - 1) - 1)) - 1 if _is_count(size) and 0 < size <= 1024 else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

MISSING: Final[Any] = object()
"""Default of a field without one; None is the default null."""


@dataclass(eq=False, slots=True)
class SchemaType:
    """
    One type of a schema.

    Attributes:
        kind: name of a primitive type, or record, enum, fixed, array, map, union.

        pointer: JSON pointer (RFC 6901) of the definition.

        name, aliases: full names of a record, enum or fixed.

        inner: the item type of an array or the value type of a map.

        default: an enum's symbol for unknown symbols.
    """

    kind: str
    pointer: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    doc: str = ""
    fields: tuple["SchemaField", ...] = ()
    symbols: tuple[str, ...] = ()
    default: str | None = None
    size: int = 0
    inner: tuple["SchemaType", ...] = ()
    branches: tuple["SchemaType", ...] = ()
    logical: Logical | None = None

    @property
    def short(self) -> str:
        """Name without the namespace, which schema resolution compares."""
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:
        if self.kind == "union":
            return f"[{', '.join(map(str, self.branches))}]"
        if self.inner:
            return f"{self.kind}<{self.inner[0]}>"
        plain = f"{self.kind} {self.short}" if self.name else self.kind
        if self.logical and self.logical.name in _SELF_EXPLANATORY and not self.name:
            return str(self.logical)
        return f"{plain} as {self.logical}" if self.logical else plain


_SELF_EXPLANATORY: Final = frozenset({"decimal", "date", "uuid"})
"""Logical types that are shown without the type they annotate."""


class SchemaField(NamedTuple):
    """One field of a record, with the JSON pointer of its definition."""

    name: str
    type: SchemaType
    pointer: str
    aliases: tuple[str, ...]
    default: Any
    doc: str
    order: str

    @property
    def has_default(self) -> bool:
        """Whether the field has a default, so that records without it can be read."""
        return self.default is not MISSING

    @property
    def default_json(self) -> str:
        """Default as JSON, or none."""
        return "none" if self.default is MISSING else json.dumps(self.default, ensure_ascii=False)


def parse_schema_tree(text: str) -> SchemaType:
    """Parse the text of a valid schema, and return its root type; ValueError if it is invalid, or nested too deeply."""
    try:
        return build_schema_tree(json.loads(text))
    except RecursionError as error:
        raise ValueError("the schema is nested too deep") from error


def build_schema_tree(schema: Any) -> SchemaType:
    """Build the types of a schema, given as JSON values; ValueError if it is invalid, or nested too deeply."""
    try:
        return _Builder().type(schema, "", "")
    except RecursionError as error:
        raise ValueError("the schema is nested too deep") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not an Avro schema: {error}") from error


def full_name(node: Mapping[str, Any], enclosing: str) -> str:
    """Return the full name of a definition within a namespace."""
    name = str(node["name"])
    if "." in name:
        return name.removeprefix(".")
    return qualify(name, str(node.get("namespace", enclosing) or ""))


def qualify(name: str, namespace: str) -> str:
    """Return the full name that a name refers to within a namespace."""
    return name if "." in name or not namespace else f"{namespace}.{name}"


class _Builder:
    """One pass over the JSON; a name refers to the type that was defined before it."""

    def __init__(self) -> None:
        self._named: dict[str, SchemaType] = {}

    def type(self, node: Any, namespace: str, pointer: str) -> SchemaType:
        if isinstance(node, list):
            branches = [self.type(branch, namespace, f"{pointer}/{index}") for index, branch in enumerate(node)]
            return SchemaType("union", pointer, branches=tuple(branches))
        if isinstance(node, str):
            if node in PRIMITIVES:
                return SchemaType(node, pointer)
            # First within the namespace, then as a full name, as Java does.
            found = self._named.get(qualify(node, namespace)) or self._named.get(node)
            if found is None:
                raise ValueError(f"{node} is not defined before its use")
            return found
        kind = node["type"]
        if kind in ("record", "error", "enum", "fixed"):
            return self._definition(node, namespace, pointer)
        if kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            return SchemaType(kind, pointer, inner=(self.type(node[key], namespace, f"{pointer}/{key}"),))
        if kind not in PRIMITIVES:
            raise ValueError(f"{kind} is not an Avro type")
        return SchemaType(kind, pointer, logical=logical_of(node))

    def _definition(self, node: Mapping[str, Any], enclosing: str, pointer: str) -> SchemaType:
        name = full_name(node, enclosing)
        namespace = name.rpartition(".")[0]
        kind = "record" if node["type"] == "error" else str(node["type"])
        defined = SchemaType(
            kind,
            pointer,
            name=name,
            aliases=tuple(qualify(str(alias), namespace) for alias in node.get("aliases") or ()),
            doc=str(node.get("doc") or ""),
            symbols=tuple(node.get("symbols", ())),
            default=node.get("default"),
            size=node.get("size", 0),
            logical=logical_of(node),
        )
        # Registered before its fields are built, since a field may refer to its own record.
        self._named[name] = defined
        defined.fields = tuple(
            self._field(each, namespace, f"{pointer}/fields/{index}")
            for index, each in enumerate(node.get("fields", ()))
        )
        return defined

    def _field(self, node: Mapping[str, Any], namespace: str, pointer: str) -> SchemaField:
        return SchemaField(
            name=node["name"],
            type=self.type(node["type"], namespace, f"{pointer}/type"),
            pointer=pointer,
            aliases=tuple(node.get("aliases") or ()),
            default=node.get("default", MISSING),
            doc=str(node.get("doc") or ""),
            order=str(node.get("order", "ascending")),
        )
