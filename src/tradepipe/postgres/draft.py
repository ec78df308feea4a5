"""
The draft of the next revision: what the declaration needs and no revision makes.

Both are built in a schema of a database that is dropped afterwards, and compared by
PostgreSQL's own description of them.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from textwrap import indent
from typing import Final, NamedTuple

from sqlalchemy import Connection, make_url, text

from tradepipe.errors import ConfigurationError
from tradepipe.postgres import migrate
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.packaged_revisions import required_revision
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import METADATA

_COLUMNS: Final = text(
    "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, "
    "pg_catalog.pg_get_expr(d.adbin, d.adrelid), c.collname "
    "FROM pg_catalog.pg_attribute AS a LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid "
    "AND d.adnum = a.attnum LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = a.attcollation "
    "WHERE a.attrelid = pg_catalog.to_regclass(:name)::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
)
_CONSTRAINTS: Final = text(
    "SELECT conname, pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint "
    "WHERE conrelid = pg_catalog.to_regclass('trades')::oid AND contype = :kind ORDER BY conname"
)
_VIEW: Final = text("SELECT pg_catalog.pg_get_viewdef(pg_catalog.to_regclass('current_trades')::oid, true)")


class Column(NamedTuple):
    """A column, as PostgreSQL describes it; `default` is an expression."""

    type: str
    is_required: bool
    default: str | None
    collation: str | None

    def to_sql(self) -> str:
        """Return the definition of a new column."""
        collate = f' COLLATE "{self.collation}"' if self.collation not in (None, "default") else ""
        default = "" if self.default is None else f" DEFAULT {self.default}"
        return f"{self.type}{collate}{' NOT NULL' if self.is_required else ''}{default}"


class Shape(NamedTuple):
    """The table of trades and the view of current trades."""

    columns: Mapping[str, Column]
    checks: Mapping[str, str]
    primary_key: str
    view_columns: tuple[str, ...]
    view: str


class Difference(NamedTuple):
    """The shape that the revisions make, and the one that the declaration needs."""

    before: Shape
    after: Shape

    @property
    def added(self) -> tuple[str, ...]:
        """Columns that no revision makes."""
        return tuple(name for name in self.after.columns if name not in self.before.columns)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns that the declaration lacks."""
        return tuple(name for name in self.before.columns if name not in self.after.columns)

    @property
    def altered(self) -> tuple[str, ...]:
        """Columns of another type, default or nullability."""
        both = (name for name in self.after.columns if name in self.before.columns)
        return tuple(name for name in both if self.before.columns[name] != self.after.columns[name])

    @property
    def checks(self) -> tuple[str, ...]:
        """CHECKs that no revision makes, or that the declaration needs with another condition."""
        return tuple(name for name, each in self.after.checks.items() if self.before.checks.get(name) != each)

    @property
    def dropped_checks(self) -> tuple[str, ...]:
        """CHECKs that the declaration lacks, of columns that remain."""
        return tuple(name for name in self.before.checks if name not in self.after.checks)

    @property
    def has_other_key(self) -> bool:
        """Whether the primary key differs."""
        return self.before.primary_key != self.after.primary_key

    @property
    def breaks_sinks(self) -> bool:
        """Whether sinks of the previous release cannot write after the revision."""
        columns = ((self.before.columns[name], self.after.columns[name]) for name in self.altered)
        return (
            bool(self.dropped) or self.has_other_key or any(new.is_required > old.is_required for old, new in columns)
        )

    @property
    def name(self) -> str:
        """A name for the revision, without its number."""
        changes = {
            "add": self.added,
            "drop": self.dropped,
            "alter": self.altered,
            "check": tuple(each.lower() for each in self.checks if each.lower() not in self.added),
        }
        verb, names = next(((verb, names) for verb, names in changes.items() if names), ("change", ("trades",)))
        return f"{'post' if self.breaks_sinks else 'pre'}_{verb}_{'_'.join(names)}"


