"""Options of the dead-letter commands, and the filter they select."""

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import typer

from tradepipe.cli import options
from tradepipe.cli.options import (
    DEAD_LETTERS,
    FILTERS,
    IS_TOPIC,
    KAFKA,
    REGISTRY,
    MissingOptions,
    check_database_url,
    declare,
    is_on_command_line,
    option,
    parse_duration,
    parse_time,
)
from tradepipe.cli.settings import Kafka, Logs, Registry
from tradepipe.redaction import redact
from tradepipe.trade.dead_letter import DeadLetterFilter


def echo_options(context: typer.Context, headings: Collection[str]) -> str:
    """Return the command-line options under these headings, for a follow-up command; passwords are redacted."""
    words: list[str] = []
    for parameter in context.command.params:
        name = str(parameter.name)
        # What a variable sets holds for the next command too.
        if getattr(parameter, "rich_help_panel", None) in headings and is_on_command_line(context, name):
            value = context.params[name]
            for each in value if getattr(parameter, "multiple", False) else [value]:
                words += (parameter.opts[0], str(each))
    return "".join(f" {redact(shlex.quote(word))}" for word in words)


_not_text = re.compile(r"[\x00\ud800-\udfff]").search
_is_range = re.compile(r"(?P<first>\d{1,18})(?P<to>-(?P<last>\d{1,18})?)?", re.ASCII).fullmatch


def selection(found: Mapping[str, Any]) -> DeadLetterFilter:
    """Build the filter from the values of the options, by parameter name."""
    for name, texts in (("code", found.get("codes")), ("source", found.get("sources"))):
        _check_text(name, *texts or ())
    _check_text("trade-id", found.get("trade_id") or "")
    first, last, offsets = None, None, found.get("offsets")
    if offsets is not None:
        if not (range_ := _is_range(offsets)):
            raise typer.BadParameter(
                f"must be offsets such as 5-9, 5-, or 5, not {offsets!r}", param_hint="'--offsets'"
            )
        first = int(range_["first"])
        last = (int(range_["last"]) if range_["last"] else None) if range_["to"] else first
        if last is not None and last < first:
            raise typer.BadParameter(f"{offsets} ends before it starts", param_hint="'--offsets'")
    since, until = _parse_since(found.get("since"), "--since"), _parse_since(found.get("until"), "--until")
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


def _check_text(name: str, *texts: str) -> None:
    """Refuse text that no store can contain."""
    for text in texts:
        if _not_text(text):
            raise typer.BadParameter(f"{text!r} is not valid text in UTF-8", param_hint=f"'--{name}'")


