"""Command lines: help layout, values from files, and commands loaded on demand."""

import ast
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, cached_property
from importlib import import_module
from itertools import takewhile
from textwrap import fill
from typing import Any, Final

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from tradepipe.cli.help_examples import examples
from tradepipe.cli.logs import warn_later
from tradepipe.cli.options import (
    BEHAVIOUR,
    DATABASE,
    DEAD_LETTERS,
    DERIVED,
    FILTERS,
    INPUT,
    KAFKA,
    MAX_SHOWN,
    REGISTRY,
    with_option_groups,
)
from tradepipe.cli.settings import FILE, KAFKA_SECRETS, REGISTRY_SECRETS, read_variable

_HEADINGS: Final = (None, FILTERS, DEAD_LETTERS, INPUT, KAFKA, REGISTRY, DATABASE, BEHAVIOUR)
"""Order of the headings in `--help`; None is for a command's own options."""

MAX_SUMMARY_LENGTH: Final = 1_000
"""More characters than any command's first sentence, so that click does not truncate it."""

_ESSENTIAL: Final = frozenset(
    {"--input", "--mapping", "--suggest-mapping", "--bootstrap-servers", "--topic", "--registry", "--database"}
    | {"--dead-letters"}
)
"""Options under headings that `-h` shows too: without them few commands can run."""

_CHECKED_VARIABLES: Final = "tradepipe.checked_variables"
"""Key of click's context for whether unknown variables were looked for."""

_FILES: Final = (
    f"Any variable can be read from a file: append {FILE} to its name, as in DATABASE_URL{FILE}=/run/secrets/url."
)


def command_line(about: str | None = None, *, completion: bool = False) -> typer.Typer:
    """Create a command line; `about` is the help of one that has subcommands."""
    # Passing help=None would hide the callback's docstring.
    help_text: dict[str, Any] = {} if about is None else {"help": about}
    return _CommandLine(
        **help_text,
        cls=Group,
        no_args_is_help=about is not None,
        add_completion=completion,
        # rich's boxes truncate the names of environment variables at 80 columns.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help"], "max_content_width": 100},
    )


