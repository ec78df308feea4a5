"""`tradepipe`: all commands in one."""

from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from tradepipe.cli import demo, exits, migrate, produce, sink, topics, validate
from tradepipe.cli.app import command_line
from tradepipe.cli.dlq import commands as dlq
from tradepipe.cli.schema import commands as schema
from tradepipe.contract.history import current
from tradepipe.kafka.client import librdkafka
from tradepipe.postgres.revision import head

ABOUT = "Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once."

app = command_line(ABOUT, completion=True)
app.command("produce")(produce.produce)
app.command("validate")(validate.validate)
app.add_typer(sink.app, name="sink")
app.add_typer(migrate.app, name="migrate")
app.add_typer(schema.app, name="schema")
app.add_typer(topics.app, name="topics")
app.add_typer(dlq.app, name="dlq")
app.command("demo")(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(
            f"tradepipe {version('tradepipe')}\nlibrdkafka {librdkafka()}\n"
            f"schema version {current().number}\nAlembic head {head()}"
        )
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "-V",
        "--version",
        is_eager=True,
        callback=_show_version,
        help="Show the versions of tradepipe, librdkafka, schema and database.",
    ),
]


@app.callback(help=ABOUT)
def tradepipe(*, _version: Version = False) -> None:
    """Take the options that stand before a command."""


def run() -> NoReturn:
    """Run the command line `tradepipe`."""
    exits.run(app, "tradepipe")
