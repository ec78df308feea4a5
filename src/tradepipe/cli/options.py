"""Options: their declaration, the values that they take, those that several commands share, and groups of them."""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Protocol, Self, get_args
from urllib.parse import parse_qs

import typer
from typer.models import OptionInfo

from tradepipe.cli.logs import warn_later
from tradepipe.cli.terminal import OutputFormat
from tradepipe.names import find_name_problem, find_topic_problem
from tradepipe.plural import MILLISECONDS
from tradepipe.redaction import find_passwords, register_secret

if TYPE_CHECKING:
    from tradepipe.pipeline.partitions import StartPosition

OFF: Final = "off"

_property_key = re.compile(r"[\w.-]*").match


def parse_pairs(texts: Iterable[str] | None, *, option: str) -> dict[str, str]:
    """
    Parse the KEY=VALUE texts of a repeatable option.

    Raises:
        BadParameter: a text is invalid; the message shows at most its key, because the rest may be a password.
    """
    split = [(text, *text.partition("=")) for text in texts or ()]
    for text, key, equals, _ in split:
        if not key or not equals:
            start = _property_key(text[:40])
            # A text without a dot is more likely a value than a property's name.
            shown = f"{start[0]!r}" if not equals and start and "." in start[0] else "a value without a key"
            raise typer.BadParameter(f"must be KEY=VALUE, not {shown}", param_hint=repr(option))
    return {key.strip(): value for _, key, _, value in split}


_DATE_DIGITS: Final = len("20250601")


def parse_time(text: str) -> datetime | None:
    """Parse an ISO 8601 timestamp, in UTC if it has no offset, and return it in UTC; None if it is invalid."""
    if text.isdigit() and len(text) != _DATE_DIGITS:
        # Python would take some numbers of milliseconds for a time of the year 1711.
        return None
    try:
        time = datetime.fromisoformat(text)
        # PostgreSQL takes offsets of less than 16 hours only.
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def parse_duration(duration: str) -> int | None:
    """
    Parse a duration such as 7d, 48h, 90m or 30s into milliseconds; return -1 for forever, None if it is invalid.

    >>> parse_duration("48h"), parse_duration("forever"), parse_duration("soon")
    (172800000, -1, None)
    """
    if duration == "forever":
        return -1
    length = dict(MILLISECONDS).get(duration[-1:])
    number = parse_whole(duration[:-1])
    return None if length is None or number is None else number * length


def parse_whole(digits: str) -> int | None:
    """Return a number of plain digits that a 64-bit integer holds, else None: Python parses no longer ones."""
    return int(digits) if _is_whole(digits) else None


_is_whole = re.compile(r"\d{1,18}", re.ASCII).fullmatch


def parse_start(text: str, *, option: str = "--start", other: str = "") -> "StartPosition":
    """Parse a position in a topic, else raise a usage error; `other` names further forms for its message."""
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    if (time := parse_time(text)) is not None:
        return time
    raise typer.BadParameter(
        f"must be earliest, latest, {other}or a timestamp such as 2025-06-01T08:00:00Z, not {text!r}",
        param_hint=repr(option),
    )


def parse_share(text: str) -> float | None:
    """Parse `--max-refused`, else raise a usage error; None is no refusal limit."""
    if text == OFF:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1:
        raise typer.BadParameter(
            f"must be a share between 0 and 1, or {OFF}, not {text!r}", param_hint="'--max-refused'"
        )
    return number


KAFKA: Final = "Kafka"
REGISTRY: Final = "Schema registry"
DATABASE: Final = "PostgreSQL"
DEAD_LETTERS: Final = "Dead-letter store"
FILTERS: Final = "Filters"
INPUT: Final = "Input file"
BEHAVIOUR: Final = "Timeouts and logging"
"""Headings of `--help` below a command's own options."""

DEADLINE: Final = 30.0
MAX_SHOWN: Final = 60
"""Characters of an invalid value that a message shows."""

TOPIC: Final = "trades"
SUBJECT: Final = "trades-value"
LOCAL_KAFKA: Final = "localhost:9092"
LOCAL_REGISTRY: Final = "http://localhost:8081/apis/ccompat/v7"
LOCAL_DATABASE: Final = "postgresql://gorm:gorm@localhost:5432/trades"
"""Addresses of the services that docker-compose.yml runs, as seen from the host."""

DERIVED: Final = "TRADEPIPE_"
"""Prefix of the variable of an option that names none: `--until-end` has TRADEPIPE_UNTIL_END."""


