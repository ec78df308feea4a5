"""What was typed for one command, as it is typed again for the next one."""

import shlex
from collections.abc import Collection, Iterator
from typing import Any

import typer

from tradepipe.cli.masking import masked


def retyped(context: typer.Context, headings: Collection[str]) -> str:
    """The options of these headings of `--help` that were typed, with a blank before each; no password is in it."""
    words = [
        word
        for parameter in context.command.params
        if getattr(parameter, "rich_help_panel", None) in headings and is_typed(context, parameter.name)
        for word in _words(parameter, context.params[str(parameter.name)])
    ]
    return "".join(f" {masked(shlex.quote(word))}" for word in words)


def is_typed(context: typer.Context, name: str | None) -> bool:
    """Whether an option's value stood on the command line."""
    source = context.get_parameter_source(name or "")
    return source is not None and source.name == "COMMANDLINE"


def _words(parameter: Any, value: Any) -> Iterator[str]:
    for each in value if parameter.multiple else [value]:
        yield from (parameter.opts[0], str(each))
