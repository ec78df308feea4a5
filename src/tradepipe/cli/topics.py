"""`tradepipe topics`: topics as the pipeline needs them."""

from typing import Annotated, Final

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.logs import configure
from tradepipe.cli.options import (
    DEADLINE,
    TOPIC,
    BootstrapServers,
    DeadlineSeconds,
    Debug,
    LogLevel,
    Properties,
    Topic,
    kafka_config,
    pairs,
)
from tradepipe.cli.patience import Patience
from tradepipe.errors import BrokerAway, TopicUnusable
from tradepipe.kafka.topics import Topic as Described
from tradepipe.kafka.topics import Topics

app = command_line("Topics as the pipeline needs them.")

PARTITIONS: Final = 4

BROKERS_OWN: Final = -1
"""Leaves the replication to the broker's `default.replication.factor` (KIP-464)."""

Partitions = Annotated[
    int,
    typer.Option(
        "--partitions",
        envvar="TRADEPIPE_PARTITIONS",
        min=1,
        metavar="N",
        help="As many sinks can share the work; adding some later moves trades to other partitions.",
    ),
]
Replication = Annotated[
    int | None,
    typer.Option(
        "--replication",
        envvar="TRADEPIPE_REPLICATION",
        min=1,
        metavar="N",
        help="On how many brokers; the brokers' own default if not given.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-c",
        envvar="TRADEPIPE_TOPIC_CONFIG",
        metavar="KEY=VALUE",
        help="A setting of the topic, such as retention.ms=604800000; may be repeated.",
        show_default=False,
    ),
]


@app.callback()
def topics() -> None:
    """Keep `create` a command of its own while it is the only one."""


@app.command()
def create(
    *,
    bootstrap_servers: BootstrapServers,
    topic: Topic = TOPIC,
    partitions: Partitions = PARTITIONS,
    replication: Replication = None,
    settings: Settings = None,
    properties: Properties = None,
    deadline: DeadlineSeconds = DEADLINE,
    log_level: LogLevel = None,
    verbose: Debug = False,
) -> None:
    """Create a topic, not compacted; one that exists is left as it is."""
    configure("debug" if verbose else log_level)
    config = pairs(settings, option="-c")
    _refuse_compaction(config)
    patience = Patience(deadline)
    admin = Topics(kafka_config(bootstrap_servers, properties), request_timeout=patience.one_call)
    there = patience(lambda: _existing(admin, topic))
    if there is None and patience(
        lambda: admin.create(topic, partitions=partitions, replication=replication or BROKERS_OWN, config=config)
    ):
        there = patience(lambda: _created(admin, topic))
        typer.echo(f"topic {topic} was created with {len(there.partitions)} partitions")
    else:
        there = there or patience(lambda: admin.describe(topic))
        typer.echo(f"topic {topic} exists already with {len(there.partitions)} partitions")
    patience(lambda: admin.require_uncompacted(topic))


def _refuse_compaction(config: dict[str, str]) -> None:
    policy = config.get("cleanup.policy", "delete")
    if "compact" in policy:
        raise TopicUnusable(
            f"-c cleanup.policy={policy} is refused: compaction would drop versions of trades; leave it out"
        )


def _existing(admin: Topics, name: str) -> Described | None:
    try:
        return admin.describe(name)
    except TopicUnusable:
        return None


def _created(admin: Topics, name: str) -> Described:
    """The new topic; the broker asked may not have heard of it yet."""
    try:
        return admin.describe(name)
    except TopicUnusable as error:
        raise BrokerAway(f"topic {name} was created, but cannot be seen yet") from error
