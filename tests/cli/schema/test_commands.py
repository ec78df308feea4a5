"""`schema validate`, `check`, `diff` and `freeze`: what they find, how they say it, and how they end."""

import json
from datetime import UTC, date, datetime
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from tests.cli.commands import run_command
from tests.evolution.schemas import decimal, enum, field, record, text
from tests.evolution.test_freeze import history, write
from tradepipe.cli.schema.commands import app
from tradepipe.evolution.freeze import append_version
from tradepipe.evolution.history import HISTORY_FILE, History
from tradepipe.postgres.packaged_revisions import required_revision

ID = field("trade_id", doc="Identifies it.")
AMOUNT = field("amount", ["null", decimal(18, 2)], default=None)
SIDE = field("side", enum("UNKNOWN", "BUY", default="UNKNOWN"), default="UNKNOWN")
VENUE = field("venue", {"type": "enum", "name": "Venue", "symbols": ["XPAR"], "default": "XPAR"}, default="XPAR")
V1, V2 = record(ID), record(ID, AMOUNT, SIDE, VENUE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A history of two versions in ./trade, of a repository whose root is where commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trade").mkdir()
    return write(tmp_path / "trade", history(V1, V2))


@pytest.fixture
def run(folder, monkeypatch):
    """A command on that history, on a terminal of 80 columns: its exit code, and what it printed."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TRADEPIPE_HISTORY", str(folder))

    def run(*arguments):
        done = CliRunner().invoke(app, list(arguments))
        return done.exit_code, done.output

    return run


@pytest.fixture
def file(tmp_path):
    """Write a candidate, formatted as people do."""

    def file(schema, name="trade.avsc"):
        (tmp_path / name).write_text(json.dumps(schema, indent=2))
        return name

    return file


MISTAKES = {
    "the scale widened": (
        record(ID, {**AMOUNT, "type": ["null", decimal(20, 4)]}, SIDE, VENUE),
        {("decimal-scale", "new reads old", 2), ("decimal-scale", "old reads new", 2)},
        "Trade.amount",
    ),
    "a default removed": (
        record(ID, AMOUNT, field("side", enum("UNKNOWN", "BUY", default="UNKNOWN")), VENUE),
        {("missing-default", "new reads old", 1)},
        "Trade.side",
    ),
    "a field renamed with an alias": (
        record(field("id", aliases=["trade_id"]), AMOUNT, SIDE, VENUE),
        {
            (rule, way, number)
            for rule, way in (("alias", "new reads old"), ("renamed", "old reads new"))
            for number in (1, 2)
        },
        "Trade.id",
    ),
    "a symbol added where no default is": (
        record(ID, field("side", enum("BUY", "SELL"), default="BUY")),
        {("enum-symbol", "old reads new", 1)},
        "Trade.side",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_with_its_direction_and_explained(run, file, folder, mistake):
    schema, expected, path = MISTAKES[mistake]
    if mistake.startswith("a symbol"):
        for old in folder.iterdir():
            old.unlink()
        write(folder, history(record(ID, field("side", enum("BUY"), default="BUY"))))

    code, out = run("check", file(schema), "--format", "json")

    found = [finding for case in json.loads(out)["cases"] for finding in case["findings"]]
    assert 1 == code
    assert expected == {(each["rule"], each["direction"], each["against"]) for each in found if each["direction"]}
    assert path in {each["path"] for each in found}
    assert all(each["message"] and each["fix"] for each in found)


def test_a_history_in_order_is_fine(run):
    assert (0, "2 versions in trade: no errors, no warnings\n") == run("check")


def test_the_history_that_is_shipped_is_fine(monkeypatch):
    monkeypatch.delenv("TRADEPIPE_HISTORY", raising=False)

    done = run_command("schema", "check", env={})

    assert 0 == done.code, done.out
    assert "no errors, no warnings" in done.out


def test_an_edited_released_version_is_reported_with_what_to_do(run, folder):
    released = folder / "v001.avsc"
    released.write_text(released.read_text().replace("string", "bytes"))

    code, out = run("check")

    assert 1 == code
    assert "error: Version 1 was changed after its release" in out
    assert (
        "make the change in a copy of\n    the newest version, and run `schema freeze COPY`: it writes v003.avsc."
        in out
    )


def test_a_finding_has_its_sentence_before_its_place_and_fits_a_terminal(run, file):
    code, out = run("check", file(MISTAKES["the scale widened"][0]))

    assert 1 == code
    assert max(len(line) for line in out.splitlines()) <= 80
    assert out.startswith(
        "error: Readers on the new schema misread amounts of records written with the old\n"
        "  one: Java's read 123.45 as 1.2345, Python's are not affected. Registries do\n"
        "  not detect this.\n"
        "  at Trade.amount, trade.avsc:14: decimal(18,2) -> decimal(20,4)\n"
        "  new reads old, against v002 [decimal-scale]\n"
        "  instead: keep the scale, and add a new field with the other scale.\n"
    )
    assert out.endswith("trade.avsc after 2 versions at FULL_TRANSITIVE: 2 errors, no warnings\n")


def test_one_finding_against_several_versions_is_printed_once(run, file):
    _, out = run("check", file(MISTAKES["a field renamed with an alias"][0]))

    assert "old reads new, against v001 and v002 [renamed]" in out
    assert out.endswith("1 error, 1 warning\n")


def test_output_is_coloured_only_on_a_terminal(run, file):
    assert "\x1b" not in run("check", file(MISTAKES["the scale widened"][0]))[1]


def test_a_terminal_gets_the_severity_in_colour(folder, file):
    arguments = ["check", file(MISTAKES["the scale widened"][0]), "--history", str(folder)]

    assert CliRunner().invoke(app, arguments, color=True).output.startswith("\x1b[31m\x1b[1merror:\x1b[0m Readers")


def test_warnings_end_with_1_only_where_that_is_asked_for(run, file):
    renamed = file(record(ID, AMOUNT, SIDE, VENUE, namespace="desk"))

    code, out = run("check", renamed)

    assert 0 == code
    assert "[namespace]" in out
    assert 1 == run("check", renamed, "--strict")[0]


def test_a_given_level_replaces_that_of_the_history(run, file):
    loose = file(record(ID, AMOUNT, SIDE, VENUE, field("note")))

    assert 1 == run("check", loose)[0]
    assert 0 == run("check", loose, "--level", "FORWARD")[0]


def test_a_frozen_version_is_checked_against_those_before_it(run):
    assert 0 == run("check", "trade/v001.avsc")[0]
    assert "[missing-default]" not in run("check", "trade/v002.avsc")[1]


def test_a_candidate_that_is_no_schema_is_found(run, file):
    code, out = run("check", file({"type": "record"}))

    assert 1 == code
    assert "[not-a-schema]" in out


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("check", "missing.avsc"), "cannot read missing.avsc: No such file"),
        (("check", "--history", "missing"), "missing is not a directory"),
        (("check", "--level", "SOME"), "FULL_TRANSITIVE"),
        (("check", "--format", "xml"), "'junit'"),
        (("check", "--history", "."), "has no versions: v001.avsc does not exist"),
        (("validate", "--history", "."), "has no versions: v001.avsc does not exist"),
        (("diff", "1", "9"), "has no version 9"),
        (("diff", "1", "missing.avsc"), "'NEW': cannot read missing.avsc"),
        (("diff", "1"), "Missing argument 'NEW'"),
        (("freeze", "trade/v002.avsc"), "trade/v002.avsc is already version 2"),
        (("validate", "trade"), ": Is a directory"),
    ],
)
def test_contradictory_arguments_are_a_usage_error(run, arguments, reported):
    code, out = run(*arguments)

    assert 2 == code
    assert reported in " ".join(out.split())


def test_a_file_of_the_history_that_is_broken_is_named(folder):
    (folder / HISTORY_FILE).write_text("{")

    done = run_command("schema", "check", "--history", str(folder), env={})

    assert 1 == done.code
    assert f"Error: {folder}: {HISTORY_FILE} is not as `schema freeze` writes it" in done.err


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ('{"versions": [{"number": 1}]}', "(its versions must be a list of number, sha256,"),
        ("[]", "(its versions must be a list of number, sha256,"),
        ("{", "(it is not JSON: Expecting property name"),
    ],
)
def test_a_damaged_history_is_reported_in_words(folder, text, reported):
    (folder / HISTORY_FILE).write_text(text)

    done = run_command("schema", "check", "--history", str(folder), env={})

    assert 1 == done.code
    assert reported in done.err


def test_a_file_that_is_not_json_is_reported_with_its_line(run, tmp_path):
    (tmp_path / "trade.avsc").write_text('{\n  "type": "record",\n  "name" "Trade"\n}\n')

    _, out = run("check", "trade.avsc")

    assert out.startswith("error: The schema is not JSON: Expecting ':' delimiter: line 3 column 10 (char\n  31).\n")
    assert "  at trade.avsc:3 [not-a-schema]\n" in out


def test_a_frozen_version_that_is_no_schema_is_found_by_each_command(run, folder, file):
    (folder / "v002.avsc").write_text('{"type": "record"}')

    third = file(record(ID, VENUE))

    for command in (("check",), ("check", third), ("diff", "1", "2"), ("freeze", third)):
        code, out = run(*command)
        assert (1, True) == (code, "[not-a-schema]" in out), command


def test_validate_reports_each_defect_with_its_place(run, file):
    stamp = field("amount", "long", logicalType="timestamp-micros")
    flawed = file(record(ID, stamp, field("side", enum("A"), default="B")))

    code, out = run("validate", flawed)

    assert 1 == code
    assert f"at Trade.amount, {flawed}:11 [logical-type-misplaced]" in out
    assert "[enum-default]" in out
    assert out.endswith(f"{flawed}: 2 errors, 1 warning\n")


def test_validate_without_a_file_checks_every_released_version(run, folder):
    assert (0, "trade/v001.avsc, trade/v002.avsc: no errors, no warnings\n") == run("validate")
    (folder / "v003.avsc").write_text("{")
    assert 1 == run("validate")[0]


def test_diff_prints_each_change_and_its_effect_on_readers(run):
    code, out = run("diff", "1", "v002")

    assert 0 == code
    assert out.startswith(
        "v001 -> v002: 3 changes\n"
        "\n"
        "The field was added: [null, decimal(18,2)], by default null.\n"
        "  at Trade.amount\n"
        "  new reads old: fine: Readers fill it with null.\n"
        "  old reads new: fine: Readers ignore it.\n"
    )


def test_diff_compares_files_and_reports_incompatible_changes(run, file):
    _, out = run("diff", "2", file(MISTAKES["the scale widened"][0]))

    assert out.startswith("v002 -> trade.avsc: 1 change\n")
    assert "  old reads new: error: Readers on the old schema misread" in out


def test_diff_ends_with_0_whatever_changed_for_a_program_too(run, file):
    code, out = run("diff", "2", file(MISTAKES["the scale widened"][0]), "--format", "json")

    document = json.loads(out)
    (case,) = document["cases"]
    assert (0, "diff", 2) == (code, document["command"], document["errors"])
    assert ("Trade.amount", "type") == (case["path"], case["kind"])
    assert [("new reads old", "error"), ("old reads new", "error")] == [
        (each["direction"], each["severity"]) for each in case["effects"]
    ]
    assert [("decimal-scale", 14)] * 2 == [(each["rule"], each["line"]) for each in case["findings"]]


def test_each_change_of_a_diff_is_a_test_that_fails_where_something_breaks(run, file):
    changed = file(record(ID, {**AMOUNT, "type": ["null", decimal(20, 4)]}, SIDE, VENUE, field("note", default="")))

    wide, added = ElementTree.fromstring(run("diff", "2", changed, "--format", "junit")[1]).iter("testcase")

    assert ["failure"] == [each.tag for each in wide]
    assert 'Trade.note: The field was added: string, by default "".' == added.get("name")
    assert added.findtext("system-out").endswith(
        'New reads old: Readers fill it with "". Old reads new: Readers ignore it.'
    )


def test_a_change_that_breaks_nothing_is_a_notice_at_its_line(run):
    code, out = run("diff", "1", "2", "--format", "github")

    assert 0 == code
    assert 3 == len(out.splitlines())
    assert out.startswith("::notice file=trade/v002.avsc,line=")
    assert "title=Trade.amount [field-added]::The field was added: [null, decimal(18,2)]" in out


def test_a_released_file_that_is_not_a_schema_is_reported_in_the_chosen_format(run, folder):
    (folder / "v002.avsc").write_text('{"type": "record"}')

    code, out = run("diff", "1", "2", "--format", "json")

    assert (1, "trade/v002.avsc") == (code, json.loads(out)["cases"][0]["file"])


def test_freeze_writes_the_next_version_and_records_it(run, file, folder):
    third = file(record(ID, AMOUNT, SIDE, VENUE, field("note", default="")))

    assert (0, "version 3 is frozen: trade/v003.avsc, level FULL_TRANSITIVE\n") == run("freeze", third)

    made = History.load(folder)
    assert (folder.parent / third).read_text() == made.version(3).text
    assert (datetime.now(UTC).date().isoformat(), "FULL_TRANSITIVE", None) == made.entry(3)[3:]
    assert 0 == run("check")[0]


def test_json_lists_what_was_frozen(run, file):
    third = file(record(ID, AMOUNT, SIDE, VENUE, field("note", default="")))

    planned, done = (json.loads(run("freeze", third, "--format", "json", *dry)[1]) for dry in (["--dry-run"], []))

    assert ("planned", 3, "FULL_TRANSITIVE") == tuple(
        planned["cases"][-1][key] for key in ("outcome", "version", "level")
    )
    assert ("frozen", "trade/v003.avsc") == (done["cases"][-1]["outcome"], done["cases"][-1]["file"])


def test_freeze_prints_warnings(run, file):
    code, out = run("freeze", file(record(ID, AMOUNT, SIDE, VENUE, namespace="desk")))

    assert 0 == code
    assert "[namespace]" in out
    assert out.endswith("6 warnings\n\nversion 3 is frozen: trade/v003.avsc, level FULL_TRANSITIVE\n")


def test_freeze_refuses_an_incompatible_schema_and_writes_nothing(run, file, folder):
    code, out = run("freeze", file(MISTAKES["the scale widened"][0]))

    assert 1 == code
    assert "[decimal-scale]" in out
    assert not (folder / "v003.avsc").exists()


def test_freeze_refuses_while_a_released_version_is_not_as_it_was(run, file, folder):
    (folder / "v001.avsc").write_text(text(record(field("trade_id"))))

    code, out = run("freeze", file(record(ID, AMOUNT, SIDE, VENUE, field("note", default=""))))

    assert 1 == code
    assert "[frozen-docs-changed]" in out


def test_freeze_tries_without_writing(run, file, folder):
    before = {each.name: each.read_text() for each in folder.iterdir()}

    code, out = run("freeze", file(record(ID, AMOUNT, SIDE, VENUE, field("note", default=""))), "--dry-run")

    assert (0, "version 3 would be frozen: trade/v003.avsc, level FULL_TRANSITIVE\n") == (code, out)
    assert before == {each.name: each.read_text() for each in folder.iterdir()}


@pytest.fixture
def linked(folder):
    """The same history, whose versions name revisions of a database."""
    made = History((), ())
    for schema, revision in ((V1, "0001_trades"), (V2, "0002_amount")):
        made = append_version(made, text(schema), on=date(2025, 6, 1), level="FULL", alembic_revision=revision)
    return write(folder, made)


def test_freeze_asks_for_the_revision_where_the_fields_change(run, file, linked):
    third = file(record(ID, AMOUNT, SIDE, VENUE, field("note", default="")))

    code, out = run("freeze", third)
    assert 2 == code
    assert "--alembic-revision" in out

    revision = required_revision()
    assert 0 == run("freeze", third, "--alembic-revision", revision)[0]
    assert ("FULL", revision) == History.load(linked).entry(3)[4:]


def test_freeze_refuses_a_revision_that_does_not_exist(run, file, linked):
    third = file(record(ID, AMOUNT, SIDE, VENUE, field("note", default="")))

    code, out = run("freeze", third, "--alembic-revision", "0003_note")

    assert 2 == code
    assert f"whose newest is {required_revision()}; write it first" in " ".join(out.split())
    assert 2 == len(History.load(linked).entries)


def test_freeze_takes_the_last_revision_where_they_do_not(run, file, linked):
    assert 0 == run("freeze", file(record(ID, AMOUNT, SIDE, VENUE, doc="One trade.")))[0]
    assert "0002_amount" == History.load(linked).entry(3).alembic_revision


def test_the_first_version_of_a_new_history_is_frozen(run, file, tmp_path):
    (tmp_path / "new").mkdir()

    assert 0 == run("freeze", file(V1), "--history", "new", "--level", "BACKWARD")[0]
    assert "BACKWARD" == History.load(tmp_path / "new").level


def test_freeze_does_not_write_into_an_installed_package(run, file, tmp_path):
    installed = tmp_path / "site-packages" / "trade"
    installed.mkdir(parents=True)

    code, out = run("freeze", file(V1), "--history", str(installed))

    assert 2 == code
    assert "belongs to the installed package" in " ".join(out.split())
