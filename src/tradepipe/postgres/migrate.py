"""Migrations of an installed package; the only module that imports Alembic."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Final, Literal, NamedTuple

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tradepipe.errors import ConfigurationError, DatabaseUnavailable
from tradepipe.postgres import revision
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.locks import describe_advisory_holders, describe_table_holders, is_lock_timeout
from tradepipe.postgres.packaged_revisions import required_revision, revisions
from tradepipe.postgres.session import create_engine_for

APPLICATION_NAME: Final = "tradepipe-migrate"

LOCK_SECONDS: Final = 60.0
"""How long a migration waits by default for one that is running."""

logger = logging.getLogger(__name__)

_KEY: Final = "pg_catalog.hashtext('tradepipe_revision')"
_TRY_LOCK: Final = text(f"SELECT pg_catalog.pg_try_advisory_lock({_KEY})")
_UNLOCK: Final = text(f"SELECT pg_catalog.pg_advisory_unlock({_KEY})")

# A revision waits for an ACCESS EXCLUSIVE lock, and every sink waits behind it: give up before the sinks' lock_timeout.
_LOCK_TIMEOUT: Final = "SET lock_timeout = '3s'"


class Migration(NamedTuple):
    """The revisions before and after a migration; None without a version table."""

    before: str | None
    after: str | None


def upgrade(database: str, *, lock_seconds: float = LOCK_SECONDS) -> Migration:
    """
    Upgrade a database to the newest revision of this build; concurrent calls wait for each other.

    A database that is ahead of this build stays unchanged. Tables are created in the
    first database schema of `search_path`; a warning names another that has some.

    Args:
        lock_seconds: how long to wait for a migration that is running.

    Raises:
        DatabaseUnavailable: PostgreSQL is unavailable, or a session holds a lock that
            the migration needs; the message names the session. Retry the call.

        ConfigurationError: the URL, the credentials or the privileges are wrong, or
            this build cannot use the database's revision.
    """
    with _connection(database) as connection, migration_lock(connection, lock_seconds):
        before = revision.current(connection)
        if before is not None and before not in revisions():
            revision.check_revision(connection)
            return Migration(before, before)
        if before is None:
            revision.warn_of_other_tables(connection)
        connection.commit()
        run_revisions(connection, "upgrade", required_revision())
        return Migration(before, revision.current(connection))


def downgrade(database: str, target: str) -> Migration:
    """
    Downgrade a database to an earlier revision, or to `base`, dropping what the later revisions created.

    Raises:
        DatabaseUnavailable: as for `upgrade`.

        ConfigurationError: this build does not know the target or the database's
            revision, or the URL, the credentials or the privileges are wrong.
    """
    with _connection(database) as connection, migration_lock(connection):
        before = revision.current(connection)
        connection.commit()
        run_revisions(connection, "downgrade", target)
        return Migration(before, revision.current(connection))


def current(database: str) -> str | None:
    """
    Return the revision of a database, None before the first; raise like `upgrade`.

    A warning names the database schema that has tables, if `search_path` lacks it.
    """
    with _connection(database) as connection:
        found = revision.current(connection)
        if found is None and (advice := revision.advise_on_search_path(connection)) is not None:
            logger.warning("found no revision: %s", advice)
        return found


@contextmanager
def migration_lock(connection: Connection, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """
    Hold the advisory lock of migrations, for the session, since a revision may commit in between.

    Polls instead of waiting: a waiting statement holds a snapshot, and `CREATE
    INDEX CONCURRENTLY` in the holder of the lock would wait for it.

    Within the block a statement that waits for a lock is cancelled after 3 s.

    Raises:
        DatabaseUnavailable: another session holds this lock for longer than
            `seconds`, or one that a statement in the block needs.
    """
    until = time.monotonic() + seconds
    is_reported = False
    while not connection.scalar(_TRY_LOCK):
        holders = describe_advisory_holders(connection, _KEY)
        connection.rollback()
        if not is_reported:
            logger.warning("waiting for another migration of this database: %s", holders)
            is_reported = True
        if time.monotonic() > until:
            raise DatabaseUnavailable(
                f"another migration of this database has not finished: {holders}", is_answering=True
            )
        time.sleep(0.1)
    connection.exec_driver_sql(_LOCK_TIMEOUT)
    connection.commit()
    try:
        yield
    except DBAPIError as error:
        if not is_lock_timeout(error):
            raise
        connection.rollback()
        raise DatabaseUnavailable(
            f"the tables are locked: {describe_table_holders(connection)}", is_answering=True
        ) from error
    finally:
        connection.rollback()
        connection.execute(_UNLOCK)
        connection.commit()


@contextmanager
def _connection(database: str) -> Iterator[Connection]:
    with translate_errors(), create_engine_for(database, application_name=APPLICATION_NAME).connect() as connection:
        yield connection


def run_revisions(connection: Connection, verb: Literal["upgrade", "downgrade"], target: str) -> None:
    """Run a command of Alembic over a connection, without an alembic.ini."""
    with resources.as_file(resources.files("tradepipe.migrations")) as directory:
        config = Config(attributes={"connection": connection})
        # ConfigParser interpolates after a percent sign.
        config.set_main_option("script_location", str(directory).replace("%", "%%"))
        try:
            {"upgrade": command.upgrade, "downgrade": command.downgrade}[verb](config, target)
        except CommandError as error:
            raise ConfigurationError(f"cannot {verb} to {target!r}: {error}") from error
