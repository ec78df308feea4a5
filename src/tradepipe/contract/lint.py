"""Whether a schema means everywhere what it says: what both parsers take, less what all of them pass over."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from tradepipe.contract.compatibility import parse
from tradepipe.contract.defaults import fits
from tradepipe.contract.finding import Finding, Severity, errors
from tradepipe.contract.layout import layout
from tradepipe.contract.logical import BASES, defect
from tradepipe.contract.shape import PRIMITIVES, full_name, qualified

_is_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII).fullmatch

_NAMED: Final = ("record", "error", "enum", "fixed")

_WARNINGS: Final = frozenset({"enum-without-default", "nullable-without-default"})

MENDS: Final = {
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
    "logical-type-unknown": f"Take one of {', '.join(sorted(BASES))}.",
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
        found = (*_twice(text), *_walked(root))
        if not errors(found):
            parse(text)
    except json.JSONDecodeError as error:
        return (_no_schema(f"This is no JSON: {error}."),)
    except ValueError as error:
        told = " ".join(str(error).removeprefix("not an Avro schema: ").split())
        return (_no_schema(f"This is no Avro schema: {told}."),)
    except RecursionError:
        return (_no_schema("This is nested too deep for any parser."),)
    return found


def _walked(root: Any) -> tuple[Finding, ...]:
    """What the walk finds; where it meets what is not even the outline of a schema, it ends."""
    try:
        return tuple(_Lint(root).root())
    except (AttributeError, KeyError, TypeError):
        return (_no_schema("This has not the outline of an Avro schema."),)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_schema(told: str) -> Finding:
    return _finding("not-a-schema", "", "", told)


def _twice(text: str) -> Iterator[Finding]:
    for pointer in layout(text).twice:
        key = pointer.rpartition("/")[2]
        told = f'The key "{key}" stands here twice, and parsers differ in which they keep.'
        yield _finding("duplicate-key", "", pointer, told)


def _finding(rule: str, path: str, pointer: str, sentence: str) -> Finding:
    severity = Severity.WARNING if rule in _WARNINGS else Severity.ERROR
    return Finding(rule, severity, path, sentence, MENDS[rule], pointer=pointer)


class _Place:
    """A place in the schema: its path by names, its JSON pointer, and the namespace that holds there."""

    def __init__(self, path: str, pointer: str, namespace: str) -> None:
        self.path = path
        self.pointer = pointer
        self.namespace = namespace

    def at(self, piece: str, *keys: object) -> "_Place":
        """A place below."""
        return _Place(self.path + piece, "/".join([self.pointer, *map(str, keys)]), self.namespace)

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
        place = _Place(name.rpartition(".")[2], "", "")
        if not is_record:
            yield place.of("not-a-record", "A record of Kafka is one of Avro: this schema is of another type.")
        yield from self._type(root, place)

    def _type(self, node: Any, place: _Place) -> Iterator[Finding]:
        if isinstance(node, list):
            yield from self._union(node, place)
        elif isinstance(node, str):
            if node not in PRIMITIVES and self._meant(node, place.namespace) is None:
                yield place.of("unknown-type", f"{node} is neither a type of Avro nor defined before.")
        elif isinstance(node, dict):
            yield from self._complex(node, place)

    def _meant(self, name: str, namespace: str) -> Any:
        return self._named.get(qualified(name, namespace), self._named.get(name))

    def _union(self, branches: list[Any], place: _Place) -> Iterator[Finding]:
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
        if isinstance(branch, dict) and branch.get("type") in _NAMED and "name" in branch:
            return full_name(branch, namespace)
        kind = branch.get("type") if isinstance(branch, dict) else branch
        return str(kind) if not isinstance(branch, str) or kind in PRIMITIVES else qualified(str(kind), namespace)

    def _complex(self, node: Mapping[str, Any], place: _Place) -> Iterator[Finding]:
        kind = node.get("type")
        if kind in _NAMED:
            yield from self._definition(node, place)
        elif kind in ("array", "map"):
            key, piece = ("items", "[]") if kind == "array" else ("values", "{}")
            yield from self._type(node.get(key), place.at(piece, key))
        yield from _logical(node, place)

    def _definition(self, node: Mapping[str, Any], place: _Place) -> Iterator[Finding]:
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
        within = _Place(place.path, place.pointer, name.rpartition(".")[0])
        yield from self._fields(node, within) if node["type"] in ("record", "error") else _symbols(node, within)

    def _fields(self, node: Mapping[str, Any], place: _Place) -> Iterator[Finding]:
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

    def _field(self, field: Mapping[str, Any], place: _Place) -> Iterator[Finding]:
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

    def _default(self, default: Any, kind: Any, place: _Place) -> Iterator[Finding]:
        shown = json.dumps(default, ensure_ascii=False)

        def named(name: str) -> Any:
            return self._meant(name, place.namespace)

        first = kind[0] if isinstance(kind, list) and kind else kind
        definition = named(first) if isinstance(first, str) and first not in PRIMITIVES else first
        if fits(default, first, named):
            return
        if isinstance(kind, list) and fits(default, kind, named):
            told = f"The default {shown} is of a later branch: parsers before Avro 1.12 take only the first one's."
            yield place.of("default-of-later-branch", told)
        elif isinstance(definition, dict) and definition.get("type") == "enum":
            yield place.of("enum-default", f"The default {shown} is none of the symbols, and no parser sees it.")
        else:
            yield place.of("default-type", f"The default {shown} is no value of the field's type.")


def _is_full_name(name: str) -> bool:
    return all(_is_name(piece) for piece in name.split("."))


def _symbols(node: Mapping[str, Any], place: _Place) -> Iterator[Finding]:
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


def _logical(node: Mapping[str, Any], place: _Place) -> Iterator[Finding]:
    name = node.get("logicalType")
    if name is None:
        return
    if name not in BASES:
        yield place.of("logical-type-unknown", f"The logical type {name} is ignored by readers that do not know it.")
    elif why := defect(node):
        rule = "decimal-impossible" if name == "decimal" and node.get("type") in BASES[name] else "logical-type-ignored"
        yield place.of(rule, f"Readers drop the logical type without a word: {why}.")
