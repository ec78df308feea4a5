"""
The revision a database is at, and whether this build can work with it.

A revision's id is its file's stem: a number, `pre_` or `post_`, and a name.
`0003_pre_add_venue` is applied before the builds that need it roll out,
`0004_post_drop_exchange` after the last build that cannot live with it is gone.
So a database may be ahead of a build, but not past a `post_` revision the build
does not know. The version table tells only the latest revision; migrations keep
the latest `post_` one as that table's comment.
"""

import logging
import re
from importlib import resources
from typing import Any, Final

from sqlalchemy import Connection, Select, column, select, table, text

from tradepipe.errors import DatabaseBehind, Misconfigured

VERSION_TABLE: Final = "tradepipe_revision"
"""Not Alembic's default name, which belongs to the host whose database we share."""

UPGRADE: Final = "python -m tradepipe.migrate upgrade"
"""The command that brings a database up to this build."""

_ID: Final = re.compile(r"(\d{4})_\w+")

_CURRENT: Final[Select[Any]] = select(column("version_num")).select_from(table(VERSION_TABLE))
_HAS_TABLE: Final = text("SELECT to_regclass(:table) IS NOT NULL")
_LAST_POST: Final = text("SELECT obj_description(to_regclass(:table), 'pg_class')")

_log = logging.getLogger(__name__)


def revisions() -> tuple[str, ...]:
    """The revisions packaged in this build, oldest first."""
    versions = resources.files("tradepipe.migrations.versions")
    stems = (file.name.removesuffix(".py") for file in versions.iterdir() if file.name.endswith(".py"))
    return tuple(sorted(stem for stem in stems if _ID.fullmatch(stem)))


def head() -> str:
    """The revision this build needs."""
    return revisions()[-1]


def is_post(revision: str) -> bool:
    """Whether builds that do not know a revision cannot live with it."""
    return revision.partition("_")[2].startswith("post_")


def current(connection: Connection) -> str | None:
    """
    The revision the database is at, None before the first.

    Raises:
        Misconfigured: the version table holds more than one revision.
    """
    if not connection.scalar(_HAS_TABLE, {"table": VERSION_TABLE}):
        return None
    found = connection.scalars(_CURRENT).all()
    if len(found) > 1:
        raise Misconfigured(f"{VERSION_TABLE} holds several revisions, {', '.join(sorted(found))}: one must remain")
    return str(found[0]) if found else None


def require_revision(connection: Connection) -> None:
    """
    Return if this build can work with the database.

    Raises:
        DatabaseBehind: it lacks a revision.

        Misconfigured: it is past a `post_` revision this build does not know,
            or at one that is none of ours.
    """
    found, needed = current(connection), head()
    if found == needed:
        return
    if found is None or _number(found) < _number(needed):
        raise DatabaseBehind(
            f"the database is at revision {found or 'none'}, this build needs {needed}: bring it up with `{UPGRADE}`"
        )
    _require_known_past(connection, found, needed)
    _log.info("the database is at revision %s, ahead of this build's %s", found, needed)


def _require_known_past(connection: Connection, found: str, needed: str) -> None:
    """Return if nothing between this build's revision and the database's drops what this build uses."""
    if _number(found) == _number(needed):
        raise Misconfigured(f"the database is at revision {found}, this build's of that number is {needed}")
    last_post = connection.scalar(_LAST_POST, {"table": VERSION_TABLE})
    for revision in (found, last_post):
        if revision is not None and is_post(revision) and _number(revision) > _number(needed):
            raise Misconfigured(
                f"the database is at revision {found}, past {revision}, which removes what this build uses; "
                f"this build knows revisions up to {needed}: upgrade this build"
            )


def _number(revision: str) -> int:
    match = _ID.fullmatch(revision)
    if match is None:
        raise Misconfigured(f"{VERSION_TABLE} holds {revision!r}, which is no revision of tradepipe")
    return int(match[1])
