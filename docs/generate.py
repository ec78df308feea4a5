"""`python docs/generate.py`: write the pages that are made from the code itself."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

import typer.main  # noqa: TID251 - asks the command line for its options, and adds none

from tradepipe import metrics
from tradepipe.cli.main import app
from tradepipe.kafka import config

FOLDER = Path(__file__).parent

NOTE = "Made by `python docs/generate.py`; a test fails when it is out of date."

CONFIGURATION = f"""\
# Configuration

Every option of every command, and its environment variable; an option given on the command line wins. Each command is
there as `tradepipe NAME` and as `tradepipe NAME`. {NOTE}

Switches are on with the values `1`, `true`, `yes` and `on` of their variables, and off with `0`, `false`, `no` and
`off`. What may be repeated is separated by blanks in its variable.
"""

PROPERTIES = """\
## Kafka properties

`-X` takes any property of librdkafka under its own name, and so does the mapping that `Producer`, `Validator` and
`Sink` take. What carries a guarantee is set by tradepipe; giving another value is an error, with exit code 78.
"""

METRICS = f"""\
# Metrics

What sinks and validators count, by Prometheus' conventions: base units, counters ending in `_total`. No label holds a
trade's id or a Kafka key. {NOTE}
"""


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    return {"configuration.md": configuration(), "metrics.md": metrics_page()}


def configuration() -> str:
    """Commands with their options, then the properties of Kafka that are not the caller's."""
    command_line = typer.main.get_command(app)
    sections = [CONFIGURATION, *(_section(name, command) for name, command in _commands(command_line, ()))]
    return "\n".join([*sections, PROPERTIES, *_properties()])


def metrics_page() -> str:
    """The catalogue."""
    rows = [
        (f"`{each.name}`", each.kind, ", ".join(f"`{label}`" for label in each.labels), each.meaning)
        for each in metrics.CATALOGUE
    ]
    return METRICS + "\n" + _table(("metric", "kind", "labels", "meaning"), rows)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All that does something, in the order of `--help`: commands, and groups that do something by themselves too."""
    children = getattr(command, "commands", {})
    if not children or (path and command.invoke_without_command):
        yield path, command
    for name, child in children.items():
        if not child.hidden:
            yield from _commands(child, (*path, name))


def _section(path: tuple[str, ...], command: Any) -> str:
    rows = [_option(parameter) for parameter in command.params if parameter.name != "help"]
    about = " ".join(line.strip() for line in command.help.strip().splitlines() if line.strip())
    return f"## {' '.join(path)}\n\n{fill(about, 120)}\n\n" + _table(("option", "variable", "default", "meaning"), rows)


def _option(parameter: Any) -> tuple[str, str, str, str]:
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar}`"
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar or ''}".rstrip()
        names = ", ".join(f"`{name}{value}`" for name in [*parameter.opts, *parameter.secondary_opts])
    variable = f"`{parameter.envvar}`" if parameter.envvar else ""
    return names, variable, _default(parameter), (getattr(parameter, "help", None) or "").strip()


def _default(parameter: Any) -> str:
    if parameter.required:
        return "must be given"
    if parameter.default is None or parameter.default is False or callable(parameter.default):
        return ""
    return f"`{parameter.default:g}`" if isinstance(parameter.default, float) else f"`{parameter.default}`"


def _properties() -> Iterator[str]:
    for title, owned, defaults in (
        ("Of a producer", config.PRODUCER, config.PRODUCER_DEFAULTS),
        ("Of a validator's transactions", config.TRANSACTIONS, config.TRANSACTIONS_DEFAULTS),
        ("Of a consumer", config.CONSUMER, config.CONSUMER_DEFAULTS),
    ):
        rows = [(f"`{key}`", f"`{_value(value)}`", "no") for key, value in owned.items()]
        rows += [(f"`{key}`", f"`{_value(value)}`", "yes") for key, value in defaults.items()]
        yield f"### {title}\n\n" + _table(("property", "value", "may be given"), rows)


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
