"""`tradepipe validate`: valid trades to one topic, all others as dead letters to another."""

from typing import Annotated, Final

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.logs import configure
from tradepipe.cli.options import (
    KAFKA,
    SUBJECT,
    TOPIC,
    BootstrapServers,
    LogLevel,
    Properties,
    Registry,
    Subject,
    Topic,
)
from tradepipe.cli.parsing import kafka_config, parse_share, parse_start
from tradepipe.cli.settings import open_registry
from tradepipe.cli.stage_options import (
    MaxRefused,
    MetricsHost,
    MetricsPort,
    RecordKeyOption,
    RulesOption,
    UnknownFieldsOption,
    UntilEnd,
)
from tradepipe.cli.stage_runner import StageSummary, run_stage
from tradepipe.cli.terminal import StatusLine
from tradepipe.cli.user_rules import load_rules as loaded
from tradepipe.pipeline.refusal_limit import MAX_SHARE
from tradepipe.pipeline.stats import ValidatorCounts
from tradepipe.pipeline.validator import BATCH_RECORDS, DeliveryGuarantee, Validator

GROUP: Final = "tradepipe-validator"
CLEAN: Final = "trades.clean"
DEAD_LETTERS: Final = "trades.dlq"

GroupName = Annotated[
    str,
    typer.Option(
        "--group",
        envvar="TRADEPIPE_GROUP",
        metavar="NAME",
        help="The consumer group; validators of one group share the partitions.",
        rich_help_panel=KAFKA,
    ),
]
Clean = Annotated[
    str,
    typer.Option(
        "--clean",
        envvar="TRADEPIPE_CLEAN",
        metavar="NAME",
        help="The topic that valid trades go to.",
        rich_help_panel=KAFKA,
    ),
]
DeadLetters = Annotated[
    str,
    typer.Option(
        "--dead-letters",
        envvar="TRADEPIPE_DEAD_LETTERS",
        metavar="NAME",
        help="The topic that refused records go to, with their reasons.",
        rich_help_panel=KAFKA,
    ),
]
TransactionalId = Annotated[
    str | None,
    typer.Option(
        "--transactional-id",
        envvar="TRADEPIPE_TRANSACTIONAL_ID",
        metavar="NAME",
        help="Of this process alone, as the name of a pod of a stateful set; made up if not given.",
        show_default=False,
        rich_help_panel=KAFKA,
    ),
]
DeliveryOption = Annotated[
    DeliveryGuarantee,
    typer.Option(
        "--delivery",
        envvar="TRADEPIPE_DELIVERY",
        metavar="exactly_once|at_least_once",
        help="By Kafka's transactions; or without, where a crash may leave records in the topics twice.",
    ),
]
BatchRecords = Annotated[
    int,
    typer.Option(
        "--batch-records", envvar="TRADEPIPE_BATCH_RECORDS", metavar="N", min=1, help="Records in one transaction."
    ),
]
ValidatorStartOption = Annotated[
    str | None,
    typer.Option(
        "--start",
        envvar="TRADEPIPE_START",
        metavar="WHERE",
        help="Where a group that is new begins: earliest, latest, or a time such as 2025-06-01T08:00:00Z; "
        "must be given if the topics it writes to are not empty.",
        show_default=False,
    ),
]

app = command_line()


@app.command()
def validate(
    *,
    bootstrap_servers: BootstrapServers,
    registry: Registry,
    topic: Topic = TOPIC,
    clean: Clean = CLEAN,
    dead_letters: DeadLetters = DEAD_LETTERS,
    group: GroupName = GROUP,
    subject: Subject = SUBJECT,
    until_end: UntilEnd = False,
    start: ValidatorStartOption = None,
    delivery: DeliveryOption = "exactly_once",
    transactional_id: TransactionalId = None,
    batch_records: BatchRecords = BATCH_RECORDS,
    max_refused: MaxRefused = str(MAX_SHARE),
    unknown_fields: UnknownFieldsOption = "stop",
    rules: RulesOption = None,
    record_key: RecordKeyOption = "refuse",
    properties: Properties = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    log_level: LogLevel = None,
) -> None:
    """
    Sort records: valid trades unchanged into one topic, refused ones as dead letters into another, each once.

    A part that is away is waited for. SIGINT and SIGTERM end it behind the batch in hand.
    """
    status = StatusLine()
    configure(log_level, usual="warning" if status.is_live else "info", status=status)
    with open_registry(registry) as client:
        validator = Validator(
            kafka_config(bootstrap_servers, properties),
            registry=client,
            topic=topic,
            clean=clean,
            dead_letters=dead_letters,
            group=group,
            subject=subject,
            rules=loaded(rules),
            record_key=record_key,
            delivery=delivery,
            start=None if start is None else parse_start(start),
            transactional_id=transactional_id,
            batch_records=batch_records,
            max_refused=parse_share(max_refused),
            unknown_fields=unknown_fields,
        )
        run_stage(validator, progress_text, status, until_end=until_end, host=metrics_host, port=metrics_port)


def progress_text(counts: ValidatorCounts) -> StageSummary:
    """What a validator has done."""
    return StageSummary({"passed": counts.passed}, counts.refused)
