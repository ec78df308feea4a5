"""Command `tradepipe migrate`: upgrade the database."""

from tradepipe.cli.app import command_line
from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.options import DEADLINE, Database, DeadlineSeconds, Format
from tradepipe.cli.settings import Logs
from tradepipe.cli.terminal import echo, to_json
from tradepipe.postgres import migrate, revision

app = command_line("Upgrade the database to the revision this build needs.")


@app.command()
def upgrade(*, database: Database, deadline: DeadlineSeconds = DEADLINE, logs: Logs) -> None:
    """Create or change the tables up to this build's revision."""
    logs.configure()
    retry = RetryUntil(deadline)
    done = retry(lambda: migrate.upgrade(database, lock_seconds=retry.remaining))
    if done.before == done.after:
        echo(f"the database is already at revision {done.after}")
    else:
        echo(f"upgraded the database from revision {done.before or 'none'} to {done.after}")


@app.command()
def current(*, database: Database, output: Format = "text", deadline: DeadlineSeconds = DEADLINE, logs: Logs) -> None:
    """Print the database's revision and the one this build needs."""
    logs.configure()
    found = RetryUntil(deadline)(lambda: migrate.current(database))
    needed = revision.required_revision()
    if output == "json":
        echo(to_json({"revision": found, "needed": needed}))
    else:
        echo(f"the database is at revision {found or 'none'}; this build needs {needed}")
