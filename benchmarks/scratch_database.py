"""Databases for measurements, one for each."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from tests.services import Services
from tradepipe.postgres import migrate


@contextmanager
def fresh_database(services: Services) -> Iterator[str]:
    """Create an empty, migrated database; yield its URL and drop it afterwards."""
    name = f"bench_{uuid.uuid4().hex}"
    url = services.postgres.create_database(name)
    try:
        migrate.upgrade(url)
        yield url
    finally:
        services.postgres.drop_database(name)
