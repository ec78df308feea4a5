"""`tradepipe schema`: the trade schema and the registry."""

from typing import Annotated

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEADLINE, SUBJECT, DeadlineSeconds, Debug, LogLevel, Registry, Subject
from tradepipe.cli.patience import Patience
from tradepipe.cli.shared import registry_at
from tradepipe.contract.compatibility import Level
from tradepipe.wire.registration import Registration
from tradepipe.wire.registration import register as register_versions

app = command_line("The trade schema and the registry.")

Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        envvar="TRADEPIPE_ALSO",
        metavar="SUBJECT",
        help="A further subject to register under, for other people's consumers; may be repeated.",
        show_default=False,
    ),
]
LevelOption = Annotated[
    Level,
    typer.Option(
        "--level", envvar="TRADEPIPE_LEVEL", metavar="LEVEL", help="The compatibility level the subject gets."
    ),
]


@app.callback()
def schema() -> None:
    """Keep `register` a command of its own while it is the only one."""


@app.command()
def register(
    *,
    registry: Registry,
    subject: Subject = SUBJECT,
    also: Also = None,
    level: LevelOption = Level.FULL_TRANSITIVE,
    deadline: DeadlineSeconds = DEADLINE,
    log_level: LogLevel = None,
    verbose: Debug = False,
) -> None:
    """Register every version of the schema that a subject lacks, and set the subject's compatibility level."""
    configure("debug" if verbose else log_level)
    patience = Patience(deadline)
    with registry_at(registry, timeout=patience.one_call) as client:
        for name in (subject, *(also or ())):
            _tell(patience(lambda name=name: register_versions(client, name, level=level.value)))  # type: ignore[misc]


def _tell(done: Registration) -> None:
    for outcome in done.outcomes:
        what = "new" if outcome.new else "already there"
        typer.echo(f"{done.subject}: version {outcome.version} has id {outcome.schema_id}, {what}")
    typer.echo(f"{done.subject}: compatibility level {done.level}")
