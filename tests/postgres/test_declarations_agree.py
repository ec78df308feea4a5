"""Python's verdict on a record of any declaration is that of the CHECKs of its table."""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import CheckConstraint, Connection, MetaData, Table, case, insert, literal_column, select, true
from sqlalchemy.exc import IntegrityError

from tests.properties import examples
from tests.trade.declarations import declarations, records
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import checks_of, column_of
from tradepipe.trade.declaration import Declaration, Field
from tradepipe.trade.rules import compile_check, violation_finder


@pytest.fixture(scope="module")
def connection(session_services) -> Iterator[Connection]:
    server = session_services.postgres.start()
    engine = create_engine_for(server.create_database("test_declarations"), application_name="test")
    with engine.connect() as connection:
        yield connection
    engine.dispose()
    server.drop_database("test_declarations")


def table_of(declaration: Declaration, *, with_checks: bool = True) -> Table:
    """A temporary table with the columns and the CHECKs of a declaration."""
    found = checks_of(declaration) if with_checks else {}
    checks = (CheckConstraint(condition, name=code) for code, condition in found.items())
    columns = map(column_of, declaration.fields)
    return Table("drawn", MetaData(), *columns, *checks, prefixes=["TEMPORARY"], postgresql_on_commit="DROP")


def wrong_values(field: Field) -> st.SearchStrategy[Any]:
    """Values that a column holds, but the declared type does not."""
    kind = field.type.kind
    if kind in ("double", "float"):
        return st.sampled_from([float("nan"), float("inf"), float("-inf")])
    if kind == "fixed":
        return st.binary(max_size=6)
    if kind.endswith("-millis"):
        name = kind.removesuffix("-millis")
        return st.times() if name == "time" else _moments(name)
    return _moments(kind.removesuffix("-nanos")) if kind.endswith("-nanos") else st.nothing()


def _moments(name: str) -> st.SearchStrategy[Any]:
    return st.datetimes() if name == "local-timestamp" else st.datetimes(timezones=st.just(UTC))


def refused_by(connection: Connection, table: Table, record: Any) -> str | None:
    """Insert a record; return the name of the CHECK that refuses it, or None."""
    savepoint = connection.begin_nested()
    try:
        connection.execute(insert(table), record._asdict())
    except IntegrityError as error:
        savepoint.rollback()
        return str(error.orig.diag.constraint_name)  # type: ignore[union-attr]  # psycopg2's
    savepoint.commit()
    return None


@examples(300)
@given(st.data())
def test_python_and_postgresql_agree_on_any_record_of_any_declaration(connection, data):
    declaration = data.draw(declarations())
    table, find_violations, passes = table_of(declaration), violation_finder(declaration), compile_check(declaration)
    with connection.begin() as transaction:
        table.create(connection)
        for record in data.draw(st.lists(records(declaration, wrong_values), min_size=1, max_size=10)):
            codes = [violation.code for violation in find_violations(record)]

            # Python compares no invalid value with another field; PostgreSQL names the first CHECK that fails.
            skipped = [
                rule.fields[0].upper()
                for rule in declaration.rules
                if not {name.upper() for name in rule.fields}.isdisjoint(codes)
            ]
            assert (refused_by(connection, table, record) or "none") in ([*codes, *skipped] or ["none"])
            assert not (codes and passes(record))
        transaction.rollback()


@examples(300)
@given(st.data())
def test_two_values_are_distinct_in_postgresql_if_they_differ_in_python(connection, data):
    """So a sink finds the same duplicates and collisions with and without its staging table."""
    declaration = data.draw(declarations())
    table = table_of(declaration, with_checks=False)
    drawn = records(declaration, lambda _field: st.nothing())
    first = data.draw(drawn)
    second = data.draw(st.just(first) | drawn)
    one, other = table.alias("one"), table.alias("other")
    distinct = [one.columns[name].is_distinct_from(other.columns[name]).label(name) for name in first._fields]
    same = [case((true(), one.columns[name])).label(f"{name}_read") for name in first._fields]
    with connection.begin() as transaction:
        table.create(connection)
        for record in (first, second):
            connection.execute(insert(table), record._asdict())
        numbered = [literal_column(f"{each.name}.ctid") for each in (one, other)]
        row = connection.execute(
            select(*distinct, *same).select_from(one.join(other, true())).order_by(*numbered).offset(1).limit(1)
        ).one()
        transaction.rollback()

    size = len(first._fields)
    assert [ours != theirs for ours, theirs in zip(first, second, strict=True)] == list(row[:size])
    assert first == type(first)(*row[size:])


@examples(300)
@given(st.data())
def test_a_stored_record_is_read_as_it_was(connection, data):
    declaration = data.draw(declarations())
    table = table_of(declaration)
    drawn = data.draw(st.lists(records(declaration, lambda _field: st.nothing()), min_size=1, max_size=5))
    stored = [record for record in drawn if not violation_finder(declaration)(record)]
    with connection.begin() as transaction:
        table.create(connection)
        for record in stored:
            connection.execute(insert(table), record._asdict())
        found = [declaration.record(*row) for row in connection.execute(select(table))]
        transaction.rollback()

    assert stored == found
