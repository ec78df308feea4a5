"""Command `tradepipe`: all commands."""

from typing import Annotated, Any, Final, Literal, NoReturn

import typer

from tradepipe.cli import exit_codes
from tradepipe.cli.app import command_line, lazy_group
from tradepipe.cli.options import option
from tradepipe.cli.terminal import echo, to_json

ABOUT = "Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once."

COMMANDS: Final = {
    "demo": "tradepipe.cli.demo",
    "embedded": "tradepipe.cli.embedded",
    "migrate": "tradepipe.cli.migrate",
    "schema": "tradepipe.cli.schema.commands",
    "topics": "tradepipe.cli.topics",
    "produce": "tradepipe.cli.produce",
    "validate": "tradepipe.cli.validate",
    "sink": "tradepipe.cli.sink",
    "dlq": "tradepipe.cli.dlq.commands",
}
"""Module of each command, imported when the command runs."""

app = command_line(ABOUT, completion=True)


def _show_version(context: typer.Context, requested: bool) -> None:
    if requested:
        from importlib.metadata import version  # noqa: PLC0415 - loads the modules of e-mail

        from tradepipe.compiled_core import executor_name  # noqa: PLC0415 - loaded where it is used
        from tradepipe.evolution.history import current  # noqa: PLC0415 - loaded where it is used
        from tradepipe.kafka.config import librdkafka_version  # noqa: PLC0415 - loaded where it is used
        from tradepipe.postgres.packaged_revisions import required_revision  # noqa: PLC0415 - loaded where it is used

        versions = {
            "tradepipe": version("tradepipe"),
            "librdkafka": librdkafka_version(),
            "schema version": current().number,
            "Alembic head": required_revision(),
            "executor": executor_name(),
        }
        if context.params.get("output") == "json":
            echo(to_json({name.lower().replace(" ", "_"): value for name, value in versions.items()}))
        else:
            echo("\n".join(f"{name} {value}" for name, value in versions.items()))
        raise typer.Exit


VersionFormat = Annotated[
    Literal["text", "json"], option("--format text|json", "Format of --version.", variable=None, is_eager=True)
]
Version = Annotated[
    bool,
    option(
        "-V --version",
        "Print the versions of tradepipe, librdkafka, the schema and the database revision, and the executor.",
        variable=None,
        is_eager=True,
        callback=_show_version,
    ),
]


class _Tradepipe(lazy_group(COMMANDS)):  # type: ignore[misc]  # the class is made for these commands
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept `tradepipe help COMMAND` and `tradepipe version` as well."""
        match args:
            case ["help", *rest]:
                # Also for subcommands: `tradepipe help sink offsets`.
                args = [*rest, "--help"]
            case ["version", *rest] | ["-V" | "--version", *rest]:
                args = [*rest, "--version"]  # last, so that it knows the format
        return super().parse_args(ctx, args)  # type: ignore[no-any-return]  # Group's


@app.callback(help=ABOUT, cls=_Tradepipe)
def tradepipe(*, output: VersionFormat = "text", _version: Version = False) -> None:
    """Handle the options before a command's name."""


def run() -> NoReturn:
    """Run the command line `tradepipe`."""
    exit_codes.run(app, "tradepipe")
