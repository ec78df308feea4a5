"""Who we are to a registry: what may be given, what is sent, what nobody sees."""

import logging

import httpx
import pytest

from tests.registry.registries import Script, registry
from tests.services.certificates import Authority
from tradepipe.errors import ConfigurationError, RegistryUnavailable
from tradepipe.registry.client import SchemaRegistry

CANARY = "canary-77"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """PEM files: an authority, two certificates, and what is none."""
    folder = tmp_path_factory.mktemp("files")
    authority = Authority(folder)
    ours, locked = authority.client("ours"), authority.client("locked", password=CANARY)
    (folder / "text").write_text("no PEM")
    return {
        "ca": authority.file,
        "cert": ours.certificate,
        "key": ours.key,
        "both": ours.both,
        "locked": locked.both,
        "other": locked.certificate,
        "text": folder / "text",
        "folder": folder,
        "missing": folder / "missing",
    }


REFUSED = {
    "two ways": ({"basic_auth": ("u", CANARY), "bearer_token": CANARY}, "basic_auth and bearer_token"),
    "three ways": ({"bearer_token": CANARY, "headers": {"authorization": CANARY}}, r"bearer_token and headers\["),
    "no tuple": ({"basic_auth": f"u:{CANARY}"}, "basic_auth must be a tuple"),
    "a colon": ({"basic_auth": ("u:v", CANARY)}, "basic_auth.*colon"),
    "no token": ({"bearer_token": ""}, "bearer_token"),
    "two lines": ({"bearer_token": f"{CANARY}\n"}, "bearer_token"),
    "two lines in a header": ({"headers": {"X-Key": f"{CANARY}\r\nX: y"}}, r"headers\['X-Key'\]"),
    "no header": ({"headers": {"X Key": CANARY}}, r"headers\['X Key'\]"),
    "our header": ({"headers": {"Content-Type": CANARY}}, r"headers\['Content-Type'\].*tradepipe sets it"),
    "a key alone": ({"client_key": "key"}, "client_key requires client_cert"),
    "a password alone": ({"key_password": CANARY}, "key_password requires client_cert"),
    "no file": ({"client_cert": "missing"}, "client_cert='.*missing' cannot be read: No such file"),
    "no authority": ({"ca_location": "missing"}, "ca_location='.*missing' cannot be read: No such file"),
    "a folder": ({"client_cert": "folder"}, "client_cert='.*' cannot be read: it is a folder"),
    "no PEM": ({"client_cert": "text"}, "cannot load client_cert='.*text'"),
    "no certificates": ({"ca_location": "text"}, "ca_location='.*text' contains no certificates"),
    "another key": ({"client_cert": "other", "client_key": "key"}, "KEY_VALUES_MISMATCH"),
    "no key": ({"client_cert": "cert"}, "cannot load client_cert='.*'"),
    "a locked key": ({"client_cert": "locked"}, "key_password"),
    "a wrong password": ({"client_cert": "locked", "key_password": f"{CANARY}!"}, "key_password"),
    "a proxy of another kind": ({"proxy": f"socks5://u:{CANARY}@p:1080"}, "proxy='socks5://p:1080' is not one URL"),
    "no proxy": ({"proxy": f"u:{CANARY}@p:3128"}, "proxy has an @ in the wrong place"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_at_construction_by_name_and_without_the_secret(case, files):
    options, told = REFUSED[case]
    given = {name: files.get(value, value) if isinstance(value, str) else value for name, value in options.items()}

    with pytest.raises(ConfigurationError, match=told) as refused:
        SchemaRegistry("https://registry", **given)
    assert "canary" not in f"{refused.value} {refused.value.__cause__}"


@pytest.mark.parametrize(
    "url",
    [
        f"u:{CANARY}@registry:8081",
        f"http://u:1/{CANARY}@registry",
        f"http://u:1?{CANARY}@registry",
        f"http://u:1#{CANARY}@r",
    ],
    ids=["no scheme", "a slash", "a question mark", "a hash"],
)
def test_what_only_looks_like_a_path_may_be_the_password(url):
    with pytest.raises(ConfigurationError, match="an @ in the wrong place.*%XX") as refused:
        SchemaRegistry(url)
    assert "canary" not in str(refused.value)


def test_user_and_password_twice_are_one_too_many():
    with pytest.raises(
        ConfigurationError, match="basic_auth and user and password in the registry's URL are mutually exclusive"
    ):
        SchemaRegistry("http://u:p@registry", basic_auth=("u", "p"))


def test_an_unreadable_authority_of_the_environment_is_named(monkeypatch, files):
    monkeypatch.setenv("SSL_CERT_FILE", str(files["missing"]))
    with pytest.raises(
        ConfigurationError, match="cannot load the certificates of SSL_CERT_FILE or SSL_CERT_DIR: No such file"
    ):
        SchemaRegistry("https://registry")


@pytest.mark.parametrize(
    "options",
    [
        {"ca_location": "ca"},
        {"ca_location": "folder"},
        {"client_cert": "both"},
        {"client_cert": "cert", "client_key": "key"},
        {"client_cert": "locked", "key_password": CANARY},
    ],
    ids=str,
)
def test_what_belongs_together_is_taken(options, files):
    SchemaRegistry("https://registry", **{name: files.get(value, value) for name, value in options.items()}).close()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"basic_auth": ("user", "pässword:")}, "Basic dXNlcjpww6Rzc3dvcmQ6"),
        ({"bearer_token": "abc.def"}, "Bearer abc.def"),
        ({"bearer_token": lambda: "abc.def"}, "Bearer abc.def"),
        ({"headers": {"Authorization": "Negotiate abc"}}, "Negotiate abc"),
    ],
    ids=["nobody", "basic_auth", "token", "callable", "header"],
)
def test_what_is_given_is_sent(options, expected):
    script = Script((200, []))
    with registry(script, **options) as client:
        client.versions("s")

    assert expected == script.asked[0].headers.get("authorization")


