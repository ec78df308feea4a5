"""Nothing about a released version ever changes."""

from datetime import date
from pathlib import Path

import pytest

from tests.evolution.schemas import decimal, field, record, text
from tradepipe.evolution.freeze import append_version, check_frozen, check_history, to_history_json
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


def write(folder, made):
    """Put a history into a folder, as `schema freeze` does."""
    for version in made.versions:
        (folder / file_name(version.number)).write_text(version.text)
    (folder / HISTORY_FILE).write_text(to_history_json(made))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, history(record(ID), record(ID, AMOUNT), record(ID, AMOUNT, NOTE)))


def test_no_released_version_of_the_trade_was_changed():
    """Should this fail: restore the file, and see what the message says about `schema freeze`."""
    assert () == check_frozen(History.packaged())


def test_each_version_of_the_trade_may_follow_those_before_it():
    assert () == check_history(History.packaged())


def test_each_version_of_the_trade_names_a_revision_of_the_database():
    """And never an earlier one than the version before it."""
    named = [entry.alembic_revision for entry in History.packaged().entries]

    assert sorted(named) == named
    assert set(named) <= {file.stem for file in REVISIONS.glob("[0-9]*.py")}


def test_what_was_frozen_is_found_as_it_was(folder):
    assert () == check_frozen(History.load(folder))
    assert () == check_history(History.load(folder))
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
def test_an_edit_of_a_released_version_is_found(folder, old, new, rule):
    file = folder / "v002.avsc"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))

    found = check_frozen(History.load(folder))

    assert [(rule, "v002.avsc", 2)] * bool(rule) == [(each.rule, each.path, each.against) for each in found]


def test_who_edits_a_released_version_is_told_how_to_do_it_right(folder):
    file = folder / "v001.avsc"
    file.write_text(file.read_text().replace("string", "bytes"))

    (found,) = check_frozen(History.load(folder))

    assert "Version 1 was changed after its release" in found.message
    assert (
        "Restore v001.avsc from version control, make the change in a copy of the newest version, and run "
        "`schema freeze COPY`: it writes v004.avsc."
    ) == found.fix


def test_another_order_of_keys_is_no_edit(folder):
    file = folder / "v001.avsc"
    file.write_text(file.read_text().replace('{"type": "record", "name": "Trade",', '{"name":"Trade","type":"record",'))

    assert () == check_frozen(History.load(folder))


def test_a_version_whose_file_is_gone_is_found(folder):
    (folder / "v003.avsc").unlink()

    assert [("frozen-missing", 3)] == [(each.rule, each.against) for each in check_frozen(History.load(folder))]


def test_a_gap_is_found(folder):
    (folder / "v002.avsc").unlink()

    assert ["frozen-missing", "frozen-gap"] == [each.rule for each in check_frozen(History.load(folder))]


def test_a_file_that_was_never_frozen_is_found(folder):
    (folder / "v004.avsc").write_text(text(record(ID)))

    assert [("frozen-unrecorded", 4)] == [(each.rule, each.against) for each in check_frozen(History.load(folder))]


def test_a_level_that_is_none_and_a_second_entry_are_found(folder):
    record_file = folder / HISTORY_FILE
    made = History.load(folder)
    entry = made.entry(3)._replace(level="SOME")
    record_file.write_text(to_history_json(made._replace(entries=(*made.entries, entry))))

    assert {"frozen-twice"} <= {each.rule for each in check_frozen(History.load(folder))}
    record_file.write_text(to_history_json(made._replace(entries=(*made.entries[:2], entry))))
    assert ["frozen-level"] == [each.rule for each in check_frozen(History.load(folder))]


def test_every_version_is_checked_against_all_before_it():
    wider = field("amount", ["null", decimal(20, 4)], default=None)

    found = check_history(history(record(ID), record(ID, AMOUNT), record(ID, wider)))

    assert {("decimal-scale", 2)} == {(each.rule, each.against) for each in found}


def test_a_version_is_checked_at_the_level_it_was_frozen_at():
    """Or at the one that is asked for."""
    made = history(record(field("n", "int")), record(field("n", "string")), level="NONE")

    assert () == check_history(made)
    assert {"type"} == {each.rule for each in check_history(made, "BACKWARD")}


def test_versions_are_counted_on_and_keep_what_is_told_of_them():
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
