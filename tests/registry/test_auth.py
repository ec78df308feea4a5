"""Credentials, TLS and proxies of the registry client: validation, request headers, redaction."""

import base64
import logging
import socket
import traceback

import httpx
import pytest

from tests.registry.hostile_server import HostileServer
from tests.registry.registries import Script, registry
from tests.services.certificates import Authority
from tradepipe.errors import ConfigurationError, RegistryUnavailable
from tradepipe.registry.auth import environment_proxies
from tradepipe.registry.client import SchemaRegistry

CANARY = "canary-77"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """PEM files: an authority, two certificates, and a text file."""
    folder = tmp_path_factory.mktemp("files")
    authority = Authority(folder)
    ours, locked = authority.client("ours"), authority.client("locked", password=CANARY)
    (folder / "text").write_text("not PEM")
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
    "two credentials": ({"basic_auth": ("u", CANARY), "bearer_token": CANARY}, "basic_auth and bearer_token"),
    "a token and a header": (
        {"bearer_token": CANARY, "headers": {"authorization": CANARY}},
        r"bearer_token and headers\[",
    ),
    "not a tuple": ({"basic_auth": f"u:{CANARY}"}, "basic_auth must be a tuple"),
    "a colon": ({"basic_auth": ("u:v", CANARY)}, "basic_auth.*colon"),
    "an empty token": ({"bearer_token": ""}, "bearer_token"),
    "two lines": ({"bearer_token": f"{CANARY}\n"}, "bearer_token"),
    "two lines in a header": ({"headers": {"X-Key": f"{CANARY}\r\nX: y"}}, r"headers\['X-Key'\]"),
    "an invalid header name": ({"headers": {f"X {CANARY}": "x"}}, "headers contains an invalid name"),
    "a reserved header": ({"headers": {"Content-Type": CANARY}}, r"headers\['Content-Type'\].*tradepipe sets it"),
    "a key alone": ({"client_key": "key"}, "client_key requires client_cert"),
    "a password alone": ({"key_password": CANARY}, "key_password requires client_cert"),
    "a missing file": ({"client_cert": "missing"}, "client_cert='.*missing' cannot be read: No such file"),
    "a missing authority": ({"ca_location": "missing"}, "ca_location='.*missing' cannot be read: No such file"),
    "a folder": ({"client_cert": "folder"}, "client_cert='.*' cannot be read: it is a folder"),
    "not PEM": ({"client_cert": "text"}, "cannot load client_cert='.*text'"),
    "no certificates": ({"ca_location": "text"}, "ca_location='.*text' contains no certificates"),
    "another key": ({"client_cert": "other", "client_key": "key"}, "KEY_VALUES_MISMATCH"),
    "no key": ({"client_cert": "cert"}, "cannot load client_cert='.*'"),
    "a locked key": ({"client_cert": "locked"}, "key_password"),
    "a wrong password": ({"client_cert": "locked", "key_password": f"{CANARY}!"}, "key_password"),
    "a proxy of another kind": ({"proxy": f"socks5://u:{CANARY}@p:1080"}, "proxy='socks5://p:1080' is not one URL"),
    "a proxy with a wrong port": ({"proxy": f"http://u:{CANARY}@p:port"}, "proxy is not a valid URL"),
    "a proxy without a scheme": ({"proxy": f"u:{CANARY}@p:3128"}, "proxy has an @ in the wrong place"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_invalid_argument_is_refused_by_name_and_without_the_secret(case, files):
    options, reported = REFUSED[case]
    given = {name: files.get(value, value) if isinstance(value, str) else value for name, value in options.items()}

    with pytest.raises(ConfigurationError, match=reported) as refused:
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
def test_a_password_that_looks_like_a_path_is_not_shown(url):
    with pytest.raises(ConfigurationError, match="an @ in the wrong place.*%XX") as refused:
        SchemaRegistry(url)
    assert "canary" not in str(refused.value)


def test_credentials_in_the_url_and_as_an_argument_are_refused():
    with pytest.raises(
        ConfigurationError, match="basic_auth and user and password in the registry's URL are mutually exclusive"
    ):
        SchemaRegistry("http://u:p@registry", basic_auth=("u", "p"))


def test_an_unreadable_ssl_cert_file_is_reported_by_name(monkeypatch, files):
    monkeypatch.setenv("SSL_CERT_FILE", str(files["missing"]))
    with pytest.raises(
        ConfigurationError, match="cannot load the certificates of SSL_CERT_FILE or SSL_CERT_DIR: No such file"
    ):
        SchemaRegistry("https://registry")


def test_certificates_are_not_loaded_for_a_url_without_tls(monkeypatch, files):
    """It takes longer than a request."""
    monkeypatch.setenv("SSL_CERT_FILE", str(files["missing"]))
    SchemaRegistry("http://registry").close()

    with pytest.raises(ConfigurationError, match="cannot load the certificates"):
        SchemaRegistry("http://registry", proxy="https://proxy")


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
def test_valid_combinations_of_arguments_are_accepted(options, files):
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
def test_credentials_are_sent_in_the_authorization_header(options, expected):
    script = Script((200, []))
    with registry(script, **options) as client:
        client.versions("s")

    assert expected == script.asked[0].headers.get("authorization")


def test_additional_headers_are_sent_with_every_request():
    script = Script((200, []))
    with registry(script, headers={"X-Tenant": "trades"}) as client:
        client.versions("s")
        client.versions("s")

    assert ["trades", "trades"] == [request.headers["x-tenant"] for request in script.asked]


def test_a_token_function_is_called_for_each_request():
    tokens = iter("abc")
    script = Script((503, b""), (200, []), (200, []))
    with registry(script, bearer_token=lambda: next(tokens)) as client:
        client.versions("s")
        client.versions("s")

    assert ["Bearer a", "Bearer b", "Bearer c"] == [request.headers["authorization"] for request in script.asked]


def test_a_token_function_is_called_once_more_after_a_401():
    tokens = iter("abcd")
    script = Script((401, b""), (200, []), (401, b""))
    with registry(script, bearer_token=lambda: next(tokens)) as client:
        assert [] == client.versions("s")
        with pytest.raises(ConfigurationError, match="401"):
            client.versions("s")

    assert 4 == len(script.asked)


def test_a_fixed_token_is_not_sent_again_after_a_401():
    script = Script((401, b""))
    with registry(script, bearer_token="a") as client, pytest.raises(ConfigurationError, match="401"):
        client.versions("s")

    assert 1 == len(script.asked)


@pytest.mark.parametrize("token", [None, "", f"{CANARY}\n", b"abc"], ids=["None", "nothing", "two lines", "bytes"])
def test_an_invalid_token_of_a_function_is_a_configuration_error(token):
    with (
        registry(Script((200, [])), bearer_token=lambda: token) as client,
        pytest.raises(ConfigurationError, match="bearer_token is .*, not a token") as refused,
    ):
        client.versions("s")
    assert "canary" not in str(refused.value)


def test_a_token_function_that_raises_oserror_is_an_outage():
    def token():
        raise ConnectionError(f"https://idp/?secret={CANARY}")

    script = Script((200, []))
    with registry(script, bearer_token=token, retries=1) as client, pytest.raises(RegistryUnavailable) as caught:
        client.versions("s")
    assert "bearer_token could not provide a token: ConnectionError" in str(caught.value)
    assert "canary" not in str(caught.value)
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
def test_credentials_that_a_registry_echoes_are_masked(options, status, caplog):
    caplog.set_level(logging.DEBUG)

    def answers(request):
        sent = f"{request.headers.get('authorization')} {request.headers.get('x-key')} {CANARY}"
        return httpx.Response(status, json=sent)

    with registry(answers, retries=0, **options) as client:
        with pytest.raises((ConfigurationError, RegistryUnavailable)) as refused:
            client.schema(1)
        reported = f"{refused.value} {client!r} {caplog.text}"

    assert "***" in reported
    assert "canary" not in reported
    assert "dXNlcjp" not in reported


def test_the_message_of_a_registry_is_shown_as_one_line_of_text():
    with registry(Script((422, {"error_code": 42201, "message": "no\n2026 INFO \x1b[31mforged"}))) as client:
        with pytest.raises(ConfigurationError) as refused:
            client.schema(1)
        assert str(refused.value).endswith("422 no 2026 INFO  [31mforged")


@pytest.mark.parametrize("body", [b"%s", b'{"message": "%s"}'], ids=["text", "JSON"])
def test_a_secret_at_the_limit_of_a_message_is_not_shown_in_part(body):
    content = body % (b"x" * 493 + CANARY.encode())
    with registry(Script((422, content)), bearer_token=CANARY) as client, pytest.raises(ConfigurationError) as refused:
        client.schema(1)
    assert "x***" in str(refused.value) or str(refused.value).endswith("x")
    assert "cana" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (f"socks5://u:{CANARY}@p:1080", "='socks5://p:1080' is not one URL"),
        (f"ftp://u:{CANARY}@p:21", "='ftp://p' is not one URL"),
        (f"u:{CANARY}@p:3128", " has an @ in the wrong place"),
        ("p:3128", " is not one URL"),
        (f"http://u:{CANARY}/x@p:3128", " has an @ in the wrong place|is not a valid URL"),
        (f"http://u:{CANARY}@p:\x01", "is not a valid URL"),
        (f"http://u:{CANARY}@[p", "is not a valid URL"),
        (f"http://u:{CANARY}@p q", "is not a valid URL"),
    ],
    ids=[
        "socks",
        "ftp",
        "no scheme but a password",
        "no scheme",
        "a slash",
        "a control character",
        "a bracket",
        "a blank",
    ],
)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_an_invalid_proxy_of_the_environment_is_refused_by_the_variables_name(environment, variable, value, problem):
    environment[variable] = value

    with pytest.raises(ConfigurationError, match=rf"^{variable}.*({problem})") as refused:
        SchemaRegistry("http://registry:8081")

    assert "canary" not in f"{refused.value!r} {refused.value.__cause__}"