def _parse_since(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    if (age := parse_duration(text)) is not None and age >= 0:
        try:
            return datetime.now(UTC) - timedelta(milliseconds=age)
        # An age of more than two thousand years.
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    if (time := parse_time(text)) is None:
        raise typer.BadParameter(
            f"must be a timestamp such as 2025-06-01T08:00:00Z, or an age such as 2h, not {text!r}",
            param_hint=repr(name),
        )
    return time


StoreKind = Literal["table", "topic"]

MAX_LIMIT: Final = 2**31 - 1
"""Maximum of `--limit`: PostgreSQL's integer."""

Limit = Annotated[
    int | None, option("--limit N", "Maximum number of records.", heading=FILTERS, min=1, max=MAX_LIMIT, variable=None)
]
All = Annotated[bool, option("--all", "Include replayed dead letters.", heading=FILTERS, variable=None)]
From = Annotated[
    StoreKind | None,
    option(
        "--from table|topic",
        "Which store to use, if both are given.",
        heading=DEAD_LETTERS,
        variable="TRADEPIPE_DLQ_FROM",
    ),
]
Database = Annotated[
    str | None,
    option(
        "--database URL",
        "PostgreSQL of a sink; its refused records are in the table trade_refusals.",
        heading=DEAD_LETTERS,
        variable="DATABASE_URL",
        callback=check_database_url,
    ),
]
DeadLetters = Annotated[
    str | None,
    option("--dead-letters TOPIC", "Dead-letter topic of a validator.", heading=DEAD_LETTERS, callback=IS_TOPIC),
]


_filter = partial(declare, heading=FILTERS, variable=None)
_TIME = "2025-06-01T08:00:00Z, or an age such as 2h."
_FILTERS: Final[Mapping[str, Any]] = {
    "codes": _filter(list[str] | None, "--code CODE", "Refused with this code, such as VERSION. Repeatable."),
    "since": _filter(str | None, "--since TIME", f"Refused at or after this time: {_TIME}"),
    "until": _filter(str | None, "--until TIME", "Refused before this time."),
    "sources": _filter(list[str] | None, "--source TOPIC", "Refused from this topic. Repeatable."),
    "partitions": _filter(list[int] | None, "--partition N", "Refused from this partition. Repeatable.", min=0),
    "offsets": _filter(
        str | None, "--offsets FIRST-LAST", "Refused at these offsets, both included: 5-9, 5-, or 5 alone."
    ),
    "trade_id": _filter(
        str | None, "--trade-id ID", "Records of this trade, by the decoded value or the record's key."
    ),
}
_STORE: Final[Mapping[str, Any]] = {
    "database": Database,
    "dead_letters": DeadLetters,
    "store": From,
    **Kafka.OPTIONS,
    **Registry.OPTIONS,
    "subject": options.Subject,
    "deadline": options.DeadlineSeconds,
    **Logs.OPTIONS,
}


@dataclass(frozen=True)
class DlqArguments:
    """
    Options of a dead-letter command: the filters and the store.

    Either `database` or `topic` is set, depending on the store. `echo` has the
    command-line options that a follow-up command needs for the same store.
    """

    selection: DeadLetterFilter
    database: str | None
    topic: str | None
    kafka: Mapping[str, str]
    registry: Registry | None
    subject: str
    deadline: float
    echo: str

    OPTIONS: ClassVar[Mapping[str, Any]] = {**_FILTERS, **_STORE}
    KEY: ClassVar[str | None] = None
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"subject": options.SUBJECT, "deadline": options.DEADLINE, **Logs.DEFAULTS}

    @classmethod
    def resolve(cls, context: typer.Context, given: Mapping[str, Any], _default: Self | None) -> Self:
        """Choose the store, check its options, and configure logging."""
        Logs.resolve(context, given, None).configure()
        database, topic, kafka = given["database"], given["dead_letters"], Kafka.resolve(context, given, None)
        store = given["store"] or _choose_store(context, database, topic)
        needed = [(Database, database)] if store == "table" else [(DeadLetters, topic), (Kafka, kafka)]
        if missing := [each for each, value in needed if value is None]:
            raise MissingOptions(*missing)
        return cls(
            selection(given),
            database if store == "table" else None,
            topic if store == "topic" else None,
            kafka.config if kafka and store == "topic" else {},
            Registry.resolve(context, given, None),
            given["subject"],
            given["deadline"],
            echo_options(context, (DEAD_LETTERS, KAFKA, REGISTRY)),
        )

    @property
    def is_filtered(self) -> bool:
        """Whether the options exclude any dead letters."""
        return self.selection != DeadLetterFilter(replayed=self.selection.replayed)


class DlqStoreArguments(DlqArguments):
    """Options of a dead-letter command without filters."""

    OPTIONS: ClassVar[Mapping[str, Any]] = _STORE


def _choose_store(context: typer.Context, database: str | None, topic: str | None) -> StoreKind:
    """Choose the given store; of two, the one on the command line, because variables serve all commands."""
    given = {"table": ("database", database), "topic": ("dead_letters", topic)}
    stores = [store for store, (_, value) in given.items() if value is not None]
    if len(stores) > 1:
        # One of the two is often only a variable, set for other commands.
        stores = [store for store in stores if is_on_command_line(context, given[store][0])]
    match stores:
        case ["table"]:
            return "table"
        case ["topic"]:
            return "topic"
    if database is None and topic is None:
        raise typer.BadParameter(
            "pass --database URL for the dead letters of a sink (or set DATABASE_URL), or "
            "--dead-letters TOPIC for those of a validator (or set TRADEPIPE_DEAD_LETTERS)"
        )
    raise typer.BadParameter(
        "both DATABASE_URL (or --database) and TRADEPIPE_DEAD_LETTERS (or --dead-letters) are given: "
        "pass --from table or --from topic"
    )
