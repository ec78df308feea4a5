"""A database whose table does not apply the rules is not left to judge."""

import pytest

from tests.postgres.batches import connected, execute
from tradepipe.errors import DatabaseBehind, Misconfigured
from tradepipe.postgres.checks import require_checks
from tradepipe.postgres.engine import engine
from tradepipe.postgres.tables import CHECKED


def test_a_migrated_database_checks_every_rule(migrated):
    with connected(migrated) as connection:
        require_checks(connection)


@pytest.mark.parametrize("code", sorted(CHECKED))
def test_a_rule_that_is_not_checked_is_named(migrated, code):
    with connected(migrated) as connection:
        execute(connection, f'ALTER TABLE trades DROP CONSTRAINT "{code}"')

        with pytest.raises(Misconfigured, match=f"does not check {code}: with --judge database nobody would"):
            require_checks(connection)


@pytest.mark.embedded
def test_a_rule_that_is_not_enforced_counts_as_dropped(migrated):
    """As PostgreSQL 18 allows."""
    with connected(migrated) as connection:
        execute(connection, 'ALTER TABLE trades DROP CONSTRAINT "VERSION"')
        execute(connection, 'ALTER TABLE trades ADD CONSTRAINT "VERSION" CHECK (version >= 1) NOT ENFORCED')

        with pytest.raises(Misconfigured, match="does not check VERSION"):
            require_checks(connection)


def test_an_empty_database_is_behind(database):
    with (
        engine(database, application_name="test").connect() as connection,
        pytest.raises(DatabaseBehind),
    ):
        require_checks(connection)
