"""A database for each measurement."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from tests.services import Parts
from tradepipe.postgres import migrate


@contextmanager
def fresh_database(parts: Parts) -> Iterator[str]:
    """The URL of a database that is empty and at the head of this build, and gone afterwards."""
    name = f"bench_{uuid.uuid4().hex}"
    url = parts.postgres.create_database(name)
    try:
        migrate.upgrade(url)
        yield url
    finally:
        parts.postgres.drop_database(name)
