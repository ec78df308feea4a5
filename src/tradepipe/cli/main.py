"""Command `tradepipe`: all commands."""

from importlib.metadata import version
from typing import Annotated, Final, NoReturn

import typer

from tradepipe.cli import exit_codes
from tradepipe.cli.app import command_line, lazy_group
from tradepipe.cli.options import option

ABOUT = "Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once."

COMMANDS: Final = {
    "produce": "tradepipe.cli.produce",
    "validate": "tradepipe.cli.validate",
    "demo": "tradepipe.cli.demo",
    "embedded": "tradepipe.cli.embedded",
    "sink": "tradepipe.cli.sink",
    "migrate": "tradepipe.cli.migrate",
    "schema": "tradepipe.cli.schema.commands",
    "topics": "tradepipe.cli.topics",
    "dlq": "tradepipe.cli.dlq.commands",
}
"""Module of each command, imported when the command runs."""

app = command_line(ABOUT, completion=True)


def _show_version(requested: bool) -> None:
    if requested:
        from tradepipe.evolution.history import current  # noqa: PLC0415 - loaded where it is used
        from tradepipe.kafka.config import librdkafka_version  # noqa: PLC0415 - loaded where it is used
        from tradepipe.postgres.revision import required_revision  # noqa: PLC0415 - loaded where it is used

        typer.echo(
            f"tradepipe {version('tradepipe')}\nlibrdkafka {librdkafka_version()}\n"
            f"schema version {current().number}\nAlembic head {required_revision()}"
        )
        raise typer.Exit


Version = Annotated[
    bool,
    option(
        "-V --version",
        "Print the versions of tradepipe, librdkafka, the schema and the database revision.",
        variable=None,
        is_eager=True,
        callback=_show_version,
    ),
]


@app.callback(help=ABOUT, cls=lazy_group(COMMANDS))
def tradepipe(*, _version: Version = False) -> None:
    """Handle the options before a command's name."""


def run() -> NoReturn:
    """Run the command line `tradepipe`."""
    exit_codes.run(app, "tradepipe")
