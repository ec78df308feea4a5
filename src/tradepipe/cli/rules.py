"""A user's own rules, as `--rules MODULE:FUNCTION` names them."""

import importlib
import os
import sys
from collections.abc import Iterable
from operator import attrgetter
from types import ModuleType
from typing import Any

import typer

from tradepipe.pipeline.judge import Rule


def rules(texts: Iterable[str] | None) -> tuple[Rule, ...]:
    """
    The functions that are named, in their order; the current directory can be imported from, as with `python -m`.

    Raises:
        BadParameter: a text names no function.
    """
    return tuple(_rule(text) for text in texts or ())


def _rule(text: str) -> Rule:
    name, colon, function = text.partition(":")
    if not name or not colon or not function:
        raise _wrong(f"it takes MODULE:FUNCTION, not {text!r}")
    module = _module(name)
    try:
        found: Any = attrgetter(function)(module)
    except AttributeError:
        raise _wrong(f"module {name}, {_place(module)}, has no function {function}") from None
    if not callable(found):
        raise _wrong(f"{function} of module {name}, {_place(module)}, is no function but {type(found).__name__}")
    rule: Rule = found
    return rule


def _module(name: str) -> ModuleType:
    _let_import_from_here()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        raise _wrong(f"there is no module {name}: looked in {', '.join(map(_shown, sys.path))}") from None
    except (Exception, SystemExit) as error:  # a module may do anything when it is imported
        raise _broken(name, error) from error


def _let_import_from_here() -> None:
    if not sys.flags.safe_path and not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())


def _place(module: ModuleType) -> str:
    return _shown(getattr(module, "__file__", None) or "built in")


def _shown(path: str) -> str:
    return path or os.getcwd()


def _broken(name: str, error: BaseException) -> typer.BadParameter:
    return _wrong(f"module {name} cannot be imported: {type(error).__name__}: {error}")


def _wrong(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="'--rules'")