@pytest.fixture
def environment(monkeypatch):
    """The environment, without proxies; a test sets variables in it."""

    class Variables:
        def __setitem__(self, name, value):
            monkeypatch.setenv(name, value)

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return Variables()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {}),
        ({"HTTP_PROXY": "http://p:3128"}, {"http://a:8081": "HTTP_PROXY"}),
        ({"HTTPS_PROXY": "http://p:3128"}, {"https://b": "HTTPS_PROXY"}),
        ({"ALL_PROXY": "http://p:3128"}, {"http://a:8081": "ALL_PROXY", "https://b": "ALL_PROXY"}),
        (
            {"ALL_PROXY": "http://p:3128", "https_proxy": "http://q:3128"},
            {"http://a:8081": "ALL_PROXY", "https://b": "https_proxy"},
        ),
        ({"ALL_PROXY": "http://p:3128", "NO_PROXY": "a,other"}, {"https://b": "ALL_PROXY"}),
        ({"ALL_PROXY": "http://p:3128", "NO_PROXY": "*"}, {}),
        ({"HTTP_PROXY": "ftp://p", "NO_PROXY": "a"}, {}),
    ],
    ids=["none", "http", "https", "all", "the more specific one", "an exception", "all exceptions", "not needed"],
)
def test_proxies_of_the_environment_are_chosen_by_url(environment, variables, expected):
    for name, value in variables.items():
        environment[name] = value

    proxies = environment_proxies(["http://a:8081", "https://b"])

    assert expected == {url: proxy.source for url, proxy in proxies.items()}


