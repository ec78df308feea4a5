"""A connection to a database with our tables."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from tradepipe.postgres.engine import engine


@pytest.fixture
def connection(migrated: str) -> Iterator[Connection]:
    """A connection to a database at the head of this build."""
    with engine(migrated, application_name="test").connect() as connection:
        yield connection
