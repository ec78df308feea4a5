"""Differences between a subject and the history."""

import json

import httpx
import pytest

from tests.evolution.schemas import enum, field, record, text
from tests.registry.registries import Script, registry
from tests.registry.test_registration import history
from tests.registry.test_vendors import NO_LEVEL, NO_SUBJECT, VENDORS
from tradepipe.evolution.history import fingerprint_without_docs
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.drift import drift
from tradepipe.registry.registration import apply_plan, plan

ID = field("trade_id", doc="Identifies it.")
SIDE = field("side", enum("UNKNOWN", "BUY", default="UNKNOWN"), default="UNKNOWN")
V1, V2, V3 = record(ID), record(ID, SIDE), record(ID, SIDE, field("note", default=""))


@pytest.fixture
def client(services):
    with SchemaRegistry(services.registry_url) as client:
        yield client


@pytest.fixture
def registered(client, subject):
    """The subject, with two versions and their level."""
    apply_plan(client, plan(client, subject, history(V1, V2)))
    return subject


def found(client, subject, versions, level="FULL_TRANSITIVE"):
    return [(each.rule, each.path) for one in drift(client, subject, versions, level=level) for each in one.findings]


def test_a_subject_that_equals_the_history_has_no_findings(client, registered):
    assert [] == found(client, registered, history(V1, V2))
    assert [
        f"v001 is in {registered}",
        f"v002 is in {registered}",
        f"{registered} has level FULL_TRANSITIVE",
    ] == [each.subject for each in drift(client, registered, history(V1, V2), level="FULL_TRANSITIVE")]


def test_a_missing_subject_is_one_finding(client, subject):
    assert [("drift-subject", subject)] == found(client, subject, history(V1))


def test_an_unregistered_version_is_reported_as_missing(client, registered):
    assert [("drift-missing", "v003")] == found(client, registered, history(V1, V2, V3))


def test_an_additional_version_is_reported_with_its_changes(client, registered):
    (extra,) = (each for each in drift(client, registered, history(V1), level="FULL_TRANSITIVE") if each.findings)

    assert f"{registered} version 2 is in the history" == extra.subject
    assert "Compared with v001, at Trade.side: the field was added" in extra.findings[0].message


def test_an_additional_version_is_compared_with_the_nearest_one():
    with registry(Keeper(record(ID), V2, V3, record({**ID, "doc": "Other words."}))) as client:
        (extra,) = (each for each in drift(client, "s", history(V1, V2, V3), level="FULL_TRANSITIVE") if each.findings)

    assert "Compared with v001, at Trade.trade_id: the doc changed." in extra.findings[0].message


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "with other metadata or rules."),
        ({"ruleSet": {"domainRules": []}}, "with other rules, which make readers change its records."),
    ],
    ids=["metadata", "rules"],
)
def test_a_version_with_a_known_text_and_rules_is_reported_as_that(fields, reason):
    keeper = Keeper(V1, V2, V2)
    keeper.fields["3"] = fields
    with registry(keeper) as client:
        (extra,) = (each for each in drift(client, "s", history(V1, V2), level="FULL_TRANSITIVE") if each.findings)

    assert (
        f"The registry has the text of v002 once more, as version 3 of subject s, {reason}" == extra.findings[0].message
    )


def test_a_version_of_another_schema_type_is_reported_as_that():
    keeper = Keeper(V1, '{"type": "object"}')
    keeper.fields["2"] = {"schemaType": "JSON"}
    with registry(keeper) as client:
        (extra,) = (each for each in drift(client, "s", history(V1), level="FULL_TRANSITIVE") if each.findings)

    assert extra.findings[0].message.endswith("It is a JSON schema, not an Avro schema.")


def test_another_level_is_reported(client, registered):
    assert [("drift-level", registered)] == found(client, registered, history(V1, V2), level="BACKWARD")


def test_a_level_that_is_not_set_is_reported(client, subject):
    """Apicurio calls it NONE."""
    client.register(subject, text(V1))

    assert [("drift-level-unset", subject)] == found(client, subject, history(V1))


