"""The guide of the schema's owner: what it shows is what the commands print, and it tells of every rule."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.evolution.schemas import decimal, field
from tests.evolution.test_freeze import write
from tests.markdown import Document
from tradepipe.cli.schema.commands import app
from tradepipe.evolution import freeze, lint
from tradepipe.evolution.compatibility_rules import RULES
from tradepipe.evolution.diff import Kind
from tradepipe.evolution.history import History
from tradepipe.registry import drift, registration
from tradepipe.trade import types

PAGE = Document(Path(__file__).parents[1] / "docs" / "schema.md")
SESSIONS = [block.text for block in PAGE.code if block.text.startswith("$ tradepipe schema")]

VENUE = field("venue", ["null", "string"], default=None)


def changed(schema, *further, **changes):
    """The schema with further fields, and with changes to those it has."""
    fields = [{**each, **changes.get(each["name"], {})} for each in schema["fields"]]
    return json.dumps({**schema, "fields": [*fields, *further]}, indent=2)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with the first two versions of the trade, and the files that the guide names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "schemas" / "trade").mkdir(parents=True)
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    (tmp_path / "migrations" / "versions" / "0004_pre_add_venue.py").write_text("ADD COLUMN venue")
    first_two = History(*(each[:2] for each in History.packaged()))
    write(tmp_path / "schemas" / "trade", first_two)
    second = first_two.versions[-1]
    (tmp_path / "trade.avsc").write_text(changed(second.schema, VENUE))
    (tmp_path / "wrong.avsc").write_text(
        changed(
            second.schema,
            book_id={"name": "portfolio_id", "aliases": ["book_id"]},
            notional={"type": ["null", decimal(20, 6)]},
        )
    )
    return tmp_path


def printed(command, env):
    done = CliRunner().invoke(app, shlex.split(command)[2:], env=env)
    return done.output + (f"$ echo $?\n{done.exit_code}\n" if done.exit_code else "")


def without_lines(text):
    """Without the numbers of lines, which depend on the layout of files."""
    return re.sub(r"\.avsc:\d+", ".avsc:N", re.sub(r"\s+", " ", text)).strip()


def test_the_page_shows_what_is_printed(repository):
    """In the order of the page: what one command freezes, the next one sees."""
    env = {"TRADEPIPE_HISTORY": "schemas/trade"}
    for session in SESSIONS:
        command, _, shown = session.partition("\n")
        if "v001.avsc" in session:
            file = repository / "schemas" / "trade" / "v001.avsc"
            file.write_text(file.read_text().replace("timestamp-micros", "timestamp-millis"))
        assert without_lines(shown) == without_lines(printed(command.removeprefix("$ "), env)), command
    assert len(SESSIONS) > 4


def test_the_page_has_the_table_of_types():
    assert types.__doc__ is not None
    assert types.__doc__.split("\n\n")[1] in PAGE.text


def test_what_the_page_shows_fits_a_terminal():
    assert [] == [line for session in SESSIONS for line in session.splitlines() if len(line) > 80]


def rules():
    yield from RULES
    yield from lint.FIXES
    yield from freeze.FIXES
    yield from (registration.REFUSED_RULE, registration.NO_SCHEMA)
    yield from drift.RULES


@pytest.mark.parametrize("rule", sorted(set(rules()) - {"resolution"}))
def test_the_page_describes_every_rule(rule):
    assert f"`{rule}`" in PAGE.text


@pytest.mark.parametrize("kind", Kind)
def test_the_page_describes_every_kind_of_change(kind):
    assert f"`{kind}`" in PAGE.text
