"""Settings of Kafka and the registry from options, environment variables and files."""

import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import typer

from tradepipe.cli import logs, terminal
from tradepipe.cli.options import BEHAVIOUR, KAFKA, REGISTRY, declare, hide_passwords, is_on_command_line, parse_pairs
from tradepipe.redaction import Secret, register_secret
from tradepipe.small_files import read_small_file

if TYPE_CHECKING:
    from tradepipe.registry.client import SchemaRegistry

FILE: Final = "_FILE"
"""Suffix of a variable that names a file with the value."""

MAX_FILE_BYTES: Final = 65_536
"""Maximum size of such a file."""

KAFKA_SECRETS: Final = {"KAFKA_SASL_PASSWORD": "sasl.password", "KAFKA_SSL_KEY_PASSWORD": "ssl.key.password"}
"""Variables for secret librdkafka properties."""

REGISTRY_SECRETS: Final = {
    "SCHEMA_REGISTRY_PASSWORD": "Password of --registry-user",
    "SCHEMA_REGISTRY_TOKEN": "Bearer token; a token file is read again for each request",
    "SCHEMA_REGISTRY_KEY_PASSWORD": "Password of an encrypted --registry-key",
    "SCHEMA_REGISTRY_HEADERS": "Additional headers, one NAME: VALUE per line",
}
"""Variables for registry credentials."""

REGISTRY_TIMEOUT: Final = 10.0

_CONFIG_FILE: Final = "'--kafka-config'"

_is_secret = re.compile(r"(?i)passw|secret|passphrase|\.pem\b|oauthbearer\.config").search


def _check_pairs(texts: list[str] | None) -> list[str] | None:
    """Refuse invalid pairs before the other arguments are parsed: after a blank, one of those is the value."""
    parse_pairs(texts, option="-X")
    return texts


@dataclass(frozen=True)
class Kafka:
    """Kafka's properties from `--bootstrap-servers`, `-X`, `--kafka-config` and the variables of secrets."""

    config: dict[str, str]

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "bootstrap_servers": declare(
            str | None,
            "--bootstrap-servers HOST:PORT",
            "Comma-separated Kafka brokers. The property bootstrap.servers may name them instead.",
            heading=KAFKA,
            variable="KAFKA_BOOTSTRAP_SERVERS",
        ),
        "properties": declare(
            list[str] | None,
            "-X KEY=VALUE",
            "Set any librdkafka property. Repeatable (space-separated in the variable). "
            "Overrides --kafka-config; a dedicated option overrides both.",
            heading=KAFKA,
            variable="TRADEPIPE_KAFKA_PROPERTIES",
            callback=_check_pairs,
        ),
        "kafka_config": declare(
            str | None,
            "--kafka-config FILE",
            "File of librdkafka properties, one KEY=VALUE per line; # starts a comment.",
            heading=KAFKA,
        ),
    }
    KEY: ClassVar[str | None] = "bootstrap_servers"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def resolve(cls, context: typer.Context, given: Mapping[str, Any], default: Self | None) -> Self | None:
        """Merge all sources; dedicated options override `-X`, which overrides the variables and the file."""
        path, typed = given["kafka_config"], parse_pairs(given["properties"], option="-X")
        merged = read_properties(path) if path else {}
        if path and any(map(_is_secret, merged)):
            _warn_if_readable_by_all(path)
        merged |= {key: value for name, key in KAFKA_SECRETS.items() if (value := read_secret(name)) is not None}
        merged |= typed
        # Before anything that can fail with a message that quotes a property.
        for key, value in merged.items():
            if _is_secret(key):
                register_secret(value)
                if key in typed and is_on_command_line(context, "properties"):
                    others = "".join(f", or {name}" for name, property_ in KAFKA_SECRETS.items() if property_ == key)
                    logs.warn_later(
                        f"-X {key} is visible to other users in the process list: use a --kafka-config file instead"
                        + others
                    )
        # metadata.broker.list is librdkafka's older name of the property.
        sources = given["bootstrap_servers"], merged.get("bootstrap.servers"), merged.get("metadata.broker.list")
        brokers = next((each for each in sources if each is not None), None)
        if brokers is not None:
            from tradepipe.kafka.config import check_brokers  # noqa: PLC0415 - not every command uses Kafka

            # Here, because a command may wait for another service before it creates a client of Kafka.
            check_brokers(brokers)
            merged["bootstrap.servers"] = brokers
        elif default is None:
            return None
        return cls({**(default.config if default else {}), **merged})


