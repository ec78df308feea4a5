"""Migrations of an installed package; the only module that imports Alembic."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Final, NamedTuple

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from tradepipe.errors import ConfigurationError
from tradepipe.postgres import revision
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.session import create_engine_for

APPLICATION_NAME: Final = "tradepipe-migrate"

_TRY_LOCK: Final = text("SELECT pg_try_advisory_lock(hashtext('tradepipe_revision'))")
_UNLOCK: Final = text("SELECT pg_advisory_unlock(hashtext('tradepipe_revision'))")


class Migration(NamedTuple):
    """The revisions before and after a migration; None without a version table."""

    before: str | None
    after: str | None


def upgrade(database: str) -> Migration:
    """
    Upgrade a database to the newest revision of this build; concurrent calls wait for each other.

    A database that is ahead of this build stays unchanged.

    Raises:
        DatabaseUnavailable: PostgreSQL is unavailable.

        ConfigurationError: the URL, the credentials or the privileges are wrong, or
            this build cannot use the database's revision.
    """
    with _connection(database) as connection, migration_lock(connection):
        before = revision.current(connection)
        if before is not None and before not in revision.revisions():
            revision.check_revision(connection)
            return Migration(before, before)
        connection.commit()
        _run(connection, "upgrade", revision.required_revision())
        return Migration(before, revision.current(connection))


def downgrade(database: str, target: str) -> Migration:
    """
    Downgrade a database to an earlier revision, or to `base`, dropping what the later revisions created.

    Raises:
        DatabaseUnavailable: PostgreSQL is unavailable.

        ConfigurationError: this build does not know the target or the database's
            revision, or the URL, the credentials or the privileges are wrong.
    """
    with _connection(database) as connection, migration_lock(connection):
        before = revision.current(connection)
        connection.commit()
        _run(connection, "downgrade", target)
        return Migration(before, revision.current(connection))


def current(database: str) -> str | None:
    """Return the revision of a database, None before the first; raise like `upgrade`."""
    with _connection(database) as connection:
        return revision.current(connection)


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """
    Hold the advisory lock of migrations, for the session, since a revision may commit in between.

    Polls instead of waiting: a waiting statement holds a snapshot, and `CREATE
    INDEX CONCURRENTLY` in the holder of the lock would wait for it.
    """
    while not connection.scalar(_TRY_LOCK):
        connection.rollback()
        time.sleep(0.1)
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(_UNLOCK)
        connection.commit()


@contextmanager
def _connection(database: str) -> Iterator[Connection]:
    with translate_errors(), create_engine_for(database, application_name=APPLICATION_NAME).connect() as connection:
        yield connection


def _run(connection: Connection, verb: str, target: str) -> None:
    """Run a command of Alembic over a connection, without an alembic.ini."""
    with resources.as_file(resources.files("tradepipe.migrations")) as directory:
        config = Config(attributes={"connection": connection})
        # ConfigParser interpolates after a percent sign.
        config.set_main_option("script_location", str(directory).replace("%", "%%"))
        try:
            {"upgrade": command.upgrade, "downgrade": command.downgrade}[verb](config, target)
        except CommandError as error:
            raise ConfigurationError(f"cannot {verb} to {target!r}: {error}") from error