@pytest.mark.real
def test_a_doc_that_the_real_registry_ignores_is_reported(client, registered):
    """Apicurio answers the lookup of the new text with the id of the old one, and keeps that."""
    better = record({**ID, "doc": "Better words."})

    (differing,) = (
        each for each in drift(client, registered, history(better, V2), level="FULL_TRANSITIVE") if each.findings
    )

    assert "drift-differs" == differing.findings[0].rule
    assert "at Trade.trade_id: the doc changed" in differing.findings[0].message


class Keeper:
    """A registry that treats texts that differ only in docs as equal, and keeps the first of them."""

    def __init__(self, *schemas, level=(200, {"compatibilityLevel": "FULL_TRANSITIVE"})):
        self._texts = [each if isinstance(each, str) else text(each) for each in schemas]
        self._level = level
        self.fields = {}

    def __call__(self, request):
        match request.method, request.url.path.split("/")[1:]:
            case "GET", ["config", _]:
                return Script(self._level)(request)
            case "GET", ["subjects", _, "versions"]:
                return httpx.Response(200, json=list(range(1, len(self._texts) + 1)))
            case "GET", ["subjects", _, "versions", number]:
                body = {"id": int(number), "schema": self._texts[int(number) - 1], **self.fields.get(number, {})}
                return httpx.Response(200, json=body)
            case "POST", ["subjects", _]:
                return self._looked_up(json.loads(request.content)["schema"])
        raise AssertionError(request.url)

    def _looked_up(self, wanted):
        same = [index for index, each in enumerate(self._texts, 1) if alike(each, wanted)]
        if not same:
            return httpx.Response(404, json={"error_code": 40403, "message": "Schema not found"})
        return httpx.Response(200, json={"id": same[0]})


def alike(one, other):
    return fingerprint_without_docs(one) == fingerprint_without_docs(other)


def test_a_text_that_the_registry_keeps_instead_is_reported_with_the_differences():
    with registry(Keeper(record({**ID, "doc": "Old words."}))) as client:
        (differing, _) = drift(client, "s", history(V1), level="FULL_TRANSITIVE")

    (finding,) = differing.findings
    assert ("drift-differs", "v001") == (finding.rule, finding.path)
    assert (
        "The registry identifies version 1 with its version 1 of s, but serves a different text to readers. "
        "Compared with that text, at Trade.trade_id: the doc changed."
    ) == finding.message


def test_an_equivalent_text_is_not_drift():
    """Redpanda reorders keys; others write string instead of {"type": "string"}."""
    other = json.dumps({**V1, "fields": [{**ID, "type": {"type": "string"}}]}, sort_keys=True, indent=1)

    class Wrapped(Keeper):
        def _looked_up(self, wanted):
            return httpx.Response(200, json={"id": 1})

    with registry(Wrapped(other)) as client:
        assert [] == found(client, "s", history(V1))


def test_an_invalid_schema_in_the_registry_is_reported():
    with registry(Keeper(V1, '{"type": "nothing"}')) as client:
        (extra,) = (each for each in drift(client, "s", history(V1), level="FULL_TRANSITIVE") if each.findings)

    assert "it is not an Avro schema" in extra.findings[0].message


def test_a_text_in_the_registry_that_is_not_json_is_reported():
    with registry(Keeper(V1, 'syntax = "proto3";')) as client:
        (extra,) = (each for each in drift(client, "s", history(V1), level="FULL_TRANSITIVE") if each.findings)

    assert "it is not an Avro schema" in extra.findings[0].message


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_subject_that_is_missing_at_a_vendor_is_one_finding(vendor):
    with registry(Script(NO_SUBJECT[vendor])) as client:
        assert [("drift-subject", "s")] == found(client, "s", history(V1))


def test_a_level_without_checks_is_reported_unless_it_is_expected():
    nothing = (200, {"compatibilityLevel": "NONE"})

    with registry(Keeper(V1, level=nothing)) as client:
        assert [("drift-level-unset", "s")] == found(client, "s", history(V1))
        assert [] == found(client, "s", history(V1), level="NONE")


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_level_that_is_missing_at_a_vendor_is_reported(vendor):
    with registry(Keeper(V1, level=NO_LEVEL[vendor])) as client:
        assert [("drift-level-unset", "s")] == found(client, "s", history(V1))
