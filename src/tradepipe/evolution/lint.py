"""Checks of a single schema: defaults, names and portability."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

from tradepipe.evolution.compatibility import parse
from tradepipe.evolution.findings import Finding, Severity, only_errors
from tradepipe.evolution.json_pointers import locate
from tradepipe.evolution.schema_tree import (
    BASE_TYPES,
    PORTABLE_LOGICAL_TYPES,
    PRIMITIVES,
    full_name,
    ignored_reason,
    qualify,
)

Named = Callable[[str], Any]
"""The definition that a name means, or None."""

_RANGES: Final = {"int": 2**31, "long": 2**63}


def default_matches(value: Any, schema: Any, named: Named) -> bool:
    """
    Whether a default is a value of a schema; of a union's, of any branch.

    What is no schema is nobody's default: it is told elsewhere.
    """
    if isinstance(schema, list):
        return any(default_matches(value, branch, named) for branch in schema)
    if isinstance(schema, str) and schema not in _MATCHERS:
        definition = named(schema)
        return definition is None or default_matches(value, definition, named)
    kind = schema if isinstance(schema, str) else schema.get("type")
    judge = _MATCHERS.get(kind) if isinstance(kind, str) else None
    return judge is None or judge(value, schema, named)


def _is_number(value: Any, schema: Any, _named: Named) -> bool:
    limit = _RANGES[schema if isinstance(schema, str) else schema["type"]]
    return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit


def _is_float(value: Any, _schema: Any, _named: Named) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bytes(value: Any, _schema: Any, _named: Named) -> bool:
    """Text whose characters are the bytes."""
    return isinstance(value, str) and all(ord(character) < 256 for character in value)


def _is_fixed(value: Any, schema: Any, named: Named) -> bool:
    return _is_bytes(value, schema, named) and len(value) == schema.get("size")


def _is_array(value: Any, schema: Any, named: Named) -> bool:
    return isinstance(value, list) and all(default_matches(each, schema.get("items"), named) for each in value)


def _is_map(value: Any, schema: Any, named: Named) -> bool:
    return isinstance(value, Mapping) and all(
        default_matches(each, schema.get("values"), named) for each in value.values()
    )


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
    "fixed": _is_fixed,
    "enum": lambda value, schema, _named: value in schema.get("symbols", ()),
    "array": _is_array,
    "map": _is_map,
    "record": _is_record,
    "error": _is_record,
}


_is_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII).fullmatch

_NAMED_KINDS: Final = ("record", "error", "enum", "fixed")

_WARNINGS: Final = frozenset({"enum-without-default", "nullable-without-default"})

FIXES: Final = {
    "decimal-impossible": "Choose precision and scale that the type can hold.",
    "default-of-later-branch": "Put the default's type first in the union.",
    "default-type": "Give a default of the field's type.",
    "duplicate": "Name each only once.",
    "duplicate-key": "Keep one of the two.",
    "enum-default": "Name one of the symbols.",
    "enum-without-default": 'Add a symbol such as UNKNOWN, and say "default": "UNKNOWN" in the enum.',
    "error-type": "Say record.",
    "logical-type-ignored": "Put it on a type that carries it.",
    "logical-type-misplaced": 'Move it into the type: {"type": {"type": …, "logicalType": …}}.',
    "logical-type-unknown": f"Take one of {', '.join(sorted(PORTABLE_LOGICAL_TYPES))}.",
    "name": "Begin with a letter or _, and go on with letters, digits and _.",
    "nested-union": "Put the branches into one union.",
    "not-a-record": "Put it into a record.",
    "not-a-schema": "Write it as the specification of Avro has it.",
    "nullable-without-default": 'Say "default": null, with null as the first branch.',
    "unknown-type": "Define the type before it is used, or mend its name.",
}
"""Rule → what to do instead."""


def lint(text: str) -> tuple[Finding, ...]:
    """
    All that is wrong with a schema by itself, in the order of the text.

    Without an error, Java's parser and both of Python's take the schema, and no
    reader ignores a part of it.
    """
    try:
        root = json.loads(text, parse_constant=_no_constant)
        found = (*_duplicate_key_finding(text), *_walk(root))
        if not only_errors(found):
            parse(text)
    except json.JSONDecodeError as error:
        return (_no_schema(f"This is no JSON: {error}."),)
    except ValueError as error:
        told = " ".join(str(error).removeprefix("not an Avro schema: ").split())
        return (_no_schema(f"This is no Avro schema: {told}."),)
    except RecursionError:
        return (_no_schema("This is nested too deep for any parser."),)
    return found


def _walk(root: Any) -> tuple[Finding, ...]:
    """What the walk finds; where it meets what is not even the outline of a schema, it ends."""
    try:
        return tuple(_Lint(root).root())
    except (AttributeError, KeyError, TypeError):
        return (_no_schema("This has not the outline of an Avro schema."),)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_schema(told: str) -> Finding:
    return _finding("not-a-schema", "", "", told)


def _duplicate_key_finding(text: str) -> Iterator[Finding]:
    for pointer in locate(text).duplicate_keys:
        key = pointer.rpartition("/")[2]
        told = f'The key "{key}" stands here twice, and parsers differ in which they keep.'
        yield _finding("duplicate-key", "", pointer, told)


def _finding(rule: str, path: str, pointer: str, sentence: str) -> Finding:
    severity = Severity.WARNING if rule in _WARNINGS else Severity.ERROR
    return Finding(rule, severity, path, sentence, FIXES[rule], pointer=pointer)


class _Position:
    """A place in the schema: its path by names, its JSON pointer, and the namespace that holds there."""

    def __init__(self, path: str, pointer: str, namespace: str) -> None:
        self.path = path
        self.pointer = pointer
        self.namespace = namespace

    def at(self, piece: str, *keys: object) -> "_Position":
        """A place below."""
        return _Position(self.path + piece, "/".join([self.pointer, *map(str, keys)]), self.namespace)

    def of(self, rule: str, sentence: str) -> Finding:
        """A finding here."""
        return _finding(rule, self.path, self.pointer, sentence)


class _Lint:
    """One walk over the JSON; where it is not even the outline of a schema, parsers have the word."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._named: dict[str, Any] = {}

    def root(self) -> Iterator[Finding]:
        root = self._root
        is_record = isinstance(root, dict) and root.get("type") in ("record", "error")
        name = str(root.get("name", "")) if is_record else ""
        place = _Position(name.rpartition(".")[2], "", "")
        if not is_record:
            yield place.of("not-a-record", "A record of Kafka is one of Avro: this schema is of another type.")
        yield from self._type(root, place)

    def _type(self, node: Any, place: _Position) -> Iterator[Finding]:
        if isinstance(node, list):
            yield from self._union(node, place)
        elif isinstance(node, str):
            if node not in PRIMITIVES and self._meant(node, place.namespace) is None:
                yield place.of("unknown-type", f"{node} is neither a type of Avro nor defined before.")
        elif isinstance(node, dict):
            yield from self._complex(node, place)

    def _meant(self, name: str, namespace: str) -> Any:
        return self._named.get(qualify(name, namespace), self._named.get(name))

    def _union(self, branches: list[Any], place: _Position) -> Iterator[Finding]:
        seen = set()
        for index, branch in enumerate(branches):
            label = self._label(branch, place.namespace)
            if isinstance(branch, list):
                yield place.at("", index).of("nested-union", "A union cannot stand within a union.")
            elif label in seen:
                yield place.at("", index).of("duplicate", f"The union has {label} twice.")
            else:
                yield from self._type(branch, place.at("", index))
            seen.add(label)

    def _label(self, branch: Any, namespace: str) -> str:
        """What tells a union's branches apart: the full name, or the kind."""
        if isinstance(branch, dict) and branch.get("type") in _NAMED_KINDS and "name" in branch:
            return full_name(branch, namespace)
        kind = branch.get("type") if isinstance(branch, dict) else branch
        return str(kind) if not isinstance(branch, str) or kind in PRIMITIVES else qualify(str(kind), namespace)

    def _complex(self, node: Mapping[str, Any], place: _Position) -> Iterator[Finding]:
        kind = node.get("type")
        if kind in _NAMED_KINDS:
            yield from self._definition(node, place)
        elif kind in ("array", "map"):
            key, piece = ("items", "[]") if kind == "array" else ("values", "{}")
            yield from self._type(node.get(key), place.at(piece, key))
        yield from _logical(node, place)

    def _definition(self, node: Mapping[str, Any], place: _Position) -> Iterator[Finding]:
        if node["type"] == "error":
            yield place.of("error-type", "The type error is for protocols; some parsers do not know it in a schema.")
        if not isinstance(node.get("name"), str):
            return
        name = full_name(node, place.namespace)
        names = [name, *(alias for alias in node.get("aliases") or () if isinstance(alias, str))]
        yield from (place.of("name", f"{each} is no name in Avro.") for each in names if not _is_full_name(each))
        if name in self._named:
            yield place.of("duplicate", f"{name} is defined twice.")
        self._named[name] = node
        within = _Position(place.path, place.pointer, name.rpartition(".")[0])
        yield from self._fields(node, within) if node["type"] in ("record", "error") else _symbols(node, within)

    def _fields(self, node: Mapping[str, Any], place: _Position) -> Iterator[Finding]:
        seen = set()
        fields = node.get("fields")
        for index, field in enumerate(fields if isinstance(fields, list) else ()):
            if not isinstance(field, dict) or not isinstance(field.get("name"), str):
                continue
            below = place.at(f".{field['name']}", "fields", index)
            if field["name"] in seen:
                yield below.of("duplicate", f"The record has two fields {field['name']}.")
            seen.add(field["name"])
            yield from self._field(field, below)

    def _field(self, field: Mapping[str, Any], place: _Position) -> Iterator[Finding]:
        names = [field["name"], *(alias for alias in field.get("aliases") or () if isinstance(alias, str))]
        yield from (place.of("name", f"{name} is no name in Avro.") for name in names if not _is_name(name))
        if "logicalType" in field:
            told = f"The logical type {field['logicalType']} stands on the field, where every reader ignores it."
            yield place.of("logical-type-misplaced", told)
        kind = field.get("type")
        yield from self._type(kind, place.at("", "type"))
        if "default" in field:
            yield from self._default(field["default"], kind, place)
        elif isinstance(kind, list) and "null" in kind:
            told = "The field may be null, but has no default: readers fail at records that lack it."
            yield place.of("nullable-without-default", told)

    def _default(self, default: Any, kind: Any, place: _Position) -> Iterator[Finding]:
        shown = json.dumps(default, ensure_ascii=False)

        def named(name: str) -> Any:
            return self._meant(name, place.namespace)

        first = kind[0] if isinstance(kind, list) and kind else kind
        definition = named(first) if isinstance(first, str) and first not in PRIMITIVES else first
        if default_matches(default, first, named):
            return
        if isinstance(kind, list) and default_matches(default, kind, named):
            told = f"The default {shown} is of a later branch: parsers before Avro 1.12 take only the first one's."
            yield place.of("default-of-later-branch", told)
        elif isinstance(definition, dict) and definition.get("type") == "enum":
            yield place.of("enum-default", f"The default {shown} is none of the symbols, and no parser sees it.")
        else:
            yield place.of("default-type", f"The default {shown} is no value of the field's type.")


