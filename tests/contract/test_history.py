"""The frozen versions."""

import json

import pytest

from tradepipe.contract.history import current, fingerprint, versions
from tradepipe.contract.trade import CONTENT, KEY, ORDERED_BY, Trade

RELEASED = {
    1: "31e0405efc95a6b0face9f9f10004cfa86e55686b61d6807d8ad7ffd3fd8dc7f",
}


def test_the_fields_of_the_current_schema_are_the_fields_of_a_trade():
    assert Trade._fields == tuple(field["name"] for field in current().schema["fields"])


def test_key_and_content_share_out_the_fields():
    assert Trade._fields == tuple(field for field in Trade._fields if field in (*KEY, *CONTENT))
    assert set() == set(KEY) & set(CONTENT)
    assert ORDERED_BY in KEY


def test_a_released_version_never_changes():
    """Its hash covers what Avro's own fingerprint leaves out: logical types, defaults, docs."""
    assert RELEASED == {version.number: version.sha256 for version in versions()}


def test_the_versions_are_numbered_from_1_without_gaps():
    assert list(range(1, len(versions()) + 1)) == [version.number for version in versions()]


def test_the_highest_version_is_the_current_one():
    assert versions()[-1] == current()


def test_a_version_holds_its_text_as_json():
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