class _CommandLine(typer.Typer):
    """A typer application whose commands get the shared options (see options.py)."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        # typer looks for the user's shell each time when it makes the options for completion.
        command = typer.main.get_command(self) if self._add_completion else self._made
        return command(*arguments, **settings)

    @cached_property
    def _made(self) -> Any:
        # Once, not for each call: a process that runs several commands would spend most of its time here.
        return typer.main.get_command(self)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # type: ignore[override]  # same arguments as typer's
        register = super().command(name, **{"cls": Command, **settings})
        return lambda function: _register(register, function)

    def callback(self, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # type: ignore[override]  # same arguments as typer's
        register = super().callback(**{"cls": Group, **settings})
        return lambda function: _register(register, function)


def _register(register: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    if function.__doc__ is None:
        function.__doc__ = _read_docstring(function)
    register(with_option_groups(function))
    return function


def _read_docstring(function: Callable[..., Any]) -> str | None:
    """Return a docstring, which is the help of a command, from the source: `python -OO` drops it."""
    try:
        (definition,) = ast.parse(inspect.getsource(function)).body
    except OSError:  # installed without sources
        return None
    return ast.get_docstring(definition) if isinstance(definition, ast.FunctionDef) else None


class _HelpFormatter:
    """Help with options under headings and examples at the end, and option values from `_FILE` variables."""

    params: list[Any]

    @property
    def required(self) -> set[str]:
        """Names of the required options, which for typer are optional (see options.py)."""
        return getattr(self.callback, "required", set())  # type: ignore[attr-defined]  # TyperCommand's or TyperGroup's

    # click's types are private to typer, hence Any.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        commands = getattr(self, "commands", {})
        # After the name of a subcommand, -h is that command's.
        before_command = list(takewhile(lambda word: word not in commands, args))
        if "-h" in before_command and not ctx.resilient_parsing:
            typer.echo(self._short_help(ctx))
            ctx.exit()
        # Not for the help, which must work while a file is missing, nor for completion, which must not print.
        if not ctx.resilient_parsing and "--help" not in args:
            _warn_of_unknown_variables(ctx, self.params)
            # Only values of `_FILE` variables matter here: typer itself reads the plain ones, and they are the same.
            ctx.default_map = dict(ctx.default_map or {})
            for param in self.params:
                if isinstance(param.envvar, str) and (value := read_variable(param.envvar)) is not None:
                    ctx.default_map[param.name] = value.split() if param.multiple else value
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc,no-any-return]  # TyperCommand's or TyperGroup's
        except typer.BadParameter as error:
            errors = getattr(error.__cause__, "errors", None)
            for each in errors() if errors else ():
                # Pydantic could not convert the value, which its message does not contain.
                _, prefix, expected = str(each["msg"]).partition("Input should be ")
                if prefix and len(value := repr(each["input"])) <= MAX_SHOWN:
                    error.message = f"{value} is not {expected.partition(', ')[0]}"
                    break
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # typer writes a required argument as {FILE}.
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]  # type: ignore[misc]  # TyperCommand's or TyperGroup's

    def _short_help(self, ctx: Any) -> str:
        """Return the usage, the first sentence, and the most important options with their first sentences."""
        formatter = ctx.make_formatter()
        self.format_usage(ctx, formatter)  # type: ignore[attr-defined]  # TyperCommand's or TyperGroup's
        about = self.get_short_help_str(limit=MAX_SUMMARY_LENGTH)  # type: ignore[attr-defined]  # TyperCommand's or TyperGroup's
        formatter.write(f"\n{fill(about, formatter.width)}\n")
        required, optional = self._visible_options(ctx)
        essential = [param for param in optional if not _ESSENTIAL.isdisjoint(param.opts)]
        rows = [
            *_option_rows(ctx, required, *_HEADINGS),
            *_option_rows(ctx, essential, *_HEADINGS[1:]),
            *_option_rows(ctx, optional, None),
        ]
        formatter.write("\nOptions:\n")
        for names, text in rows:
            sentence = re.split(r"\. |  \[", text, maxsplit=1)[0].removesuffix(".")
            formatter.write(_two_columns(f"  {names}", sentence, formatter.width, 32))
        if hasattr(self, "format_commands"):
            self.format_commands(ctx, formatter)
        formatter.write(f"\nAll options, variables and examples: {ctx.command_path} --help")
        return str(formatter.getvalue())

    def _visible_options(self, ctx: Any) -> tuple[list[Any], list[Any]]:
        """Return the required options and the others."""
        visible = [param for param in self.get_params(ctx) if param.get_help_record(ctx)]  # type: ignore[attr-defined]  # TyperCommand's or TyperGroup's
        required = [each for each in visible if each.required or each.name in self.required]
        return required, [each for each in visible if each not in required]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        required, optional = self._visible_options(ctx)
        sections = {"Required": list(_option_rows(ctx, required, *_HEADINGS))}
        for heading in _HEADINGS:
            sections[heading or "Options"] = list(_option_rows(ctx, optional, heading))
        for heading, rows in sections.items():
            if rows:
                formatter.write(f"\n{heading}:\n")
            for names, text in rows:
                formatter.write(f"  {names}\n{_indent(text, formatter.width)}")
        if any(param.envvar for param in (*required, *optional)):
            formatter.write(f"\n{fill(_FILES, formatter.width)}\n")
        if hasattr(self, "format_commands"):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        # `tradepipe sink`, or `python -m tradepipe.sink`
        if found := examples(re.sub(r"^(\S+ -m )?tradepipe[. ]?", "", ctx.command_path)):
            formatter.write("\nExamples:\n")
        for arguments, meaning in found:
            formatter.write(f"  {ctx.command_path} {arguments}".rstrip() + f"\n{_indent(meaning, formatter.width)}")


class Command(_HelpFormatter, TyperCommand):
    """A command without subcommands."""


class Group(_HelpFormatter, TyperGroup):
    """A command with subcommands."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the subcommands, each with its whole first sentence."""
        width = max(map(len, self.commands)) + 4
        formatter.write("\nCommands:\n")
        for name, command in self.commands.items():
            about = command.get_short_help_str(limit=MAX_SUMMARY_LENGTH)
            formatter.write(_two_columns(f"  {name}", about, formatter.width, width))


