"""Answers on which tradepipe relies, of the embedded and of a real registry."""

import json
import uuid

import httpx
import pytest

from tradepipe.embedded.registry_server import RegistryServer

V1 = {"type": "record", "name": "Trade", "fields": [{"name": "trade_id", "type": "string"}]}
SIDE = {"name": "side", "type": ["null", "string"], "default": None}
V2 = {**V1, "fields": [*V1["fields"], SIDE]}
BREAKS_BACKWARD = {**V1, "fields": [*V1["fields"], {"name": "book_id", "type": "string"}]}
BREAKS_BOTH = {**V1, "fields": [{"name": "trade_id", "type": "long"}]}


@pytest.fixture
def subject():
    return f"subject-{uuid.uuid4().hex}"


@pytest.fixture
def api(services):
    with httpx.Client(base_url=services.registry_url, timeout=20, trust_env=False) as api:
        yield api


@pytest.fixture
def register(api, subject):
    def register(schema, subject=subject):
        return api.post(f"/subjects/{subject}/versions", json=body(schema))

    return register


@pytest.fixture
def level(api, subject):
    def level(name):
        return api.put(f"/config/{subject}", json={"compatibility": name})

    return level


@pytest.fixture
def backward(register, level):
    """The first version is registered, and the next must be able to read it."""
    register(V1)
    level("BACKWARD")


def body(schema):
    return {"schema": json.dumps(schema)}


def unique():
    """A schema that no other test registers."""
    return {**V1, "doc": uuid.uuid4().hex}


def test_a_registered_schema_is_found_by_its_id(api, register):
    schema_id = register(V1).json()["id"]

    assert V1 == json.loads(api.get(f"/schemas/ids/{schema_id}").json()["schema"])


def test_registering_again_gives_the_same_id_and_no_new_version(api, register, subject):
    first = register(V1).json()["id"]

    assert first == register(V1).json()["id"]
    assert [1] == api.get(f"/subjects/{subject}/versions").json()


def test_white_space_does_not_make_a_version(api, register, subject):
    first = register(V1).json()["id"]
    spaced = {"schema": json.dumps(V1, indent=4)}

    assert first == api.post(f"/subjects/{subject}/versions", json=spaced).json()["id"]


def test_a_schema_has_one_id_under_all_subjects(register, subject):
    assert register(V1).json()["id"] == register(V1, f"{subject}-other").json()["id"]


def test_the_versions_that_use_an_id_are_listed(api, register, subject):
    schema_id = register(unique()).json()["id"]

    assert [{"subject": subject, "version": 1}] == api.get(f"/schemas/ids/{schema_id}/versions").json()


def test_versions_are_counted_and_the_latest_is_the_last(api, register, subject):
    register(V1)
    second = register(V2).json()["id"]

    latest = api.get(f"/subjects/{subject}/versions/latest").json()

    assert [1, 2] == api.get(f"/subjects/{subject}/versions").json()
    assert (subject, 2, second, V2) == (
        latest["subject"],
        latest["version"],
        latest["id"],
        json.loads(latest["schema"]),
    )


def test_a_version_is_found_by_its_number(api, register, subject):
    register(V1)
    register(V2)

    assert V1 == json.loads(api.get(f"/subjects/{subject}/versions/1").json()["schema"])


def test_a_look_up_returns_id_and_version_and_registers_nothing(api, register, subject):
    schema_id = register(V1).json()["id"]

    found = api.post(f"/subjects/{subject}", json=body(V1)).json()

    assert (subject, 1, schema_id) == (found["subject"], found["version"], found["id"])


def test_a_registered_subject_is_listed(api, register, subject):
    register(V1)

    assert subject in api.get("/subjects").json()


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/subjects/{absent}/versions", 40401),
        ("GET", "/subjects/{absent}/versions/latest", 40401),
        ("POST", "/subjects/{absent}", 40401),
        ("DELETE", "/subjects/{absent}", 40401),
        ("GET", "/subjects/{subject}/versions/7", 40402),
        ("POST", "/subjects/{subject}", 40403),
        ("GET", "/schemas/ids/2000000000", 40403),
    ],
)
@pytest.mark.usefixtures("backward")
def test_something_missing_has_an_error_code(api, subject, method, path, code):
    path = path.format(subject=subject, absent=f"{subject}-absent")

    answer = api.request(method, path, json=body(V2) if method == "POST" else None)

    assert (404, code) == (answer.status_code, answer.json()["error_code"])


@pytest.mark.parametrize(
    "text",
    ["{", '{"type": "recrd"}', '{"type": "record", "name": "T"}', '"nothing"'],
    ids=["not JSON", "unknown type", "record without fields", "unknown name"],
)
def test_an_invalid_schema_is_unprocessable(api, subject, text):
    answer = api.post(f"/subjects/{subject}/versions", json={"schema": text})

    assert (422, 42201) == (answer.status_code, answer.json()["error_code"])


