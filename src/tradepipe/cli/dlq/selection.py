"""Which dead letters are meant, out of the options that say so."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from tradepipe.cli.offsets import moment
from tradepipe.cli.soundness import milliseconds
from tradepipe.contract.kept import Selection

_is_range = re.compile(r"(?P<first>\d{1,18})(?P<to>-(?P<last>\d{1,18})?)?", re.ASCII).fullmatch


def selection(found: Mapping[str, Any]) -> Selection:
    """What the options say, by the names of their parameters; those a command has not are missing."""
    first, last = _range(found.get("offsets"))
    since, until = _time(found.get("since"), "--since"), _time(found.get("until"), "--until")
    if since is not None and until is not None and until <= since:
        raise typer.BadParameter(f"{found['until']} is not after --since {found['since']}", param_hint="'--until'")
    return Selection(
        codes=tuple(found.get("codes") or ()),
        since=since,
        until=until,
        topics=tuple(found.get("sources") or ()),
        partitions=tuple(found.get("partitions") or ()),
        first=first,
        last=last,
        trade_id=found.get("trade_id"),
    )


def _time(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    if (age := milliseconds(text)) is not None and age >= 0:
        return _ago(age)
    if (time := moment(text)) is None:
        raise typer.BadParameter(
            f"it is a time such as 2025-06-01T08:00:00Z, or an age such as 2h, not {text!r}", param_hint=repr(option)
        )
    return time


def _ago(milliseconds: int) -> datetime:
    """That long ago, or when time began."""
    try:
        return datetime.now(UTC) - timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _range(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    if (found := _is_range(text)) is None:
        raise typer.BadParameter(f"it is offsets such as 5-9, 5-, or 5, not {text!r}", param_hint="'--offsets'")
    first = int(found["first"])
    last = (int(found["last"]) if found["last"] else None) if found["to"] else first
    if last is not None and last < first:
        raise typer.BadParameter(f"{text} ends before it begins", param_hint="'--offsets'")
    return first, last
