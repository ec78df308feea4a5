"""Command `tradepipe topics`: create and check topics."""

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Final, TypeVar

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.exit_codes import ExitCode
from tradepipe.cli.logs import print_status
from tradepipe.cli.options import (
    DEADLINE,
    IS_TOPIC,
    TOPIC,
    DeadlineSeconds,
    Format,
    Topic,
    option,
    parse_duration,
    parse_pairs,
)
from tradepipe.cli.settings import Kafka, Logs
from tradepipe.cli.terminal import echo, format_table, print_result, to_json
from tradepipe.errors import BrokerUnavailable, ConfigurationError, TopicUnusable
from tradepipe.kafka.admin import Topic as Described
from tradepipe.kafka.admin import TopicAdmin, refuse_compaction
from tradepipe.pipeline.topic_checks import COMPRESSION_RISK, Severity, check_settings, compare_settings, settings_like
from tradepipe.plural import format_count

app = command_line("Create and check topics.")

T = TypeVar("T")

PARTITIONS: Final = 4

PREFERRED: Final = {"compression.type": "zstd"}
"""Settings of a new topic unless -c gives others, see docs/operating.md."""

BROKER_DEFAULT: Final = -1
"""Leaves the replication factor to the broker's `default.replication.factor` (KIP-464)."""

Partitions = Annotated[
    int | None,
    option(
        "--partitions N",
        "Number of partitions, the maximum number of sinks that share the work. Adding partitions later moves trades "
        f"between partitions. [default: {PARTITIONS}, or the count of --like]",
        min=1,
        max=100_000,
    ),
]
Replication = Annotated[
    int | None, option("--replication N", "Replication factor; the brokers' default if omitted.", min=1, max=10_000)
]
InSync = Annotated[
    int | None,
    option(
        "--min-insync-replicas N",
        "Replicas that must have a trade before it is acknowledged; 2 of 3 in production.",
        min=1,
    ),
]
Retention = Annotated[
    str | None,
    option("--retention TIME", "Retention time, such as 7d, 48h or forever; must exceed the longest outage."),
]
Like = Annotated[
    str | None,
    option(
        "--like TOPIC",
        "Copy partition count, retention and record size from this topic (for a validator's output topics).",
        callback=IS_TOPIC,
    ),
]
LikeSource = Annotated[
    str | None,
    option(
        "--like TOPIC",
        "Also compare retention and record size with this topic's (for a validator's output topics).",
        callback=IS_TOPIC,
    ),
]
Strict = Annotated[bool, option("--strict", "Also exit with 1 on advice.", variable="TRADEPIPE_TOPICS_STRICT")]
Settings = Annotated[
    list[str] | None,
    option(
        "-c KEY=VALUE",
        "Set a topic property, such as retention.ms=604800000. Repeatable. compression.type is zstd unless given.",
        variable="TRADEPIPE_TOPIC_CONFIG",
    ),
]


@app.command()
def create(
    *,
    kafka: Kafka,
    topic: Topic = TOPIC,
    partitions: Partitions = None,
    like: Like = None,
    replication: Replication = None,
    min_insync_replicas: InSync = None,
    retention: Retention = None,
    settings: Settings = None,
    output: Format = "text",
    deadline: DeadlineSeconds = DEADLINE,
    logs: Logs,
) -> None:
    """Create a topic without compaction, or leave an existing topic unchanged."""
    logs.configure()
    config = _requested_config(settings, retention, replication, min_insync_replicas)
    if like == topic:
        raise typer.BadParameter(f"must name another topic than --topic {topic}", param_hint="'--like'")
    retry = RetryUntil(deadline)
    admin = TopicAdmin(kafka.config, request_timeout=retry.call_timeout)
    count = PARTITIONS
    if like is not None:
        count = len(retry(lambda: admin.describe(like)).partitions)
        config = settings_like(retry(lambda: admin.config(like))) | config
    preferred = {key: value for key, value in PREFERRED.items() if key not in config}
    refused: list[str] = []

    def create_topic() -> bool:
        return admin.create(
            topic,
            partitions=partitions or count,
            replication=replication or BROKER_DEFAULT,
            config=config,
            preferred=preferred,
            on_refused=refused.append,
        )

    described, is_new = _find_or_create(admin, topic, create_topic, retry)
    number = len(described.partitions)
    outcome = f"created topic {topic}" if is_new else f"topic {topic} already exists"
    text = f"{outcome} with {format_count(number, 'partition')}"
    print_result(text, {"topic": topic, "partitions": number, "created": is_new}, output)
    if refused:
        wanted = ", ".join(f"{key}={value}" for key, value in preferred.items())
        print_status(f"Warning: the broker refused {wanted} ({refused[-1]}): {COMPRESSION_RISK}")
    actual = retry(lambda: _ask_of_new(admin.config, topic) if is_new else admin.config(topic))
    refuse_compaction(topic, actual)
    for each in check_settings(described, actual):
        if each.severity is Severity.FINDING:
            print_status(f"Note: {each.setting} is {each.value}: {each.reason}")