@pytest.mark.parametrize(
    ("name", "schema", "status"),
    [
        ("NONE", BREAKS_BOTH, 200),
        ("BACKWARD", V2, 200),
        ("BACKWARD", BREAKS_BACKWARD, 409),
        ("FORWARD", BREAKS_BACKWARD, 200),
        ("FORWARD", BREAKS_BOTH, 409),
        ("FULL", V2, 200),
        ("FULL", BREAKS_BACKWARD, 409),
        ("FULL_TRANSITIVE", V2, 200),
        ("FULL_TRANSITIVE", BREAKS_BOTH, 409),
    ],
)
def test_a_level_is_enforced_on_registering(level, register, name, schema, status):
    register(V1)
    level(name)

    assert status == register(schema).status_code


@pytest.mark.parametrize(("name", "status"), [("BACKWARD", 200), ("BACKWARD_TRANSITIVE", 409)])
def test_only_a_transitive_level_looks_past_the_last_version(level, register, name, status):
    """The field is absent, then has a default, then has none."""
    register(V1)
    level(name)
    register({**V1, "fields": [*V1["fields"], {"name": "book_id", "type": "string", "default": "B1"}]})

    assert status == register(BREAKS_BACKWARD).status_code


def test_a_level_that_was_set_is_returned(api, level, register, subject):
    register(V1)

    assert "FULL" == level("FULL").json()["compatibility"]
    assert {"compatibilityLevel": "FULL"} == api.get(f"/config/{subject}").json()


def test_an_unknown_level_is_unprocessable(level, register):
    register(V1)
    answer = level("SOMETIMES")

    assert (422, 42203) == (answer.status_code, answer.json()["error_code"])


def test_a_subject_without_a_level_has_the_global_one(api, register, subject):
    register(V1)
    everybodys = api.get("/config").json()["compatibilityLevel"]

    answer = api.get(f"/config/{subject}", params={"defaultToGlobal": "true"})

    assert everybodys == answer.json()["compatibilityLevel"]


@pytest.mark.parametrize("version", ["latest", "1"])
@pytest.mark.parametrize(("schema", "verdict"), [(V2, True), (BREAKS_BACKWARD, False)], ids=["follows", "breaks"])
@pytest.mark.usefixtures("backward")
def test_compatibility_can_be_checked_without_registering(api, subject, version, schema, verdict):
    answer = api.post(f"/compatibility/subjects/{subject}/versions/{version}", json=body(schema))

    assert verdict is answer.json()["is_compatible"]
    assert [1] == api.get(f"/subjects/{subject}/versions").json()


def test_a_deleted_subject_is_gone_but_its_schema_keeps_its_id(api, register, subject):
    schema_id = register(V1).json()["id"]

    assert [1] == api.delete(f"/subjects/{subject}").json()
    assert 404 == api.get(f"/subjects/{subject}/versions").status_code
    assert 200 == api.get(f"/schemas/ids/{schema_id}").status_code


def test_version_numbers_continue_after_a_deletion(api, register, subject):
    register(V1)
    api.delete(f"/subjects/{subject}")

    register(V1)

    assert [2] == api.get(f"/subjects/{subject}/versions").json()


def test_a_name_may_need_quoting(api, register, subject):
    register(V1, f"{subject}%2Fvalue")

    assert f"{subject}/value" in api.get("/subjects").json()


def test_the_embedded_registry_enforces_backward_from_the_start():
    """As Confluent's does; Apicurio enforces nothing until a level is set."""
    with RegistryServer() as registry, httpx.Client(base_url=registry.url, trust_env=False) as api:
        api.post("/subjects/trades-value/versions", json=body(V1))

        answer = api.post("/subjects/trades-value/versions", json=body(BREAKS_BACKWARD))

    assert 409 == answer.status_code
    assert "version 1, new reads old: reader_field_missing_default_value: book_id" in answer.json()["message"]


def test_a_closed_registry_closes_its_connections():
    with RegistryServer() as registry, httpx.Client(base_url=registry.url, trust_env=False) as api:
        api.get("/subjects")

        registry.close()

        with pytest.raises(httpx.TransportError):
            api.get("/subjects")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/config/trades-value", 404, 40408),
        ("/subjects/trades-value/versions/none", 422, 42202),
        ("/nowhere", 404, 404),
    ],
)
def test_the_embedded_registry_has_confluents_codes_for_missing_things(path, status, code):
    """Apicurio answers differently."""
    with RegistryServer() as registry, httpx.Client(base_url=registry.url, trust_env=False) as api:
        api.post("/subjects/trades-value/versions", json=body(V1))

        answer = api.get(path)

    assert (status, code) == (answer.status_code, answer.json()["error_code"])


def test_a_subject_forgets_its_level():
    with RegistryServer() as registry, httpx.Client(base_url=registry.url, trust_env=False) as api:
        api.put("/config/trades-value", json={"compatibility": "FULL"})

        assert {"compatibilityLevel": "FULL"} == api.delete("/config/trades-value").json()
        assert 404 == api.get("/config/trades-value").status_code


@pytest.mark.parametrize("content", [b"[]", b"{"], ids=["array", "cut off"])
def test_a_body_that_is_not_an_object_is_a_bad_request(content):
    with RegistryServer() as registry, httpx.Client(base_url=registry.url, trust_env=False) as api:
        assert 400 == api.put("/config", content=content).status_code
