"""`tradepipe topics`: topics as the pipeline needs them."""

from typing import Annotated, Final

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.exit_codes import ExitCode
from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEADLINE, TOPIC, BootstrapServers, DeadlineSeconds, Debug, LogLevel, Properties, Topic
from tradepipe.cli.parsing import kafka_config, parse_duration, parse_pairs
from tradepipe.cli.terminal import format_table
from tradepipe.cli.topic_checks import SettingCheck, Severity, check_settings, compare_settings, settings_like
from tradepipe.errors import BrokerUnavailable, ConfigurationError, TopicUnusable
from tradepipe.kafka.admin import Topic as Described
from tradepipe.kafka.admin import TopicAdmin

app = command_line("Topics as the pipeline needs them.")

PARTITIONS: Final = 4

BROKERS_OWN: Final = -1
"""Leaves the replication to the broker's `default.replication.factor` (KIP-464)."""

Partitions = Annotated[
    int | None,
    typer.Option(
        "--partitions",
        envvar="TRADEPIPE_PARTITIONS",
        min=1,
        max=100_000,  # librdkafka asks for no more
        metavar="N",
        help="As many sinks can share the work; adding some later moves trades to other partitions. "
        f"[default: {PARTITIONS}, or as many as the topic of --like]",
        show_default=False,
    ),
]
Replication = Annotated[
    int | None,
    typer.Option(
        "--replication",
        envvar="TRADEPIPE_REPLICATION",
        min=1,
        max=10_000,  # the same
        metavar="N",
        help="On how many brokers; the brokers' own default if not given.",
        show_default=False,
    ),
]
InSync = Annotated[
    int | None,
    typer.Option(
        "--min-insync-replicas",
        envvar="TRADEPIPE_MIN_INSYNC_REPLICAS",
        min=1,
        metavar="N",
        help="How many of them must have a trade before it is acknowledged; 2 of 3 in production.",
        show_default=False,
    ),
]
Retention = Annotated[
    str | None,
    typer.Option(
        "--retention",
        envvar="TRADEPIPE_RETENTION",
        metavar="TIME",
        help="How long records are kept, such as 7d, 48h or forever; longer than the longest outage.",
        show_default=False,
    ),
]
Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        envvar="TRADEPIPE_LIKE",
        metavar="TOPIC",
        help="A validator writes into it what it reads from this topic: so as many partitions, kept for as long, and "
        "room for its largest record with the headers of a dead letter.",
        show_default=False,
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", envvar="TRADEPIPE_STRICT", help="End with 1 for mere advice as well.")
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


@app.command()
def create(
    *,
    bootstrap_servers: BootstrapServers,
    topic: Topic = TOPIC,
    partitions: Partitions = None,
    like: Like = None,
    replication: Replication = None,
    min_insync_replicas: InSync = None,
    retention: Retention = None,
    settings: Settings = None,
    properties: Properties = None,
    deadline: DeadlineSeconds = DEADLINE,
    log_level: LogLevel = None,
    verbose: Debug = False,
) -> None:
    """Create a topic, not compacted; one that exists is left as it is."""
    configure("debug" if verbose else log_level)
    config = parse_pairs(settings, option="-c")
    _refuse_compaction(config)
    if retention is not None:
        _add(config, "retention.ms", str(_retention(retention)), option="--retention")
    if min_insync_replicas is not None:
        _require_fewer(min_insync_replicas, replication)
        _add(config, "min.insync.replicas", str(min_insync_replicas), option="--min-insync-replicas")
    patience = RetryUntil(deadline)
    admin = TopicAdmin(kafka_config(bootstrap_servers, properties), request_timeout=patience.call_timeout)
    count = PARTITIONS
    if like is not None:
        count = len(patience(lambda: admin.describe(like)).partitions)
        config = settings_like(patience(lambda: admin.config(like))) | config
    there = patience(lambda: _existing(admin, topic))
    if there is None and patience(
        lambda: admin.create(
            topic, partitions=partitions or count, replication=replication or BROKERS_OWN, config=config
        )
    ):
        there = patience(lambda: _created(admin, topic))
        typer.echo(f"topic {topic} was created with {len(there.partitions)} partitions")
    else:
        there = there or patience(lambda: admin.describe(topic))
        typer.echo(f"topic {topic} exists already with {len(there.partitions)} partitions")
    patience(lambda: admin.check_not_compacted(topic))
    for verdict in check_settings(there, patience(lambda: admin.config(topic))):
        if verdict.severity is Severity.FINDING:
            typer.echo(f"Note: {verdict.setting} is {verdict.value}: {verdict.reason}", err=True)