def test_an_error_behind_a_proxy_names_the_proxy_and_masks_what_it_echoes(environment):
    """The proxy answers with the credentials that it was sent, in every encoding."""
    credentials = f"user:{CANARY}"
    forms = (
        credentials,
        base64.b64encode(credentials.encode()).decode(),
        base64.b64encode(CANARY.encode()).decode(),
        credentials.encode().hex(),
        CANARY.encode().hex(),
    )
    answer = f"HTTP/1.1 407 Authentication Required\r\nConnection: close\r\n\r\nwho is {' '.join(forms)}".encode()
    with HostileServer([answer], pause=0) as proxy:
        environment["HTTP_PROXY"] = proxy.url.replace("://", f"://user:{CANARY}@")
        with SchemaRegistry("http://registry:8081", retries=0) as client, pytest.raises(ConfigurationError) as refused:
            client.schema(1)

    reported = str(refused.value)
    assert f"http://registry:8081 (through the proxy {proxy.url} of HTTP_PROXY) answered" in reported
    assert "who is" in reported
    assert [] == [form for form in forms if form in reported]


def test_no_credentials_can_be_reached_from_an_error():
    """Error trackers collect the causes of an exception, and the local variables of its frames."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with SchemaRegistry(url, retries=0, bearer_token=CANARY) as client, pytest.raises(RegistryUnavailable) as raised:
        client.schema(1)
    error = raised.value

    assert (None, None) == (error.__cause__, error.__context__)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if "tradepipe" in frame.f_code.co_filename]
    ours = [
        frame
        for frame in frames
        if "/registry/" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename
    ]
    assert ours
    assert "canary" not in repr([frame.f_locals for frame in ours])


PLAIN_TEXT = {
    "a user": ({"url": f"http://u:{CANARY}@registry:80"}, ["the registry's credentials", "http://registry"]),
    "a token": ({"url": "http://registry", "bearer_token": CANARY}, ["the registry's credentials", "http://registry"]),
    "a header": ({"url": "http://registry", "headers": {"X": CANARY}}, ["the registry's credentials"]),
    "a proxy": ({"url": "https://registry", "proxy": f"http://u:{CANARY}@proxy:80"}, ["of proxy are", "http://proxy"]),
}


@pytest.mark.parametrize(("arguments", "named"), PLAIN_TEXT.values(), ids=PLAIN_TEXT)
def test_credentials_in_plain_text_are_warned_of(arguments, named, caplog):
    SchemaRegistry(**arguments).close()

    (warning,) = caplog.messages
    assert [] == [each for each in (*named, "unencrypted", "use https://") if each not in warning]
    assert CANARY not in warning


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://registry"},
        {"url": f"https://u:{CANARY}@registry"},
        {"url": f"http://u:{CANARY}@127.0.0.1:8081"},
        {"url": f"http://u:{CANARY}@localhost"},
        {"url": "http://registry", "proxy": "http://proxy"},
    ],
)
def test_nothing_is_warned_of_without_credentials_on_the_network(arguments, caplog):
    SchemaRegistry(**arguments).close()

    assert [] == caplog.messages
