"""Shared options of all commands: logging, Kafka, the registry."""

import inspect
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import typer

from tradepipe.cli import options, parsing
from tradepipe.cli.secrets import FILE, read_secret, read_variable
from tradepipe.redaction import find_passwords, register_secret

if TYPE_CHECKING:
    from tradepipe.registry.client import SchemaRegistry

TIMEOUT: Final = 10.0


class Settings(NamedTuple):
    """
    The shared options of the command that runs.

    Attributes:
        log_format: "text" or "json".

        registry: arguments of `SchemaRegistry`.

        warnings: messages to log once logging is configured.
    """

    log_format: str = "text"
    registry: Mapping[str, Any] = {}
    warnings: tuple[str, ...] = ()


_settings: ContextVar[Settings] = ContextVar("tradepipe-settings", default=Settings())  # noqa: B039 - it is never changed


def current_settings() -> Settings:
    """Return the settings of the running command, or the defaults."""
    return _settings.get()


def use_settings(chosen: Settings) -> None:
    """Set the settings of the running command."""
    _settings.set(chosen)


def open_registry(url: str, *, timeout: float = TIMEOUT) -> "SchemaRegistry":
    """
    Create a client for the registry at a URL, with the credentials from the options.

    Args:
        timeout: seconds for a whole call.

    Raises:
        ConfigurationError: an option is invalid.
    """
    from tradepipe.registry.client import SchemaRegistry  # noqa: PLC0415 - loaded where it is used

    return SchemaRegistry(url, timeout=timeout, **current_settings().registry)


OPTION = "--kafka-config"


def read_properties(path: str) -> dict[str, str]:
    """
    Read a file of librdkafka properties.

    Each line is KEY=VALUE; spaces around key and value, blank lines and lines
    starting with # are ignored. There are no escapes and no continuation lines.

    Raises:
        BadParameter: the file is unreadable, or a line is invalid; the message omits the value, a possible password.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(_read_lines(path), 1):
        if not line or line.startswith("#"):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not key or not equals:
            raise typer.BadParameter(f"{path}:{number}: not KEY=VALUE", param_hint=repr(OPTION))
        if key in found:
            raise typer.BadParameter(f"{path}:{number}: {key} is given twice", param_hint=repr(OPTION))
        found[key] = value
    return found


def _read_lines(path: str) -> list[str]:
    try:
        return [line.strip() for line in Path(path).read_text("utf-8-sig").splitlines()]
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}", param_hint=repr(OPTION)) from None
    except ValueError:
        raise typer.BadParameter(f"{path} is not UTF-8 text", param_hint=repr(OPTION)) from None


SHARED_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "properties": {"kafka_config": options.KafkaConfig},
    "registry": {
        "registry_user": options.RegistryUser,
        "registry_ca": options.RegistryCa,
        "registry_cert": options.RegistryCert,
        "registry_key": options.RegistryKey,
        "registry_proxy": options.RegistryProxy,
    },
    "log_level": {"log_format": options.LogFormat},
}
"""A command with this parameter → the options added to it, which the command's function does not see."""

KAFKA_SECRETS: Final = {"KAFKA_SASL_PASSWORD": "sasl.password", "KAFKA_SSL_KEY_PASSWORD": "ssl.key.password"}
"""Variables for secret librdkafka properties."""

REGISTRY_SECRETS: Final = {
    "SCHEMA_REGISTRY_PASSWORD": "Password of --registry-user",
    "SCHEMA_REGISTRY_TOKEN": "Bearer token; a token file is read again for each request",
    "SCHEMA_REGISTRY_KEY_PASSWORD": "Password of an encrypted --registry-key",
    "SCHEMA_REGISTRY_HEADERS": "Additional headers, one NAME: VALUE per line",
}
"""Variables for registry credentials."""

LOG_FORMATS: Final = ("text", "json")

_VISIBLE_ON_COMMAND_LINE: Final = {
    "database": ("--database", "DATABASE_URL or a file named by DATABASE_URL_FILE"),
    "registry": ("--registry", "SCHEMA_REGISTRY_URL, or --registry-user and SCHEMA_REGISTRY_PASSWORD"),
    "registry_proxy": ("--registry-proxy", "SCHEMA_REGISTRY_PROXY"),
}
_is_secret = re.compile(r"(?i)password|secret|\.pem\b|oauthbearer\.config").search


