"""The frozen versions and a subject of the registry."""

import pytest

from tests.wire.registries import Script, registry
from tradepipe.contract.history import current, versions
from tradepipe.errors import IncompatibleSchema, RegistryAway
from tradepipe.wire.registration import Outcome, Registration, register
from tradepipe.wire.registry import SchemaRegistry

UNLIKE_A_TRADE = (
    '{"type": "record", "name": "Trade", "namespace": "tradepipe", "fields": [{"name": "x", "type": "int"}]}'
)


@pytest.fixture
def client(parts):
    with SchemaRegistry(parts.registry_url) as client:
        yield client


def test_every_frozen_version_is_registered_oldest_first_and_the_level_set(client, subject):
    done = register(client, subject)

    assert [(version.number, True) for version in versions()] == [(version, new) for version, _, new in done.outcomes]
    assert [version.number for version in versions()] == client.versions(subject)
    assert current().number == client.version(subject, done.outcomes[-1].version).version
    assert "FULL_TRANSITIVE" == client.level(subject) == done.level


def test_registering_again_changes_nothing(client, subject):
    first = register(client, subject)

    again = register(client, subject)

    assert [(version, schema_id, False) for version, schema_id, _ in first.outcomes] == list(again.outcomes)
    assert [version.number for version in versions()] == client.versions(subject)


def test_another_level_is_set_on_a_subject_that_is_there(client, subject):
    register(client, subject)

    assert Registration(subject, "FULL", register(client, subject, level="FULL").outcomes) == register(
        client, subject, level="FULL"
    )
    assert "FULL" == client.level(subject)


def test_a_subject_that_holds_something_else_is_refused_by_name(client, subject):
    client.register(subject, UNLIKE_A_TRADE)
    client.set_level(subject, "FULL_TRANSITIVE")

    with pytest.raises(IncompatibleSchema, match=f"version 1 of the trade schema .* subject {subject} "):
        register(client, subject)


def test_a_registry_that_is_away_says_so():
    with registry(Script((503, b"")), retries=0) as client, pytest.raises(RegistryAway):
        register(client)


def test_an_id_that_is_there_is_not_registered_again():
    script = Script((200, {"id": 9}), (200, {"compatibilityLevel": "FULL_TRANSITIVE"}))

    with registry(script) as client:
        assert (Outcome(1, 9, new=False),) == register(client).outcomes[:1]
    assert "PUT" not in {request.method for request in script.asked}
