"""The next version of the schema, drafted from the declaration of a trade."""

import inspect
import json
import re
from collections.abc import Mapping
from textwrap import indent
from typing import Any, Final

from tradepipe.trade.avro_types import field_schema
from tradepipe.trade.declaration import Declaration

_MAX_WIDTH: Final = 110
"""Characters of a type that is written on one line."""

_find_fields = re.compile(r'"fields"\s*:\s*\[').search
_skip_separators = re.compile(r"[\s,]*").match
_attributes = re.compile(r"^ {8}(\w+): (.*(?:\n {9,}.*)*)", re.MULTILINE)


def draft_schema(released: str, declaration: Declaration) -> str:
    """
    Return the schema of a declaration as the next version: the released text, except for fields that differ.

    Docs of new fields are those of the class's docstring.

    Raises:
        ValueError: the released text is not a record's schema in JSON.
    """
    # By place: only the text of fields that differ is replaced, so that a reviewer sees the change and nothing else.
    spans = _field_spans(released)
    old = {each["name"]: (each, released[start:end]) for each, start, end in spans}
    docs = docs_of(declaration.record)
    # Filled from field to field: a named type is written out at its first use, and by its name after that.
    defined: set[str] = {str(json.loads(released)["name"])}
    texts = []
    for field in declaration.fields:
        new = field_schema(field.member, defined)
        before, text = old.get(field.name, (None, ""))
        if before is None and field.name in docs:
            new["doc"] = docs[field.name]
        if before is None or _without_docs(before) != new:
            parts = (
                f"      {json.dumps(key)}: {_format_value(value)}" for key, value in _with_docs(new, before).items()
            )
            text = "{\n" + ",\n".join(parts) + "\n    }"
        texts.append(text)
    first, last = spans[0][1], spans[-1][2]
    return released[:first] + ",\n    ".join(texts) + released[last:]


def docs_of(record: type) -> dict[str, str]:
    """
    Return the descriptions of a record's fields, from the section "Attributes" of its docstring.

    >>> from tradepipe.trade.model import Trade
    >>> docs_of(Trade)["version"]
    'Number of the version, from 1 to 2147483647.'
    """
    _, _, section = inspect.cleandoc(record.__doc__ or "").partition("Attributes:\n")
    found = _attributes.findall(indent(section, "    "))
    return {name: text[:1].upper() + " ".join(text.split())[1:] for name, text in found}


def _field_spans(text: str) -> list[tuple[dict[str, Any], int, int]]:
    """Return each field of a record's schema with the place of its text."""
    begin = _find_fields(text)
    if begin is None:
        raise ValueError("the released schema is not a record")
    found: list[tuple[dict[str, Any], int, int]] = []
    decoder, at = json.JSONDecoder(), begin.end()
    while True:
        separators = _skip_separators(text, at)
        at = separators.end() if separators else at
        if text[at] == "]":
            return found
        field, end = decoder.raw_decode(text, at)
        found.append((field, at, end))
        at = end


def _without_docs(node: Any) -> Any:
    """Return a field without what readers ignore; a default is data, and stays as it is."""
    if isinstance(node, list):
        return [_without_docs(each) for each in node]
    if isinstance(node, dict):
        ignored = ("doc", "aliases", "order")
        return {
            key: each if key == "default" else _without_docs(each) for key, each in node.items() if key not in ignored
        }
    return node


def _with_docs(new: Any, old: Any) -> Any:
    """Return a field with the docs and aliases that the released one has at the same places."""
    if isinstance(new, list):
        before = list(old) if isinstance(old, list) else [None] * len(new)
        return [_with_docs(each, _alike(each, before)) for each in new]
    if isinstance(new, dict) and isinstance(old, Mapping):
        kept = {key: old[key] for key in ("doc", "aliases", "order") if key in old}
        return {key: each if key == "default" else _with_docs(each, old.get(key)) for key, each in new.items()} | kept
    return new


def _alike(new: Any, candidates: list[Any]) -> Any:
    """Return what has the same name or type among the parts of a released schema."""
    # Not by position: a branch may have been added before it.
    name = new.get("name", new.get("type")) if isinstance(new, dict) else new
    return next(
        (each for each in candidates if isinstance(each, dict) and each.get("name", each.get("type")) == name), None
    )


def _format_value(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if len(line) <= _MAX_WIDTH or not isinstance(value, (dict, list)):
        return line
    return indent(json.dumps(value, indent=2, ensure_ascii=False), " " * 6).lstrip()
