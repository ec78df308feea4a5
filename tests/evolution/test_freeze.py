"""Released versions never change."""

from datetime import date
from pathlib import Path

import pytest

from tests.evolution.schemas import decimal, field, record, text
from tradepipe.cli.schema.checks import history_cases
from tradepipe.evolution.compatibility import Level
from tradepipe.evolution.freeze import append_version, check_frozen, to_history_json
from tradepipe.evolution.history import HISTORY_FILE, History, file_name

REVISIONS = Path(__file__).parents[2] / "migrations" / "versions"
DAY = date(2025, 6, 1)
ID = field("trade_id", doc="Identifies it.")
AMOUNT = field("amount", ["null", decimal(18, 2)], default=None)
NOTE = field("note", default="")


def history(*schemas, level="FULL_TRANSITIVE"):
    made = History((), ())
    for schema in schemas:
        made = append_version(made, text(schema), on=DAY, level=level, alembic_revision=None)
    return made


def find_incompatibilities(made, level=None):
    """Check each version against those before it, as `schema check` does without a file."""
    return [each for case in history_cases(Path(), made, level) for each in case.findings if each.against]


def write(folder, made):
    """Write a history into a folder, as `schema freeze` does."""
    for version in made.versions:
        (folder / file_name(version.number)).write_text(version.text)
    (folder / HISTORY_FILE).write_text(to_history_json(made))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, history(record(ID), record(ID, AMOUNT), record(ID, AMOUNT, NOTE)))


def test_no_released_version_of_the_trade_was_changed():
    """If this fails, restore the file; the message explains `schema freeze`."""
    assert () == check_frozen(History.packaged())


def test_each_version_of_the_trade_may_follow_those_before_it():
    assert [] == find_incompatibilities(History.packaged())


def test_each_version_of_the_trade_names_a_revision_of_the_database():
    """The revisions do not decrease."""
    named = [entry.alembic_revision for entry in History.packaged().entries]

    assert sorted(named) == named
    assert set(named) <= {file.stem for file in REVISIONS.glob("[0-9]*.py")}


def test_an_unchanged_history_has_no_findings(folder):
    assert () == check_frozen(History.load(folder))
    assert [] == find_incompatibilities(History.load(folder))
    assert "2025-06-01" == History.load(folder).entry(3).date


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        pytest.param('"scale": 2', '"scale": 4', "frozen-changed", id="a scale"),
        pytest.param('"default": null', '"default":  null', None, id="white space"),
        pytest.param("Identifies it.", "Its id.", "frozen-docs-changed", id="a doc"),
        pytest.param('"name": "Trade"', '"name": "Deal"', "frozen-changed", id="a name"),
        pytest.param(', "default": null', "", "frozen-changed", id="a default"),
    ],
)
def test_a_changed_release_is_reported(folder, old, new, rule):
    file = folder / "v002.avsc"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))

    found = check_frozen(History.load(folder))

    assert [(rule, "v002.avsc", 2)] * bool(rule) == [(each.rule, each.path, each.against) for each in found]


def test_a_changed_version_is_reported_with_a_fix(folder):
    file = folder / "v001.avsc"
    file.write_text(file.read_text().replace("string", "bytes"))

    (found,) = check_frozen(History.load(folder))

    assert "Version 1 was changed after its release" in found.message
    assert (
        "Restore v001.avsc from version control, make the change in a copy of the newest version, and run "
        "`schema freeze COPY`: it writes v004.avsc."
    ) == found.fix


def test_another_order_of_keys_is_not_a_change(folder):
    file = folder / "v001.avsc"
    file.write_text(file.read_text().replace('{"type": "record", "name": "Trade",', '{"name":"Trade","type":"record",'))

    assert () == check_frozen(History.load(folder))


def test_a_missing_file_is_reported(folder):
    (folder / "v003.avsc").unlink()

    assert [("frozen-missing", 3)] == [(each.rule, each.against) for each in check_frozen(History.load(folder))]


def test_a_missing_version_number_is_reported(folder):
    (folder / "v002.avsc").unlink()

    assert ["frozen-missing", "frozen-gap"] == [each.rule for each in check_frozen(History.load(folder))]


def test_an_unrecorded_file_is_reported(folder):
    (folder / "v004.avsc").write_text(text(record(ID)))

    assert [("frozen-unrecorded", 4)] == [(each.rule, each.against) for each in check_frozen(History.load(folder))]


def test_an_unknown_level_and_a_second_entry_are_reported(folder):
    record_file = folder / HISTORY_FILE
    made = History.load(folder)
    entry = made.entry(3)._replace(level="SOME")
    record_file.write_text(to_history_json(made._replace(entries=(*made.entries, entry))))

    assert {"frozen-twice"} <= {each.rule for each in check_frozen(History.load(folder))}
    record_file.write_text(to_history_json(made._replace(entries=(*made.entries[:2], entry))))
    assert ["frozen-level"] == [each.rule for each in check_frozen(History.load(folder))]


def test_every_version_is_checked_against_all_before_it():
    wider = field("amount", ["null", decimal(20, 4)], default=None)

    found = find_incompatibilities(history(record(ID), record(ID, AMOUNT), record(ID, wider)))

    assert {("decimal-scale", 2)} == {(each.rule, each.against) for each in found}


def test_a_version_is_checked_at_the_level_it_was_frozen_at():
    """A given level takes precedence."""
    made = history(record(field("n", "int")), record(field("n", "string")), level="NONE")

    assert [] == find_incompatibilities(made)
    assert {"type"} == {each.rule for each in find_incompatibilities(made, Level.BACKWARD)}


def test_a_new_version_gets_the_next_number_and_keeps_its_entry():
    made = append_version(
        history(record(ID)), text(record(ID, NOTE)), on=DAY, level="FULL", alembic_revision="0002_note"
    )

    assert (2, "2025-06-01", "FULL", "0002_note") == (
        made.entry(2).number,
        made.entry(2).date,
        made.entry(2).level,
        made.entry(2).alembic_revision,
    )
    assert "FULL" == made.level
