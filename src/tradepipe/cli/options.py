"""The options that several commands share, each with its environment variable."""

from collections.abc import Iterable
from typing import Annotated

import typer

BootstrapServers = Annotated[
    str,
    typer.Option(
        "--bootstrap-servers",
        envvar="KAFKA_BOOTSTRAP_SERVERS",
        metavar="HOST:PORT",
        help="Kafka's brokers, by commas.",
    ),
]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        "-X",
        envvar="TRADEPIPE_KAFKA_PROPERTIES",
        metavar="KEY=VALUE",
        help="Any property of librdkafka; may be repeated (in the variable: separated by blanks).",
        show_default=False,
    ),
]
Registry = Annotated[
    str,
    typer.Option(
        "--registry",
        envvar="SCHEMA_REGISTRY_URL",
        metavar="URL",
        help="The schema registry; user and password go into the URL.",
    ),
]
Database = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="DATABASE_URL",
        metavar="URL",
        help="PostgreSQL, as postgresql://user:password@host:5432/name.",
    ),
]
Topic = Annotated[str, typer.Option("--topic", envvar="TRADEPIPE_TOPIC", metavar="NAME", help="The topic of trades.")]
Subject = Annotated[
    str,
    typer.Option("--subject", envvar="TRADEPIPE_SUBJECT", metavar="NAME", help="The registry's subject of the schema."),
]
DeadlineSeconds = Annotated[
    float,
    typer.Option(
        "--deadline",
        envvar="TRADEPIPE_DEADLINE",
        metavar="SECONDS",
        min=0.1,
        help="How long to wait for a part that is away.",
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
    ),
]
Debug = Annotated[
    bool, typer.Option("-v", "--verbose", envvar="TRADEPIPE_VERBOSE", help="The same as --log-level debug.")
]

DEADLINE = 30.0
TOPIC = "trades"
SUBJECT = "trades-value"


def kafka_config(bootstrap_servers: str, properties: Iterable[str] | None) -> dict[str, str]:
    """librdkafka's properties, as the options give them; `-X` has the last word."""
    return {"bootstrap.servers": bootstrap_servers, **pairs(properties, option="-X")}


def pairs(texts: Iterable[str] | None, *, option: str) -> dict[str, str]:
    """
    The KEY=VALUE of a repeated option.

    Raises:
        BadParameter: a text is none; only its key is shown, the value may be a password.
    """
    split = [(text, *text.partition("=")) for text in texts or ()]
    for text, key, equals, _ in split:
        if not key or not equals:
            shown = f"{text[:40]!r}" if not equals else "no key"
            raise typer.BadParameter(f"it takes KEY=VALUE, not {shown}", param_hint=repr(option))
    return {key.strip(): value for _, key, _, value in split}
