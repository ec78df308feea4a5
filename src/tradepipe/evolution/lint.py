"""Checks of a single schema: defaults, names and portability."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

from tradepipe.evolution.compatibility import check_schema
from tradepipe.evolution.findings import Finding, Severity, only_errors
from tradepipe.evolution.json_pointers import locate
from tradepipe.evolution.schema_tree import (
    BASE_TYPES,
    PRIMITIVES,
    RARE_LOGICAL_TYPES,
    full_name,
    ignored_reason,
    qualify,
)

Named = Callable[[str], Any]
"""Look-up of the definition of a name; returns None for an unknown one."""

_RANGES: Final = {"int": 2**31, "long": 2**63}


def default_matches(value: Any, schema: Any, named: Named) -> bool:
    """
    Return whether a default is a value of a schema, or of any branch of a union.

    An invalid schema accepts every default: another rule reports it.
    """
    if isinstance(schema, list):
        return any(default_matches(value, branch, named) for branch in schema)
    if isinstance(schema, str) and schema not in _MATCHERS:
        definition = named(schema)
        return definition is None or default_matches(value, definition, named)
    kind = schema if isinstance(schema, str) else schema.get("type")
    matches = _MATCHERS.get(kind) if isinstance(kind, str) else None
    return matches is None or matches(value, schema, named)


def _is_number(value: Any, schema: Any, _named: Named) -> bool:
    limit = _RANGES[schema if isinstance(schema, str) else schema["type"]]
    # bool is an int in Python, but not in Avro.
    return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit


def _is_float(value: Any, _schema: Any, _named: Named) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bytes(value: Any, _schema: Any, _named: Named) -> bool:
    """Return whether a value is a text whose characters encode bytes."""
    return isinstance(value, str) and all(ord(character) < 256 for character in value)


def _is_record(value: Any, schema: Any, named: Named) -> bool:
    return isinstance(value, Mapping) and all(
        default_matches(value[field["name"]], field["type"], named) if field["name"] in value else "default" in field
        for field in schema.get("fields", ())
    )


_MATCHERS: Final[Mapping[str, Callable[[Any, Any, Named], bool]]] = {
    "null": lambda value, _schema, _named: value is None,
    "boolean": lambda value, _schema, _named: isinstance(value, bool),
    "int": _is_number,
    "long": _is_number,
    "float": _is_float,
    "double": _is_float,
    "bytes": _is_bytes,
    "string": lambda value, _schema, _named: isinstance(value, str),
    "fixed": lambda value, schema, named: _is_bytes(value, schema, named) and len(value) == schema.get("size"),
    "enum": lambda value, schema, _named: value in schema.get("symbols", ()),
    "array": lambda value, schema, named: (
        isinstance(value, list) and all(default_matches(each, schema.get("items"), named) for each in value)
    ),
    "map": lambda value, schema, named: (
        isinstance(value, Mapping)
        and all(default_matches(each, schema.get("values"), named) for each in value.values())
    ),
    "record": _is_record,
    "error": _is_record,
}


_is_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII).fullmatch

_NAMED_KINDS: Final = ("record", "error", "enum", "fixed")

_WARNINGS: Final = frozenset({"enum-without-default", "logical-type-rare", "nullable-without-default"})

FIXES: Final = {
    "decimal-impossible": "Choose a precision and a scale that fit the type.",
    "default-of-later-branch": "Make the default's type the first branch of the union.",
    "default-type": "Give a default of the field's type.",
    "duplicate": "Use each name once.",
    "duplicate-key": "Keep one of them.",
    "enum-default": "Use one of the symbols.",
    "enum-without-default": 'Add a symbol such as UNKNOWN, and "default": "UNKNOWN" to the enum.',
    "error-type": "Use the type record.",
    "logical-type-ignored": "Use it on a type that it annotates.",
    "logical-type-misplaced": 'Move it into the type: {"type": {"type": …, "logicalType": …}}.',
    "logical-type-rare": "Check that the libraries of every consumer support it.",
    "logical-type-unknown": f"Use one of {', '.join(sorted(BASE_TYPES))}.",
    "name": "Use letters, digits and _ only, and do not begin with a digit.",
    "nested-union": "Merge the branches into one union.",
    "not-a-record": "Wrap it in a record.",
    "not-a-schema": "Follow the Avro specification.",
    "nullable-without-default": 'Add "default": null, with null as the first branch.',
    "unknown-type": "Define the type before its first use, or correct its name.",
}
"""Fixes by rule."""


def lint(text: str) -> tuple[Finding, ...]:
    """
    Check a single schema; return the findings in the order of its text.

    A schema without errors is accepted by Java's parser and by both Python
    parsers, and no reader ignores a part of it.
    """
    try:
        root = json.loads(text, parse_constant=_no_constant)
        duplicates = [
            _finding(
                "duplicate-key",
                "",
                pointer,
                f'The key "{pointer.rpartition("/")[2]}" occurs twice, and parsers differ in which value they keep.',
            )
            for pointer in locate(text).duplicate_keys
        ]
        try:
            found = (*duplicates, *_Lint(root).root())
        except (AttributeError, KeyError, TypeError):
            found = (*duplicates, _no_schema("The JSON does not have the structure of an Avro schema."))
        # The parser last: it stops at the first error, and names no location.
        if not only_errors(found):
            check_schema(text)
    except json.JSONDecodeError as error:
        return (_no_schema(f"The schema is not JSON: {error}."),)
    except ValueError as error:
        message = " ".join(str(error).removeprefix("not an Avro schema: ").split())
        return (_no_schema(f"The schema is not an Avro schema: {message}."),)
    except RecursionError:
        return (_no_schema("The schema is nested too deep for a parser."),)
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_schema(message: str) -> Finding:
    return _finding("not-a-schema", "", "", message)


def _finding(rule: str, path: str, pointer: str, message: str) -> Finding:
    severity = Severity.WARNING if rule in _WARNINGS else Severity.ERROR
    return Finding(rule, severity, path, message, FIXES[rule], pointer=pointer)


class _Location:
    """A location in the schema: path by names, JSON pointer, and enclosing namespace."""

    def __init__(self, path: str, pointer: str, namespace: str) -> None:
        self.path = path
        self.pointer = pointer
        self.namespace = namespace

    def at(self, piece: str, *keys: object) -> "_Location":
        """Return a location below this one."""
        return _Location(self.path + piece, "/".join([self.pointer, *map(str, keys)]), self.namespace)

    def of(self, rule: str, message: str) -> Finding:
        """Return a finding at this location."""
        return _finding(rule, self.path, self.pointer, message)


class _Lint:
    """One walk over a schema's JSON, which may be invalid in every way."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._named: dict[str, Any] = {}

    def root(self) -> Iterator[Finding]:
        root = self._root
        is_record = isinstance(root, dict) and root.get("type") in ("record", "error")
        name = str(root.get("name", "")) if is_record else ""
        location = _Location(name.rpartition(".")[2], "", "")
        if not is_record:
            yield location.of("not-a-record", "The schema of a Kafka record must be an Avro record.")
        yield from self._type(root, location)

    def _type(self, node: Any, location: _Location) -> Iterator[Finding]:
        if isinstance(node, list):
            yield from self._union(node, location)
        elif isinstance(node, str):
            if node not in PRIMITIVES and self._find_definition(node, location.namespace) is None:
                yield location.of("unknown-type", f"{node} is neither an Avro type nor defined before its use.")
        elif isinstance(node, dict):
            kind = node.get("type")
            if kind in _NAMED_KINDS:
                yield from self._definition(node, location)
            elif kind in ("array", "map"):
                key, piece = ("items", "[]") if kind == "array" else ("values", "{}")
                yield from self._type(node.get(key), location.at(piece, key))
            yield from _logical(node, location)

    def _find_definition(self, name: str, namespace: str) -> Any:
        return self._named.get(qualify(name, namespace), self._named.get(name))

    def _union(self, branches: list[Any], location: _Location) -> Iterator[Finding]:
        seen = set()
        for index, branch in enumerate(branches):
            kind = branch.get("type") if isinstance(branch, dict) else branch
            # What distinguishes the branches of a union: the full name or the kind.
            label = str(kind)
            if isinstance(branch, dict) and kind in _NAMED_KINDS and "name" in branch:
                label = full_name(branch, location.namespace)
            elif isinstance(branch, str) and branch not in PRIMITIVES:
                label = qualify(branch, location.namespace)
            if isinstance(branch, list):
                yield location.at("", index).of("nested-union", "A union must not contain a union.")
            elif label in seen:
                yield location.at("", index).of("duplicate", f"The union has {label} twice.")
            else:
                yield from self._type(branch, location.at("", index))
            # Two arrays have one label too, since a reader could not tell their branches apart.
            seen.add(label)

    def _definition(self, node: Mapping[str, Any], location: _Location) -> Iterator[Finding]:
        if node["type"] == "error":
            yield location.of(
                "error-type", "The type error is for protocols; some parsers do not support it in a schema."
            )
        if not isinstance(node.get("name"), str):
            return
        name = full_name(node, location.namespace)
        names = [name, *(alias for alias in node.get("aliases") or () if isinstance(alias, str))]
        yield from (
            location.of("name", f"{each} is not a valid Avro name.")
            for each in names
            if not all(map(_is_name, each.split(".")))
        )
        if name in self._named:
            yield location.of("duplicate", f"{name} is defined twice.")
        # Before its fields: a type may contain itself.
        self._named[name] = node
        within = _Location(location.path, location.pointer, name.rpartition(".")[0])
        yield from self._fields(node, within) if node["type"] in ("record", "error") else _symbols(node, within)

    def _fields(self, node: Mapping[str, Any], location: _Location) -> Iterator[Finding]:
        seen = set()
        fields = node.get("fields")
        for index, field in enumerate(fields if isinstance(fields, list) else ()):
            if not isinstance(field, dict) or not isinstance(field.get("name"), str):
                continue
            below = location.at(f".{field['name']}", "fields", index)
            if field["name"] in seen:
                yield below.of("duplicate", f"The record has two fields {field['name']}.")
            seen.add(field["name"])
            yield from self._field(field, below)

    def _field(self, field: Mapping[str, Any], location: _Location) -> Iterator[Finding]:
        names = [field["name"], *(alias for alias in field.get("aliases") or () if isinstance(alias, str))]
        yield from (location.of("name", f"{name} is not a valid Avro name.") for name in names if not _is_name(name))
        if "logicalType" in field:
            message = f"The logical type {field['logicalType']} is on the field, where every reader ignores it."
            yield location.of("logical-type-misplaced", message)
        kind = field.get("type")
        yield from self._type(kind, location.at("", "type"))
        if "default" in field:
            yield from self._default(field["default"], kind, location)
        elif isinstance(kind, list) and "null" in kind:
            message = "The field is nullable but has no default: readers fail on records without it."
            yield location.of("nullable-without-default", message)

    def _default(self, default: Any, kind: Any, location: _Location) -> Iterator[Finding]:
        default_json = json.dumps(default, ensure_ascii=False)

        def named(name: str) -> Any:
            return self._find_definition(name, location.namespace)

        # Up to Avro 1.11, a default is of the union's first branch.
        first = kind[0] if isinstance(kind, list) and kind else kind
        definition = named(first) if isinstance(first, str) and first not in PRIMITIVES else first
        if default_matches(default, first, named):
            return
        if isinstance(kind, list) and default_matches(default, kind, named):
            message = f"The default {default_json} is of a later branch; before Avro 1.12 it must be of the first."
            yield location.of("default-of-later-branch", message)
        elif isinstance(definition, dict) and definition.get("type") == "enum":
            yield location.of(
                "enum-default", f"The default {default_json} is not one of the symbols, and parsers do not detect this."
            )
        else:
            yield location.of("default-type", f"The default {default_json} is not a value of the field's type.")


