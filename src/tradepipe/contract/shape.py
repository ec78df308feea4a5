"""A schema as a tree of types: names resolved, and for each type where in the JSON it stands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tradepipe.contract.logical import Logical, logical_of

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

MISSING: Final[Any] = object()
"""The default of a field that has none; null is one."""


@dataclass(eq=False, slots=True)
class Type:
    """
    One type.

    Attributes:
        kind: a primitive's name, or record, enum, fixed, array, map, union.

        pointer: where it is defined, as a JSON pointer (RFC 6901).

        name: the full name of a record, enum or fixed; `aliases` are full too.

        inner: of an array its items, of a map its values.

        default: an enum's symbol for those a reader does not know.
    """

    kind: str
    pointer: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    doc: str = ""
    fields: tuple["Field", ...] = ()
    symbols: tuple[str, ...] = ()
    default: str | None = None
    size: int = 0
    inner: tuple["Type", ...] = ()
    branches: tuple["Type", ...] = ()
    logical: Logical | None = None

    @property
    def short(self) -> str:
        """The name without its namespace, by which Avro's resolution goes."""
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:
        if self.kind == "union":
            return f"[{', '.join(map(str, self.branches))}]"
        if self.inner:
            return f"{self.kind}<{self.inner[0]}>"
        plain = f"{self.kind} {self.short}" if self.name else self.kind
        if self.logical and self.logical.name in _TELLING and not self.name:
            return str(self.logical)
        return f"{plain} as {self.logical}" if self.logical else plain


_TELLING: Final = frozenset({"decimal", "date", "uuid"})
"""Names that say all without the type they stand on."""


class Field(NamedTuple):
    """One field of a record; `pointer` is where it stands."""

    name: str
    type: Type
    pointer: str
    aliases: tuple[str, ...]
    default: Any
    doc: str
    order: str

    @property
    def has_default(self) -> bool:
        """Whether old data without the field can be read."""
        return self.default is not MISSING

    @property
    def told_default(self) -> str:
        """The default as JSON."""
        return "none" if self.default is MISSING else json.dumps(self.default, ensure_ascii=False)


def shape(text: str) -> Type:
    """
    The root type of a schema that was parsed before.

    Raises:
        ValueError: the text has not the outline of a schema, or is nested too deep.
    """
    try:
        return _Builder().type(json.loads(text), "", "")
    except RecursionError as error:
        raise ValueError("the schema is nested too deep") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not an Avro schema: {error}") from error


def full_name(node: Mapping[str, Any], enclosing: str) -> str:
    """The full name of a definition within a namespace."""
    name = str(node["name"])
    if "." in name:
        return name.removeprefix(".")
    return qualified(name, str(node.get("namespace", enclosing) or ""))


def qualified(name: str, namespace: str) -> str:
    """A name in full, as it is meant within a namespace."""
    return name if "." in name or not namespace else f"{namespace}.{name}"


class _Builder:
    """One pass over the JSON; a name means the very type that was defined before."""

    def __init__(self) -> None:
        self._named: dict[str, Type] = {}

    def type(self, node: Any, namespace: str, pointer: str) -> Type:
        if isinstance(node, list):
            branches = [self.type(branch, namespace, f"{pointer}/{index}") for index, branch in enumerate(node)]
            return Type("union", pointer, branches=tuple(branches))
        if isinstance(node, str):
            return Type(node, pointer) if node in PRIMITIVES else self._meant(node, namespace)
        kind = node["type"]
        if kind in ("record", "error", "enum", "fixed"):
            return self._definition(node, namespace, pointer)
        if kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            return Type(kind, pointer, inner=(self.type(node[key], namespace, f"{pointer}/{key}"),))
        if kind not in PRIMITIVES:
            raise ValueError(f"{kind} is no type of Avro")
        return Type(kind, pointer, logical=logical_of(node))

    def _meant(self, name: str, namespace: str) -> Type:
        """The type of a name: first within the namespace, then as it is, as Java looks for it."""
        found = self._named.get(qualified(name, namespace)) or self._named.get(name)
        if found is None:
            raise ValueError(f"{name} is no type that was defined before")
        return found

    def _definition(self, node: Mapping[str, Any], enclosing: str, pointer: str) -> Type:
        name = full_name(node, enclosing)
        namespace = name.rpartition(".")[0]
        kind = "record" if node["type"] == "error" else str(node["type"])
        made = Type(
            kind,
            pointer,
            name=name,
            aliases=tuple(qualified(str(alias), namespace) for alias in node.get("aliases") or ()),
            doc=str(node.get("doc") or ""),
            symbols=tuple(node.get("symbols", ())),
            default=node.get("default"),
            size=node.get("size", 0),
            logical=logical_of(node),
        )
        self._named[name] = made
        made.fields = tuple(
            self._field(each, namespace, f"{pointer}/fields/{index}")
            for index, each in enumerate(node.get("fields", ()))
        )
        return made

    def _field(self, node: Mapping[str, Any], namespace: str, pointer: str) -> Field:
        return Field(
            name=node["name"],
            type=self.type(node["type"], namespace, f"{pointer}/type"),
            pointer=pointer,
            aliases=tuple(node.get("aliases") or ()),
            default=node.get("default", MISSING),
            doc=str(node.get("doc") or ""),
            order=str(node.get("order", "ascending")),
        )