def compare(database: str) -> Difference | None:
    """
    Compare what the revisions make with what the declaration needs; return None if they are equal.

    Args:
        database: a database in which the role may create schemas; nothing else in it is read or changed.

    Raises:
        ConfigurationError: the URL, the credentials or the privileges are wrong.

        DatabaseUnavailable: PostgreSQL is unavailable.
    """
    with _scratch(database) as url:
        before = _describe_at(url, lambda it: migrate.run_revisions(it, "upgrade", required_revision()))
    with _scratch(database) as url:
        after = _describe_at(url, METADATA.create_all)
    return None if before == after else Difference(before, after)


def draft_revision(difference: Difference, number: int, down_revision: str) -> tuple[str, str]:
    """Return the id and the text of a revision; a new column of stored trades must have a default."""
    for name in difference.added:
        column = difference.after.columns[name]
        if column.is_required and column.default is None:
            raise ConfigurationError(
                f"the field {name} has no default, but stored trades need a value: give it one in trade/model.py, "
                f"or add None to its type"
            )
    revision = f"{number:04}_{difference.name}"[:32].rstrip("_")
    up, down = list(_upgrade(difference)), list(_downgrade(difference))
    purpose = difference.name.partition("_")[2].replace("_", " ").capitalize()
    note = (
        "Sinks of earlier releases cannot write after it: stop them first."
        if difference.breaks_sinks
        else "Sinks of the previous release keep writing."
    )
    validation = ""
    if difference.checks:
        statements = (f"ALTER TABLE trades VALIDATE CONSTRAINT {_quote(name)}" for name in difference.checks)
        lines = "\n".join(indent(_execute(each), "    ") for each in statements)
        validation = (
            "\n    # Outside the transaction, which locks the table: sinks write while the whole table is read.\n"
            f"    with op.get_context().autocommit_block():\n{lines}"
        )
    return revision, _TEMPLATE.format(
        purpose=purpose,
        note=note,
        down_revision=down_revision,
        revision=revision,
        upgrade="\n".join(map(_execute, up)),
        validation=validation,
        downgrade="\n".join(map(_execute, down)),
    )


_TEMPLATE: Final = '''"""
{purpose}.

{note}

Revises: {down_revision}
"""

from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"
branch_labels = None
depends_on = None


def upgrade() -> None:
{upgrade}{validation}


def downgrade() -> None:
{downgrade}
'''


def _execute(statement: str) -> str:
    # SQLAlchemy reads a colon before a name as a parameter.
    statement = re.sub(r"(?<!:):(?=\w)", r"\\:", statement).replace("\\", "\\\\")
    if "\n" not in statement and len(statement) < 100 and '"' not in statement:
        return f'    op.execute("{statement}")'
    return f'    op.execute(\n        """\n{indent(statement, "        ")}\n        """\n    )'


def _upgrade(difference: Difference) -> Iterator[str]:
    before, after = difference
    # A failed validation leaves what was committed: each step can run again.
    must_recreate = bool(difference.dropped) or _has_other_columns(before, after)
    if must_recreate:
        yield "DROP VIEW IF EXISTS current_trades"
    steps = [f"ADD COLUMN IF NOT EXISTS {name} {after.columns[name].to_sql()}" for name in difference.added]
    steps += [step for name in difference.altered for step in _alter(name, before.columns[name], after.columns[name])]
    steps += [f"DROP CONSTRAINT IF EXISTS {_quote(name)}" for name in (*difference.checks, *difference.dropped_checks)]
    steps += [f"DROP COLUMN IF EXISTS {name}" for name in difference.dropped]
    if difference.has_other_key:
        steps += ["DROP CONSTRAINT trades_pkey", f"ADD CONSTRAINT trades_pkey {after.primary_key}"]
    steps += [f"ADD CONSTRAINT {_quote(name)} {after.checks[name]} NOT VALID" for name in difference.checks]
    if steps:
        yield _alter_table(steps)
    if must_recreate or before.view != after.view:
        yield f"CREATE OR REPLACE VIEW current_trades AS\n{after.view}"


