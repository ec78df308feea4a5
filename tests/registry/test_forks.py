"""A registry's client in a process that forks."""

import subprocess
import sys

import pytest

from tradepipe import SchemaRegistry

PROGRAM = """
import os, sys
from tradepipe import SchemaRegistry

url, *ids = sys.argv[1:]
registry = SchemaRegistry(url)
schemas = {int(schema_id): registry.schema(int(schema_id)) for schema_id in ids}
assert len(set(schemas.values())) == len(ids)
children = []
for schema_id in [*schemas, *schemas]:
    children.append(os.fork())
    if not children[-1]:
        os._exit(any(registry.schema(schema_id) != schemas[schema_id] for _ in range(100)))
print([os.waitpid(child, 0)[1] for child in children])
"""


@pytest.mark.slow
def test_forked_processes_get_their_own_responses(services, registered_subject):
    """On a connection that they share, each may read the schema of another's id, and decode records with it."""
    with SchemaRegistry(services.registry_url) as registry:
        ids = [str(registry.version(registered_subject, number).schema_id) for number in (1, 2)]

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, services.registry_url, *ids],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ("[0, 0, 0, 0]\n", "") == (done.stdout, done.stderr)
