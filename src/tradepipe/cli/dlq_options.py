"""The options by which dead letters are found: where they are kept, and which of them are meant."""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Annotated, Any, Final, Literal, NamedTuple

import typer

from tradepipe.cli import options
from tradepipe.cli.logs import configure
from tradepipe.cli.offsets import moment
from tradepipe.cli.options import DEAD_LETTERS, FILTERS
from tradepipe.cli.soundness import milliseconds
from tradepipe.contract.kept import Selection

Place = Literal["table", "topic"]

Codes = Annotated[
    list[str] | None,
    typer.Option(
        "--code",
        metavar="CODE",
        help="Refused by this code, such as VERSION; may be repeated.",
        show_default=False,
        rich_help_panel=FILTERS,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Refused then or later: 2025-06-01T08:00:00Z, or an age such as 2h.",
        show_default=False,
        rich_help_panel=FILTERS,
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Refused before that.", show_default=False, rich_help_panel=FILTERS),
]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="TOPIC",
        help="Records of this topic, the one they were refused from; may be repeated.",
        show_default=False,
        rich_help_panel=FILTERS,
    ),
]
Partitions = Annotated[
    list[int] | None,
    typer.Option(
        "--partition",
        min=0,
        metavar="N",
        help="Of this partition of it; may be repeated.",
        show_default=False,
        rich_help_panel=FILTERS,
    ),
]
Offsets = Annotated[
    str | None,
    typer.Option(
        "--offsets",
        metavar="FIRST-LAST",
        help="At these offsets of it, both included: 5-9, 5-, or 5 alone.",
        show_default=False,
        rich_help_panel=FILTERS,
    ),
]
TradeId = Annotated[
    str | None,
    typer.Option(
        "--trade-id",
        metavar="ID",
        help="Of this trade, by the decoded value or else by the record's key.",
        show_default=False,
        rich_help_panel=FILTERS,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", help="At most so many.", rich_help_panel=FILTERS),
]
All = Annotated[bool, typer.Option("--all", help="Also those that were replayed already.", rich_help_panel=FILTERS)]
From = Annotated[
    Place | None,
    typer.Option(
        "--from",
        envvar="TRADEPIPE_DLQ_FROM",
        metavar="table|topic",
        help="Which of the two, where both are given.",
        show_default=False,
        rich_help_panel=DEAD_LETTERS,
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="DATABASE_URL",
        metavar="URL",
        help="The table trade_refusals of this PostgreSQL, where a sink keeps what it refused.",
        show_default=False,
        rich_help_panel=DEAD_LETTERS,
    ),
]
DeadLetters = Annotated[
    str | None,
    typer.Option(
        "--dead-letters",
        envvar="TRADEPIPE_DEAD_LETTERS",
        metavar="TOPIC",
        help="This topic, where a validator keeps what it refused.",
        show_default=False,
        rich_help_panel=DEAD_LETTERS,
    ),
]

_FINDING: Final[Mapping[str, tuple[Any, Any]]] = {
    "codes": (Codes, None),
    "since": (Since, None),
    "until": (Until, None),
    "sources": (Sources, None),
    "partitions": (Partitions, None),
    "offsets": (Offsets, None),
    "trade_id": (TradeId, None),
}
_PLACING: Final[Mapping[str, tuple[Any, Any]]] = {
    "database": (Database, None),
    "dead_letters": (DeadLetters, None),
    "place": (From, None),
    "bootstrap_servers": (options.BootstrapServersIfSending, None),
    "properties": (options.Properties, None),
    "registry": (options.RegistryIfSending, None),
    "subject": (options.Subject, options.SUBJECT),
    "deadline": (options.DeadlineSeconds, options.DEADLINE),
    "log_level": (options.LogLevel, None),
    "verbose": (options.Debug, False),
}
_is_range = re.compile(r"(?P<first>\d{1,18})(?P<to>-(?P<last>\d{1,18})?)?", re.ASCII).fullmatch


class Asked(NamedTuple):
    """
    What a command was asked for.

    `database` is None where the dead letters of a topic are meant, `topic` is
    None where those of the table are.
    """

    selection: Selection
    database: str | None
    topic: str | None
    kafka: Mapping[str, str]
    registry: str | None
    subject: str
    deadline: float


def asked(*, filters: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command, as its `asked`, what the options of this module say; with `filters` also those that select."""
    added = {**(_FINDING if filters else {}), **_PLACING}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True).parameters

        @wraps(function)
        def command(*, context: typer.Context, **given: Any) -> None:
            found = {name: given.pop(name) for name in added}
            configure("debug" if found["verbose"] else found["log_level"])
            function(asked=_asked(context, found), **given)

        parameters = [each for name, each in own.items() if name != "asked"]
        parameters += [_parameter(name, note, default) for name, (note, default) in added.items()]
        parameters.append(_parameter("context", typer.Context, inspect.Parameter.empty))
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # any function takes it
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _asked(context: typer.Context, found: Mapping[str, Any]) -> Asked:
    database, topic = found["database"], found["dead_letters"]
    place = found["place"] or _place(context, database, topic)
    if place == "table":
        if database is None:
            raise options.missing("--database", "DATABASE_URL")
        topic = None
    else:
        if topic is None:
            raise options.missing("--dead-letters", "TRADEPIPE_DEAD_LETTERS")
        if found["bootstrap_servers"] is None:
            raise options.missing("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS")
        database = None
    kafka = options.kafka_config(found["bootstrap_servers"], found["properties"]) if topic else {}
    return Asked(_selection(found), database, topic, kafka, found["registry"], found["subject"], found["deadline"])


def _place(context: typer.Context, database: str | None, topic: str | None) -> Place:
    """What is given; of two what was typed, as variables are set for other commands too."""
    given = {"table": ("database", database), "topic": ("dead_letters", topic)}
    there = [place for place, (_, value) in given.items() if value is not None]
    if len(there) > 1:
        there = [place for place in there if _is_typed(context, given[place][0])]
    match there:
        case ["table"]:
            return "table"
        case ["topic"]:
            return "topic"
    if database is None and topic is None:
        raise typer.BadParameter(
            "say where the dead letters are: --database URL for those of a sink (or set DATABASE_URL), "
            "--dead-letters TOPIC for those of a validator (or set TRADEPIPE_DEAD_LETTERS)"
        )
    raise typer.BadParameter(
        "DATABASE_URL (or --database) and TRADEPIPE_DEAD_LETTERS (or --dead-letters) are both given: "
        "say --from table or --from topic"
    )


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _selection(found: Mapping[str, Any]) -> Selection:
    first, last = _range(found.get("offsets"))
    return Selection(
        codes=tuple(found.get("codes") or ()),
        since=_time(found.get("since"), "--since"),
        until=_time(found.get("until"), "--until"),
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
        return datetime.now(UTC) - timedelta(milliseconds=age)
    if (time := moment(text)) is None:
        raise typer.BadParameter(
            f"it is a time such as 2025-06-01T08:00:00Z, or an age such as 2h, not {text!r}", param_hint=repr(option)
        )
    return time


def _range(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    if (found := _is_range(text)) is None:
        raise typer.BadParameter(f"it is offsets such as 5-9, 5-, or 5, not {text!r}", param_hint="'--offsets'")
    first = int(found["first"])
    return first, (int(found["last"]) if found["last"] else None) if found["to"] else first