def read_properties(path: str) -> dict[str, str]:
    """
    Read a file of librdkafka properties.

    Each line is KEY=VALUE; spaces around key and value, blank lines and lines
    starting with # are ignored. There are no escapes and no continuation lines.

    Raises:
        BadParameter: the file is unreadable, or a line is invalid; the message omits the value, a possible password.
    """
    try:
        content = read_small_file(path, MAX_FILE_BYTES)
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}", param_hint=_CONFIG_FILE) from None
    except ValueError:
        raise typer.BadParameter(f"{path} is not UTF-8 text", param_hint=_CONFIG_FILE) from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not key or not equals:
            raise typer.BadParameter(f"{path}:{number}: not KEY=VALUE", param_hint=_CONFIG_FILE)
        if key in found:
            raise typer.BadParameter(f"{path}:{number}: {key} is given twice", param_hint=_CONFIG_FILE)
        found[key] = value
    return found


def _registry_option(form: str, text: str, variable: str, **settings: Any) -> Any:
    return declare(str | None, form, text, heading=REGISTRY, variable=f"SCHEMA_REGISTRY_{variable}", **settings)


@dataclass(frozen=True)
class Registry:
    """A registry's URL, and how to connect: further arguments of `SchemaRegistry`."""

    url: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "registry": _registry_option(
            "--registry URL",
            "Schema registry; several comma-separated URLs for one cluster.",
            "URL",
            callback=hide_passwords("SCHEMA_REGISTRY_URL, or --registry-user and SCHEMA_REGISTRY_PASSWORD"),
        ),
        "registry_user": _registry_option(
            "--registry-user NAME", "User for basic authentication, with SCHEMA_REGISTRY_PASSWORD.", "USER"
        ),
        "registry_ca": _registry_option(
            "--registry-ca FILE", "CA certificates to trust, as PEM: a file or a directory.", "CA_LOCATION"
        ),
        "registry_cert": _registry_option("--registry-cert FILE", "Client certificate, as PEM.", "CLIENT_CERT"),
        "registry_key": _registry_option(
            "--registry-key FILE", "Key of the client certificate, unless it is in the same file.", "CLIENT_KEY"
        ),
        "registry_proxy": _registry_option(
            "--registry-proxy URL",
            "HTTP proxy; if omitted, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY apply.",
            "PROXY",
            callback=hide_passwords("SCHEMA_REGISTRY_PROXY"),
        ),
    }
    KEY: ClassVar[str | None] = "registry"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def resolve(cls, _context: typer.Context, given: Mapping[str, Any], default: Self | None) -> Self | None:
        """Combine the options and the variables of secrets."""
        user, password = given["registry_user"], read_secret("SCHEMA_REGISTRY_PASSWORD")
        # Half of the credentials would be ignored, and requests refused as anonymous.
        if (user is None) != (password is None):
            raise typer.BadParameter(
                "set both SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD, or neither", param_hint="'--registry-user'"
            )
        token: str | Callable[[], str] | None = read_secret("SCHEMA_REGISTRY_TOKEN")
        if token_file := read_variable(f"SCHEMA_REGISTRY_TOKEN{FILE}"):
            # Read again for each request, because another program renews it.
            token = lambda: read_small_file(token_file, MAX_FILE_BYTES).decode(errors="replace").strip()  # noqa: E731 - it differs by a condition
        headers: dict[str, str] = {}
        name = "SCHEMA_REGISTRY_HEADERS"
        for line in filter(None, map(str.strip, (read_secret(name) or "").splitlines())):
            key, colon, value = (part.strip() for part in line.partition(":"))
            if not key or not colon or not value:
                raise typer.BadParameter("must be NAME: VALUE, one per line", param_hint=name)
            register_secret(value)
            headers[key] = Secret(value)
        arguments = {
            "basic_auth": None if user is None else (user, password),
            "bearer_token": token,
            "ca_location": given["registry_ca"],
            "client_cert": given["registry_cert"],
            "client_key": given["registry_key"],
            "key_password": read_secret("SCHEMA_REGISTRY_KEY_PASSWORD"),
            "proxy": given["registry_proxy"],
            "headers": headers or None,
        }
        url = given["registry"] or (default and default.url)
        return cls(url, {name: value for name, value in arguments.items() if value is not None}) if url else None

    def open(self, *, timeout: float = REGISTRY_TIMEOUT) -> "SchemaRegistry":
        """
        Create a client.

        Args:
            timeout: seconds for a whole call.

        Raises:
            ConfigurationError: an option is invalid.
        """
        from tradepipe.registry.client import SchemaRegistry  # noqa: PLC0415 - loaded where it is used

        return SchemaRegistry(self.url, timeout=timeout, **self.arguments)


