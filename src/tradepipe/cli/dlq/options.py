"""Options of the dead-letter commands, and the filter they select."""

import inspect
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Annotated, Any, Final, Literal, NamedTuple

import typer

from tradepipe.cli import options, parsing
from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEAD_LETTERS, FILTERS, KAFKA, REGISTRY
from tradepipe.cli.parsing import parse_duration, parse_time
from tradepipe.redaction import redact
from tradepipe.trade.dead_letter import DeadLetterFilter


def echo_options(context: typer.Context, headings: Collection[str]) -> str:
    """The options of these headings of `--help` that were typed, with a blank before each; no password is in it."""
    words = [
        word
        for parameter in context.command.params
        if getattr(parameter, "rich_help_panel", None) in headings and is_typed(context, parameter.name)
        for word in _words(parameter, context.params[str(parameter.name)])
    ]
    return "".join(f" {redact(shlex.quote(word))}" for word in words)


def is_typed(context: typer.Context, name: str | None) -> bool:
    """Whether an option's value stood on the command line."""
    source = context.get_parameter_source(name or "")
    return source is not None and source.name == "COMMANDLINE"


def _words(parameter: Any, value: Any) -> Iterator[str]:
    for each in value if parameter.multiple else [value]:
        yield from (parameter.opts[0], str(each))


_is_range = re.compile(r"(?P<first>\d{1,18})(?P<to>-(?P<last>\d{1,18})?)?", re.ASCII).fullmatch


def selection(found: Mapping[str, Any]) -> DeadLetterFilter:
    """What the options say, by the names of their parameters; those a command has not are missing."""
    first, last = _range(found.get("offsets"))
    since, until = _time(found.get("since"), "--since"), _time(found.get("until"), "--until")
    if since is not None and until is not None and until <= since:
        raise typer.BadParameter(f"{found['until']} is not after --since {found['since']}", param_hint="'--until'")
    return DeadLetterFilter(
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
    if (age := parse_duration(text)) is not None and age >= 0:
        return _ago(age)
    if (time := parse_time(text)) is None:
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


StoreKind = Literal["table", "topic"]

MAX_LIMIT: Final = 2**31 - 1
"""Refused records that a command can be asked for."""

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
    typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="At most so many.", rich_help_panel=FILTERS),
]
All = Annotated[bool, typer.Option("--all", help="Also those that were replayed already.", rich_help_panel=FILTERS)]
From = Annotated[
    StoreKind | None,
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
    "bootstrap_servers": (options.OptionalBootstrapServers, None),
    "properties": (options.Properties, None),
    "registry": (options.OptionalRegistry, None),
    "subject": (options.Subject, options.SUBJECT),
    "deadline": (options.DeadlineSeconds, options.DEADLINE),
    "log_level": (options.LogLevel, None),
    "verbose": (options.Debug, False),
}


class DlqArguments(NamedTuple):
    """
    What a command was asked for.

    `database` is None where the dead letters of a topic are meant, `topic` is
    None where those of the table are. `typed` says the same place to a next
    command, as far as variables do not.
    """

    selection: DeadLetterFilter
    database: str | None
    topic: str | None
    kafka: Mapping[str, str]
    registry: str | None
    subject: str
    deadline: float
    echo: str

    @property
    def is_filtered(self) -> bool:
        """Whether only some are meant."""
        return self.selection != DeadLetterFilter(replayed=self.selection.replayed)


def with_dlq_options(*, filters: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command, as its `asked`, what the options of this module say; with `filters` also those that select."""
    added = {**(_FINDING if filters else {}), **_PLACING}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True).parameters

        @wraps(function)
        def command(*, context: typer.Context, **given: Any) -> None:
            found = {name: given.pop(name) for name in added}
            configure("debug" if found["verbose"] else found["log_level"])
            function(asked=_parse_arguments(context, found), **given)

        parameters = [each for name, each in own.items() if name != "asked"]
        parameters += [_parameter(name, note, default) for name, (note, default) in added.items()]
        parameters.append(_parameter("context", typer.Context, inspect.Parameter.empty))
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # any function takes it
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _parse_arguments(context: typer.Context, found: Mapping[str, Any]) -> DlqArguments:
    database, topic = found["database"], found["dead_letters"]
    place = found["place"] or _place(context, database, topic)
    if place == "table":
        if database is None:
            raise parsing.missing_option("--database", "DATABASE_URL")
        topic = None
    else:
        if topic is None:
            raise parsing.missing_option("--dead-letters", "TRADEPIPE_DEAD_LETTERS")
        if found["bootstrap_servers"] is None:
            raise parsing.missing_option("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS")
        database = None
    kafka = parsing.kafka_config(found["bootstrap_servers"], found["properties"]) if topic else {}
    typed = echo_options(context, (DEAD_LETTERS, KAFKA, REGISTRY))
    return DlqArguments(
        selection(found), database, topic, kafka, found["registry"], found["subject"], found["deadline"], typed
    )


def _place(context: typer.Context, database: str | None, topic: str | None) -> StoreKind:
    """What is given; of two what was typed, as variables are set for other commands too."""
    given = {"table": ("database", database), "topic": ("dead_letters", topic)}
    there = [place for place, (_, value) in given.items() if value is not None]
    if len(there) > 1:
        there = [place for place in there if is_typed(context, given[place][0])]
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
