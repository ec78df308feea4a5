"""`tradepipe validate`: valid trades to one topic, all others as dead letters to another."""

from typing import Annotated, Final

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.logs import configure, tell
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
    kafka_config,
)
from tradepipe.cli.rules import rules as loaded
from tradepipe.cli.serving import awaited
from tradepipe.cli.shared import registry_at
from tradepipe.cli.stage import served, short, spare_garbage_collection
from tradepipe.cli.stage_options import (
    KeyOfRecord,
    MaxRefused,
    MetricsHost,
    MetricsPort,
    Rules,
    Unknown,
    UntilEnd,
    share,
)
from tradepipe.cli.stage_options import start as begin
from tradepipe.cli.stopping import Stopping
from tradepipe.cli.terminal import Progress, StatusLine
from tradepipe.errors import TradepipeError
from tradepipe.pipeline.ceiling import SHARE
from tradepipe.pipeline.ledger import Validated
from tradepipe.pipeline.validator import BATCH_RECORDS, Delivery, Validator

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
HowOften = Annotated[
    Delivery,
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
Begin = Annotated[
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
    start: Begin = None,
    delivery: HowOften = "exactly_once",
    transactional_id: TransactionalId = None,
    batch_records: BatchRecords = BATCH_RECORDS,
    max_refused: MaxRefused = str(SHARE),
    unknown_fields: Unknown = "stop",
    rules: Rules = None,
    record_key: KeyOfRecord = "refuse",
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
    with registry_at(registry) as client:
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
            start=None if start is None else begin(start),
            transactional_id=transactional_id,
            batch_records=batch_records,
            max_refused=share(max_refused),
            unknown_fields=unknown_fields,
        )
        stopping = Stopping(validator.stop, "stopping: the batch in hand is finished first")
        with validator, stopping, served(validator, metrics_host, metrics_port, status):
            _run(validator, status, until_end=until_end)


def _run(validator: Validator, status: StatusLine, *, until_end: bool) -> None:
    """Run it until it is done or asked to stop, and sum up; the status line shows how far it is."""
    counts = validator.counts
    spare_garbage_collection()
    try:
        with _progress(validator, status):
            validator.run(until_end=until_end)
    except TradepipeError:
        if done(counts):
            tell(summary(counts))
        raise
    tell(summary(counts))


def _progress(validator: Validator, status: StatusLine) -> Progress:
    return Progress(status, lambda: (done(validator.counts), _telling(validator, briefly=status.is_live)), "records")


def done(counts: Validated) -> int:
    """How many records a validator has sorted."""
    return counts.passed + counts.refused.total()


def summary(counts: Validated) -> str:
    """What a validator did, the refused by their first code."""
    codes = ", ".join(f"{code} {number:,}" for code, number in counts.refused.most_common())
    return f"{counts.passed:,} passed, {counts.refused.total():,} refused" + (f": {codes}" if codes else "")


def _telling(validator: Validator, *, briefly: bool) -> str:
    counts, lag = validator.counts, validator.lag
    show = short if briefly else "{:,}".format
    waiting = awaited(validator)
    numbers = [f"{show(counts.passed)} passed", f"{show(counts.refused.total())} refused"]
    if lag is not None:
        numbers.append(f"lag {show(lag)}")
    return (f"waiting for {waiting}: " if waiting else "") + ", ".join(numbers)
