"""Options that several commands share."""

from typing import Annotated, Any, Final

import typer

KAFKA: Final = "Kafka"
REGISTRY: Final = "Schema registry"
DATABASE: Final = "PostgreSQL"
DEAD_LETTERS: Final = "Dead-letter store"
FILTERS: Final = "Filters"
BEHAVIOUR: Final = "Timeouts and logging"
"""Headings of `--help` below a command's own options."""

DEADLINE: Final = 30.0
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
        text: its line in `--help`.
        heading: where `--help` lists it; None for the command's own options.
        variable: the environment variable that sets it; None for none.
        settings: further arguments of `typer.Option`.
    """
    names = [word for word in form.split() if word.startswith("-")]
    if variable == DERIVED:
        variable += names[-1].lstrip("-").replace("-", "_").upper()
    metavar = form.removeprefix(" ".join(names)).strip() or None
    return typer.Option(*names, envvar=variable, metavar=metavar, help=text, rich_help_panel=heading, **settings)


_BROKERS: Final = option(
    "--bootstrap-servers HOST:PORT",
    "Comma-separated Kafka brokers. Required, here or as bootstrap.servers.",
    heading=KAFKA,
    variable="KAFKA_BOOTSTRAP_SERVERS",
)
_REGISTRY: Final = option(
    "--registry URL",
    "Schema registry; several comma-separated URLs for one cluster.",
    heading=REGISTRY,
    variable="SCHEMA_REGISTRY_URL",
)

BootstrapServers = Annotated[str, _BROKERS]
LocalBootstrapServers = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        envvar="KAFKA_BOOTSTRAP_SERVERS",
        metavar="HOST:PORT",
        help="Comma-separated Kafka brokers; localhost:9092 if given neither here nor as bootstrap.servers below.",
        show_default=False,
        rich_help_panel=KAFKA,
    ),
]
Registry = Annotated[str, _REGISTRY]
OptionalBootstrapServers = Annotated[str | None, _BROKERS]
OptionalRegistry = Annotated[str | None, _REGISTRY]
"""For commands that can run without the service."""

Properties = Annotated[
    list[str] | None,
    option(
        "-X KEY=VALUE",
        "Set any librdkafka property. Repeatable (space-separated in the variable). "
        "Overrides --kafka-config; a dedicated option overrides both.",
        heading=KAFKA,
        variable="TRADEPIPE_KAFKA_PROPERTIES",
    ),
]
KafkaConfig = Annotated[
    str | None,
    option(
        "--kafka-config FILE",
        "File of librdkafka properties, one KEY=VALUE per line; # starts a comment.",
        heading=KAFKA,
    ),
]
Database = Annotated[
    str,
    option(
        "--database URL",
        "PostgreSQL, as postgresql://user:password@host:5432/name. Pass a password by the variable, not here.",
        heading=DATABASE,
        variable="DATABASE_URL",
    ),
]
Topic = Annotated[str, option("--topic NAME", "Topic of trades.", heading=KAFKA)]
Subject = Annotated[str, option("--subject NAME", "Subject of the trade schema.", heading=REGISTRY)]
DeadlineSeconds = Annotated[
    float, option("--deadline SECONDS", "Seconds to wait for an unavailable service.", heading=BEHAVIOUR, min=0.1)
]
LogLevel = Annotated[
    str | None,
    option("--log-level LEVEL", "Log to stderr from this level on: debug, info, warning or error.", heading=BEHAVIOUR),
]
LogFormat = Annotated[
    str | None,
    option(
        "--log-format text|json", "Log lines of text, or one JSON object per line. [default: text]", heading=BEHAVIOUR
    ),
]
RegistryUser = Annotated[
    str | None,
    option(
        "--registry-user NAME",
        "User for basic authentication, with SCHEMA_REGISTRY_PASSWORD.",
        heading=REGISTRY,
        variable="SCHEMA_REGISTRY_USER",
    ),
]
RegistryCa = Annotated[
    str | None,
    option(
        "--registry-ca FILE",
        "CA certificates to trust, as PEM: a file or a directory.",
        heading=REGISTRY,
        variable="SCHEMA_REGISTRY_CA_LOCATION",
    ),
]
RegistryCert = Annotated[
    str | None,
    option(
        "--registry-cert FILE", "Client certificate, as PEM.", heading=REGISTRY, variable="SCHEMA_REGISTRY_CLIENT_CERT"
    ),
]
RegistryKey = Annotated[
    str | None,
    option(
        "--registry-key FILE",
        "Key of the client certificate, unless it is in the same file.",
        heading=REGISTRY,
        variable="SCHEMA_REGISTRY_CLIENT_KEY",
    ),
]
RegistryProxy = Annotated[
    str | None,
    option(
        "--registry-proxy URL",
        "HTTP proxy; if omitted, HTTPS_PROXY, HTTP_PROXY and NO_PROXY apply.",
        heading=REGISTRY,
        variable="SCHEMA_REGISTRY_PROXY",
    ),
]
