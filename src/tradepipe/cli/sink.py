"""Command `tradepipe sink`: trades from a topic to PostgreSQL."""

import logging
import sys
from typing import Annotated, Any, Final

import typer

from tradepipe.cli import stage_runner
from tradepipe.cli.app import Group, command_line
from tradepipe.cli.exit_codes import CLOSED_PIPE
from tradepipe.cli.options import (
    LOCAL_DATABASE,
    LOCAL_KAFKA,
    LOCAL_REGISTRY,
    SUBJECT,
    TOPIC,
    Database,
    Format,
    Subject,
    is_default,
    option,
    parse_share,
    parse_start,
    refuse_lines_in_json,
)
from tradepipe.cli.settings import Kafka, Logs, Registry
from tradepipe.cli.sink_offsets import GROUP, GroupName, SinkTopic
from tradepipe.cli.sink_offsets import app as offsets
from tradepipe.cli.user_rules import RulesOption, load_rules
from tradepipe.pipeline.refusal_limit import MAX_SHARE
from tradepipe.pipeline.sink import Sink
from tradepipe.pipeline.sink_writer import CONNECTIONS, MAX_CONNECTIONS
from tradepipe.pipeline.stats import SinkCounts
from tradepipe.postgres.batch import BatchResult
from tradepipe.redaction import escape

logger = logging.getLogger(__name__)

BATCH_ROWS: Final = 10_000

_LOCAL_KAFKA: Final = Kafka({"bootstrap.servers": LOCAL_KAFKA})
_LOCAL_REGISTRY: Final = Registry(LOCAL_REGISTRY)

SinkStartOption = Annotated[
    str | None,
    option(
        "--start POSITION",
        "Start position of a new consumer group: earliest (the default), latest, or a timestamp such as "
        "2025-06-01T08:00:00Z.",
        variable="TRADEPIPE_SINK_START",
    ),
]
BatchRows = Annotated[int, option("--batch-rows N", "Maximum records per transaction.", min=1)]
Connections = Annotated[
    int, option("--connections N", "Maximum connections to PostgreSQL.", min=1, max=MAX_CONNECTIONS)
]
Verbose = Annotated[bool, option("-v --verbose", "Print each trade that is stored.", variable="TRADEPIPE_SINK_VERBOSE")]


class _SinkOrCommand(Group):
    """The sink, or one of its subcommands, which need fewer options than the sink."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._run_sink = self.callback

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # A plain group for this call: click would run the sink itself before its subcommand.
        self.callback = None if args and args[0] in self.commands else self._run_sink
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        found = super().resolve_command(ctx, args)
        if self.callback is not None:  # typer would run the sink first, then the subcommand
            ctx.fail(f"put the options after `{args[0]}`, as in `{ctx.command_path} {args[0]} show --topic trades`")
        return found


app = command_line()
app.add_typer(offsets, name="offsets")


@app.callback(invoke_without_command=True, cls=_SinkOrCommand, subcommand_metavar="[COMMAND]")
def sink(
    context: typer.Context,
    *,
    kafka: Kafka = _LOCAL_KAFKA,
    registry: Registry = _LOCAL_REGISTRY,
    database: Database = LOCAL_DATABASE,
    topic: SinkTopic = TOPIC,
    group: GroupName = GROUP,
    subject: Subject = SUBJECT,
    until_end: stage_runner.UntilEnd = False,
    start: SinkStartOption = None,
    batch_rows: BatchRows = BATCH_ROWS,
    connections: Connections = CONNECTIONS,
    max_refused: stage_runner.MaxRefused = str(MAX_SHARE),
    unknown_fields: stage_runner.UnknownFieldsOption = "stop",
    rules: RulesOption = None,
    record_key: stage_runner.RecordKeyOption = "refuse",
    stale: stage_runner.StaleOption = "accept",
    metrics_port: stage_runner.MetricsPort = None,
    metrics_host: stage_runner.MetricsHost = "127.0.0.1",
    verbose: Verbose = False,
    output: Format = "text",
    logs: Logs,
) -> None:
    """
    Store trades in PostgreSQL, each version of each trade exactly once, and refused records with the reasons.

    If a service is unavailable the sink waits. On SIGINT or SIGTERM it finishes the current batch and exits.
    Services whose addresses are not given are those of docker-compose.yml on this machine.
    """
    refuse_lines_in_json(output, verbose=verbose)
    status = logs.configure(progress=not verbose)
    printer = _Printer()
    with registry.open() as client:
        printer.sink = storing = Sink(
            kafka.config,
            registry=client,
            database=database,
            topic=topic,
            group=group,
            subject=subject,
            start=None if start is None else parse_start(start),
            batch_rows=batch_rows,
            connections=connections,
            max_refused=parse_share(max_refused),
            unknown_fields=unknown_fields,
            rules=load_rules(rules),
            record_key=record_key,
            stale=stale,
            on_stored=printer if verbose else None,
        )
        stage_runner.run_stage(
            storing,
            summarize,
            None if verbose else status,
            on_start=lambda: _log_defaults(context, kafka, registry, database),
            until_end=until_end,
            host=metrics_host,
            port=metrics_port,
            output=output,
        )
    if printer.is_closed:
        raise typer.Exit(CLOSED_PIPE)


def _log_defaults(context: typer.Context, kafka: Kafka, registry: Registry, database: str) -> None:
    """Log which addresses are defaults: in production, a variable is missing."""
    brokers = kafka.config["bootstrap.servers"]
    is_local = brokers == LOCAL_KAFKA and is_default(context, "bootstrap_servers")
    addresses = {
        f"Kafka {brokers} (KAFKA_BOOTSTRAP_SERVERS)": is_local,
        f"registry {registry.url} (SCHEMA_REGISTRY_URL)": is_default(context, "registry"),
        f"database {database} (DATABASE_URL)": is_default(context, "database"),
    }
    if defaults := ", ".join(text for text, is_used in addresses.items() if is_used):
        logger.warning("using default addresses, because no variable is set: %s", defaults)


class _Printer:
    """Prints each stored trade, and stops the sink when stdout is closed."""

    sink: Sink

    def __init__(self) -> None:
        self.is_closed = False

    def __call__(self, stored: BatchResult) -> None:
        try:
            lines = (
                f"Stored trade with ID {escape(each.trade_id)} and version {each.version}\n" for each in stored.trades
            )
            sys.stdout.write("".join(lines))
            sys.stdout.flush()
        except BrokenPipeError:
            # The batch is stored. Stop before the next one, and exit like a program that SIGPIPE has ended.
            self.is_closed = True
            self.sink.stop()


def summarize(counts: SinkCounts) -> stage_runner.StageSummary:
    """Return the counts of a sink as a summary."""
    return stage_runner.StageSummary({"stored": counts.stored, "duplicates": counts.duplicates}, counts.refused)
