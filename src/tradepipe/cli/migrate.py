"""`tradepipe migrate`: the database to this build's revision."""

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEADLINE, Database, DeadlineSeconds, Debug, LogLevel
from tradepipe.postgres import migrate, revision

app = command_line("Bring the database to the revision this build needs.")


@app.command()
def upgrade(
    *, database: Database, deadline: DeadlineSeconds = DEADLINE, log_level: LogLevel = None, verbose: Debug = False
) -> None:
    """Create or change the tables, up to this build's revision."""
    configure("debug" if verbose else log_level)
    done = RetryUntil(deadline)(lambda: migrate.upgrade(database))
    if done.before == done.after:
        typer.echo(f"the database is at revision {done.after} already")
    else:
        typer.echo(f"the database went from revision {done.before or 'none'} to {done.after}")


@app.command()
def current(
    *, database: Database, deadline: DeadlineSeconds = DEADLINE, log_level: LogLevel = None, verbose: Debug = False
) -> None:
    """Show the revision the database is at, and the one this build needs."""
    configure("debug" if verbose else log_level)
    found = RetryUntil(deadline)(lambda: migrate.current(database))
    typer.echo(f"the database is at revision {found or 'none'}, this build needs {revision.required_revision()}")
