"""The form all our command lines have."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from textwrap import fill
from typing import Any, Final

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from tradepipe.cli.help_examples import examples
from tradepipe.cli.input.columns import FILE as INPUT
from tradepipe.cli.options import BEHAVIOUR, DATABASE, DEAD_LETTERS, FILTERS, KAFKA, REGISTRY
from tradepipe.cli.secrets import FILE, read_variable
from tradepipe.cli.settings import KAFKA_SECRETS, REGISTRY_SECRETS, with_shared_options

_HEADINGS: Final = (None, FILTERS, DEAD_LETTERS, INPUT, KAFKA, REGISTRY, DATABASE, BEHAVIOUR)
"""None is for a command's own options."""

MAX_SUMMARY_LENGTH: Final = 1_000
"""Characters that no sentence about a command has."""

_FILES: Final = (
    f"Any variable may be given as its name with {FILE}, which names a file that holds the value: "
    f"DATABASE_URL{FILE}=/run/secrets/url."
)


def command_line(about: str | None = None, *, completion: bool = False) -> typer.Typer:
    """A command line; `about` describes one that has commands of its own."""
    described: dict[str, Any] = {} if about is None else {"help": about}  # None would win over the callback's docstring
    return _CommandLine(
        **described,
        cls=Group,
        no_args_is_help=about is not None,
        add_completion=completion,
        # Boxes would cut the names of environment variables at 80 columns.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


class _CommandLine(typer.Typer):
    """Every command of it is a `Command` with the shared options of its kind."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # type: ignore[override]  # ours take what typer's do
        register = super().command(name, **{"cls": Command, **settings})
        return lambda function: _register(register, function)

    def callback(self, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # type: ignore[override]  # the same
        cls = settings.pop("cls", Group)
        ours = cls if issubclass(cls, _HelpFormatter) else type(cls.__name__, (_HelpFormatter, cls), {})
        register = super().callback(cls=ours, **settings)
        return lambda function: _register(register, function)


def _register(register: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    register(with_shared_options(function))
    return function


class _HelpFormatter:
    """Options by headings, each with its help below it; values out of files; examples at the end."""

    params: list[Any]

    # click's types are private to typer, whose own classes call these.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing and not {"-h", "--help"} & set(args):
            ctx.default_map = {**(ctx.default_map or {}), **_defaults_from_files(self.params)}
        return super().parse_args(ctx, args)  # type: ignore[misc,no-any-return]  # that of TyperCommand or TyperGroup

    def format_options(self, ctx: Any, formatter: Any) -> None:
        shown = [param for param in self.get_params(ctx) if param.get_help_record(ctx)]  # type: ignore[attr-defined]  # the same
        for heading in _HEADINGS:
            rows = list(_option_rows(ctx, shown, heading))
            if rows:
                formatter.write(f"\n{heading or 'Options'}:\n")
            for names, text in rows:
                formatter.write(f"  {names}\n{_indent(text, formatter.width)}")
        if any(param.envvar for param in shown):
            formatter.write(f"\n{fill(_FILES, formatter.width)}\n")
        if hasattr(self, "format_commands"):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if found := examples(ctx.command_path):
            formatter.write("\nExamples:\n")
        for arguments, meaning in found:
            formatter.write(f"  {ctx.command_path} {arguments}".rstrip() + f"\n{_indent(meaning, formatter.width)}")


class Command(_HelpFormatter, TyperCommand):
    """A command that does something."""


class Group(_HelpFormatter, TyperGroup):
    """A command with commands of its own."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each with its first sentence, whole: click's own form cuts it off."""
        width = max(map(len, self.commands)) + 4
        formatter.write("\nCommands:\n")
        for name, command in self.commands.items():
            about = command.get_short_help_str(limit=MAX_SUMMARY_LENGTH)
            formatter.write(_two_columns(f"  {name}", about, formatter.width, width))


def _defaults_from_files(params: list[Any]) -> dict[str, Any]:
    """What variables with `_FILE` give, as typer takes the values of variables; refuses a variable given twice."""
    found = {}
    for param in params:
        if isinstance(param.envvar, str) and (value := read_variable(param.envvar)) is not None:
            found[param.name] = value.split() if param.multiple else value
    return found


def _option_rows(ctx: Any, params: list[Any], heading: str | None) -> Iterator[tuple[str, str]]:
    yield from (param.get_help_record(ctx) for param in params if getattr(param, "rich_help_panel", None) == heading)
    if heading == KAFKA and any(param.name == "kafka_config" for param in params):
        for name, key in KAFKA_SECRETS.items():
            yield name, f"{key}, by the environment only."
    if heading == REGISTRY and any(param.name == "registry_user" for param in params):
        for name, meaning in REGISTRY_SECRETS.items():
            yield name, f"{meaning[0].upper()}{meaning[1:]}; by the environment only."


def _two_columns(name: str, text: str, width: int, column: int) -> str:
    """A paragraph in a column behind a name."""
    lines = fill(text, width, initial_indent=" " * column, subsequent_indent=" " * column, break_on_hyphens=False)
    return f"{name.ljust(column)}{lines[column:]}\n"


def _indent(text: str, width: int) -> str:
    """A paragraph whose names with hyphens stay whole."""
    indent = " " * 6
    return (
        fill(
            text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
        )
        + "\n"
    )


class Commands(Mapping[str, Any]):
    """Commands by name, each made of its module's `app`."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            command = typer.main.get_command(import_module(self._modules[name]).app)
            command.name = name
            self._loaded[name] = command
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def loading(modules: Mapping[str, str]) -> type[Group]:
    """A group of the commands in these modules."""

    class Loading(Group):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = Commands(modules)  # type: ignore[assignment]  # a group only reads it

    return Loading
