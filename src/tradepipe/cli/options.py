"""Options of the commands, and their values."""

from typing import Annotated, Final

import typer

KAFKA: Final = "Kafka"
REGISTRY: Final = "Schema registry"
DATABASE: Final = "PostgreSQL"
DEAD_LETTERS: Final = "Where the dead letters are"
FILTERS: Final = "Which of them"
BEHAVIOUR: Final = "Waiting and logging"
"""The headings of `--help` below a command's own options."""

_BROKERS: Final = typer.Option(
    "--bootstrap-servers",
    envvar="KAFKA_BOOTSTRAP_SERVERS",
    metavar="HOST:PORT",
    help="Kafka's brokers, by commas; must be given, here or as bootstrap.servers below.",
    show_default=False,
    rich_help_panel=KAFKA,
)
_REGISTRY: Final = typer.Option(
    "--registry",
    envvar="SCHEMA_REGISTRY_URL",
    metavar="URL",
    help="The schema registry; several URLs of one by commas.",
    show_default=False,
    rich_help_panel=REGISTRY,
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
"""The same where nothing may be sent at all."""

Properties = Annotated[
    list[str] | None,
    typer.Option(
        "-X",
        envvar="TRADEPIPE_KAFKA_PROPERTIES",
        metavar="KEY=VALUE",
        help="Any property of librdkafka; may be repeated (in the variable: separated by blanks). "
        "Wins over --kafka-config; an option of its own wins over both.",
        show_default=False,
        rich_help_panel=KAFKA,
    ),
]
KafkaConfig = Annotated[
    str | None,
    typer.Option(
        "--kafka-config",
        envvar="TRADEPIPE_KAFKA_CONFIG",
        metavar="FILE",
        help="A file of librdkafka's properties: KEY=VALUE, a line each, # before remarks.",
        show_default=False,
        rich_help_panel=KAFKA,
    ),
]
Database = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="DATABASE_URL",
        metavar="URL",
        help="PostgreSQL, as postgresql://user:password@host:5432/name; with a password better by its variable.",
        rich_help_panel=DATABASE,
    ),
]
Topic = Annotated[
    str,
    typer.Option(
        "--topic", envvar="TRADEPIPE_TOPIC", metavar="NAME", help="The topic of trades.", rich_help_panel=KAFKA
    ),
]
Subject = Annotated[
    str,
    typer.Option(
        "--subject",
        envvar="TRADEPIPE_SUBJECT",
        metavar="NAME",
        help="The registry's subject of the schema.",
        rich_help_panel=REGISTRY,
    ),
]
DeadlineSeconds = Annotated[
    float,
    typer.Option(
        "--deadline",
        envvar="TRADEPIPE_DEADLINE",
        metavar="SECONDS",
        min=0.1,
        help="How long to wait for a part that is away.",
        rich_help_panel=BEHAVIOUR,
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        "--log-level",
        envvar="TRADEPIPE_LOG_LEVEL",
        metavar="LEVEL",
        help="debug, info, warning or error: what is logged to stderr.",
        show_default=False,
        rich_help_panel=BEHAVIOUR,
    ),
]
LogFormat = Annotated[
    str | None,
    typer.Option(
        "--log-format",
        envvar="TRADEPIPE_LOG_FORMAT",
        metavar="text|json",
        help="How it is logged: lines to read, or an object of JSON a line. [default: text]",
        show_default=False,
        rich_help_panel=BEHAVIOUR,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        envvar="TRADEPIPE_VERBOSE",
        help="The same as --log-level debug.",
        rich_help_panel=BEHAVIOUR,
    ),
]
RegistryUser = Annotated[
    str | None,
    typer.Option(
        "--registry-user",
        envvar="SCHEMA_REGISTRY_USER",
        metavar="NAME",
        help="Basic authentication, with SCHEMA_REGISTRY_PASSWORD.",
        show_default=False,
        rich_help_panel=REGISTRY,
    ),
]
RegistryCa = Annotated[
    str | None,
    typer.Option(
        "--registry-ca",
        envvar="SCHEMA_REGISTRY_CA_LOCATION",
        metavar="FILE",
        help="The certificates to trust, as PEM; a file or a folder.",
        show_default=False,
        rich_help_panel=REGISTRY,
    ),
]
RegistryCert = Annotated[
    str | None,
    typer.Option(
        "--registry-cert",
        envvar="SCHEMA_REGISTRY_CLIENT_CERT",
        metavar="FILE",
        help="Our own certificate, as PEM.",
        show_default=False,
        rich_help_panel=REGISTRY,
    ),
]
RegistryKey = Annotated[
    str | None,
    typer.Option(
        "--registry-key",
        envvar="SCHEMA_REGISTRY_CLIENT_KEY",
        metavar="FILE",
        help="Its key, if that is not in the same file.",
        show_default=False,
        rich_help_panel=REGISTRY,
    ),
]
RegistryProxy = Annotated[
    str | None,
    typer.Option(
        "--registry-proxy",
        envvar="SCHEMA_REGISTRY_PROXY",
        metavar="URL",
        help="An HTTP proxy; HTTPS_PROXY, HTTP_PROXY and NO_PROXY hold if not given.",
        show_default=False,
        rich_help_panel=REGISTRY,
    ),
]

DEADLINE = 30.0
TOPIC = "trades"
SUBJECT = "trades-value"
LOCAL_KAFKA: Final = "localhost:9092"
LOCAL_REGISTRY: Final = "http://localhost:8081/apis/ccompat/v7"
LOCAL_DATABASE: Final = "postgresql://gorm:gorm@localhost:5432/trades"
"""Addresses of the services that docker-compose.yml runs, as seen from the host."""
