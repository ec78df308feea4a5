"""A connection to a database with our tables."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from tradepipe.postgres.session import create_engine_for


@pytest.fixture
def connection(migrated: str) -> Iterator[Connection]:
    """Connect to a database at the revision of this build."""
    with create_engine_for(migrated, application_name="test").connect() as connection:
        yield connection
