"""Answers of the embedded registry, and of a real one as far as tradepipe relies on them."""

import json
import socket
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
    """Return a schema that no other test registers."""
    return {**V1, "doc": uuid.uuid4().hex}


def test_a_registered_schema_is_found_by_its_id(api, register):
    schema_id = register(V1).json()["id"]

    assert V1 == json.loads(api.get(f"/schemas/ids/{schema_id}").json()["schema"])


def test_registering_again_returns_the_same_id_and_adds_no_version(api, register, subject):
    first = register(V1).json()["id"]

    assert first == register(V1).json()["id"]
    assert [1] == api.get(f"/subjects/{subject}/versions").json()


def test_white_space_does_not_make_a_version(api, register, subject):
    first = register(V1).json()["id"]
    spaced = {"schema": json.dumps(V1, indent=4)}

    assert first == api.post(f"/subjects/{subject}/versions", json=spaced).json()["id"]


def test_a_schema_has_one_id_under_all_subjects(register, subject):
    assert register(V1).json()["id"] == register(V1, f"{subject}-other").json()["id"]


def test_the_versions_of_an_id_are_listed(api, register, subject):
    schema_id = register(unique()).json()["id"]

    assert [{"subject": subject, "version": 1}] == api.get(f"/schemas/ids/{schema_id}/versions").json()


def test_versions_are_numbered_and_latest_is_the_last(api, register, subject):
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


def test_a_lookup_returns_id_and_version_and_registers_nothing(api, register, subject):
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
def test_a_missing_object_has_an_error_code(api, subject, method, path, code):
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
def test_a_level_is_enforced_at_registration(level, register, name, schema, status):
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


def test_a_level_can_be_set_and_read(api, level, register, subject):
    register(V1)

    assert "FULL" == level("FULL").json()["compatibility"]
    assert {"compatibilityLevel": "FULL"} == api.get(f"/config/{subject}").json()


def test_an_unknown_level_is_unprocessable(level, register):
    register(V1)
    answer = level("SOMETIMES")

    assert (422, 42203) == (answer.status_code, answer.json()["error_code"])


def test_a_subject_without_a_level_has_the_default_level(api, register, subject):
    register(V1)
    default = api.get("/config").json()["compatibilityLevel"]

    answer = api.get(f"/config/{subject}", params={"defaultToGlobal": "true"})

    assert default == answer.json()["compatibilityLevel"]


@pytest.mark.parametrize("version", ["latest", "1"])
@pytest.mark.parametrize(("schema", "compatible"), [(V2, True), (BREAKS_BACKWARD, False)], ids=["follows", "breaks"])
@pytest.mark.usefixtures("backward")
def test_compatibility_can_be_checked_without_registering(api, subject, version, schema, compatible):
    answer = api.post(f"/compatibility/subjects/{subject}/versions/{version}", json=body(schema))

    assert compatible is answer.json()["is_compatible"]
    assert [1] == api.get(f"/subjects/{subject}/versions").json()


def test_a_deleted_subject_is_hidden_but_its_schema_keeps_its_id(api, register, subject):
    schema_id = register(V1).json()["id"]

    assert [1] == api.delete(f"/subjects/{subject}").json()
    assert 404 == api.get(f"/subjects/{subject}/versions").status_code
    assert 200 == api.get(f"/schemas/ids/{schema_id}").status_code


def test_a_subject_that_is_registered_again_continues_its_numbers(api, register, subject):
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
    assert "version 1: Trade.book_id: Readers on the new schema fail" in answer.json()["message"]


def test_a_closed_registry_does_not_answer_on_open_connections_either():
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
def test_the_embedded_registry_reports_a_missing_object_as_confluents_does(path, status, code):
    """Apicurio answers differently."""
    with RegistryServer() as registry, httpx.Client(base_url=registry.url, trust_env=False) as api:
        api.post("/subjects/trades-value/versions", json=body(V1))

        answer = api.get(path)

    assert (status, code) == (answer.status_code, answer.json()["error_code"])


def test_the_level_of_a_subject_can_be_deleted():
    with RegistryServer() as registry, httpx.Client(base_url=registry.url, trust_env=False) as api:
        api.put("/config/trades-value", json={"compatibility": "FULL"})

        assert {"compatibilityLevel": "FULL"} == api.delete("/config/trades-value").json()
        assert 404 == api.get("/config/trades-value").status_code


@pytest.mark.parametrize(("content", "status"), [(b"[]", 422), (b"{", 400)], ids=["array", "truncated"])
def test_a_body_that_is_not_an_object_is_refused(embedded, content, status):
    assert status == embedded.put("/config", content=content).status_code


