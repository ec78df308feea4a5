"""A database for each measurement."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from tests.services import Services
from tradepipe.postgres import migrate


@contextmanager
def fresh_database(services: Services) -> Iterator[str]:
    """The URL of a database that is empty and at the head of this build, and gone afterwards."""
    name = f"bench_{uuid.uuid4().hex}"
    url = services.postgres.create_database(name)
    try:
        migrate.upgrade(url)
        yield url
    finally:
        services.postgres.drop_database(name)
