"""The CHECK constraints that a sink needs if the database validates."""

from contextlib import nullcontext

import pytest

from tests.postgres.batches import connected, execute
from tradepipe.errors import ConfigurationError, DatabaseOutdated
from tradepipe.postgres.revision import check_constraints
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.sink_store import SinkStore
from tradepipe.postgres.tables import CHECK_NAMES


def test_a_migrated_database_checks_every_rule(migrated):
    with connected(migrated) as connection:
        check_constraints(connection)


@pytest.mark.parametrize("code", sorted(CHECK_NAMES))
def test_a_rule_that_is_not_checked_is_named(migrated, code):
    with connected(migrated) as connection:
        execute(connection, f'ALTER TABLE trades DROP CONSTRAINT "{code}"')

        with pytest.raises(ConfigurationError, match=f"does not check {code}: --validate-in database needs it"):
            check_constraints(connection)


@pytest.mark.embedded
def test_a_rule_that_is_not_enforced_counts_as_dropped(migrated):
    """As PostgreSQL 18 allows."""
    with connected(migrated) as connection:
        execute(connection, 'ALTER TABLE trades DROP CONSTRAINT "VERSION"')
        execute(connection, 'ALTER TABLE trades ADD CONSTRAINT "VERSION" CHECK (version >= 1) NOT ENFORCED')

        with pytest.raises(ConfigurationError, match="does not check VERSION"):
            check_constraints(connection)


def test_an_empty_database_is_outdated(database):
    with (
        create_engine_for(database, application_name="test").connect() as connection,
        pytest.raises(DatabaseOutdated),
    ):
        check_constraints(connection)


@pytest.mark.parametrize("needs_constraints", [False, True], ids=["Python validates", "the database validates"])
def test_a_sink_needs_the_constraints_only_if_the_database_validates(migrated, needs_constraints):
    with connected(migrated) as connection:
        execute(connection, 'ALTER TABLE trades DROP CONSTRAINT "VERSION"')
    store = SinkStore(
        migrated,
        group="g",
        owner="o",
        needs_constraints=needs_constraints,
        on_outage=lambda _reason: None,
        on_recovery=lambda _seconds: None,
    )

    with pytest.raises(ConfigurationError, match="VERSION") if needs_constraints else nullcontext():
        store.connect()
    store.close()
