"""Registration of all schema versions in a registry that many tests use at once."""

from tradepipe.errors import RegistryUnavailable
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.registration import Registration, register

ATTEMPTS = 3


def register_patiently(registry: SchemaRegistry, subject: str) -> Registration:
    """Register all versions; on a busy machine a real registry may leave a request without an answer."""
    for _ in range(ATTEMPTS - 1):
        try:
            return register(registry, subject)
        except RegistryUnavailable:
            continue
    return register(registry, subject)
