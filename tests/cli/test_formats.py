"""`--format json`: one document on stdout, for every command that prints a table or a summary."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from tests.cli.commands import console
from tradepipe.cli.main import app

PRINT_SOMETHING_ELSE = {
    "embedded": "lines for a shell",
    "schema show": "the schema, which is JSON",
    "schema draft": "the draft of a schema, which is JSON",
    "migrate draft": "the draft of a revision, which is Python",
    "dlq export": "a JSON document per line",
}


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command that can run, by its words."""
    children = getattr(command, "commands", {})
    if not children or (path and command.invoke_without_command):
        yield path, command
    for name, child in children.items():
        yield from leaves(child, f"{path} {name}".strip())


def test_every_command_that_prints_a_table_or_a_summary_has_the_option():
    commands = dict(leaves(typer.main.get_command(app)))
    without = {
        name for name, command in commands.items() if not any("--format" in param.opts for param in command.params)
    }

    assert PRINT_SOMETHING_ELSE.keys() == without


@pytest.fixture
def filled(ready, outputs) -> dict[str, str]:
    """A topic with trades and bad records, stored and validated."""
    done = console("produce", "--count=40", "--bad=0.1", "--seed=1", env=ready)
    assert 0 == done.code, done.err
    clean = {"TRADEPIPE_CLEAN": outputs["TRADEPIPE_CLEAN"]}
    return ready | clean | {"TRADEPIPE_DELIVERY": "at_least_once"}


def test_stdout_is_one_document(filled, tmp_path, topic):
    csv = tmp_path / "trades.csv"
    csv.write_text(
        "trade_id,version,counterparty_id,book_id,maturity_date,created_at\n"
        "T1,1,CP-1,B1,2030-01-01,2026-01-01T00:00:00Z\n"
    )
    dlq = f"--dead-letters={topic}.dlq"
    commands = (
        "produce --count=5",
        f"produce --input={csv}",
        f"produce --input={csv} --dry-run",
        f"validate --until-end --max-refused=off {dlq}",
        "sink --until-end --max-refused=off",
        "sink offsets show",
        "sink offsets reset --to=earliest",
        "sink offsets reset --to=earliest --dry-run",
        "migrate current",
        "migrate upgrade",
        "topics create",
        "schema check",
        "schema drift",
        "schema register",
        "dlq ls",
        f"dlq ls {dlq} --from=topic",
        "dlq stats",
        "dlq replay",
    )
    results = {command: console(*command.split(), "--format=json", env=filled) for command in commands}

    assert [] == [(command, done) for command, done in results.items() if not is_document(done.out)]


def is_document(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("command", ["produce", "sink"])
def test_lines_of_trades_are_not_mixed_with_a_document(ready, command):
    done = console(command, "-v", "--format=json", env=ready)

    assert (2, "") == done[:2]
    assert "Invalid value for '--verbose': only valid with --format text" in done.err


@pytest.mark.slow
@pytest.mark.embedded
def test_the_demo_prints_its_result_as_a_document(tmp_path):
    done = console("demo", "--format=json", env={"TMPDIR": str(tmp_path)})

    document = json.loads(done.out)
    assert 0 == done.code, done.err
    assert document["produced"] == document["stored"] + document["duplicates"] + document["refused"]
