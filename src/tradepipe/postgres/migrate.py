"""Migrations run by a program, from wherever the package is installed; the only module that loads Alembic."""

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
    """What a migration did: the revision before and the one after, None where there is no table yet."""

    before: str | None
    after: str | None


def upgrade(database: str) -> Migration:
    """
    Bring a database to the head of this build, whoever else is about to.

    A database that is ahead of this build is left as it is.

    Raises:
        DatabaseUnavailable: PostgreSQL is not reachable now.

        ConfigurationError: the URL, the credentials or the rights are wrong, or the
            database is past what this build can live with.
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
    Take a database back to an earlier revision, or to `base`: what the revisions in between made is dropped.

    Raises as `upgrade` does, and `ConfigurationError` for a target or a database this build does not know.
    """
    with _connection(database) as connection, migration_lock(connection):
        before = revision.current(connection)
        connection.commit()
        _run(connection, "downgrade", target)
        return Migration(before, revision.current(connection))


def current(database: str) -> str | None:
    """The revision a database is at, None before the first; raises as `upgrade` does."""
    with _connection(database) as connection:
        return revision.current(connection)


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """
    Hold the lock under which migrations run: a session's, since a revision may commit in its midst.

    Tried again and again rather than waited for: a waiting statement has a
    snapshot, and `CREATE INDEX CONCURRENTLY` in the holder would wait for it.
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
    """Run one of Alembic's commands over a connection, with no alembic.ini anywhere."""
    with resources.as_file(resources.files("tradepipe.migrations")) as directory:
        config = Config(attributes={"connection": connection})
        # ConfigParser reads a percent sign as the start of an interpolation.
        config.set_main_option("script_location", str(directory).replace("%", "%%"))
        try:
            {"upgrade": command.upgrade, "downgrade": command.downgrade}[verb](config, target)
        except CommandError as error:
            raise ConfigurationError(f"cannot {verb} to {target!r}: {error}") from error