def _is_full_name(name: str) -> bool:
    return all(_is_name(piece) for piece in name.split("."))


def _symbols(node: Mapping[str, Any], place: _Position) -> Iterator[Finding]:
    symbols = node.get("symbols")
    if node["type"] != "enum" or not isinstance(symbols, list):
        return
    for index, symbol in enumerate(symbols):
        if not isinstance(symbol, str) or not _is_name(symbol):
            yield place.at("", "symbols", index).of("name", f"{symbol!r} is no symbol in Avro.")
        elif symbol in symbols[:index]:
            yield place.at("", "symbols", index).of("duplicate", f"The symbol {symbol} is there twice.")
    if "default" not in node:
        told = "The enum has no default symbol: old readers will fail at every symbol that is added later."
        yield place.of("enum-without-default", told)
    elif node["default"] not in symbols:
        yield place.of("enum-default", f"The enum's default {node['default']!r} is none of its symbols.")


def _logical(node: Mapping[str, Any], place: _Position) -> Iterator[Finding]:
    name = node.get("logicalType")
    if name is None:
        return
    if name not in PORTABLE_LOGICAL_TYPES:
        yield place.of("logical-type-unknown", f"The logical type {name} is ignored by readers that do not know it.")
    elif why := ignored_reason(node):
        rule = (
            "decimal-impossible"
            if name == "decimal" and node.get("type") in BASE_TYPES[name]
            else "logical-type-ignored"
        )
        yield place.of(rule, f"Readers drop the logical type without a word: {why}.")
