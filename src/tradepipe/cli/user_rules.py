"""User-defined validation rules, loaded by `--rules MODULE:FUNCTION`."""

import importlib
import os
import sys
from collections.abc import Iterable
from operator import attrgetter
from types import ModuleType
from typing import Any

import typer

from tradepipe.pipeline.validation import Rule


def load_rules(texts: Iterable[str] | None) -> tuple[Rule, ...]:
    """
    Import the named functions, in order. Modules in the current directory can be imported, as with `python -m`.

    Raises:
        BadParameter: a name does not refer to a function.
    """
    # As `python -m` does. An installed command has its own directory there instead.
    if texts and not sys.flags.safe_path and not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
    return tuple(_load_rule(text) for text in texts or ())


def _load_rule(text: str) -> Rule:
    name, colon, function = text.partition(":")
    if not name or not colon or not function:
        raise _usage_error(f"must be MODULE:FUNCTION, not {text!r}")
    module = _import_module(name)
    try:
        found: Any = attrgetter(function)(module)
    except AttributeError:
        raise _usage_error(f"module {name}, {_location(module)}, has no function {function}") from None
    if not callable(found):
        raise _usage_error(
            f"{function} of module {name}, {_location(module)}, is not a function but {type(found).__name__}"
        )
    rule: Rule = found
    return rule


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module was found, but imports another one that was not.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_error(name, error) from error
        raise _usage_error(f"module {name} not found in {', '.join(map(_quote, sys.path))}") from None
    except (Exception, SystemExit) as error:  # importing a module runs arbitrary code
        raise _import_error(name, error) from error


def _location(module: ModuleType) -> str:
    return _quote(getattr(module, "__file__", None) or "built in")


def _quote(path: str) -> str:
    return path or os.getcwd()


def _import_error(name: str, error: BaseException) -> typer.BadParameter:
    return _usage_error(f"module {name} cannot be imported: {type(error).__name__}: {error}")


def _usage_error(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="'--rules'")
