"""Lines of the values in a JSON text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradepipe.evolution.history import current
from tradepipe.evolution.json_pointers import locate

TEXT = """{
  "type": "record",
  "fields": [
    {
      "doc": "\\"[{,",
      "name": "a/b~",
      "type": {"type": "int"}
    },
    {}
  ]
}
"""


@pytest.mark.parametrize(
    ("pointer", "line"),
    [("", 1), ("/type", 2), ("/fields", 3), ("/fields/0/type/type", 7), ("/fields/1", 9), ("/fields/1/nothing/0", 9)],
)
def test_a_value_is_found_by_its_pointer(pointer, line):
    assert line == locate(TEXT).line(pointer)


def test_a_value_with_a_name_is_located_at_its_name():
    assert 6 == locate(TEXT).line("/fields/0")


def test_keys_are_escaped_as_in_json_pointers():
    assert "/a~1b/~0" in locate('{"a/b": {"~": 1}}').lines


def test_a_duplicate_key_is_reported():
    assert ("/a/b",) == locate('{"a": {"b": 1, "b": 2}, "b": 3}').duplicate_keys


def test_each_field_of_the_trade_is_found_on_the_line_of_its_name():
    lines = current().text.splitlines()
    place = locate(current().text)

    for index, field in enumerate(current().schema["fields"]):
        assert f'"{field["name"]}"' in lines[place.line(f"/fields/{index}") - 1]


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.sampled_from([None, 0, 3]))
def test_every_json_is_read_to_its_end(value, indent):
    def places(node):
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return 1 + sum(places(each) for each in inner)

    assert places(value) == len(locate(json.dumps(value, indent=indent)).lines)
