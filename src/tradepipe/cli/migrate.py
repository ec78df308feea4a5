"""Commands `tradepipe migrate`: upgrade the database, and draft the next revision."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.options import DEADLINE, Database, DeadlineSeconds, Format, hide_passwords, option
from tradepipe.cli.schema.checks import display_path, refuse_installed_package
from tradepipe.cli.settings import Logs
from tradepipe.cli.terminal import echo, print_result
from tradepipe.errors import ConfigurationError
from tradepipe.files.drafts import write_file
from tradepipe.postgres import draft as drafts
from tradepipe.postgres import migrate
from tradepipe.postgres.packaged_revisions import required_revision

app = command_line("Upgrade the database to the revision this build needs, and draft the next revision.")

Directory = Annotated[
    Path | None,
    option("--revisions DIR", "Directory of the revisions. Default: that of this build's repository.", variable=None),
]
DraftDatabase = Annotated[
    str | None,
    option(
        "--database URL",
        "PostgreSQL, as postgresql://user@host:5432/name, in which to compare. Default: the embedded one.",
        variable=None,  # DATABASE_URL may be that of production
        callback=hide_passwords("a file named by PGPASSFILE"),
    ),
]
ToStdout = Annotated[bool, option("--print", "Print the revision instead of writing it.", variable=None)]


@app.command()
def upgrade(*, database: Database, output: Format = "text", deadline: DeadlineSeconds = DEADLINE, logs: Logs) -> None:
    """Create or change the tables up to this build's revision."""
    logs.configure()
    retry = RetryUntil(deadline)
    done = retry(lambda: migrate.upgrade(database, lock_seconds=retry.remaining))
    if done.before == done.after:
        text = f"the database is already at revision {done.after}"
    else:
        text = f"upgraded the database from revision {done.before or 'none'} to {done.after}"
    print_result(text, done._asdict(), output)


@app.command()
def current(*, database: Database, output: Format = "text", deadline: DeadlineSeconds = DEADLINE, logs: Logs) -> None:
    """Print the database's revision and the one this build needs."""
    logs.configure()
    found = RetryUntil(deadline)(lambda: migrate.current(database))
    needed = required_revision()
    text = f"the database is at revision {found or 'none'}; this build needs {needed}"
    print_result(text, {"revision": found, "needed": needed}, output)


@app.command()
def draft(
    *, database: DraftDatabase = None, directory: Directory = None, to_stdout: ToStdout = False, logs: Logs
) -> None:
    """
    Write the next revision: the columns, CHECKs, key and view that the declaration needs and no revision makes.

    Compares both in a PostgreSQL: the embedded one, or --database, where the role must be allowed to create schemas;
    two are created and dropped, and nothing else is read or changed. Read the revision before you release it.
    """
    logs.configure()
    folder = directory or Path(str(resources.files("tradepipe.migrations.versions")))
    refuse_installed_package(folder, example="migrations/versions", option_name="--revisions")
    if database:
        difference = drafts.compare(database)
    else:
        try:
            from tradepipe.embedded.postgres import Postgres  # noqa: PLC0415 - an extra

            with Postgres() as server:
                difference = drafts.compare(server.start().create_database("draft"))
        except (FileNotFoundError, ModuleNotFoundError) as error:
            raise ConfigurationError(
                f"drafting a revision needs a PostgreSQL: pass --database URL, or install the embedded one ({error})"
            ) from error
    if difference is None:
        text = f"nothing to draft: the revisions up to {required_revision()} make what trade/model.py declares"
        echo(text, err=to_stdout)  # stdout is for the revision
        return
    down = required_revision()
    name, text = drafts.draft_revision(difference, int(down[:4]) + 1, down)
    if to_stdout:
        typer.echo(text, nl=False)
        return
    path = folder / f"{name}.py"
    with write_file(path, overwrite=None, private=False, option="--revisions") as file:
        file.write(text)
    echo(f"wrote {display_path(path)}: read it, then release the schema with: tradepipe schema freeze")
