"""The next version of the schema, drafted from the declaration of a trade."""

import inspect
import json
import re
from collections.abc import Mapping
from textwrap import indent
from typing import Any, Final

from tradepipe.evolution.history import without
from tradepipe.trade.avro_types import field_schema
from tradepipe.trade.declaration import Declaration

_MAX_WIDTH: Final = 110
"""Characters of a type that is written on one line."""

_IGNORED: Final = ("doc", "aliases", "order")
"""Attributes that readers ignore."""

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
        if before is None or without(before, *_IGNORED) != new:
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


def _with_docs(new: Any, old: Any) -> Any:
    """Return a field with the docs and aliases that the released one has at the same places."""
    if isinstance(new, list):
        # Not by position: a branch may have been added before it.
        named = (
            {_name_of(each): each for each in reversed(old) if isinstance(each, dict)} if isinstance(old, list) else {}
        )
        return [_with_docs(each, named.get(_name_of(each))) for each in new]
    if isinstance(new, dict) and isinstance(old, Mapping):
        kept = {key: old[key] for key in _IGNORED if key in old}
        return {key: each if key == "default" else _with_docs(each, old.get(key)) for key, each in new.items()} | kept
    return new


def _name_of(branch: Any) -> str:
    """Return the name or type of a union's branch."""
    return str(branch.get("name", branch.get("type")) if isinstance(branch, dict) else branch)


def _format_value(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if len(line) <= _MAX_WIDTH or not isinstance(value, (dict, list)):
        return line
    return indent(json.dumps(value, indent=2, ensure_ascii=False), " " * 6).lstrip()
