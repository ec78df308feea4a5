"""Lines that are too long for a terminal."""

import sys

import pytest

from tests.cli.shell_words import shell_words
from tradepipe.cli.terminal import wrap


@pytest.fixture
def columns(monkeypatch):
    """A terminal of 40 columns."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    return 40


def test_a_long_line_is_broken_between_words(columns):
    assert "the database is at revision none, this\n  build needs another one" == wrap(
        "the database is at revision none, this build needs another one", indent="  "
    )


@pytest.mark.parametrize("program", ["tradepipe ", "python3 -m tradepipe.", "python3 -m tradepipe "])
def test_a_command_at_the_end_of_a_long_line_can_be_copied(columns, program):
    command = f"{program}topics create --topic 'my topic' --like trades --bootstrap-servers a:1 -X k=v"

    prose, *lines = wrap(f"there is no such topic; create it: {command}").splitlines()

    assert "there is no such topic; create it:" == prose
    assert max(map(len, lines)) <= columns
    assert shell_words(command) == shell_words("\n".join(lines))


def test_a_command_is_not_broken_inside_of_a_quotation(columns):
    command = "tradepipe produce --input 'a --long name of a file -x.csv' --mapping m.toml"

    _, *lines = wrap(f"wrote m.toml: {command}").splitlines()

    assert shell_words(command) == shell_words("\n".join(lines))


def test_a_command_that_fits_stays_in_its_line(columns):
    assert "create it: tradepipe topics create" == wrap("create it: tradepipe topics create")