def option(form: str, text: str, *, heading: str | None = None, variable: str | None = DERIVED, **settings: Any) -> Any:
    """
    Declare an option.

    Args:
        form: names and value as `--help` shows them, such as "-c --config FILE".
        heading: where `--help` lists it; None for the command's own options.
        variable: the environment variable that sets it; None for none.
    """
    names = [word for word in form.split() if word.startswith("-")]
    if variable == DERIVED:
        variable += names[-1].lstrip("-").replace("-", "_").upper()
    metavar = form.removeprefix(" ".join(names)).strip() or None
    return typer.Option(*names, envvar=variable, metavar=metavar, help=text, rich_help_panel=heading, **settings)


def declare(kind: Any, form: str, text: str, **settings: Any) -> Any:
    """Return the annotation of an option in an `OptionGroup`, with the arguments of `option`."""
    return Annotated[kind, option(form, text, **settings)]


def check_with(find_problem: Callable[[object], str | None]) -> Callable[[Any], Any]:
    """Return a callback that reports, before anything connects, what `find_problem` returns for a value."""

    def check(value: Any) -> Any:
        for each in value if isinstance(value, list) else [value]:
            if each is not None and (problem := find_problem(each)):
                shown = each if len(each) <= MAX_SHOWN else f"{each[:MAX_SHOWN]}…"
                raise typer.BadParameter(f"{shown!r} {problem}")
        return value

    return check


def check_finite(value: float | None) -> float | None:
    """Refuse infinity, which 1e400 is too: a range without an end does not exclude it."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"must be a finite number, not {value}")
    return value


def hide_passwords(better: str) -> Callable[[typer.Context, typer.CallbackParam, str | None], str | None]:
    """
    Return a callback that redacts the passwords of a URL from now on, and warns if the command line has one.

    Args:
        better: where to pass the password instead.
    """

    def hide(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
        # It is documented, and masking it would mask the user's name too, which is the same word.
        if is_default(context, str(parameter.name)):  # a password that everybody knows
            return value
        for password in (passwords := find_passwords(value or "")):
            register_secret(password)
        if passwords and is_on_command_line(context, str(parameter.name)):
            name = parameter.opts[-1]
            warn_later(f"the password in {name} is visible to other users in the process list: use {better} instead")
        return value

    return hide


_is_port = re.compile(r"0*[1-9]\d{0,4}", re.ASCII).fullmatch
_search_path = re.compile(r"(?:-c\s*|--)search_path=((?:\\.|[^\s\\])*)").finditer

MAX_PORT: Final = 65_535

MAX_SCHEMA_NAME_BYTES: Final = 63
"""PostgreSQL truncates longer names."""


def check_database_url(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """Redact the password of a database URL from now on, and check the ports and database schemas in it."""
    hide_passwords("DATABASE_URL or a file named by DATABASE_URL_FILE")(context, parameter, value)
    # What follows the last @, because a colon before it may precede a password. Never quoted, because without an @ it
    # may be a password too.
    address = re.split("[/?]", (value or "").rpartition("@")[2].rpartition("//")[2])[0]
    _, colon, port = address.rpartition(":")
    if colon and not port.endswith("]") and not (_is_port(port) and int(port) <= MAX_PORT):
        raise typer.BadParameter(f"its port is not a number from 1 to {MAX_PORT}")
    query = (value or "").partition("?")[2]
    for options in parse_qs(query, keep_blank_values=True).get("options", ()):
        for found in _search_path(options):
            for quoted in re.sub(r"\\(.)", r"\1", found[1]).split(","):
                name = quoted.strip().strip('"')
                problem = "" if name.strip() else "is blank" if name else "is empty"
                if (length := len(name.encode())) > MAX_SCHEMA_NAME_BYTES:
                    problem = f"is {length} bytes long, at most {MAX_SCHEMA_NAME_BYTES} are allowed"
                if problem:
                    raise typer.BadParameter(f"its search_path names a database schema that {problem}")
    return value


Database = Annotated[
    str,
    option(
        "--database URL",
        "PostgreSQL, as postgresql://user:password@host:5432/name. Pass a password by the variable, not here.",
        heading=DATABASE,
        variable="DATABASE_URL",
        callback=check_database_url,
    ),
]
IS_TOPIC: Final = check_with(find_topic_problem)
IS_NAME: Final = check_with(find_name_problem)

Topic = Annotated[str, option("--topic NAME", "Topic of trades.", heading=KAFKA, callback=IS_TOPIC)]
Subject = Annotated[str, option("--subject NAME", "Subject of the trade schema.", heading=REGISTRY, callback=IS_NAME)]
MAX_DEADLINE_SECONDS: Final = 604_800.0
"""A week; libpq and threads cannot wait for centuries."""

DeadlineSeconds = Annotated[
    float,
    option(
        "--deadline SECONDS",
        "Seconds to wait for an unavailable service.",
        heading=BEHAVIOUR,
        min=0.1,
        max=MAX_DEADLINE_SECONDS,
    ),
]


Format = Annotated[
    OutputFormat, option("--format text|json", "Format of the table or summary; json is one document on stdout.")
]


def refuse_lines_in_json(output: OutputFormat, *, verbose: bool) -> None:
    """Refuse `--verbose` with `--format json`, whose stdout is one document, not a line for each trade."""
    if verbose and output == "json":
        raise typer.BadParameter("only valid with --format text", param_hint="'--verbose'")


class OptionGroup(Protocol):
    """
    Options that a command gets as one value.

    A command with a parameter of such a type has all of its OPTIONS. As with
    single options, a parameter without a default is required.
    """

    OPTIONS: ClassVar[Mapping[str, Any]]
    """Annotation of each option by parameter name."""

    KEY: ClassVar[str | None]
    """The option without which there is no value; None if there always is one."""

    DEFAULTS: ClassVar[Mapping[str, Any]]
    """Defaults of the options; None for those not listed."""

    @classmethod
    def resolve(cls, context: typer.Context, given: Mapping[str, Any], default: Self | None) -> Self | None:
        """Return the value for the given options, or None if the key option is missing."""


class MissingOptions(typer.BadParameter):
    """Required options that were not given, each by its annotation or option group."""

    def __init__(self, *missing: Any) -> None:
        pairs = filter(None, map(_name_and_variable, missing))
        names = ", ".join(name + (f" (or {variable})" if variable else "") for name, variable in pairs)
        super().__init__(f"missing option{'s' if len(missing) > 1 else ''}: {names}")

    def format_message(self) -> str:
        """Return the message, without typer's "Invalid value"."""
        return self.message


