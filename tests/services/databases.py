"""Databases for tests, used again where a test left the schema as it was: a new one takes ten times as long."""

import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import psycopg2
from psycopg2 import sql

from tradepipe.postgres import migrate

EMPTY: Final = "template1"
MIGRATED: Final = "migrated"

_TABLES: Final = ("trades", "trade_refusals", "sink_offsets")

# The system column xmin changes with every change of a row. Of pg_class, TRUNCATE and VACUUM change columns too.
_STATE: Final = """
SELECT md5(string_agg(item, ' ' ORDER BY item)) FROM (
  SELECT 'attribute ' || xmin AS item FROM pg_attribute WHERE attrelid >= 16384
  UNION ALL SELECT 'constraint ' || xmin FROM pg_constraint WHERE oid >= 16384
  UNION ALL SELECT 'dependency ' || xmin FROM pg_depend WHERE objid >= 16384
  UNION ALL SELECT 'description ' || xmin FROM pg_description WHERE objoid >= 16384
  UNION ALL SELECT 'index ' || xmin FROM pg_index WHERE indexrelid >= 16384
  UNION ALL SELECT 'function ' || xmin FROM pg_proc WHERE oid >= 16384
  UNION ALL SELECT 'trigger ' || xmin FROM pg_trigger WHERE oid >= 16384
  UNION ALL SELECT 'type ' || xmin FROM pg_type WHERE oid >= 16384
  UNION ALL SELECT 'view ' || xmin FROM pg_rewrite WHERE oid >= 16384
  UNION ALL SELECT 'extension ' || xmin FROM pg_extension
  UNION ALL SELECT 'rights ' || xmin FROM pg_default_acl
  UNION ALL SELECT 'schema ' || xmin FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
  UNION ALL SELECT 'setting ' || setconfig::text FROM pg_db_role_setting JOIN pg_database ON setdatabase = oid
    WHERE datname = current_database()
  UNION ALL SELECT concat('database ', datdba, datconnlimit, datallowconn, datacl) FROM pg_database
    WHERE datname = current_database()
  UNION ALL SELECT concat('relation ', oid, relname, relnamespace, relowner, reltablespace, relpersistence, relkind,
    relhasindex, relnatts, relchecks, relhasrules, relhastriggers, relrowsecurity, relforcerowsecurity,
    relacl, reloptions)
    FROM pg_class WHERE oid >= 16384
  {revision}
) AS items
"""
_REVISION: Final = "UNION ALL SELECT 'revision ' || xmin FROM tradepipe_revision"
_END_SESSIONS: Final = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"


class Databases:
    """
    Databases of one server.

    A used database gets another name before the next test gets it: a sink that a test
    left running does not find it.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._administrator: Any = None
        self._unused: dict[str, list[str]] = defaultdict(list)
        self._states: dict[str, str] = {}
        self._templates: dict[str, str] = {}
        self._migrated = f"migrated_{uuid.uuid4().hex}"

    def create(self, template: str) -> str:
        """Return the URL of a database that is like a new copy of a template, `EMPTY` or `MIGRATED`."""
        self._server.start()  # the last test may have stopped it
        url = self._unused[template].pop() if self._unused[template] else self._copy(template)
        self._templates[url] = template
        return url

    def is_migrated(self, url: str) -> bool:
        """Return whether a database was created with tradepipe's tables."""
        return self._templates[url] == MIGRATED

    def take_back(self, url: str) -> None:
        """Drop a database, or keep it for another test if only the rows of its tables have changed."""
        template = self._templates.pop(url)
        server = self._server.start()
        name, unused = url.rpartition("/")[2], f"{url.rpartition('/')[0]}/{_new_name()}"
        try:
            self._rename(name, unused.rpartition("/")[2])
            name = unused.rpartition("/")[2]
            with _cursor(unused) as cursor:
                is_unchanged = _state(cursor, template) == self._states[template]
                if is_unchanged and template == MIGRATED:
                    _remove_rows(cursor)
            if is_unchanged:
                self._unused[template].append(unused)
                return
        except psycopg2.Error:  # the test dropped or locked it, or a table of it
            pass
        server.drop_database(name)

    def _rename(self, name: str, new_name: str) -> None:
        """End the sessions of a database and rename it, over one connection for all tests: a new one takes 10 ms."""
        renaming = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name))
        try:
            self._administer((_END_SESSIONS, (name,)), (renaming, ()))
        except (psycopg2.OperationalError, psycopg2.InterfaceError):  # the test has restarted the server
            self.close()
            self._administer((_END_SESSIONS, (name,)), (renaming, ()))

    def _administer(self, *statements: tuple[Any, tuple[str, ...]]) -> None:
        if self._administrator is None:
            self._administrator = psycopg2.connect(self._server.url)
            self._administrator.autocommit = True
        with self._administrator.cursor() as cursor:
            for statement, values in statements:
                cursor.execute(statement, values or None)

    def close(self) -> None:
        """Close the connection to the server."""
        if self._administrator is not None:
            self._administrator.close()
            self._administrator = None

    def _copy(self, template: str) -> str:
        server = self._server
        if template == MIGRATED and template not in self._states:
            migrate.upgrade(server.create_database(self._migrated))
        original = self._migrated if template == MIGRATED else template
        url: str = server.create_database(_new_name(), template=original)
        if template not in self._states:
            with _cursor(url) as cursor:
                self._states[template] = _state(cursor, template)
        return url


def _new_name() -> str:
    return f"test_{uuid.uuid4().hex}"


def _state(cursor: Any, template: str) -> str:
    """Return a digest of a database's definitions and settings."""
    cursor.execute(_STATE.format(revision=_REVISION if template == MIGRATED else ""))
    return str(cursor.fetchone()[0])


def _remove_rows(cursor: Any) -> None:
    """Empty the tables that have been written to, even by a transaction that was rolled back."""
    sizes = ", ".join(f"pg_relation_size('{table}')" for table in _TABLES)
    cursor.execute(f"SELECT {sizes}")
    used = [table for table, size in zip(_TABLES, cursor.fetchone(), strict=True) if size]
    if used:
        cursor.execute(f"TRUNCATE {', '.join(used)}")


@contextmanager
def _cursor(url: str) -> Iterator[Any]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        yield connection.cursor()