@app.command()
def check(
    *,
    bootstrap_servers: BootstrapServers,
    topic: Topic = TOPIC,
    like: Like = None,
    strict: Strict = False,
    properties: Properties = None,
    deadline: DeadlineSeconds = DEADLINE,
    log_level: LogLevel = None,
    verbose: Debug = False,
) -> None:
    """
    Check that a topic keeps what tradepipe promises, and tell what a production cluster should change.

    It ends with 0 if the promises hold, and with 1 if one does not.
    """
    configure("debug" if verbose else log_level)
    patience = RetryUntil(deadline)
    admin = TopicAdmin(kafka_config(bootstrap_servers, properties), request_timeout=patience.call_timeout)
    described = patience(lambda: admin.describe(topic))
    config = patience(lambda: admin.config(topic))
    if not config:
        raise ConfigurationError(
            f"topic {topic} exists with {len(described.partitions)} partitions, but this broker does not tell its "
            "settings: the principal may need DESCRIBE_CONFIGS on the topic; an embedded broker cannot be asked at all"
        )
    found = list(check_settings(described, config))
    if like is not None:
        found += compare_settings(config, patience(lambda: admin.config(like)))
    typer.echo(_report(topic, found))
    if any(
        verdict.severity is Severity.FINDING or (strict and verdict.severity is Severity.ADVICE) for verdict in found
    ):
        raise typer.Exit(ExitCode.FINDINGS)


def _report(topic: str, found: list[SettingCheck]) -> str:
    rows = [(verdict.setting, verdict.value, verdict.severity.value, verdict.reason) for verdict in found]
    numbers = [sum(verdict.severity is grade for verdict in found) for grade in (Severity.FINDING, Severity.ADVICE)]
    table = format_table(("setting", "value", "verdict", ""), rows, left={0, 2, 3})
    return f"{table}\ntopic {topic}: findings {numbers[0]}, advice {numbers[1]}"


def _retention(text: str) -> int:
    number = parse_duration(text)
    if number is None:
        raise typer.BadParameter(
            f"it is a time such as 7d, 48h, 90m, or forever, not {text!r}", param_hint="'--retention'"
        )
    return number


def _require_fewer(in_sync: int, replication: int | None) -> None:
    if replication is not None and in_sync > replication:
        raise typer.BadParameter(
            f"{in_sync} of {replication} replicas cannot be in sync, so no trade would be acknowledged",
            param_hint="'--min-insync-replicas'",
        )


def _add(config: dict[str, str], key: str, value: str, *, option: str) -> None:
    if key in config:
        raise typer.BadParameter(f"{option} and -c {key} say the same: give one of them", param_hint=repr(option))
    config[key] = value


def _refuse_compaction(config: dict[str, str]) -> None:
    policy = config.get("cleanup.policy", "delete")
    if "compact" in policy:
        raise TopicUnusable(
            f"-c cleanup.policy={policy} is refused: compaction would drop versions of trades; leave it out"
        )


def _existing(admin: TopicAdmin, name: str) -> Described | None:
    try:
        return admin.describe(name)
    except TopicUnusable:
        return None


def _created(admin: TopicAdmin, name: str) -> Described:
    """The new topic; the broker asked may not have heard of it yet."""
    try:
        return admin.describe(name)
    except TopicUnusable as error:
        raise BrokerUnavailable(f"topic {name} was created, but cannot be seen yet") from error
