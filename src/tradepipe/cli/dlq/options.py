"""The options by which dead letters are found: where they are kept, and which of them are meant."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, Final, Literal, NamedTuple

import typer

from tradepipe.cli import options
from tradepipe.cli.dlq.selection import selection
from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEAD_LETTERS, FILTERS, KAFKA, REGISTRY
from tradepipe.cli.retyped import is_typed, retyped
from tradepipe.contract.kept import Selection

Place = Literal["table", "topic"]

MOST: Final = 2**31 - 1
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
    typer.Option("--limit", min=1, max=MOST, metavar="N", help="At most so many.", rich_help_panel=FILTERS),
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


class Asked(NamedTuple):
    """
    What a command was asked for.

    `database` is None where the dead letters of a topic are meant, `topic` is
    None where those of the table are. `typed` says the same place to a next
    command, as far as variables do not.
    """

    selection: Selection
    database: str | None
    topic: str | None
    kafka: Mapping[str, str]
    registry: str | None
    subject: str
    deadline: float
    typed: str

    @property
    def is_narrowed(self) -> bool:
        """Whether only some are meant."""
        return self.selection != Selection(replayed=self.selection.replayed)


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
    typed = retyped(context, (DEAD_LETTERS, KAFKA, REGISTRY))
    return Asked(
        selection(found), database, topic, kafka, found["registry"], found["subject"], found["deadline"], typed
    )


def _place(context: typer.Context, database: str | None, topic: str | None) -> Place:
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