def _symbols(node: Mapping[str, Any], location: _Location) -> Iterator[Finding]:
    symbols = node.get("symbols")
    if node["type"] != "enum" or not isinstance(symbols, list):
        return
    seen = set()
    for index, symbol in enumerate(symbols):
        if not isinstance(symbol, str) or not _is_name(symbol):
            yield location.at("", "symbols", index).of("name", f"{symbol!r} is not a valid Avro symbol.")
        elif symbol in seen:
            yield location.at("", "symbols", index).of("duplicate", f"The symbol {symbol} occurs twice.")
        else:
            seen.add(symbol)
    if "default" not in node:
        message = "The enum has no default symbol: old readers will fail on every symbol that is added later."
        yield location.of("enum-without-default", message)
    elif node["default"] not in symbols:
        yield location.of("enum-default", f"The enum's default {node['default']!r} is not one of its symbols.")


def _logical(node: Mapping[str, Any], location: _Location) -> Iterator[Finding]:
    name = node.get("logicalType")
    if name is None:
        return
    if name not in BASE_TYPES:
        yield location.of(
            "logical-type-unknown", f"The logical type {name} is ignored by readers that do not support it."
        )
    elif reason := ignored_reason(node):
        rule = (
            "decimal-impossible"
            if name == "decimal" and node.get("type") in BASE_TYPES[name]
            else "logical-type-ignored"
        )
        yield location.of(rule, f"Readers ignore the logical type without an error: {reason}.")
    elif (node.get("type"), name) in RARE_LOGICAL_TYPES:
        message = f"Not every reader supports {name} on {node['type']}: some read the plain {node['type']}."
        yield location.of("logical-type-rare", message)