@dataclass(frozen=True)
class Logs:
    """Level and format of the log."""

    level: logs.Level | None = None
    format: terminal.LogFormat = "text"

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "log_level": declare(
            logs.Level | None,
            "--log-level LEVEL",
            "Log to stderr from this level on: debug, info, warning or error.",
            heading=BEHAVIOUR,
            case_sensitive=False,
        ),
        "log_format": declare(
            terminal.LogFormat,
            "--log-format text|json",
            "Log lines of text, or one JSON object per line.",
            heading=BEHAVIOUR,
            case_sensitive=False,
        ),
    }
    KEY: ClassVar[str | None] = None
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"log_format": "text"}

    @classmethod
    def resolve(cls, _context: typer.Context, given: Mapping[str, Any], _default: Self | None) -> Self:
        """Use the format from now on."""
        terminal.log_format.set(given["log_format"])
        return cls(given["log_level"], given["log_format"])

    def configure(self, *, usual: str = "info", progress: bool = False) -> terminal.StatusLine:
        """
        Configure logging, and return the status line of the terminal, which log lines do not overwrite.

        Args:
            usual: level if `--log-level` was not given.
            progress: whether the command shows its progress in the status line, and so logs only warnings there.
        """
        status = terminal.StatusLine()
        logs.configure(self.level or ("warning" if progress and status.is_live else usual), status)
        return status


def read_variable(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """
    Return the value of a variable, or of the file named by the variable with `_FILE`; None if neither is set.

    A newline at the end of the file is removed, because editors and `echo` add one.

    Raises:
        BadParameter: both are set, or the file is unreadable or empty.
    """
    environment = os.environ if environment is None else environment
    # Empty is unset: Compose and CI servers pass variables that are not set as empty ones.
    value, path = environment.get(name) or None, environment.get(name + FILE) or None
    if path is None:
        return value
    if value is not None:
        raise typer.BadParameter(f"{name} and {name}{FILE} are both set: unset one of them", param_hint=name)
    _warn_if_readable_by_all(path)
    try:
        content = read_small_file(path, MAX_FILE_BYTES)
        text = content.decode().removesuffix("\n").removesuffix("\r")
        problem = "" if text else "is empty"
    except OSError as error:
        problem = f"is not readable: {error.strerror}"
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    if problem:
        raise typer.BadParameter(f"the file {path!r} {problem}", param_hint=name + FILE)
    return text


def read_secret(name: str) -> str | None:
    """Return the value of a variable or of its file, and redact it from now on."""
    value = read_variable(name)
    if value is None:
        return None
    register_secret(value)
    return Secret(value)


def _warn_if_readable_by_all(path: str) -> None:
    """
    Warn of a file with secrets that every user of the machine can read.

    Files of other owners are left out: orchestrators mount secrets with such modes, for the users of one container.
    """
    with suppress(OSError):  # reported when it is read
        status = os.stat(path)
        is_mounted = path.startswith(("/run/secrets/", "/var/run/secrets/"))
        if status.st_mode & stat.S_IROTH and status.st_uid == os.getuid() and not is_mounted:
            logs.warn_later(f"all users of this machine can read {path}: run chmod 600 {shlex.quote(path)}")
