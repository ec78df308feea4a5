"""`tradepipe`: all commands in one."""

from importlib.metadata import version
from typing import Annotated, Final, NoReturn

import typer

from tradepipe.cli import exit_codes
from tradepipe.cli.app import command_line, loading

ABOUT = "Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once."

COMMANDS: Final = {
    "produce": "tradepipe.cli.produce",
    "validate": "tradepipe.cli.validate",
    "demo": "tradepipe.cli.demo",
    "sink": "tradepipe.cli.sink",
    "migrate": "tradepipe.cli.migrate",
    "schema": "tradepipe.cli.schema.commands",
    "topics": "tradepipe.cli.topics",
    "dlq": "tradepipe.cli.dlq.commands",
}
"""Each command's module, which is loaded when the command is asked for."""

app = command_line(ABOUT, completion=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        from tradepipe.evolution.history import current  # noqa: PLC0415 - loaded where it is used
        from tradepipe.kafka.config import librdkafka_version  # noqa: PLC0415 - the same
        from tradepipe.postgres.revision import required_revision  # noqa: PLC0415 - the same

        typer.echo(
            f"tradepipe {version('tradepipe')}\nlibrdkafka {librdkafka_version()}\n"
            f"schema version {current().number}\nAlembic head {required_revision()}"
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


@app.callback(help=ABOUT, cls=loading(COMMANDS))
def tradepipe(*, _version: Version = False) -> None:
    """Take the options that stand before a command."""


def run() -> NoReturn:
    """Run the command line `tradepipe`."""
    exit_codes.run(app, "tradepipe")
