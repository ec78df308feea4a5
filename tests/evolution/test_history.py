"""Released schema versions."""

import json

import pytest

from tests.evolution.schemas import enum, field, record, text
from tradepipe.evolution.history import (
    DEFAULT_LEVEL,
    HISTORY_FILE,
    History,
    HistoryEntry,
    current,
    fingerprint,
    fingerprint_without_docs,
    versions,
)
from tradepipe.trade.model import CONTENT_FIELDS, KAFKA_KEY, PRIMARY_KEY, Trade

RELEASED = {
    1: "31e0405efc95a6b0face9f9f10004cfa86e55686b61d6807d8ad7ffd3fd8dc7f",
}
"""Fingerprints of released versions, so that a change of one and of history.json is noticed."""


def test_the_fields_of_the_current_schema_are_the_fields_of_a_trade():
    assert Trade._fields == tuple(field["name"] for field in current().schema["fields"])


def test_every_field_is_in_the_key_or_the_content():
    assert Trade._fields == tuple(field for field in Trade._fields if field in (*PRIMARY_KEY, *CONTENT_FIELDS))
    assert set() == set(PRIMARY_KEY) & set(CONTENT_FIELDS)
    assert KAFKA_KEY in PRIMARY_KEY


def test_a_released_version_never_changes():
    """Its hash covers what Avro's own fingerprint ignores: logical types, defaults, docs."""
    assert RELEASED.items() <= {version.number: version.sha256 for version in versions()}.items()


def test_the_versions_are_numbered_from_1_without_gaps():
    assert list(range(1, len(versions()) + 1)) == [version.number for version in versions()]


def test_the_highest_version_is_the_current_one():
    assert versions()[-1] == current()


def test_a_version_has_its_parsed_text():
    for version in versions():
        assert json.loads(version.text) == version.schema


def test_the_layout_of_a_schema_does_not_change_its_fingerprint():
    text = current().text

    assert fingerprint(text) == fingerprint(json.dumps(json.loads(text), sort_keys=True, indent=7))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("timestamp-micros", "timestamp-millis"),
        ('"logicalType": "date"', '"logicalTyp": "date"'),
        ("Counts the versions", "Numbers the versions"),
    ],
    ids=["logical type", "no logical type", "doc"],
)
def test_everything_else_changes_its_fingerprint(old, new):
    text = current().text

    assert fingerprint(text) != fingerprint(text.replace(old, new))


@pytest.mark.parametrize(
    ("schema", "is_the_same"),
    [
        pytest.param(record(field("f", doc="It."), doc="A trade."), True, id="docs"),
        pytest.param(record(field("f"), name="Deal"), False, id="a name"),
        pytest.param(record(field("f", default="")), False, id="a default"),
    ],
)
def test_a_fingerprint_without_docs_covers_everything_else(schema, is_the_same):
    plain = text(record(field("f")))

    assert is_the_same == (fingerprint_without_docs(plain) == fingerprint_without_docs(text(schema)))


def test_a_doc_key_in_a_default_is_data():
    inner = record(field("doc"), name="Page")
    one, other = (text(record(field("f", inner, default={"doc": words}))) for words in ("a", "b"))

    assert fingerprint_without_docs(one) != fingerprint_without_docs(other)


def test_the_packaged_history_records_every_version():
    history = History.packaged()

    assert versions() == history.versions
    assert [version.number for version in versions()] == [entry.number for entry in history.entries]
    assert DEFAULT_LEVEL == history.level


def test_any_folder_can_be_a_history(tmp_path):
    first, second = text(record(field("f"))), text(record(field("f"), field("g", enum("A"), default="A")))
    (tmp_path / "v001.avsc").write_text(first)
    (tmp_path / "v002.avsc").write_text(second)
    (tmp_path / "notes.txt").write_text("not a version")
    entry = HistoryEntry(2, fingerprint(second), fingerprint_without_docs(second), "2025-06-01", "BACKWARD", None)
    (tmp_path / HISTORY_FILE).write_text(json.dumps({"versions": [entry._asdict()]}))

    history = History.load(tmp_path)

    assert [(1, first), (2, second)] == [(version.number, version.text) for version in history.versions]
    assert (entry,) == history.entries
    assert "BACKWARD" == history.level
    assert (second, None) == (history.version(2).text, history.entry(1))


def test_an_empty_folder_is_an_empty_history(tmp_path):
    assert History((), ()) == History.load(tmp_path)
    assert DEFAULT_LEVEL == History.load(tmp_path).level


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v001.avsc", "{", "v001.avsc is not JSON"),
        (HISTORY_FILE, "{", "restore it from version control"),
        (HISTORY_FILE, "[]", "restore it from version control"),
        (HISTORY_FILE, '{"versions": [{"number": 1}]}', "restore it from version control"),
        (HISTORY_FILE, '{"versions": [7]}', "restore it from version control"),
    ],
)
def test_an_invalid_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)

    with pytest.raises(ValueError, match=message):
        History.load(tmp_path)