def with_option_groups(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Replace the option groups among a command's parameters by their options, and report all missing options at once.

    The names of the required options are the attribute `required` of the result.
    """
    signature = inspect.signature(function, eval_str=True)
    own = signature.parameters
    groups = {name: group for name, each in own.items() if (group := _group_of(each.annotation)) is not None}
    required = {
        name: each.annotation
        for name, each in own.items()
        if each.default is each.empty and _name_and_variable(each.annotation)
    }
    if not groups and not required:
        return function
    own_context = next((name for name, each in own.items() if each.annotation is typer.Context), None)

    @wraps(function)
    def command(**given: Any) -> Any:
        context = given[own_context] if own_context else given.pop("context")
        options = {name: given.pop(name) for group in groups.values() for name in group.OPTIONS}
        for name, group in groups.items():
            given[name] = group.resolve(context, options, None if name in required else own[name].default)
        if missing := [note for name, note in required.items() if given[name] is None]:
            raise MissingOptions(*missing)
        return function(**given)

    # typer itself would report only the first missing option, so for typer none is required.
    parameters: dict[str, inspect.Parameter] = {}
    for name, each in own.items():
        if group := groups.get(name):
            parameters |= {key: _keyword(key, note, group.DEFAULTS.get(key)) for key, note in group.OPTIONS.items()}
        else:
            parameters[name] = each.replace(default=None) if name in required else each
    if own_context is None:
        # typer passes the context only to a parameter that has its type.
        parameters["context"] = _keyword("context", typer.Context, inspect.Parameter.empty)
    # typer reads both, the signature and the annotations, which `wraps` has copied from the function.
    command.__signature__ = signature.replace(parameters=[*parameters.values()])  # type: ignore[attr-defined]  # any function takes it
    command.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    command.required = {groups[name].KEY if name in groups else name for name in required}  # type: ignore[attr-defined]  # any function takes it
    return command


def _group_of(annotation: Any) -> type[OptionGroup] | None:
    """Return the option group in `Group` or `Group | None`."""
    return next((each for each in (annotation, *get_args(annotation)) if hasattr(each, "OPTIONS")), None)


def _name_and_variable(annotation: Any) -> tuple[str, Any] | None:
    """Return the name of an option, or of a group's key option, and its variable, or None."""
    group = _group_of(annotation)
    if group is not None:
        annotation = group.KEY and group.OPTIONS[group.KEY]
    for each in get_args(annotation):
        if isinstance(each, OptionInfo):
            # In Annotated, typer keeps the first name as the default.
            return str([each.default, *(each.param_decls or ())][-1]), each.envvar
    return None


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def is_on_command_line(context: typer.Context, name: str) -> bool:
    """Return whether an option was given on the command line, not by a variable."""
    return _source(context, name) == "COMMANDLINE"


def is_default(context: typer.Context, name: str) -> bool:
    """Return whether an option was given neither on the command line nor by a variable."""
    return _source(context, name) == "DEFAULT"


def _source(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    return "DEFAULT" if source is None else source.name
