"""Where a subject is not what the history says."""

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


def test_a_subject_that_agrees_is_fine(client, registered):
    assert [] == found(client, registered, history(V1, V2))
    assert [
        f"v001 is in {registered}",
        f"v002 is in {registered}",
        f"{registered} has level FULL_TRANSITIVE",
    ] == [each.subject for each in drift(client, registered, history(V1, V2), level="FULL_TRANSITIVE")]


def test_a_subject_that_is_not_there_is_one_finding(client, subject):
    assert [("drift-subject", subject)] == found(client, subject, history(V1))


def test_a_version_that_is_not_registered_is_missing(client, registered):
    assert [("drift-missing", "v003")] == found(client, registered, history(V1, V2, V3))


def test_a_version_that_is_not_in_the_history_is_told_with_what_it_changed(client, registered):
    (extra,) = (each for each in drift(client, registered, history(V1), level="FULL_TRANSITIVE") if each.findings)

    assert f"{registered} version 2 is in the history" == extra.subject
    assert "Compared with v001, at Trade.side: the field was added" in extra.findings[0].message


def test_another_level_is_found(client, registered):
    assert [("drift-level", registered)] == found(client, registered, history(V1, V2), level="BACKWARD")


def test_a_level_that_is_not_set_is_found(client, subject):
    """Apicurio calls it NONE."""
    client.register(subject, text(V1))

    assert [("drift-level-unset", subject)] == found(client, subject, history(V1))


@pytest.mark.real
def test_a_doc_that_the_real_registry_passes_over_is_found(client, registered):
    """Apicurio answers the lookup of the new text with the id of the old one, and keeps that."""
    better = record({**ID, "doc": "Better words."})

    (differing,) = (
        each for each in drift(client, registered, history(better, V2), level="FULL_TRANSITIVE") if each.findings
    )

    assert "drift-differs" == differing.findings[0].rule
    assert "at Trade.trade_id: the doc changed" in differing.findings[0].message


class Keeper:
    """A registry that takes texts which differ in docs alone for one, and keeps the first of them."""

    def __init__(self, *schemas, level=(200, {"compatibilityLevel": "FULL_TRANSITIVE"})):
        self._texts = [each if isinstance(each, str) else text(each) for each in schemas]
        self._level = level

    def __call__(self, request):
        match request.method, request.url.path.split("/")[1:]:
            case "GET", ["config", _]:
                return Script(self._level)(request)
            case "GET", ["subjects", _, "versions"]:
                return httpx.Response(200, json=list(range(1, len(self._texts) + 1)))
            case "GET", ["subjects", _, "versions", number]:
                return httpx.Response(200, json={"id": int(number), "schema": self._texts[int(number) - 1]})
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


def test_a_text_that_the_registry_keeps_instead_of_ours_is_told_by_what_differs():
    with registry(Keeper(record({**ID, "doc": "Old words."}))) as client:
        (differing, _) = drift(client, "s", history(V1), level="FULL_TRANSITIVE")

    (finding,) = differing.findings
    assert ("drift-differs", "v001") == (finding.rule, finding.path)
    assert (
        "The registry identifies version 1 with its version 1 of s, but serves a different text to readers. "
        "Compared with that text, at Trade.trade_id: the doc changed."
    ) == finding.message


def test_a_text_that_says_the_same_in_another_way_is_no_drift():
    """Redpanda puts keys into an order of its own; others write string for {"type": "string"}."""
    other = json.dumps({**V1, "fields": [{**ID, "type": {"type": "string"}}]}, sort_keys=True, indent=1)

    class Wrapped(Keeper):
        def _looked_up(self, wanted):
            return httpx.Response(200, json={"id": 1})

    with registry(Wrapped(other)) as client:
        assert [] == found(client, "s", history(V1))


def test_what_is_no_schema_in_the_registry_is_told_as_such():
    with registry(Keeper(V1, '{"type": "nothing"}')) as client:
        (extra,) = (each for each in drift(client, "s", history(V1), level="FULL_TRANSITIVE") if each.findings)

    assert "it is not an Avro schema" in extra.findings[0].message


def test_what_is_not_even_json_is_told_as_such():
    with registry(Keeper(V1, 'syntax = "proto3";')) as client:
        (extra,) = (each for each in drift(client, "s", history(V1), level="FULL_TRANSITIVE") if each.findings)

    assert "it is not an Avro schema" in extra.findings[0].message


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_subject_that_a_vendor_does_not_know_is_one_finding(vendor):
    with registry(Script(NO_SUBJECT[vendor])) as client:
        assert [("drift-subject", "s")] == found(client, "s", history(V1))


def test_a_level_that_checks_nothing_is_found_unless_it_is_meant():
    nothing = (200, {"compatibilityLevel": "NONE"})

    with registry(Keeper(V1, level=nothing)) as client:
        assert [("drift-level-unset", "s")] == found(client, "s", history(V1))
        assert [] == found(client, "s", history(V1), level="NONE")


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_level_that_a_vendor_does_not_have_is_found(vendor):
    with registry(Keeper(V1, level=NO_LEVEL[vendor])) as client:
        assert [("drift-level-unset", "s")] == found(client, "s", history(V1))
