"""Checks of a database's revision against this build."""

import logging
from typing import Any, Final

from sqlalchemy import Connection, Select, column, select, table, text

from tradepipe.errors import ConfigurationError, DatabaseOutdated
from tradepipe.postgres.packaged_revisions import REVISION_ID, required_revision
from tradepipe.postgres.tables import SINK_OFFSETS

VERSION_TABLE: Final = "tradepipe_revision"
"""Not Alembic's default name: an application in the same database may use that one."""

UPGRADE: Final = "tradepipe migrate upgrade"
"""The command that upgrades a database to this build."""

# Every function is qualified, and the types on both sides of each operator are the same. Where others may create
# objects in a schema of search_path (public, up to PostgreSQL 14), PostgreSQL would otherwise prefer a function or
# operator of theirs whose types match better, and run it as our role (CVE-2018-1058).
_CURRENT: Final[Select[Any]] = select(column("version_num")).select_from(table(VERSION_TABLE))
_HAS_TABLE: Final = text("SELECT pg_catalog.to_regclass(:table) IS NOT NULL")
_LAST_POST: Final = text("SELECT pg_catalog.obj_description(pg_catalog.to_regclass(:table)::oid, 'pg_class'::name)")
_VISIBLE: Final = text(
    "SELECT pg_catalog.current_setting('search_path'::text), pg_catalog.cardinality(pg_catalog.current_schemas(false))"
)
_ROLE: Final = text("SELECT current_user")
_CREATES_IN: Final = text("SELECT pg_catalog.current_schema()")
_ELSEWHERE: Final = text(
    "SELECT space.nspname, pg_catalog.has_schema_privilege(space.oid, 'USAGE'::text) "
    "FROM pg_catalog.pg_class AS found JOIN pg_catalog.pg_namespace AS space ON space.oid = found.relnamespace "
    "WHERE found.relname = CAST(:table AS pg_catalog.name) AND found.relkind = 'r' "
    "AND NOT pg_catalog.pg_table_is_visible(found.oid) "
    # A downgrade to `base` leaves the version table alone behind.
    "AND EXISTS (SELECT FROM pg_catalog.pg_class AS ours WHERE ours.relnamespace = found.relnamespace "
    f"AND ours.relname = '{SINK_OFFSETS.name}'::name) ORDER BY 2 DESC, 1 LIMIT 1"
)

_log = logging.getLogger(__name__)


def is_post(revision: str) -> bool:
    """Return True if builds that do not know the revision cannot use the database after it."""
    return revision.partition("_")[2].startswith("post_")


def current(connection: Connection) -> str | None:
    """Return the revision of the database, None before the first; several are a `ConfigurationError`."""
    if not connection.scalar(_HAS_TABLE, {"table": VERSION_TABLE}):
        return None
    found = connection.scalars(_CURRENT).all()
    if len(found) > 1:
        raise ConfigurationError(
            f"{VERSION_TABLE} holds several revisions, {', '.join(sorted(found))}: one must remain"
        )
    return str(found[0]) if found else None


def check_revision(connection: Connection) -> None:
    """
    Check that this build can use the database.

    Raises:
        DatabaseOutdated: the database lacks a revision.

        ConfigurationError: the database is past a `post_` revision that this build
            does not know, or its revision is not one of tradepipe.
    """
    found, needed = current(connection), required_revision()
    if found == needed:
        return
    if found is None or _number(found) < _number(needed):
        advice = (advise_on_search_path(connection) if found is None else None) or f"upgrade it with `{UPGRADE}`"
        raise DatabaseOutdated(f"the database is at revision {found or 'none'}, this build needs {needed}: {advice}")
    if _number(found) == _number(needed):
        raise ConfigurationError(
            f"the database is at revision {found}, but this build's revision with that number is {needed}"
        )
    # No revision after this build's may have removed anything that this build uses.
    for revision in (found, connection.scalar(_LAST_POST, {"table": VERSION_TABLE})):
        if revision is not None and is_post(revision) and _number(revision) > _number(needed):
            raise ConfigurationError(
                f"the database is at revision {found}, past {revision}, which removes what this build uses; "
                f"this build knows revisions up to {needed}: upgrade this build"
            )
    _log.info("the database is at revision %s, ahead of this build's %s", found, needed)


def warn_of_other_tables(connection: Connection) -> None:
    """Warn that the first revision creates tables although another database schema has some; both may be intended."""
    elsewhere = connection.execute(_ELSEWHERE, {"table": VERSION_TABLE}).first()
    created_in = connection.scalar(_CREATES_IN)
    if elsewhere and created_in:
        schema = elsewhere[0]
        _log.warning(
            "creating tables in database schema %s, although database schema %s has tradepipe's tables; unless you "
            "want both, drop the new ones, and add ?options=-csearch_path=%s to the URL or set search_path "
            "by ALTER ROLE",
            created_in,
            schema,
            schema,
        )


def advise_on_search_path(connection: Connection) -> str | None:
    """Say what is wrong with search_path if no table is found by it, although the database may have one."""
    path, schemas = connection.execute(_VISIBLE).one()
    if elsewhere := connection.execute(_ELSEWHERE, {"table": VERSION_TABLE}).first():
        schema, is_usable = elsewhere
        found = f"search_path is {path!r}, but tradepipe's tables are in database schema {schema}"
        if not is_usable:
            return f"{found}, on which role {connection.scalar(_ROLE)} lacks USAGE; GRANT it, as the schema's owner"
        return f"{found}; add ?options=-csearch_path={schema} to the URL, or set search_path by ALTER ROLE"
    if not schemas:
        return (
            f"search_path is {path!r}, which names no database schema that exists; create one, or set search_path by "
            f"ALTER ROLE, and upgrade the database with `{UPGRADE}`"
        )
    return None


def _number(revision: str) -> int:
    match = REVISION_ID.fullmatch(revision)
    if match is None:
        raise ConfigurationError(f"{VERSION_TABLE} holds {revision!r}, which is not a revision of tradepipe")
    return int(match[1])