def _downgrade(difference: Difference) -> Iterator[str]:
    before, after = difference
    must_recreate = before.view != after.view or _has_other_columns(before, after)
    if must_recreate:
        yield "DROP VIEW current_trades"
    steps = [f"DROP CONSTRAINT IF EXISTS {_quote(name)}" for name in difference.checks]
    if difference.has_other_key:
        steps += ["DROP CONSTRAINT trades_pkey", f"ADD CONSTRAINT trades_pkey {before.primary_key}"]
    steps += [f"DROP COLUMN {name}" for name in difference.added]
    steps += [f"ADD COLUMN {name} {before.columns[name].to_sql()}" for name in difference.dropped]
    steps += [step for name in difference.altered for step in _alter(name, after.columns[name], before.columns[name])]
    again = [name for name in (*difference.checks, *difference.dropped_checks) if name in before.checks]
    steps += [f"ADD CONSTRAINT {_quote(name)} {before.checks[name]} NOT VALID" for name in again]
    if steps:
        yield _alter_table(steps)
    if must_recreate:
        yield f"CREATE VIEW current_trades AS\n{before.view}"


def _alter(name: str, old: Column, new: Column) -> Iterator[str]:
    if (old.type, old.collation) != (new.type, new.collation):
        collate = f' COLLATE "{new.collation}"' if new.collation not in (None, "default") else ""
        yield f"ALTER COLUMN {name} TYPE {new.type}{collate} USING {name}::{new.type}"
    if old.default != new.default:
        yield f"ALTER COLUMN {name} " + ("DROP DEFAULT" if new.default is None else f"SET DEFAULT {new.default}")
    if old.is_required != new.is_required:
        yield f"ALTER COLUMN {name} {'SET' if new.is_required else 'DROP'} NOT NULL"


def _has_other_columns(before: Shape, after: Shape) -> bool:
    """Return whether the view cannot be replaced: only columns at its end may be new, and none of another type."""
    is_longer = after.view_columns[: len(before.view_columns)] == before.view_columns
    types = ((before.columns.get(name), after.columns.get(name)) for name in before.view_columns)
    return not is_longer or any(old and new and old.type != new.type for old, new in types)


def _alter_table(steps: list[str]) -> str:
    return "ALTER TABLE trades\n  " + ",\n  ".join(steps)


def _quote(name: str) -> str:
    return f'"{name}"'


@contextmanager
def _scratch(database: str) -> Iterator[str]:
    """Create a schema in a database, and return a URL whose tables are in it."""
    schema = f"tradepipe_draft_{secrets.token_hex(6)}"
    with translate_errors(), create_engine_for(database, application_name=migrate.APPLICATION_NAME).connect() as it:
        it.exec_driver_sql(f"CREATE SCHEMA {schema}")
        it.commit()
        try:
            url = make_url(database).update_query_dict({"options": f"-csearch_path={schema}"})
            yield url.render_as_string(hide_password=False)
        finally:
            it.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
            it.commit()


def _describe_at(url: str, prepare: Callable[[Connection], None]) -> Shape:
    with translate_errors(), create_engine_for(url, application_name=migrate.APPLICATION_NAME).connect() as it:
        prepare(it)
        return describe(it)


def describe(connection: Connection) -> Shape:
    """Describe the table and the view of a connection."""
    columns = {name: Column(*rest) for name, *rest in connection.execute(_COLUMNS, {"name": "trades"})}
    checks = {
        name: definition.removesuffix(" NOT VALID")
        for name, definition in connection.execute(_CONSTRAINTS, {"kind": "c"})
    }
    ((_, primary_key),) = connection.execute(_CONSTRAINTS, {"kind": "p"}).all()
    view_columns = tuple(name for name, *_ in connection.execute(_COLUMNS, {"name": "current_trades"}))
    view = str(connection.scalar(_VIEW)).removesuffix(";")
    return Shape(columns, checks, primary_key, view_columns, view)
