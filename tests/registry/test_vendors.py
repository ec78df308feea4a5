"""Responses of four vendors: statuses, error codes and structures, with messages of these tests."""

import pytest

from tests.registry.registries import Script, registry
from tradepipe.errors import ConfigurationError, IncompatibleSchema, RegistryUnavailable

VENDORS = ("Confluent", "Karapace", "Apicurio", "Redpanda")

SCHEMA = '{"type":"string"}'


def error(code, message):
    return {"error_code": code, "message": message}


NO_SUBJECT = {
    "Confluent": (404, error(40401, "Subject 's' not found.")),
    "Karapace": (404, error(40401, "Subject 's' not found.")),
    "Apicurio": (404, error(40401, "No content with id/hash 's' was found.")),
    "Redpanda": (404, error(40401, "Subject 's' not found.")),
}
NO_VERSION = {
    "Confluent": (404, error(40402, "Version 2 not found.")),
    "Karapace": (404, error(40402, "Version 2 not found.")),
    "Apicurio": (404, error(40402, "No version '2' found for artifact with ID 's' in group 'default'.")),
    "Redpanda": (404, error(40402, "Version 2 not found.")),
}
NO_SCHEMA = {
    "Confluent": (404, error(40403, "Schema 7 not found")),
    "Karapace": (404, error(40403, "Schema not found")),
    "Apicurio": (404, error(40403, "No content with id/hash 'contentId-7' was found.")),
    "Redpanda": (404, error(40403, "Schema 7 not found")),
}
NO_LEVEL = {
    "Confluent": (404, error(40408, "Subject 's' does not have subject-level compatibility configured")),
    "Karapace": (404, error(40408, "Subject 's' does not have subject-level compatibility configured")),
    "Apicurio": (404, error(40408, "No rule named 'COMPATIBILITY' was found.")),
    "Redpanda": (404, error(40408, "Subject 's' does not have subject-level compatibility configured")),
}
NOTHING_TO_COMPARE_WITH = {
    "Confluent": (404, error(40401, "Subject 's' not found.")),
    "Karapace": (404, error(40402, "Version latest not found.")),
    "Apicurio": (200, {"is_compatible": True}),
    "Redpanda": (404, error(40402, "Version -1 not found.")),
}
INCOMPATIBLE = {
    "Confluent": (409, error(40901, "Schema being registered is incompatible with an earlier schema")),
    "Karapace": (409, error(409, "Incompatible schema, compatibility_mode=BACKWARD reader type: string")),
    "Apicurio": (409, error(409, "Incompatible artifact: s [AVRO], num of incompatible diffs: {1}")),
    "Redpanda": (409, error(409, "Schema being registered is incompatible with an earlier schema for subject")),
}
INVALID = {
    "Confluent": (422, error(42201, "Invalid schema {}")),
    "Karapace": (422, error(42201, "Invalid AVRO schema. Error: No type property")),
    "Apicurio": (422, error(42201, "Syntax violation for Avro artifact.")),
    "Redpanda": (422, error(422, "Invalid schema {}")),
}
REGISTERED = {
    "Confluent": (200, {"id": 7, "version": 1, "guid": "f5c1", "schemaType": "AVRO", "schema": SCHEMA}),
    "Karapace": (200, {"id": 7}),
    "Apicurio": (200, {"id": 7}),
    "Redpanda": (200, {"id": 7}),
}
VERDICT = {
    "Confluent": (200, {"is_compatible": False}),
    "Karapace": (200, {"is_compatible": False, "messages": ["reader type: string not compatible"]}),
    "Apicurio": (200, {"is_compatible": False}),
    "Redpanda": (200, {"is_compatible": False, "messages": []}),
}
FOUND = {
    "Confluent": (200, {"schema": SCHEMA, "guid": "f5c1"}),
    "Karapace": (200, {"schema": SCHEMA, "maxId": 9}),
    "Apicurio": (200, {"schema": SCHEMA, "schemaType": "AVRO", "references": []}),
    "Redpanda": (200, {"schema": SCHEMA}),
}
LEVEL_SET = {
    "Confluent": (200, {"compatibility": "FULL_TRANSITIVE"}),
    "Karapace": (200, {"compatibility": "FULL_TRANSITIVE"}),
    "Apicurio": (200, {"compatibility": "FULL_TRANSITIVE"}),
    "Redpanda": (200, {"compatibility": "FULL_TRANSITIVE"}),
}
BUSY = {
    "Confluent": (500, error(50002, "Error while forwarding the request to the primary")),
    "Karapace": (503, error(50301, "Registry is not ready")),
    "Apicurio": (503, b"<html><body>503 Service Unavailable</body></html>"),
    "Redpanda": (503, error(503, "{kafka_error_code::not_leader_for_partition}")),
}

ANSWERS = {
    "versions of no subject": ("versions", ("s",), NO_SUBJECT, []),
    "lookup in no subject": ("lookup", ("s", SCHEMA), NO_SUBJECT, None),
    "lookup of another schema": ("lookup", ("s", SCHEMA), NO_SCHEMA, None),
    "no version": ("version", ("s", 2), NO_VERSION, None),
    "no schema": ("schema", (7,), NO_SCHEMA, None),
    "versions of no schema": ("versions_of", (7,), NO_SCHEMA, set()),
    "no level": ("level", ("s",), NO_LEVEL, None),
    "nothing to compare with": ("is_compatible", ("s", SCHEMA), NOTHING_TO_COMPARE_WITH, True),
    "a verdict": ("is_compatible", ("s", SCHEMA), VERDICT, False),
    "registered": ("register", ("s", SCHEMA), REGISTERED, 7),
    "found": ("schema", (7,), FOUND, SCHEMA),
    "level set": ("set_level", ("s", "FULL_TRANSITIVE"), LEVEL_SET, None),
}
REFUSALS = {
    "incompatible": (("s", SCHEMA), INCOMPATIBLE, IncompatibleSchema),
    "invalid": (("s", SCHEMA), INVALID, ConfigurationError),
    "busy": (("s", SCHEMA), BUSY, RegistryUnavailable),
}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("case", ANSWERS)
def test_a_vendors_response_is_understood(case, vendor):
    method, arguments, answers, expected = ANSWERS[case]
    with registry(Script(answers[vendor])) as client:
        assert expected == getattr(client, method)(*arguments)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("case", REFUSALS)
def test_a_vendors_refusal_is_translated(case, vendor):
    arguments, answers, kind = REFUSALS[case]
    with registry(Script(answers[vendor]), retries=0) as client, pytest.raises(kind) as refused:
        client.register(*arguments)

    assert kind is type(refused.value)
    assert str(answers[vendor][0]) in str(refused.value)
