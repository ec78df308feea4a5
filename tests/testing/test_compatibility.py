"""`assert_compatible`, for a service's own schemas."""

import json
from importlib import resources
from pathlib import Path

import pytest

import tests
from tests.markdown import Document
from tradepipe.evolution.history import current, versions
from tradepipe.testing import assert_compatible

ID = {"name": "id", "type": "string"}


def record(*fields):
    return {"type": "record", "name": "Fill", "fields": list(fields)}


V1 = record(ID)
V2 = record(ID, {"name": "book", "type": "string", "default": ""})
V3 = record(ID, {"name": "book", "type": "string"})


def as_file(schema, folder):
    path = folder / "schema.avsc"
    path.write_text(json.dumps(schema))
    return path


@pytest.mark.parametrize(
    "form",
    [lambda schema, _: schema, lambda schema, _: json.dumps(schema), as_file],
    ids=["dict", "text", "file"],
)
def test_a_schema_may_be_given_in_any_form(form, tmp_path):
    assert_compatible(form(V1, tmp_path), form(V2, tmp_path))
    with pytest.raises(AssertionError):
        assert_compatible(form(V1, tmp_path), V3)


def test_an_incompatibility_is_reported_with_the_version_and_the_direction():
    with pytest.raises(AssertionError) as raised:
        assert_compatible([V1, V2], V3)

    message = str(raised.value)
    assert "not FULL_TRANSITIVE compatible" in message
    assert "at Fill.book: no field -> string" in message
    assert "new reads old, against v001 [missing-default]" in message


def test_an_incompatibility_with_several_versions_is_reported_once():
    with pytest.raises(AssertionError) as raised:
        assert_compatible([V1, V1, V2], V3)

    assert 1 == str(raised.value).count("[missing-default]")
    assert "against v001 and v002 [" in str(raised.value)


def test_a_change_that_no_registry_detects_is_reported_as_documented():
    (shown,) = Document(Path(tests.__file__).parents[1] / "docs" / "testing.md").blocks("text", "the schema is not")
    first = json.loads(versions()[0].text)
    dateless = [{**field, "type": "int"} if field["name"] == "maturity_date" else field for field in first["fields"]]

    with pytest.raises(AssertionError) as raised:
        assert_compatible(first, {**first, "fields": dateless}, level="BACKWARD_TRANSITIVE")

    assert shown.strip() == str(raised.value)


def test_the_level_selects_the_versions_and_directions():
    assert_compatible([V1, V2], V3, level="FULL")
    assert_compatible(V1, V3, level="FORWARD_TRANSITIVE")
    with pytest.raises(AssertionError, match="BACKWARD compatible"):
        assert_compatible(V1, V3, level="BACKWARD")


def test_a_directory_is_checked_in_all_versions_or_the_newest(tmp_path):
    for number, schema in enumerate([V1, V2], start=1):
        (tmp_path / f"v{number:03}.avsc").write_text(json.dumps(schema))

    assert_compatible(V2, tmp_path)
    with pytest.raises(AssertionError, match="against v001"):
        assert_compatible(tmp_path, V3)


def test_the_packaged_history_is_a_folder_too():
    with resources.as_file(resources.files("tradepipe.schemas.trade")) as folder:
        assert_compatible(folder, current().text)


def test_a_directory_without_versions_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no v001.avsc"):
        assert_compatible(tmp_path, V1)


@pytest.mark.parametrize("level", ["backward", "FULLY"])
def test_an_unknown_level_is_an_error(level):
    with pytest.raises(ValueError, match=level):
        assert_compatible(V1, V2, level=level)


def test_a_file_that_is_not_a_schema_is_an_error():
    with pytest.raises(ValueError, match="not an Avro schema"):
        assert_compatible(V1, "schemas/fill.avsc")