def test_further_headers_are_sent_with_every_request():
    script = Script((200, []))
    with registry(script, headers={"X-Tenant": "trades"}) as client:
        client.versions("s")
        client.versions("s")

    assert ["trades", "trades"] == [request.headers["x-tenant"] for request in script.asked]


def test_a_callable_is_asked_for_each_request():
    tokens = iter("abc")
    script = Script((503, b""), (200, []), (200, []))
    with registry(script, bearer_token=lambda: next(tokens)) as client:
        client.versions("s")
        client.versions("s")

    assert ["Bearer a", "Bearer b", "Bearer c"] == [request.headers["authorization"] for request in script.asked]


def test_after_a_401_a_callable_is_asked_once_again():
    tokens = iter("abcd")
    script = Script((401, b""), (200, []), (401, b""))
    with registry(script, bearer_token=lambda: next(tokens)) as client:
        assert [] == client.versions("s")
        with pytest.raises(ConfigurationError, match="401"):
            client.versions("s")

    assert 4 == len(script.asked)


def test_after_a_401_a_fixed_token_is_not_sent_again():
    script = Script((401, b""))
    with registry(script, bearer_token="a") as client, pytest.raises(ConfigurationError, match="401"):
        client.versions("s")

    assert 1 == len(script.asked)


@pytest.mark.parametrize("token", [None, "", f"{CANARY}\n", b"abc"], ids=["None", "nothing", "two lines", "bytes"])
def test_a_callable_that_gives_no_token_is_misconfigured(token):
    with (
        registry(Script((200, [])), bearer_token=lambda: token) as client,
        pytest.raises(ConfigurationError, match="bearer_token is .*, not a token") as refused,
    ):
        client.versions("s")
    assert "canary" not in str(refused.value)


def test_tokens_that_cannot_be_had_now_are_an_outage():
    def token():
        raise ConnectionError(f"https://idp/?secret={CANARY}")

    script = Script((200, []))
    with registry(script, bearer_token=token, retries=1) as client, pytest.raises(RegistryUnavailable) as away:
        client.versions("s")
    assert "bearer_token could not provide a token: ConnectionError" in str(away.value)
    assert "canary" not in str(away.value)
    assert [] == script.asked


@pytest.mark.parametrize(
    "options",
    [
        {"basic_auth": ("user", CANARY)},
        {"bearer_token": CANARY},
        {"bearer_token": lambda: CANARY},
        {"headers": {"X-Key": CANARY}},
    ],
    ids=["basic_auth", "token", "callable", "header"],
)
@pytest.mark.parametrize("status", [200, 401, 409, 500, 404])
def test_a_registry_that_tells_us_what_we_sent_tells_nobody_else(options, status, caplog):
    caplog.set_level(logging.DEBUG)

    def answers(request):
        sent = f"{request.headers.get('authorization')} {request.headers.get('x-key')} {CANARY}"
        return httpx.Response(status, json=sent)

    with registry(answers, retries=0, **options) as client:
        with pytest.raises((ConfigurationError, RegistryUnavailable)) as refused:
            client.schema(1)
        told = f"{refused.value} {client!r} {caplog.text}"

    assert "***" in told
    assert "canary" not in told
    assert "dXNlcjp" not in told


def test_what_a_registry_says_is_one_line_of_text():
    with registry(Script((422, {"error_code": 42201, "message": "no\n2026 INFO \x1b[31mforged"}))) as client:
        with pytest.raises(ConfigurationError) as refused:
            client.schema(1)
        assert str(refused.value).endswith("422 no 2026 INFO  [31mforged")


@pytest.mark.parametrize("body", [b"%s", b'{"message": "%s"}'], ids=["text", "JSON"])
def test_a_secret_on_the_edge_of_what_is_shown_is_not_shown_in_part(body):
    content = body % (b"x" * 493 + CANARY.encode())
    with registry(Script((422, content)), bearer_token=CANARY) as client, pytest.raises(ConfigurationError) as refused:
        client.schema(1)
    assert "x***" in str(refused.value) or str(refused.value).endswith("x")
    assert "cana" not in str(refused.value)
