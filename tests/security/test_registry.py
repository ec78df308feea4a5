"""A registry behind TLS, passwords, tokens, certificates and proxies."""

from urllib.parse import quote

import pytest

from tests.security.conftest import CANARY, USER
from tests.security.tls_proxy import ForwardProxy, Front, basic
from tradepipe import ConfigurationError, RegistryUnavailable, SchemaRegistry
from tradepipe.evolution.history import current

IN_URL = f"{USER}:{quote(CANARY, safe='')}@"


@pytest.fixture
def ask(subject, seen):
    """Register a schema through a client of the test's own; whether it is there."""

    def ask(url, **options):
        with SchemaRegistry(url, **options) as registry:
            seen.append(registry)
            return (subject, 1) in registry.versions_of(registry.register(subject, current().text))

    return ask


@pytest.fixture
def refuses(ask, seen):
    """Request, and expect advice on what to check."""

    def refuses(message, url, *, kind=ConfigurationError, **options):
        with pytest.raises(kind, match=message) as refused:
            ask(url, **options)
        seen.append(refused.value)

    return refuses


@pytest.fixture
def known(authority):
    """A client's certificate, with a locked key."""
    own = authority.client(USER, password=CANARY)
    return {"client_cert": own.certificate, "client_key": own.key, "key_password": CANARY}


def test_a_registry_with_a_certificate_of_our_own_authority_is_trusted(services, authority, ask, refuses):
    with Front(services.registry_url, authority=authority) as front:
        assert ask(front.url, ca_location=authority.file)
        refuses("CERTIFICATE_VERIFY_FAILED.*check ca_location", front.url)


def test_a_registry_of_an_unknown_authority_or_name_is_not_trusted(services, authority, stranger, refuses):
    with Front(services.registry_url, authority=authority) as front:
        refuses("CERTIFICATE_VERIFY_FAILED.*check ca_location", front.url, ca_location=stranger.file)
        other_name = front.url.replace("127.0.0.1", "localhost")
        refuses("Hostname mismatch.*the host's name", other_name, ca_location=authority.file)


def test_a_certificate_that_goes_wrong_while_we_run_is_an_outage(services, authority, stranger):
    """It is being renewed; the sink waits."""
    with (
        Front(services.registry_url, authority=authority) as front,
        SchemaRegistry(front.url, ca_location=authority.file, retries=0) as registry,
    ):
        registry.versions("s")
        front.present(stranger)
        with pytest.raises(RegistryUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            registry.versions("s")
        front.present(authority)
        registry.versions("s")


def test_a_client_is_known_by_its_certificate(services, authority, known, ask, refuses):
    with Front(services.registry_url, authority=authority, only_known=True) as front:
        assert ask(front.url, ca_location=authority.file, **known)
        refuses("ALERT_CERTIFICATE_REQUIRED.*check client_cert", front.url, ca_location=authority.file)


def test_a_certificate_may_hold_its_key(services, authority, ask):
    with Front(services.registry_url, authority=authority, only_known=True) as front:
        both = authority.client("plain").both
        assert ask(front.url, ca_location=authority.file, client_cert=both)


def test_a_client_of_an_unknown_authority_is_refused(services, authority, stranger, refuses):
    with Front(services.registry_url, authority=authority, only_known=True) as front:
        both = stranger.client(USER).both
        refuses("ALERT.*check client_cert", front.url, ca_location=authority.file, client_cert=both)


def test_https_at_a_port_of_http_is_reported(services, authority, refuses):
    url = services.registry_url.replace("http:", "https:")
    refuses("check that the registry serves https", url, ca_location=authority.file)


@pytest.mark.parametrize("way", ["basic_auth", "url"])
def test_user_and_password_are_accepted(way, services, ask):
    with Front(services.registry_url, lets_in=lambda headers: headers["Authorization"] == basic(USER, CANARY)) as front:
        if way == "url":
            assert ask(front.url.replace("://", f"://{IN_URL}"))
        else:
            assert ask(front.url, basic_auth=(USER, CANARY))


def test_a_refused_password_or_token_is_not_shown_though_the_registry_quotes_it(services, refuses):
    with Front(services.registry_url, lets_in=lambda headers: False) as front:
        refuses(r"401 not you: Basic \*\*\*", front.url, basic_auth=(USER, CANARY))
        refuses(r"401 not you: Bearer \*\*\*", front.url, bearer_token=CANARY)
        refuses(r"401 not you: Bearer \*\*\*", front.url, bearer_token=lambda: CANARY)
        refuses(r"401 not you: None \*\*\*", front.url, headers={"X-Key": CANARY})


def test_a_token_that_ran_out_is_replaced_by_the_next(services, ask):
    tokens = iter([f"{CANARY}1", f"{CANARY}2", f"{CANARY}2", f"{CANARY}2"])
    with Front(services.registry_url, lets_in=lambda headers: headers["Authorization"] != f"Bearer {CANARY}1") as front:
        assert ask(front.url, bearer_token=lambda: next(tokens))


@pytest.mark.parametrize("has_tls", [False, True], ids=["http", "https"])
def test_a_proxy_is_used_with_user_and_password(has_tls, services, authority, ask):
    with (
        ForwardProxy(user=USER, password=CANARY) as proxy,
        Front(services.registry_url, authority=authority if has_tls else None) as front,
    ):
        way = f"http://{IN_URL}127.0.0.1:{proxy.server_port}"
        assert ask(front.url, proxy=way, ca_location=authority.file)
        assert proxy.asked


@pytest.mark.parametrize("has_tls", [False, True], ids=["http", "https"])
def test_a_proxy_that_rejects_the_credentials_says_what_to_check(has_tls, services, authority, refuses):
    with (
        ForwardProxy(user=USER, password=f"{CANARY}!") as proxy,
        Front(services.registry_url, authority=authority if has_tls else None) as front,
    ):
        way = f"http://{IN_URL}127.0.0.1:{proxy.server_port}"
        refuses("407.*check (the )?user and password in proxy", front.url, proxy=way, ca_location=authority.file)


def test_the_next_url_is_used_while_the_first_is_unavailable(services, authority, ask):
    with Front(services.registry_url, authority=authority) as front:
        unreachable = "http://127.0.0.1:1"
        assert ask(f"{unreachable},{front.url}", ca_location=authority.file)
        assert ask([front.url, unreachable], ca_location=authority.file)


def test_only_a_permanent_refusal_by_every_url_is_a_configuration_error(services, authority, refuses):
    with (
        Front(services.registry_url, authority=authority) as front,
        Front(services.registry_url, authority=authority) as two,
    ):
        refuses("TLS.*; .*TLS", [front.url, two.url], retries=0)
        refuses("TLS.*; .*Connection refused", [front.url, "http://127.0.0.1:1"], kind=RegistryUnavailable, retries=0)
