"""Names and values that others wrote, as people and CI servers get to see them."""

import io
import json
import logging
import re
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.cli.commands import console
from tradepipe.cli import logs
from tradepipe.cli.dlq import commands, render
from tradepipe.cli.exit_codes import run
from tradepipe.cli.schema.report import CheckCase, Format, Remark, Report, print_report
from tradepipe.cli.terminal import StatusLine, echo, format_table, to_json
from tradepipe.errors import ConfigurationError
from tradepipe.evolution.findings import Finding, Severity
from tradepipe.evolution.history import current
from tradepipe.redaction import escape, escape_lines
from tradepipe.trade.dead_letter import DeadLetter
from tradepipe.trade.record import Record, Refusal, Violation

pytestmark = pytest.mark.hypothesis

PIECES = (
    "\n",
    "\r",
    "\r\n",
    "\x1b[2J",
    "\x1b]8;;http://x\x07",
    "\x1b]0;title\x1b\\",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\u2028",
    "\u200b",
    "\x85",
    "\x00",
    "\ud800",
    "::error::x",
    "::add-mask::x",
    "##[error]x",
    "  ",
    "%0A",
    "name",
    "é",
)
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), min_size=1, max_size=8).map("".join)
EXAMPLE = "a\r\n ::error::b\u202e\x1b]0;c\x07##[error]d"


def assert_harmless(text: str) -> None:
    """Nothing in a text does anything to a terminal, or to GitHub's runner."""
    assert [] == [character for character in text if character != "\n" and not character.isprintable()]
    assert [] == [line for line in text.split("\n") if line.lstrip().startswith("::")]
    assert "##[" not in text


@given(HOSTILE)
@example(EXAMPLE)
def test_an_escaped_name_is_one_line(name):
    assert "\n" not in escape(name)
    assert_harmless(escape_lines(name))


@pytest.mark.parametrize("form", ["text", "junit", "json", "github"])
def test_no_report_is_dangerous_to_its_reader(form: Format, capsys):
    @given(HOSTILE)
    @example(EXAMPLE)
    def check(name):
        finding = Finding("rule", Severity.ERROR, name, name, name, name, name)
        cases = (CheckCase(name, (finding,), name, "{}", {"key": name}), CheckCase(name, note=Remark(name, name)))
        print_report(Report("check", name, cases), form)
        text = capsys.readouterr().out
        if form == "github":  # a command for each case, and nothing but commands
            lines = text.splitlines()
            assert ["::error", "::notice"] == [line.partition(" ")[0] for line in lines]
            text = "\n".join(line.removeprefix("::") for line in lines).replace(
                "##[", ""
            )  # a command has no other in it
        assert_harmless(text)

    check()


@pytest.mark.parametrize("form", ["text", "junit", "json", "github"])
@pytest.mark.parametrize("command", ["check", "diff", "validate"])
def test_a_hostile_schema_file_is_checked_without_harm(command, form, tmp_path):
    schema = json.loads(current().text)
    schema["fields"].append({"name": "evil", "type": {"type": "string", "logicalType": EXAMPLE}, "default": EXAMPLE})
    schema["fields"].append({"name": f"x{EXAMPLE}", "type": EXAMPLE})
    path = tmp_path / "trade.avsc"
    path.write_text(json.dumps(schema))
    versions = ("1",) if command == "diff" else ()

    done = console("schema", command, *versions, str(path), "--format", form, env={"COLUMNS": "60"})

    assert 1 == done.code, done.err
    if form == "github":
        assert re.fullmatch(r"(::(error|warning|notice) [^\n]*\n)+", done.out)
    else:
        assert_harmless(done.out)
    assert_harmless(done.err)


@given(HOSTILE)
@example(EXAMPLE)
def test_a_hostile_dead_letter_is_shown_without_harm(text):
    value = text.encode(errors="surrogatepass")
    record = Record(text, 0, 1, value, value, None, ((text, value),))
    refusal = Refusal(record, (Violation(text, text),), None)
    refused_at = datetime(2026, 1, 1, tzinfo=UTC)
    letter = DeadLetter(refusal, text, text, refused_at, topic_record=Record("dlq", 0, 0, None, None))
    decoder = render.RecordDecoder(None, "subject")

    for shown in (
        render.format_list([letter], decoder),
        render.format_details(letter, decoder(record)),
        render.format_stats(render.count_dead_letters([letter], "code"), "code", "store", is_filtered=False),
        to_json(commands.document(letter, decoder), indent=None),
        format_table(("a", "b"), [(text, text)]),
    ):
        assert_harmless(escape_lines(shown))
        assert EXAMPLE not in shown


@given(HOSTILE)
@example(EXAMPLE)
def test_an_error_is_one_harmless_line(text):
    def fail(**_):
        raise ConfigurationError(text)

    stderr = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        patch.setattr("signal.signal", lambda *_: None)
        with pytest.raises(SystemExit):
            run(fail, "tradepipe")

    assert stderr.getvalue().startswith("Error: ")
    assert 1 == stderr.getvalue().count("\n")
    assert_harmless(stderr.getvalue())


@given(HOSTILE)
@example(EXAMPLE)
def test_a_log_line_is_one_harmless_line(text):
    record = logging.LogRecord("tradepipe.x", logging.INFO, "", 0, "what happened to %s", (text,), None)

    for formatter in (logs.text_formatter(StatusLine()), logs.JsonFormatter()):
        line = formatter.format(record)
        assert "\n" not in line
        assert_harmless(line)


def test_all_output_is_escaped(capsys):
    echo(EXAMPLE)

    assert_harmless(capsys.readouterr().out)
