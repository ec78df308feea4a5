"""Environment of the revisions, for `alembic` in the repository and `tradepipe.postgres.migrate` elsewhere."""

import os
from typing import Any

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.schema import SetTableComment

from tradepipe.errors import TradepipeError
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.migrate import APPLICATION_NAME, migration_lock
from tradepipe.postgres.revision import VERSION_TABLE, is_post, warn_of_other_tables
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import METADATA


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Return True for our tables: autogenerate would propose to drop every other table of the database."""
    return kind != "table" or name in METADATA.tables


def note_last_post(*, ctx: Any, heads: set[str], **_kwargs: object) -> None:
    """
    Keep the latest `post_` revision as the version table's comment.

    The version table holds the latest revision only; an older build must also see
    an earlier `post_` revision (see `tradepipe.postgres.revision`).
    """
    applied = context.script.iterate_revisions(tuple(heads), "base") if heads else ()
    last = next((script.revision for script in applied if is_post(script.revision)), None)
    ctx.impl.execute(SetTableComment(Table(VERSION_TABLE, MetaData(), comment=last)))


def print_step(*, step: Any, **_kwargs: object) -> None:
    """Print each step: `alembic` configures no logging here."""
    before, after = (
        ", ".join(revisions) or "none" for revisions in (step.source_revision_ids, step.destination_revision_ids)
    )
    context.config.print_stdout("the database goes from revision %s to %s", before, after)


def note_first_revision(*, step: Any, ctx: Any, **_kwargs: object) -> None:
    """Warn of tables in another database schema, as `tradepipe migrate upgrade` does."""
    if step.is_upgrade and not step.source_revision_ids:
        warn_of_other_tables(ctx.connection)


def configure(*notes: Any, **where: Any) -> None:
    """Configure Alembic for a connection or for SQL output."""
    context.configure(
        target_metadata=METADATA,
        version_table=VERSION_TABLE,
        include_name=is_ours,
        on_version_apply=(note_last_post, *notes),
        **where,
    )


def run(connection: Connection, *notes: Any) -> None:
    """Run the revisions over a connection, in one transaction; call each of `notes` for each revision."""
    configure(*notes, connection=connection)
    with context.begin_transaction():
        context.run_migrations()


def run_on_database_url() -> None:
    """Run the revisions on the database that DATABASE_URL names."""
    database = os.environ.get("DATABASE_URL")
    if not database:
        raise CommandError("set DATABASE_URL to the database to migrate, as postgresql://user:password@host/database")
    try:
        engine = create_engine_for(database, application_name=APPLICATION_NAME)
        with translate_errors(), engine.connect() as connection, migration_lock(connection):
            run(connection, print_step, note_first_revision)
    except TradepipeError as error:
        raise CommandError(str(error)) from error


def run_as_script() -> None:
    """Print the SQL instead of running it, for `--sql`."""
    configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_as_script()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    run_on_database_url()
