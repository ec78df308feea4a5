"""`tradepipe produce`: made-up trades into a topic."""

import logging
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import islice
from typing import Annotated

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.exits import ExitCode
from tradepipe.cli.logs import configure
from tradepipe.cli.mixture import Item, any_seed, mixture
from tradepipe.cli.options import (
    DEADLINE,
    SUBJECT,
    TOPIC,
    BootstrapServers,
    DeadlineSeconds,
    LogLevel,
    Properties,
    Registry,
    Subject,
    Topic,
    kafka_config,
)
from tradepipe.cli.patience import Patience
from tradepipe.cli.sending import Sending, Tally
from tradepipe.cli.stopping import Stopping
from tradepipe.cli.terminal import Progress, StatusLine
from tradepipe.contract.samples import BadRecord, trades
from tradepipe.errors import DeadlineExceeded
from tradepipe.kafka.topics import Topics
from tradepipe.wire.registry import SchemaRegistry
from tradepipe.wire.serde import TradeSerializer

logger = logging.getLogger(__name__)

app = command_line()

Count = Annotated[
    int | None,
    typer.Option(
        "--count",
        envvar="TRADEPIPE_COUNT",
        metavar="N",
        min=1,
        help="How many records in all; until it is stopped if not given.",
        show_default=False,
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        envvar="TRADEPIPE_RATE",
        metavar="N",
        min=0.001,
        help="Records a second at most; as fast as can be if not given.",
        show_default=False,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        envvar="TRADEPIPE_SEED",
        metavar="N",
        min=0,
        help="The same seed makes the same trades; drawn at random if not given.",
        show_default=False,
    ),
]
Bad = Annotated[
    float,
    typer.Option(
        "--bad",
        envvar="TRADEPIPE_BAD",
        metavar="SHARE",
        min=0,
        max=1,
        help="The share of bad records, of every kind in turn.",
    ),
]
Resend = Annotated[
    float,
    typer.Option(
        "--resend",
        envvar="TRADEPIPE_RESEND",
        metavar="SHARE",
        min=0,
        max=1,
        help="The share of trades that are sent again, as exact copies.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", envvar="TRADEPIPE_VERBOSE", help="Print each trade that is sent.")
]


@app.command()
def produce(
    *,
    bootstrap_servers: BootstrapServers,
    registry: Registry,
    topic: Topic = TOPIC,
    subject: Subject = SUBJECT,
    count: Count = None,
    rate: Rate = None,
    seed: Seed = None,
    bad: Bad = 0.0,
    resend: Resend = 0.0,
    properties: Properties = None,
    deadline: DeadlineSeconds = DEADLINE,
    verbose: Verbose = False,
    log_level: LogLevel = None,
) -> None:
    """
    Send made-up trades, and bad records if asked for.

    While Kafka is away it waits; at the end it waits for the acknowledgements, as long as --deadline says.
    """
    if bad + resend > 1:
        raise typer.BadParameter("they are shares of all records: together at most 1", param_hint="'--bad', '--resend'")
    status = StatusLine()
    configure(log_level, usual="warning" if status.is_live else "info", status=status)
    kafka = kafka_config(bootstrap_servers, properties)
    seed = any_seed() if seed is None else seed
    stopped = threading.Event()
    patience = Patience(deadline, stopped=stopped)
    with (
        Stopping(stopped.set, "stopping: waiting for the acknowledgements"),
        SchemaRegistry(registry, timeout=patience.one_call) as client,
    ):
        encode = TradeSerializer(client, subject=subject)
        sending = Sending(kafka, registry=client, topic=topic, subject=subject, stopped=stopped, patience=deadline)
        patience(lambda: encode(next(trades(seed))))
        patience(lambda: Topics(kafka, request_timeout=patience.one_call).describe(topic))
        logger.info("sending to %s, seed %d", topic, seed)
        items = islice(mixture(seed, encode, bad=bad, resend=resend), count)
        in_time = _send(sending, items, rate=rate, status=status, verbose=verbose)
    typer.echo(summary(sending.tally, seed))
    if not in_time:
        raise DeadlineExceeded(
            f"{sending.tally.unknown} records were not acknowledged within {deadline:g} s and may or may not be in the "
            f"log: when Kafka is back, send all again by --seed {seed}; each version of a trade is stored once"
        )
    if sending.tally.refused or sending.tally.unknown:
        raise typer.Exit(ExitCode.FINDINGS)


def _send(sending: Sending, items: Iterable[Item], *, rate: float | None, status: StatusLine, verbose: bool) -> bool:
    """Send all items; False if not all was answered in time."""
    tally = sending.tally
    try:
        with nullcontext() if verbose else Progress(status, lambda: (tally.sent, so_far(tally)), "records"):
            for item in sending.run(items, rate=rate):
                if verbose and not isinstance(item, BadRecord):
                    typer.echo(f"Sent trade with ID {item.trade.trade_id} and version {item.trade.version}")
    finally:
        in_time = sending.finish()
    return in_time


def so_far(tally: Tally) -> str:
    """How far a run is."""
    return f"{tally.sent:,} sent, {tally.acknowledged:,} acknowledged"


def summary(tally: Tally, seed: int) -> str:
    """What a run did."""
    return (
        f"sent {tally.sent:,} records by seed {seed}: {tally.new:,} new trades, {tally.again:,} sent again, "
        f"{tally.bad:,} bad\n"
        f"{tally.acknowledged:,} acknowledged, {tally.refused:,} refused, {tally.unknown:,} of unknown fate, "
        f"in {tally.seconds:.1f} s ({tally.rate:,.0f} records/s)"
    )
