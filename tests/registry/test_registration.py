"""Registration of the frozen versions under a subject."""

import pytest

from tests.evolution.schemas import decimal, enum, field, record, text
from tests.registry.registries import Script, registry
from tests.registry.test_vendors import INCOMPATIBLE, NO_LEVEL, NO_SUBJECT, NOTHING_TO_COMPARE_WITH, VENDORS
from tradepipe.errors import IncompatibleSchema, RegistryUnavailable
from tradepipe.evolution.history import SchemaVersion, current, versions
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.registration import (
    NO_SCHEMA,
    REFUSED_RULE,
    RegisteredVersion,
    Registration,
    apply_plan,
    plan,
    register,
)

UNLIKE_A_TRADE = (
    '{"type": "record", "name": "Trade", "namespace": "tradepipe", "fields": [{"name": "x", "type": "int"}]}'
)


@pytest.fixture
def client(services):
    with SchemaRegistry(services.registry_url) as client:
        yield client


def test_all_frozen_versions_are_registered_in_order_and_the_level_is_set(client, subject):
    done = register(client, subject)

    assert [(version.number, True) for version in versions()] == [(version, new) for version, _, new in done.versions]
    assert [version.number for version in versions()] == client.versions(subject)
    assert current().number == client.version(subject, done.versions[-1].version).version
    assert "FULL_TRANSITIVE" == client.level(subject) == done.level


def test_registering_again_changes_nothing(client, subject):
    first = register(client, subject)

    again = register(client, subject)

    assert [(version, schema_id, False) for version, schema_id, _ in first.versions] == list(again.versions)
    assert [version.number for version in versions()] == client.versions(subject)


def test_the_level_of_an_existing_subject_is_changed(client, subject):
    register(client, subject)

    assert Registration(subject, "FULL", register(client, subject, level="FULL").versions) == register(
        client, subject, level="FULL"
    )
    assert "FULL" == client.level(subject)


def test_an_incompatible_subject_is_refused_by_name(client, subject):
    client.register(subject, UNLIKE_A_TRADE)
    client.set_level(subject, "FULL_TRANSITIVE")

    with pytest.raises(IncompatibleSchema, match=f"version 1 of the trade schema .* subject {subject}: "):
        register(client, subject)


def test_an_unavailable_registry_is_reported():
    with registry(Script((503, b"")), retries=0) as client, pytest.raises(RegistryUnavailable):
        register(client)


def test_a_registered_version_is_not_registered_again():
    script = Script(*[(200, {"id": 9})] * len(versions()), (200, {"compatibilityLevel": "FULL_TRANSITIVE"}))

    with registry(script) as client:
        assert (RegisteredVersion(1, 9, is_new=False),) == register(client).versions[:1]
    assert "PUT" not in {request.method for request in script.asked}


ID = field("trade_id")
SIDE = field("side", enum("UNKNOWN", "BUY", default="UNKNOWN"), default="UNKNOWN")


def amount(scale):
    return field("amount", ["null", decimal(14 + scale, scale)], default=None)


def history(*schemas):
    return tuple(SchemaVersion.of(number, text(schema)) for number, schema in enumerate(schemas, 1))


def test_a_plan_changes_nothing(client, subject):
    planned = plan(client, subject, history(record(ID), record(ID, SIDE)))

    assert [(1, None, ()), (2, None, ())] == [(each.version.number, *each[1:]) for each in planned.versions]
    assert (None, "FULL_TRANSITIVE") == (planned.current_level, planned.level)
    assert [] == client.versions(subject)


def test_a_plan_is_carried_out_in_order(client, subject):
    both = history(record(ID), record(ID, SIDE))

    done = apply_plan(client, plan(client, subject, both, level="FULL"))

    assert [True, True] == [outcome.is_new for outcome in done.versions]
    assert [outcome.schema_id for outcome in done.versions] == [
        client.version(subject, each).schema_id for each in (1, 2)
    ]
    assert "FULL" == client.level(subject)


def test_only_missing_versions_are_registered(client, subject):
    apply_plan(client, plan(client, subject, history(record(ID))))

    planned = plan(client, subject, history(record(ID), record(ID, SIDE)))

    assert [False, True] == [each.schema_id is None for each in planned.versions]
    assert [False, True] == [outcome.is_new for outcome in apply_plan(client, planned).versions]