def with_shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the shared options to a command's function; they are evaluated before it is called."""
    signature = inspect.signature(function, eval_str=True)
    own = signature.parameters
    added = {name: note for trigger, notes in SHARED_OPTIONS.items() if trigger in own for name, note in notes.items()}
    if not added:
        return function

    own_context = next((each.name for each in own.values() if each.annotation is typer.Context), None)

    @wraps(function)
    def command(**given: Any) -> Any:
        context = given[own_context] if own_context else given.pop("context")
        extra = {name: given.pop(name) for name in added}
        if context.invoked_subcommand is not None:  # the subcommand evaluates its own options
            return function(**given)
        warnings = _warn_visible_passwords(context, given | extra)
        if "properties" in own:
            _merge_kafka_settings(given, extra["kafka_config"], required=_is_required(own["bootstrap_servers"]))
        registry = _registry_arguments(extra) if "registry" in own else {}
        use_settings(Settings(_check_log_format(extra.get("log_format")), registry, warnings))
        return function(**given)

    parameters = [_make_optional(each) if each.name == "bootstrap_servers" else each for each in own.values()]
    parameters += [_make_parameter(name, note) for name, note in added.items()]
    if own_context is None:
        parameters.append(_make_parameter("context", typer.Context, default=inspect.Parameter.empty))
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # any function takes it
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _make_parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _make_optional(parameter: inspect.Parameter) -> inspect.Parameter:
    """Drop typer's own check for brokers, which `--kafka-config` or `-X` may name instead."""
    return parameter.replace(default=None) if _is_required(parameter) else parameter


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def _merge_kafka_settings(given: dict[str, Any], path: str | None, *, required: bool) -> None:
    """Merge all sources of Kafka properties into `properties`, and set `bootstrap_servers` from them."""
    merged = read_properties(path) if path else {}
    merged |= {key: value for name, key in KAFKA_SECRETS.items() if (value := read_secret(name)) is not None}
    merged |= parsing.parse_pairs(given["properties"], option="-X")
    for key, value in merged.items():
        if _is_secret(key):
            register_secret(value)
    brokers = given["bootstrap_servers"] or merged.get("bootstrap.servers") or merged.get("metadata.broker.list")
    if required and not brokers:
        raise parsing.missing_option("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS")
    given["bootstrap_servers"] = brokers
    given["properties"] = [f"{key}={value}" for key, value in merged.items()] or None


def _registry_arguments(extra: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the arguments for `SchemaRegistry` that were given."""
    user, password = extra["registry_user"], read_secret("SCHEMA_REGISTRY_PASSWORD")
    if (user is None) != (password is None):
        raise typer.BadParameter(
            "set both SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD, or neither",
            param_hint="'--registry-user'",
        )
    arguments = {
        "basic_auth": None if user is None else (user, password),
        "bearer_token": _read_token(),
        "ca_location": extra["registry_ca"],
        "client_cert": extra["registry_cert"],
        "client_key": extra["registry_key"],
        "key_password": read_secret("SCHEMA_REGISTRY_KEY_PASSWORD"),
        "proxy": extra["registry_proxy"],
        "headers": _read_headers(),
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _read_token() -> str | Callable[[], str] | None:
    """Return a token, or a function that reads it from its file, where another program renews it."""
    name = "SCHEMA_REGISTRY_TOKEN"
    token, path = read_secret(name), read_variable(name + FILE)
    if token is None or path is None:
        return token
    return lambda: Path(path).read_text("utf-8").strip()


def _read_headers() -> dict[str, str] | None:
    name = "SCHEMA_REGISTRY_HEADERS"
    text = read_secret(name)
    if text is None:
        return None
    found = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not key or not colon or not value:
            raise typer.BadParameter("must be NAME: VALUE, one per line", param_hint=name)
        register_secret(value)
        found[key] = value
    return found


def _warn_visible_passwords(context: typer.Context, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Redact all passwords from now on, and return a warning for each one given on the command line."""
    found = []
    for parameter, (name, better) in _VISIBLE_ON_COMMAND_LINE.items():
        secrets = find_passwords(given.get(parameter) or "")
        for each in secrets:
            register_secret(each)
        if secrets and is_on_command_line(context, parameter):
            found.append(f"the password in {name} is visible to other users in the process list: use {better} instead")
    if given.get("properties") and is_on_command_line(context, "properties"):
        found += [
            f"-X {key} is visible to other users in the process list: use a --kafka-config file instead"
            + "".join(f", or {name}" for name, property_ in KAFKA_SECRETS.items() if property_ == key)
            for key in parsing.parse_pairs(given["properties"], option="-X")
            if _is_secret(key)
        ]
    return tuple(found)


def is_on_command_line(context: typer.Context, name: str) -> bool:
    """Return whether an option was given on the command line, not by a variable."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _check_log_format(text: str | None) -> str:
    chosen = (text or LOG_FORMATS[0]).lower()
    if chosen not in LOG_FORMATS:
        raise typer.BadParameter(f"must be {' or '.join(LOG_FORMATS)}, not {text!r}", param_hint="'--log-format'")
    return chosen
