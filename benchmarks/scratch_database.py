"""Databases for measurements, one for each."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from tests.services import Services
from tradepipe.postgres import migrate


@contextmanager
def fresh_database(services: Services) -> Iterator[str]:
    """Create an empty, migrated database; yield its URL and drop it afterwards."""
    name = f"bench_{uuid.uuid4().hex}"
    url = services.postgres.create_database(name)
    try:
        migrate.upgrade(url)
        settle(url)
        yield url
    finally:
        services.postgres.drop_database(name)


@contextmanager
def copied_database(services: Services, template: str) -> Iterator[str]:
    """Copy the database with a URL, to which nothing is connected; yield the copy's URL and drop it afterwards."""
    name = f"bench_{uuid.uuid4().hex}"
    url = services.postgres.create_database(name, template=template.rpartition("/")[2])
    try:
        settle(url)
        yield url
    finally:
        services.postgres.drop_database(name)


def settle(database: str) -> None:
    """Do the work that PostgreSQL has put off, also for other databases: else it falls into a measurement."""
    connection = psycopg2.connect(database)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("VACUUM (FREEZE, ANALYZE) trades")
    cursor.execute("CHECKPOINT")
    connection.close()
