"""A file of librdkafka's properties: KEY=VALUE, a line each, as Kafka's own tools read them."""

from pathlib import Path

import typer

OPTION = "--kafka-config"


def properties(path: str) -> dict[str, str]:
    """
    The properties of a file.

    A line is KEY=VALUE; blanks around key and value, blank lines and lines that
    begin with # do not count. There are no escapes and no continued lines.

    Raises:
        BadParameter: it cannot be read, or a line is none; a line's value is not shown, it may be a password.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line or line.startswith("#"):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not key or not equals:
            raise typer.BadParameter(f"{path}:{number}: the line is not KEY=VALUE", param_hint=repr(OPTION))
        if key in found:
            raise typer.BadParameter(f"{path}:{number}: {key} is given twice", param_hint=repr(OPTION))
        found[key] = value
    return found


def _lines(path: str) -> list[str]:
    try:
        return [line.strip() for line in Path(path).read_text("utf-8-sig").splitlines()]
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint=repr(OPTION)) from None
    except ValueError:
        raise typer.BadParameter(f"{path} is no text in UTF-8", param_hint=repr(OPTION)) from None