@pytest.fixture
def embedded():
    """A client of an embedded registry with two versions of one subject."""
    with RegistryServer() as registry, httpx.Client(base_url=registry.url, trust_env=False) as api:
        for schema in (V1, V2):
            api.post("/subjects/trades-value/versions", json=body(schema))
        yield api


def test_a_version_is_deleted_softly_at_first_and_then_permanently(embedded):
    path = "/subjects/trades-value/versions"

    assert 40407 == embedded.delete(f"{path}/1?permanent=true").json()["error_code"]
    assert 1 == embedded.delete(f"{path}/1").json()
    assert 40406 == embedded.delete(f"{path}/1").json()["error_code"]
    assert ([2], [1, 2]) == (embedded.get(path).json(), embedded.get(f"{path}?deleted=true").json())
    assert (404, 200) == (embedded.get(f"{path}/1").status_code, embedded.get(f"{path}/1?deleted=true").status_code)
    assert [] == embedded.get("/schemas/ids/1/versions").json()
    assert [{"subject": "trades-value", "version": 1}] == embedded.get("/schemas/ids/1/versions?deleted=true").json()
    assert 1 == embedded.delete(f"{path}/1?permanent=true").json()
    assert [2] == embedded.get(f"{path}?deleted=true").json()
    assert 404 == embedded.get("/schemas/ids/1").status_code


def test_a_subject_is_deleted_softly_at_first_and_then_permanently(embedded):
    path = "/subjects/trades-value"

    assert 40405 == embedded.delete(f"{path}?permanent=true").json()["error_code"]
    assert [1, 2] == embedded.delete(path).json()
    assert 40404 == embedded.delete(path).json()["error_code"]
    assert ([], ["trades-value"]) == (
        embedded.get("/subjects").json(),
        embedded.get("/subjects?deleted=true").json(),
    )
    assert [1, 2] == embedded.delete(f"{path}?permanent=true").json()
    assert 40401 == embedded.delete(f"{path}?permanent=true").json()["error_code"]
    embedded.post(f"{path}/versions", json=body(V2))
    assert [1] == embedded.get(f"{path}/versions").json()


def test_the_latest_version_can_be_deleted(embedded):
    assert [2, 1] == [embedded.delete("/subjects/trades-value/versions/latest").json() for _ in range(2)]
    assert 404 == embedded.delete("/subjects/trades-value/versions/latest").status_code


def test_a_deleted_version_can_be_looked_up_and_registered_again_with_its_id(embedded):
    path = "/subjects/trades-value"
    embedded.delete(f"{path}/versions/2")

    assert 40403 == embedded.post(path, json=body(V2)).json()["error_code"]
    assert 2 == embedded.post(f"{path}?deleted=true", json=body(V2)).json()["version"]
    assert {"id": 2} == embedded.post(f"{path}/versions", json=body(V2)).json()
    assert [1, 3] == embedded.get(f"{path}/versions").json()


def test_version_minus_one_is_the_latest(embedded):
    assert 2 == embedded.get("/subjects/trades-value/versions/-1").json()["version"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "attacker.example"}, 403),
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "[x"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Origin": "http://localhost:3000"}, 200),
    ],
    ids=[
        "a domain that resolves to us",
        "another page",
        "an opaque page",
        "an invalid host",
        "localhost",
        "a local page",
    ],
)
def test_web_pages_cannot_use_the_embedded_registry(embedded, headers, status):
    """A page's POST of text/plain needs no permission of the server, and rebinding its domain lets it read answers."""
    given = {"Content-Type": "text/plain", **headers}

    assert status == embedded.post("/subjects/s/versions", content=json.dumps(body(V1)), headers=given).status_code


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Content-Length: -1", 400),
        ("Content-Length: abc", 400),
        ("Content-Length: 1000000000000", 413),
        ("Transfer-Encoding: chunked", 411),
    ],
)
def test_a_body_of_invalid_or_excessive_length_is_not_read(embedded, capfd, head, status):
    url = embedded.base_url
    with socket.create_connection((url.host, url.port), timeout=20) as connection:
        connection.sendall(f"POST /subjects/s/versions HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        answer = connection.makefile("rb").read()

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert ("", "") == capfd.readouterr()


def test_json_that_is_nested_too_deep_is_refused(embedded, capfd):
    deep = "[" * 100_000

    assert 400 == embedded.post("/subjects/s/versions", content=deep).status_code
    assert 422 == embedded.post("/subjects/s/versions", json={"schema": deep}).status_code
    assert ("", "") == capfd.readouterr()