def _warn_of_unknown_variables(ctx: Any, params: list[Any]) -> None:
    """Warn of variables that no command reads: they are most likely misspelt."""
    own = {param.envvar for param in params}
    given = {name.removesuffix(FILE) for name in os.environ if name.startswith(DERIVED)}
    # A group without options leaves this to the command that runs. The contexts of both share `meta`, so a group that
    # has options, as the sink, does it once for both.
    if not given - own or own <= {None} or ctx.meta.setdefault(_CHECKED_VARIABLES, False):
        return
    ctx.meta[_CHECKED_VARIABLES] = True
    known = _known_variables()
    # Without the prefix, which makes all of them similar.
    known_ends = {name.removeprefix(DERIVED) for name in known}
    for name in sorted(given - known):
        similar = get_close_matches(name.removeprefix(DERIVED), known_ends, n=1)
        advice = f"; did you mean {DERIVED}{similar[0]}?" if similar else ", since no command reads it"
        warn_later(f"the environment variable {name} is ignored{advice}")


@cache
def _known_variables() -> frozenset[str]:
    """Return the environment variables of all commands."""
    # This imports and builds all commands, which takes half a second; tests run hundreds of commands in one process.
    return frozenset(_variables_of(typer.main.get_command(import_module("tradepipe.cli.main").app)))


def _variables_of(command: Any) -> Iterator[str]:
    """Yield the environment variables of a command and its subcommands."""
    yield from (param.envvar for param in command.params if isinstance(param.envvar, str))
    for subcommand in getattr(command, "commands", {}).values():
        yield from _variables_of(subcommand)


def _option_rows(ctx: Any, params: list[Any], *headings: str | None) -> Iterator[tuple[str, str]]:
    """Yield the options under some headings, with their help."""
    for param in params:
        if getattr(param, "rich_help_panel", None) in headings:
            names, text = param.get_help_record(ctx)
            if param.name == "help":
                names, text = "-h, --help", "Show a short help, or the complete one."
            # typer adds Python's type to the name of an argument, and "required" to its text.
            yield names.partition(" <")[0], text.removesuffix("  [required]")
    if headings == (KAFKA,) and any(param.name == "kafka_config" for param in params):
        for name, key in KAFKA_SECRETS.items():
            yield name, f"Sets {key}; variable only."
    if headings == (REGISTRY,) and any(param.name == "registry_user" for param in params):
        for name, meaning in REGISTRY_SECRETS.items():
            yield name, f"{meaning}; variable only."


def _two_columns(name: str, text: str, width: int, column: int) -> str:
    """Format a name followed by an indented paragraph."""
    lines = fill(text, width, initial_indent=" " * column, subsequent_indent=" " * column, break_on_hyphens=False)
    return f"{name}\n{lines}\n" if len(name) >= column else f"{name.ljust(column)}{lines[column:]}\n"


def _indent(text: str, width: int) -> str:
    """Wrap a paragraph without breaking option names."""
    indent = " " * 6
    return (
        fill(
            text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
        )
        + "\n"
    )


class LazyCommands(Mapping[str, Any]):
    """Commands by name; a command's module is imported when the command is looked up."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        # On demand: only the help of the group needs all modules, whose import takes longer than a short command.
        if name not in self._loaded:
            command = typer.main.get_command(import_module(self._modules[name]).app)
            command.name = name
            self._loaded[name] = command
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def lazy_group(modules: Mapping[str, str]) -> type[Group]:
    """Return a group class whose commands are the `app` of these modules, imported on demand."""
    commands = LazyCommands(modules)

    class LazyGroup(Group):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = commands  # type: ignore[assignment]  # a group only reads it

    return LazyGroup
