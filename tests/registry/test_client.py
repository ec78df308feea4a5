"""The registry client: requests, and responses of four vendors."""

import logging
import socket
import time

import httpx
import pytest

from tests.registry.registries import Script, registry
from tradepipe.errors import ConfigurationError, IncompatibleSchema, RegistryUnavailable
from tradepipe.registry.client import RegisteredSchema, SchemaRegistry

METHODS = {
    "schema": ((1,), "GET", "/schemas/ids/1", b""),
    "versions_of": ((1,), "GET", "/schemas/ids/1/versions?deleted=true", b""),
    "lookup": (("s", "{}"), "POST", "/subjects/s", b'{"schema": "{}"}'),
    "register": (("s", "{}"), "POST", "/subjects/s/versions", b'{"schema": "{}"}'),
    "versions": (("s",), "GET", "/subjects/s/versions", b""),
    "version": (("s", 2), "GET", "/subjects/s/versions/2", b""),
    "is_compatible": (("s", "{}"), "POST", "/compatibility/subjects/s/versions/latest", b'{"schema": "{}"}'),
    "level": (("s",), "GET", "/config/s", b""),
    "set_level": (("s", "FULL"), "PUT", "/config/s", b'{"compatibility": "FULL"}'),
}

GOOD = {
    "schema": ({"schema": "{}"}, "{}"),
    "versions_of": ([{"subject": "s", "version": 1}, {"subject": "t", "version": 3}], {("s", 1), ("t", 3)}),
    "lookup": ({"subject": "s", "version": 1, "id": 5, "schema": "{}"}, 5),
    "register": ({"id": 5, "version": 1, "guid": "…"}, 5),
    "versions": ([2, 1, 3], [1, 2, 3]),
    "version": ({"subject": "s", "version": 2, "id": 5, "schema": "{}"}, RegisteredSchema("s", 2, 5, "{}")),
    "is_compatible": ({"is_compatible": False, "messages": []}, False),
    "level": ({"compatibilityLevel": "FULL"}, "FULL"),
    "set_level": ({"compatibility": "FULL"}, None),
}

ABSENCE = {
    "schema": None,
    "versions_of": set(),
    "lookup": None,
    "versions": [],
    "version": None,
    "is_compatible": True,
    "level": None,
}


def call(method, answers, **knobs):
    with registry(answers, **knobs) as client:
        return getattr(client, method)(*METHODS[method][0])


@pytest.fixture(autouse=True)
def no_delay(monkeypatch):
    """Retry without delay."""
    monkeypatch.setattr("tradepipe.registry.transport._FIRST_DELAY_SECONDS", 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_call_is_one_request_with_a_minimal_body(method):
    script = Script((200, GOOD[method][0]))

    call(method, script)

    (request,) = script.asked
    assert METHODS[method][1:] == (request.method, request.url.raw_path.decode(), request.content)
    assert "application/vnd.schemaregistry.v1+json" == request.headers["content-type"]


@pytest.mark.parametrize("method", METHODS)
def test_a_successful_response_is_read(method):
    body, expected = GOOD[method]

    assert expected == call(method, Script((200, body)))


@pytest.mark.parametrize("code", [40401, 40402, 40403, 40408])
@pytest.mark.parametrize("method", ABSENCE)
def test_a_missing_object_is_a_result(method, code):
    assert ABSENCE[method] == call(method, Script((404, {"error_code": code, "message": "not found"})))


@pytest.mark.parametrize(
    "body",
    [b'"Not Found"', {"error_code": 404, "message": "HTTP 404 Not Found"}, b"<html>default backend</html>", b"", []],
    ids=["Karapace's unknown route", "Confluent's unknown route", "a proxy's page", "nothing", "a list"],
)
def test_a_404_without_a_registrys_error_code_is_an_outage(body):
    """Otherwise good records would be refused while the registry behind a proxy is unavailable."""
    with pytest.raises(RegistryUnavailable, match="full path of the API"):
        call("versions_of", Script((404, body)))


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": 40901, "message": "not compatible"},
        {"error_code": 409, "message": "not compatible"},
        b'"not compatible"',
    ],
    ids=["Confluent", "Karapace, Apicurio, Redpanda and older Confluent", "bare string"],
)
def test_409_is_incompatible_whatever_the_body(body):
    with pytest.raises(IncompatibleSchema, match="not compatible"):
        call("register", Script((409, body)))


@pytest.mark.parametrize(
    ("status", "body", "reported"),
    [
        (422, {"error_code": 42201, "message": "Invalid schema"}, "422 Invalid schema"),
        (422, {"error_code": 422, "message": "Invalid schema"}, "422 Invalid schema"),
        (401, b"", "401; check basic_auth or bearer_token"),
        (403, {"error_code": 40301, "message": "denied"}, "403 denied; check basic_auth or bearer_token"),
        (405, b"<html>", "405 <html>"),
    ],
    ids=["422 of three", "422 of Redpanda", "401", "403", "405"],
)
def test_a_rejected_request_is_a_configuration_error_and_not_retried(status, body, reported):
    script = Script((status, body))

    with pytest.raises(ConfigurationError, match=reported):
        call("register", script)
    assert 1 == len(script.asked)


