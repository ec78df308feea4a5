"""Command `tradepipe validate`: valid trades to one topic, dead letters to another."""

from typing import Annotated, Final

from tradepipe.cli import stage_runner
from tradepipe.cli.app import command_line
from tradepipe.cli.options import (
    IS_NAME,
    IS_TOPIC,
    KAFKA,
    SUBJECT,
    TOPIC,
    Format,
    Subject,
    Topic,
    option,
    parse_share,
    parse_start,
)
from tradepipe.cli.settings import Kafka, Logs, Registry
from tradepipe.cli.user_rules import RulesOption, load_rules
from tradepipe.pipeline.refusal_limit import MAX_SHARE
from tradepipe.pipeline.stats import ValidatorCounts
from tradepipe.pipeline.validator import DeliveryGuarantee, Validator
from tradepipe.pipeline.validator_buffer import BATCH_RECORDS

GROUP: Final = "tradepipe-validator"
CLEAN: Final = "trades.clean"
DEAD_LETTERS: Final = "trades.dlq"

GroupName = Annotated[
    str,
    option(
        "--group NAME",
        "Consumer group; validators of the same group share the partitions.",
        heading=KAFKA,
        variable="TRADEPIPE_VALIDATE_GROUP",
        callback=IS_NAME,
    ),
]
Clean = Annotated[str, option("--clean NAME", "Topic for valid trades.", heading=KAFKA, callback=IS_TOPIC)]
DeadLetters = Annotated[
    str, option("--dead-letters NAME", "Topic for refused records, with the reasons.", heading=KAFKA, callback=IS_TOPIC)
]
TransactionalId = Annotated[
    str | None,
    option(
        "--transactional-id NAME",
        "Transactional id, unique per process (e.g. the pod name). Generated if omitted.",
        heading=KAFKA,
        callback=IS_NAME,
    ),
]
DeliveryOption = Annotated[
    DeliveryGuarantee,
    option(
        "--delivery exactly_once|at_least_once", "Use Kafka transactions; without them a crash may write records twice."
    ),
]
BatchRecords = Annotated[int, option("--batch-records N", "Maximum records per transaction.", min=1)]
ValidatorStartOption = Annotated[
    str | None,
    option(
        "--start POSITION",
        "Start position of a new consumer group: earliest, latest, or a timestamp such as 2025-06-01T08:00:00Z. "
        "Required if the output topics are not empty.",
        variable="TRADEPIPE_VALIDATE_START",
    ),
]

app = command_line()


@app.command()
def validate(
    *,
    kafka: Kafka,
    registry: Registry,
    topic: Topic = TOPIC,
    clean: Clean = CLEAN,
    dead_letters: DeadLetters = DEAD_LETTERS,
    group: GroupName = GROUP,
    subject: Subject = SUBJECT,
    until_end: stage_runner.UntilEnd = False,
    start: ValidatorStartOption = None,
    delivery: DeliveryOption = "exactly_once",
    transactional_id: TransactionalId = None,
    batch_records: BatchRecords = BATCH_RECORDS,
    max_refused: stage_runner.MaxRefused = str(MAX_SHARE),
    unknown_fields: stage_runner.UnknownFieldsOption = "stop",
    rules: RulesOption = None,
    record_key: stage_runner.RecordKeyOption = "refuse",
    metrics_port: stage_runner.MetricsPort = None,
    metrics_host: stage_runner.MetricsHost = "127.0.0.1",
    output: Format = "text",
    logs: Logs,
) -> None:
    """
    Copy valid trades to one topic and refused records to a dead-letter topic, each exactly once.

    If a service is unavailable the validator waits. On SIGINT or SIGTERM it finishes the current batch and exits.
    """
    status = logs.configure(progress=True)
    with registry.open() as client:
        validator = Validator(
            kafka.config,
            registry=client,
            topic=topic,
            clean=clean,
            dead_letters=dead_letters,
            group=group,
            subject=subject,
            rules=load_rules(rules),
            record_key=record_key,
            delivery=delivery,
            start=None if start is None else parse_start(start),
            transactional_id=transactional_id,
            batch_records=batch_records,
            max_refused=parse_share(max_refused),
            unknown_fields=unknown_fields,
        )
        stage_runner.run_stage(
            validator, summarize, status, until_end=until_end, host=metrics_host, port=metrics_port, output=output
        )


def summarize(counts: ValidatorCounts) -> stage_runner.StageSummary:
    """Return the counts of a validator as a summary."""
    return stage_runner.StageSummary({"passed": counts.passed}, counts.refused)
