"""Custom rules, as they are named on the command line."""

import sys

import pytest
import typer

from tradepipe import Violation
from tradepipe.cli.user_rules import load_rules


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory that nothing was imported from yet, on no path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    loaded = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - loaded:
        del sys.modules[name]


def test_a_function_is_found_in_the_current_directory(here):
    (here / "our_desk.py").write_text("def late(trade): return ()\ndef odd(trade): return []\n")

    assert [(), []] == [rule(None) for rule in load_rules(["our_desk:late", "our_desk:odd"])]


def test_a_function_is_found_in_a_package_and_in_a_class(here):
    (here / "desks").mkdir()
    (here / "desks" / "fx.py").write_text("class Rules:\n    @staticmethod\n    def late(trade): return [VIOLATION]\n")
    with (here / "desks" / "fx.py").open("a") as file:
        file.write("from tradepipe import Violation\nVIOLATION = Violation('LATE', 'it is late')\n")

    (late,) = load_rules(["desks.fx:Rules.late"])

    assert [Violation("LATE", "it is late")] == late(None)


def test_without_the_option_there_are_no_rules():
    assert () == load_rules(None)


@pytest.mark.parametrize("text", ["desk", "desk:", ":late", "late"])
def test_a_rule_must_be_named_by_module_and_function(text):
    with pytest.raises(typer.BadParameter, match=f"must be MODULE:FUNCTION, not '{text}'"):
        load_rules([text])


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("our_desk:nothing", "module our_desk, {here}/our_desk.py, has no function nothing"),
        ("our_desk:LIMIT", "LIMIT of module our_desk, {here}/our_desk.py, is not a function but int"),
        ("no_desk:late", "module no_desk not found in {here}, "),
        ("no_desk.fx:late", "module no_desk.fx not found in {here}, "),
        ("our_desk.fx:late", "module our_desk.fx not found in {here}, "),
        ("needing:late", "module needing cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        ("broken:late", "module broken cannot be imported: SyntaxError: "),
        ("ending:late", "module ending cannot be imported: SystemExit: 0"),
        ("..desk:late", "module ..desk cannot be imported: "),
        ("os:system", ", is part of Python, and system is not a rule of trades"),
        ("builtins:input", "module builtins, built in, is part of Python, and input is not a rule of trades"),
        (
            "wrong:nothing",
            "the rule wrong:nothing returned None, not a list or tuple of violations; it was called for a s",
        ),
        ("wrong:yes", "the rule wrong:yes returned True, not a list or tuple"),
        ("wrong:texts", "the rule wrong:texts returned 'late' among its violations, not a Violation"),
        ("wrong:two", "the rule wrong:two raised TypeError: two() missing 1 required positional argument: 'other'"),
    ],
)
def test_a_missing_rule_is_named_with_where_it_was_looked_for(here, text, reported):
    (here / "our_desk.py").write_text("LIMIT = 7\n")
    (here / "needing.py").write_text("import no_such_library\n")
    (here / "broken.py").write_text("def late(:\n")
    (here / "ending.py").write_text("raise SystemExit(0)\n")
    (here / "wrong.py").write_text(
        "def nothing(trade): trade.book_id == 'B1'\n"
        "def yes(trade): return trade.version > 0\n"
        "def texts(trade): return ['late']\n"
        "def two(trade, other): return []\n"
    )

    with pytest.raises(typer.BadParameter) as refused:
        load_rules([text])

    assert reported.replace("{here}", str(here)) in refused.value.message