def _find_or_create(
    admin: TopicAdmin, topic: str, create_topic: Callable[[], bool], retry: RetryUntil
) -> tuple[Described, bool]:
    """Return the description of a topic, and whether this call has created it."""
    with suppress(TopicUnusable):
        return retry(lambda: admin.describe(topic)), False
    if retry(create_topic):
        return retry(lambda: _ask_of_new(admin.describe, topic)), True
    # Another process was faster; its topic may have other partitions.
    return retry(lambda: admin.describe(topic)), False


def _requested_config(
    settings: list[str] | None, retention: str | None, replication: int | None, min_insync_replicas: int | None
) -> dict[str, str]:
    """Return the topic configuration that the options ask for."""
    config = parse_pairs(settings, option="-c")
    if "compact" in (policy := config.get("cleanup.policy", "delete")):
        raise TopicUnusable(f"-c cleanup.policy={policy} is not allowed: compaction drops versions of trades; omit it")
    if retention is not None:
        if (milliseconds := parse_duration(retention)) is None:
            raise typer.BadParameter(
                f"must be a duration such as 7d, 48h, 90m, or forever, not {retention!r}", param_hint="'--retention'"
            )
        _add(config, "retention.ms", str(milliseconds), name="--retention")
    if min_insync_replicas is not None:
        if replication is not None and min_insync_replicas > replication:
            raise typer.BadParameter(
                f"must not exceed --replication {replication}, or no trade could be acknowledged",
                param_hint="'--min-insync-replicas'",
            )
        _add(config, "min.insync.replicas", str(min_insync_replicas), name="--min-insync-replicas")
    return config


@app.command()
def check(
    *,
    kafka: Kafka,
    topic: Topic = TOPIC,
    like: LikeSource = None,
    output: Format = "text",
    strict: Strict = False,
    deadline: DeadlineSeconds = DEADLINE,
    logs: Logs,
) -> None:
    """
    Check whether a topic's settings keep tradepipe's guarantees, and give advice for production.

    Exits with 0 if the guarantees hold, with 1 otherwise.
    """
    logs.configure()
    retry = RetryUntil(deadline)
    admin = TopicAdmin(kafka.config, request_timeout=retry.call_timeout)
    described = retry(lambda: admin.describe(topic))
    config = retry(lambda: admin.config(topic))
    if not config:
        raise ConfigurationError(
            f"topic {topic} exists with {format_count(len(described.partitions), 'partition')}, but the broker "
            "returned no settings: grant DESCRIBE_CONFIGS on the topic; the embedded broker does not support this "
            "request"
        )
    found = list(check_settings(described, config))
    if like is not None:
        found += compare_settings(config, retry(lambda: admin.config(like)))
    if output == "json":
        checks = [{**each._asdict(), "severity": each.severity.value} for each in found]
        echo(to_json({"topic": topic, "partitions": len(described.partitions), "checks": checks}))
    else:
        rows = [(each.setting, each.value, each.severity.value, each.reason) for each in found]
        echo(format_table(("setting", "value", "result", ""), rows, left={0, 2, 3}))
        findings, advice = (sum(each.severity is one for each in found) for one in (Severity.FINDING, Severity.ADVICE))
        echo(f"topic {topic}: findings {findings}, advice {advice}")
    if any(each.severity is Severity.FINDING or (strict and each.severity is Severity.ADVICE) for each in found):
        raise typer.Exit(ExitCode.FINDINGS)


def _add(config: dict[str, str], key: str, value: str, *, name: str) -> None:
    if key in config:
        raise typer.BadParameter(f"{name} and -c {key} set the same property: give only one", param_hint=repr(name))
    config[key] = value


def _ask_of_new(ask: Callable[[str], T], name: str) -> T:
    """Ask something of a new topic, which each broker learns of in its own time."""
    try:
        return ask(name)
    except TopicUnusable as error:
        raise BrokerUnavailable(f"topic {name} was created but is not visible yet") from error
