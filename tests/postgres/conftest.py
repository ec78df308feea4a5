"""A database with our tables, and a connection to it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from tradepipe.postgres import migrate
from tradepipe.postgres.engine import engine


@pytest.fixture
def migrated(database: str) -> str:
    """The URL of a database of the test's own, at the head of this build."""
    migrate.upgrade(database)
    return database


@pytest.fixture
def connection(migrated: str) -> Iterator[Connection]:
    """A connection to a database at the head of this build."""
    with engine(migrated, application_name="test").connect() as connection:
        yield connection
