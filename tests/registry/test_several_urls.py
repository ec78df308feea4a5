"""Several URLs of one registry: the next one is tried when one is unavailable."""

from types import SimpleNamespace

import httpx
import pytest

from tradepipe.errors import ConfigurationError, IncompatibleSchema, RegistryUnavailable
from tradepipe.registry.client import SchemaRegistry

GOOD = httpx.Response(200, json=[1])


@pytest.fixture(autouse=True)
def no_delay(monkeypatch):
    """Retry without delay."""
    monkeypatch.setattr("tradepipe.registry.transport._FIRST_DELAY_SECONDS", 0.0)


class Cluster:
    """Registries a, b and c, whose answers a test may change; records which of them were requested."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = ""

    def __call__(self, request):
        self.asked += request.url.host
        answer = self.answers[request.url.host]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer) if isinstance(answer, int) else answer

    def client(self, url="http://a,http://b,http://c", **options):
        return SchemaRegistry(url, transport=httpx.MockTransport(self), **options)


@pytest.mark.parametrize(
    "unavailable",
    [500, 503, 408, 425, 429, httpx.ConnectError("refused"), httpx.ReadTimeout("slow")],
    ids=str,
)
def test_the_next_url_is_tried_when_one_is_unavailable(unavailable):
    cluster = Cluster(a=unavailable, b=GOOD, c=GOOD)
    with cluster.client(retries=0) as client:
        assert [1] == client.versions("s")

    assert "ab" == cluster.asked


def test_the_url_that_responded_last_is_tried_first():
    cluster = Cluster(a=503, b=503, c=GOOD)
    with cluster.client(retries=0) as client:
        client.versions("s")
        client.versions("s")
        cluster.answers.update(a=GOOD, c=503)
        client.versions("s")

    assert "abc" + "c" + "ca" == cluster.asked


@pytest.mark.parametrize(
    ("status", "kind"), [(401, ConfigurationError), (409, IncompatibleSchema), (422, ConfigurationError)], ids=str
)
def test_a_definite_response_is_not_requested_again(status, kind):
    cluster = Cluster(a=status, b=GOOD, c=GOOD)
    with cluster.client() as client, pytest.raises(kind):
        client.versions("s")

    assert "a" == cluster.asked


def test_each_retry_tries_all_urls_and_reports_each_problem():
    cluster = Cluster(a=503, b=httpx.ConnectError("refused"), c=429)
    with (
        cluster.client(retries=2) as client,
        pytest.raises(
            RegistryUnavailable,
            match=r"^the registry is unavailable: \S+a: it answered.*503; \S+b: .*refused; \S+c: .*429",
        ),
    ):
        client.versions("s")

    assert "abc" * 3 == cluster.asked


def test_a_url_that_does_not_respond_leaves_time_for_the_others(monkeypatch):
    now = 0.0
    given = []
    monkeypatch.setattr("tradepipe.registry.transport.time", SimpleNamespace(monotonic=lambda: now))

    def answers(request):
        nonlocal now
        given.append(request.extensions["timeout"]["read"])
        if request.url.host == "a":
            now += given[-1]
            raise httpx.ReadTimeout("silent")
        return GOOD

    with SchemaRegistry("http://a,http://b", timeout=4.0, transport=httpx.MockTransport(answers)) as client:
        assert [1] == client.versions("s")

    assert [2.0, 2.0] == given


@pytest.mark.parametrize(
    "url",
    ["http://a, https://b/v7/", ["http://a", "https://b/v7"], ("http://a,https://b/v7",)],
    ids=["commas", "list", "both"],
)
def test_urls_are_separated_by_commas_or_given_as_a_sequence(url):
    with SchemaRegistry(url) as client:
        assert "http://a,https://b/v7" == client.url
        assert "SchemaRegistry('http://a,https://b/v7')" == repr(client)


def test_user_and_password_of_one_url_are_sent_to_all():
    sent = []

    def answers(request):
        sent.append(request.headers["authorization"])
        return httpx.Response(503)

    url = "http://user:p,ss@a,http://b"
    with SchemaRegistry(url, retries=0, transport=httpx.MockTransport(answers)) as client:
        with pytest.raises(RegistryUnavailable):
            client.versions("s")
        assert "http://a,http://b" == client.url

    assert 2 == len(sent)
    assert 1 == len(set(sent))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ([], "at least one URL"),
        ("http://u:canary@a,http://v:canary@b", "different users"),
        (["http://a", "b:1"], "b:1"),
    ],
    ids=["none", "two users", "one without a scheme"],
)
def test_an_invalid_list_of_urls_is_refused_at_construction(url, message):
    with pytest.raises(ConfigurationError, match=message) as refused:
        SchemaRegistry(url)
    assert "canary" not in str(refused.value)
