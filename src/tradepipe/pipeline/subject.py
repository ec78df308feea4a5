"""The registry's subject, looked for before anything is read."""

from tradepipe.errors import SchemaNotRegistered
from tradepipe.wire.registry import SchemaRegistry


def require_subject(registry: SchemaRegistry, subject: str) -> None:
    """
    Refuse to read what nothing could decode.

    Raises:
        SchemaNotRegistered: the registry has no such subject.

        RegistryAway, Misconfigured: as the registry's methods.
    """
    if not registry.versions(subject):
        raise SchemaNotRegistered(
            f"the registry at {registry.url} has no subject {subject}, so no record could be decoded; "
            f"register the schema: python -m tradepipe.schema register --subject {subject}"
        )
