"""`tradepipe`: all commands in one, and their descriptions."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
import typer.main

from tests.cli.commands import Done, console, process, run_command
from tradepipe.cli.help_examples import EXAMPLES, examples
from tradepipe.cli.main import COMMANDS, app
from tradepipe.compiled_core import executor_name
from tradepipe.evolution.history import current
from tradepipe.postgres.packaged_revisions import required_revision

COMMAND_LINE = typer.main.get_command(app)


def commands(command: Any = COMMAND_LINE, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command with its name, those that only hold others included."""
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


ALL = dict(commands())


def tradepipe(*arguments: str) -> Done:
    return console(*arguments, env={})


def test_the_versions_are_printed():
    done = tradepipe("-V")

    assert 0 == done.code
    assert [
        f"tradepipe {version('tradepipe')}",
        f"librdkafka {confluent_kafka.libversion()[0]}",
        f"schema version {current().number}",
        f"Alembic head {required_revision()}",
        f"executor {executor_name()}",
    ] == done.out.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_the_same_in_this_process_and_in_another(name):
    """Most tests run commands in their own process."""
    env = {"COLUMNS": "80"}
    apart = process(name, "--nonsense", env=env)
    typed = f"{Path(sys.executable).name} -m tradepipe."

    assert typed in apart.err
    assert run_command(name, "--nonsense", env=env) == apart._replace(err=apart.err.replace(typed, "tradepipe "))


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("migrate", "--help"), ("sink", "--help"), ("sink", "offsets", "reset", "--help")]
)
def test_the_help_is_the_same_although_python_drops_docstrings(arguments):
    name, *rest = arguments

    done = process(name, *rest, env={"PYTHONOPTIMIZE": "2"})

    assert process(name, *rest, env={}) == done


@pytest.mark.parametrize(
    "words", [("version",), ("--version",), ("-V", "--format", "json"), ("version", "--format=json")]
)
def test_versions_are_printed_for_every_spelling(words):
    done = tradepipe(*words)

    assert (0, "") == (done.code, done.err)
    assert version("tradepipe") in done.out
    if len(words) > 1:
        assert current().number == json.loads(done.out)["schema_version"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("produce", ["--bootstrap-servers", "--registry", "--topic", "--input", "--mapping"]),
        ("sink", ["--bootstrap-servers", "--registry", "--topic", "--database"]),
        ("dlq ls", ["--bootstrap-servers", "--dead-letters", "--database"]),
    ],
    ids=["produce", "sink", "dlq ls"],
)
def test_the_short_help_has_the_options_that_a_command_needs(name, options):
    shown = tradepipe(*name.split(), "-h").out

    assert [] == [option for option in options if f"\n  {option} " not in shown]


@pytest.mark.parametrize("name", ALL)
def test_short_help_is_shorter_and_names_the_long_one(name):
    short, long = tradepipe(*name.split(), "-h"), tradepipe("help", *name.split())

    assert (0, 0, "", "") == (short.code, long.code, short.err, long.err)
    assert short.out.endswith(f"All options, variables and examples: {f'tradepipe {name}'.strip()} --help\n")
    assert len(short.out) < len(long.out) or not name
    assert [] == [line for line in short.out.splitlines() if len(line) > 80]


def test_help_shows_arguments_as_they_are_typed_and_required_ones_first():
    """typer writes them as `{OLD}` in the usage, and with Python's type in their list."""
    shown = tradepipe("schema", "diff", "--help").out

    assert shown.startswith("Usage: tradepipe schema diff [OPTIONS] OLD NEW\n")
    assert "\nRequired:\n  OLD\n      Version number or file.\n  NEW\n" in shown
    assert "\n  -h, --help\n" in shown


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_two_examples(name):
    assert 2 <= len(examples(name))


def test_every_example_is_of_a_command():
    assert set() == set(EXAMPLES) - set(ALL)


@pytest.mark.parametrize(
    ("name", "arguments"), [(name, arguments) for name, found in EXAMPLES.items() for arguments, _ in found]
)
def test_every_example_has_only_options_that_are_there(name, arguments):
    """Those of a command's child are the child's."""
    words = shlex.split(arguments)
    while words and words[0] in getattr(ALL[name], "commands", {}):
        name = f"{name} {words.pop(0)}".strip()
    known = {option for parameter in ALL[name].params for option in parameter.opts} | {"--help"}

    assert [] == [word for word in words if re.match("-", word) and word.partition("=")[0] not in known]


@pytest.mark.parametrize("name", ALL)
def test_help_is_readable_on_80_columns(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = ALL[name].get_help(typer.Context(ALL[name], info_name=f"tradepipe {name}".strip(), terminal_width=80))

    assert [] == [line for line in text.splitlines() if len(line) > 80]


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if hasattr(command, "commands")])
def test_every_command_is_described_by_a_whole_sentence(name):
    context = typer.Context(ALL[name], info_name=f"tradepipe {name}".strip(), terminal_width=80)
    listed = ALL[name].get_help(context).partition("\nCommands:\n")[2].partition("\nExamples:")[0]

    assert listed
    assert "..." not in listed


def test_help_goes_by_headings_and_ends_with_examples(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = tradepipe("produce", "--help")

    headings = re.findall(r"^(\w.*):$", done.out, re.MULTILINE)
    assert ["Options", "Input file", "Kafka", "Schema registry", "Timeouts and logging", "Examples"] == headings
    required = tradepipe("validate", "--help").out.partition("\nRequired:\n")[2].partition("\nOptions:\n")[0]
    assert ["--bootstrap-servers", "--registry"] == re.findall(r"^  (--\S+)", required, re.MULTILINE)
    assert "  tradepipe produce --input trades.jsonl --dry-run\n" in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_be_taught_to_complete(shell):
    # Without it typer looks for a shell among the parents of this process, where there need not be one.
    done = console("--show-completion", shell, env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})

    assert 0 == done.code, done.err
    assert "tradepipe" in done.out.lower()


def test_commands_options_and_choices_are_completed():
    def completed(words: str) -> list[str]:
        env = {
            "_TRADEPIPE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        done = console(env=env)
        assert "" == done.err
        return done.out.split()

    assert ["produce"] == completed("tradepipe prod")
    assert {"--input", "--on-error", "--kafka-config", "--registry-user"} <= set(completed("tradepipe produce --"))
    assert {"stop", "skip"} == set(completed("tradepipe produce --on-error "))
