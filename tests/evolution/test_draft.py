"""The draft of the next version."""

import json
from enum import StrEnum
from typing import Any

import pytest

from tests.trade.all_types import EVERY
from tradepipe.evolution.findings import only_errors
from tradepipe.evolution.freeze import draft_schema
from tradepipe.evolution.history import current
from tradepipe.evolution.lint import lint
from tradepipe.trade.declaration import Declaration, Field
from tradepipe.trade.model import DECLARATION
from tradepipe.trade.types import Type, read_annotation


def field(name: str, hint: Any, default: Any) -> Field:
    read = read_annotation(name, hint)
    return Field(name, read.type, read.is_nullable, default, (), False, False)


def with_fields(*fields: Field) -> Declaration:
    return DECLARATION._replace(fields=fields)


def test_the_draft_of_a_released_schema_is_its_text():
    assert current().text == draft_schema(current().text, DECLARATION)


def test_a_new_field_is_added_and_the_released_text_is_kept():
    text = draft_schema(current().text, with_fields(*DECLARATION.fields, field("venue", str | None, None)))

    added = ',\n    {\n      "name": "venue",\n      "type": ["null", "string"],\n      "default": null\n    }'
    assert text == current().text.replace('as ISO 4217 has them."\n    }', f'as ISO 4217 has them."\n    }}{added}')


def test_a_symbol_is_added_and_the_docs_are_kept():
    class Side(StrEnum):
        UNKNOWN = "UNKNOWN"
        BUY = "BUY"
        SELL = "SELL"
        CROSS = "CROSS"

    side = Type("enum", "enum", Side, "text")
    fields = [each._replace(type=side) if each.name == "side" else each for each in DECLARATION.fields]

    text = draft_schema(current().text, with_fields(*fields))
    before, after = json.loads(current().text), json.loads(text)
    assert ["UNKNOWN", "BUY", "SELL", "CROSS"] == after["fields"][6]["type"].pop("symbols")
    assert ["UNKNOWN", "BUY", "SELL"] == before["fields"][6]["type"].pop("symbols")
    assert before == after


def test_a_removed_field_is_omitted():
    text = draft_schema(current().text, with_fields(*DECLARATION.fields[:-1]))

    assert [each.name for each in DECLARATION.fields[:-1]] == [each["name"] for each in json.loads(text)["fields"]]


@pytest.mark.parametrize("added", EVERY.fields, ids=lambda field: field.name)
def test_a_field_of_every_type_makes_a_valid_schema(added):
    text = draft_schema(current().text, with_fields(*DECLARATION.fields, added._replace(name=f"new_{added.name}")))

    assert () == only_errors(lint(text))
