"""Custom rules: the functions that `--rules` names."""

import os
import sys
import sysconfig
from collections.abc import Iterable
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import typer

from tradepipe.cli.options import option
from tradepipe.errors import ConfigurationError
from tradepipe.pipeline.validation import Rule, check_rule

RulesOption = Annotated[
    list[str] | None,
    option(
        "--rules MODULE:FUNCTION",
        "Additional validation rule, a function from Trade to violations. Repeatable "
        "(space-separated in the variable).",
    ),
]


def load_rules(texts: Iterable[str] | None) -> tuple[Rule, ...]:
    """
    Import the functions named by `--rules MODULE:FUNCTION`, in order.

    Modules in the current directory can be imported, as with `python -m`.

    Raises:
        BadParameter: a name does not refer to a function.
    """
    # As `python -m` does. An installed command has its own directory there instead.
    if texts and not sys.flags.safe_path and not {"", _here()} & set(sys.path):
        sys.path.insert(0, _here())
    return tuple(_load_rule(text) for text in texts or ())


def _load_rule(text: str) -> Rule:
    name, colon, function = text.partition(":")
    if not name or not colon or not function:
        raise _rules_error(f"must be MODULE:FUNCTION, not {text!r}")
    try:
        module = import_module(name)
    except (Exception, SystemExit) as error:  # importing a module runs arbitrary code
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        # Otherwise the module was found, but imports another one that was not.
        if missing and f"{name}.".startswith(f"{missing}."):
            folders = ", ".join(each or _here() for each in sys.path)
            raise _rules_error(f"module {name} not found in {folders}") from None
        raise _rules_error(f"module {name} cannot be imported: {type(error).__name__}: {error}") from error
    file = getattr(module, "__file__", None)
    place = f"module {name}, {file or 'built in'},"
    try:
        found: Any = attrgetter(function)(module)
    except AttributeError:
        raise _rules_error(f"{place} has no function {function}") from None
    if not callable(found):
        raise _rules_error(f"{function} of {place} is not a function but {type(found).__name__}")
    # A function of the standard library may do anything when it is called with a trade.
    in_library = file and Path(file).is_relative_to(sysconfig.get_path("stdlib")) and "site-packages" not in file
    if in_library or (file is None and module.__name__ in sys.stdlib_module_names):
        raise _rules_error(f"{place} is part of Python, and {function} is not a rule of trades")
    rule: Rule = found
    try:
        check_rule(rule)
    except ConfigurationError as error:
        raise _rules_error(str(error)) from error
    return rule


def _here() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise _rules_error(f"the current directory cannot be used: {error.strerror}") from None


def _rules_error(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="'--rules'")