def test_a_defect_that_no_registry_detects_prevents_registration(client, subject):
    planned = plan(client, subject, history(record(ID), record(ID, amount(2)), record(ID, amount(4))))

    assert {(3, "decimal-scale")} == {(version.number, finding.rule) for version, finding in planned.obstacles}
    with pytest.raises(IncompatibleSchema, match="version 3 of the trade schema .*Java's read 123.45 as 1.2345"):
        apply_plan(client, planned)
    assert [] == client.versions(subject)


def test_versions_that_others_registered_are_checked_too(client, subject):
    client.register(subject, text(record(ID, amount(2))))

    ((version, found), *_) = plan(client, subject, history(record(ID), record(ID, amount(4)))).obstacles

    assert (2, "decimal-scale", None) == (version.number, found.rule, found.against)
    assert f"The other schema is version 1 of subject {subject}." in found.message


def test_versions_that_others_registered_are_ignored_if_nothing_is_missing(client, subject):
    client.register(subject, text(record(ID)))
    client.register(subject, text(record(ID, amount(2))))

    assert () == plan(client, subject, history(record(ID))).obstacles


class Subject:
    """An empty subject at a vendor, with its answers about compatibility and new versions."""

    def __init__(self, vendor, verdict, registered):
        self.asked = []
        self._answers = {
            ("POST", "/subjects/s"): NO_SUBJECT[vendor],
            ("GET", "/subjects/s/versions"): NO_SUBJECT[vendor],
            ("POST", "/compatibility/subjects/s/versions/latest"): verdict,
            ("POST", "/subjects/s/versions"): registered,
            ("GET", "/config/s"): NO_LEVEL[vendor],
            ("PUT", "/config/s"): (200, {"compatibility": "FULL_TRANSITIVE"}),
        }

    def say(self, method, path, answer):
        self._answers[method, path] = answer

    def __call__(self, request):
        self.asked.append((request.method, request.url.path))
        return Script(self._answers[self.asked[-1]])(request)


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_empty_subject_gets_its_versions_and_then_its_level_at_each_vendor(vendor):
    answers = Subject(vendor, NOTHING_TO_COMPARE_WITH[vendor], (200, {"id": 7}))

    with registry(answers) as client:
        done = apply_plan(client, plan(client, "s", history(record(ID), record(ID, SIDE))))

    assert (RegisteredVersion(1, 7, is_new=True), RegisteredVersion(2, 7, is_new=True)) == done.versions
    posted = ("POST", "/subjects/s/versions")
    assert [posted, ("PUT", "/config/s"), posted] == answers.asked[-3:]


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_vendors_compatibility_check_precedes_any_change(vendor):
    answers = Subject(vendor, (200, {"is_compatible": False}), (200, {"id": 7}))

    with registry(answers) as client:
        ((_, found),) = plan(client, "s", history(record(ID), record(ID, SIDE))).obstacles

    assert (REFUSED_RULE, "http://registry:8081" in found.message) == (found.rule, True)
    assert ("POST", "/subjects/s/versions") not in answers.asked


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_refusal_of_each_vendor_names_version_and_subject(vendor):
    answers = Subject(vendor, NOTHING_TO_COMPARE_WITH[vendor], INCOMPATIBLE[vendor])

    with (
        registry(answers) as client,
        pytest.raises(IncompatibleSchema, match="version 1 of the trade schema .* subject s: "),
    ):
        apply_plan(client, plan(client, "s", history(record(ID))))


def test_a_subject_with_an_invalid_schema_is_not_changed():
    """It may be a subject of Protobuf."""
    other = (200, {"id": 3, "schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"})
    answers = Subject("Confluent", (200, {"is_compatible": True}), (200, {"id": 7}))
    answers.say("GET", "/subjects/s/versions", (200, [1]))
    answers.say("GET", "/subjects/s/versions/1", other)

    with registry(answers) as client:
        ((_, found),) = plan(client, "s", history(record(ID))).obstacles

    assert (NO_SCHEMA, True) == (
        found.rule,
        "contains version 1 of subject s, which is not an Avro schema." in found.message,
    )