@pytest.mark.parametrize(
    "answer",
    [
        (408, b""),
        (429, {"error_code": 42901, "message": "slow down"}),
        (500, {"error_code": 50001, "message": "store"}),
        (503, b"<html>"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("reset"),
    ],
    ids=str,
)
def test_an_outage_is_retried_and_then_reported(answer):
    script = Script(answer)
    with pytest.raises(RegistryUnavailable) as caught:
        call("schema", script, retries=2)
    assert 3 == len(script.asked)
    assert caught.value.retriable

    assert "{}" == call("schema", Script(answer, answer, (200, {"schema": "{}"})), retries=2)


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>maintenance</html>"),
        (200, b'{"schema": '),
        (200, {"schema": 5}),
        (200, ["{}"]),
        (200, {"schema": None}),
        (200, b"x" * 5_000_000),
        (302, b""),
        (307, {}),
    ],
    ids=["HTML", "half of it", "a number", "a list", "null", "5 MB", "302", "307"],
)
def test_a_malformed_response_is_an_outage(answer):
    with pytest.raises(RegistryUnavailable):
        call("schema", Script(answer), retries=0)


@pytest.mark.parametrize("body", [{"id": True}, {"id": "5"}, {}, "5", 5.0], ids=repr)
def test_an_id_must_be_a_number(body):
    with pytest.raises(RegistryUnavailable, match=r"where (int|dict) was expected"):
        call("register", Script((200, body)))


def test_a_redirect_is_not_followed():
    asked = []

    def answers(request):
        asked.append(request.url.host)
        return httpx.Response(302, headers={"location": "http://elsewhere/"})

    with pytest.raises(RegistryUnavailable, match="302"):
        call("schema", answers)
    assert ["registry"] == asked


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://registry:8081", "http://registry:8081/subjects/a%2Fb%20c%3F/versions"),
        ("http://registry:8081/", "http://registry:8081/subjects/a%2Fb%20c%3F/versions"),
        ("https://r/apis/ccompat/v7", "https://r/apis/ccompat/v7/subjects/a%2Fb%20c%3F/versions"),
        ("https://r/apis/ccompat/v7/", "https://r/apis/ccompat/v7/subjects/a%2Fb%20c%3F/versions"),
    ],
)
def test_paths_are_appended_to_the_url_and_subjects_are_quoted(url, asked):
    script = Script((200, []))
    with SchemaRegistry(url, transport=httpx.MockTransport(script)) as client:
        client.versions("a/b c?")

    assert asked == str(script.asked[0].url)


def test_user_and_password_are_sent_and_never_shown(caplog):
    caplog.set_level(logging.DEBUG)
    script = Script((401, {"message": "who are you"}))
    client = SchemaRegistry("https://us%40er:can%2Fary@registry/v7", transport=httpx.MockTransport(script))
    with client, pytest.raises(ConfigurationError) as refused:
        client.versions("s")

    assert httpx.BasicAuth("us@er", "can/ary")._auth_header == script.asked[0].headers["authorization"]
    shown = f"{client!r} {client.url} {refused.value} {caplog.text} {script.asked[0].url}"
    assert "https://registry/v7" in shown
    assert "er:" not in shown
    assert "ary" not in shown


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8081", "ftp://registry", "http://", "http://a:8081,b:8081", "http://a:99999"],
)
def test_an_invalid_url_is_refused_at_construction(url):
    with pytest.raises(ConfigurationError, match="http://localhost:8081"):
        SchemaRegistry(url)


def test_the_password_of_an_invalid_url_is_not_shown():
    with pytest.raises(ConfigurationError) as refused:
        SchemaRegistry("http://user:secret@registry:port")

    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    "knob",
    [{"timeout": 0}, {"timeout": float("inf")}, {"timeout": 1e10}, {"timeout": "5"}, {"retries": -1}, {"retries": 1.5}],
    ids=str,
)
def test_an_argument_out_of_range_is_refused_at_construction(knob):
    with pytest.raises(ConfigurationError, match=next(iter(knob))):
        SchemaRegistry("http://registry", **knob)


def test_a_client_can_be_closed_twice():
    client = registry(Script((200, [])))
    client.close()
    client.close()


def test_a_registry_that_never_responds_is_abandoned_at_the_deadline():
    began = time.monotonic()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        SchemaRegistry(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3) as client,
        pytest.raises(RegistryUnavailable, match="ReadTimeout"),
    ):
        client.schema(1)

    assert time.monotonic() - began < 10  # the timeout by default


def test_a_refused_connection_is_an_outage():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with SchemaRegistry(url, retries=1) as client, pytest.raises(RegistryUnavailable, match="ConnectError"):
        client.versions("s")


def test_the_client_works_with_the_registry_of_the_services(services, subject):
    """Both the embedded and the real registry answer these calls."""
    one, two = '{"type": "record", "name": "R", "fields": []}', '{"type": "string"}'
    with SchemaRegistry(services.registry_url) as client:
        assert (None, [], None, None) == (
            client.lookup(subject, one),
            client.versions(subject),
            client.version(subject, 1),
            client.schema(2_000_000_000),
        )
        assert set() == client.versions_of(2_000_000_000)
        schema_id = client.register(subject, one)
        client.set_level(subject, "FULL_TRANSITIVE")

        assert schema_id == client.register(subject, one) == client.lookup(subject, one)
        assert (subject, 1) in client.versions_of(schema_id)
        assert [1] == client.versions(subject)
        assert (subject, 1, schema_id) == client.version(subject, 1)[:3]
        assert "FULL_TRANSITIVE" == client.level(subject)
        assert (True, False) == (client.is_compatible(subject, one), client.is_compatible(subject, two))
        with pytest.raises(IncompatibleSchema):
            client.register(subject, two)
        with pytest.raises(ConfigurationError, match="422"):
            client.register(subject, '{"type": "nothing"}')


def test_a_subject_that_the_user_may_not_write_is_reported_as_that():
    """Karapace answers as if the subject did not exist, although any user may create one."""
    with (
        registry(Script((404, {"error_code": 40401, "message": "Subject not found."}))) as client,
        pytest.raises(
            ConfigurationError, match="does not show subject s to this user, who lacks the right to write it"
        ),
    ):
        client.register("s", "{}")
