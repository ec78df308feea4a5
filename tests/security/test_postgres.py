"""Sink and migrations on a PostgreSQL with TLS and passwords."""

import uuid
from urllib.parse import quote, urlsplit

import pytest

from tests.security.conftest import CANARY, USER
from tests.services.secured import LockedPostgres
from tradepipe import ConfigurationError, Producer, SchemaRegistry, Sink
from tradepipe.postgres import migrate
from tradepipe.postgres.packaged_revisions import required_revision
from tradepipe.registry.registration import register

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server(authority):
    with LockedPostgres(authority, users={USER: CANARY}) as server:
        yield server


@pytest.fixture
def database(server):
    """The URL of a database of the test's own, with a password and without TLS."""
    name = f"test_{uuid.uuid4().hex}"
    yield server.create_database(name, user=USER, password=CANARY)
    server.drop_database(name)


@pytest.fixture
def verified(authority, database):
    """The same by TLS, the server's name and certificate checked."""
    return f"{database}?sslmode=verify-full&sslrootcert={authority.file}"


@pytest.fixture
def sink(kafka, services, topic, subject, trades):
    """A sink that finds the trades in the test's topic."""
    with SchemaRegistry(services.registry_url) as registry:
        register(registry, subject)
    bootstrap = {"bootstrap.servers": kafka["bootstrap.servers"]}
    with Producer(bootstrap, registry=services.registry_url, topic=topic, subject=subject) as producer:
        for trade in trades:
            producer.produce(trade)

    def sink(database):
        options = {"registry": services.registry_url, "topic": topic, "subject": subject, "group": f"{topic}-sink"}
        return Sink(kafka, database=database, **options)

    return sink


def test_migrations_and_sink_work_by_verified_tls(verified, sink, trades, seen):
    assert required_revision() == migrate.upgrade(verified).after
    with sink(verified) as storing:
        assert len(trades) == storing.run(until_end=True).stored
        seen.append(storing._writer._stores[0]._engine)


def test_a_user_may_be_known_by_a_certificate(server, authority, database):
    own = authority.client("certified")
    name = database.rpartition("/")[2]
    address = urlsplit(server.url).netloc.rpartition("@")[2]
    url = f"postgresql://certified@{address}/{name}"
    tls = f"?sslmode=verify-full&sslrootcert={authority.file}&sslcert={own.certificate}&sslkey={own.key}"
    assert migrate.current(f"{url}{tls}") is None


@pytest.fixture(params=["authority", "host", "password", "no TLS", "no file"])
def refused(request, database, verified, authority, stranger):
    """A URL with which no connection is accepted, and the advice for it."""
    secret = quote(CANARY, safe="")
    return {
        "authority": (
            verified.replace(str(authority.file), str(stranger.file)),
            "certificate verify failed.*sslroot",
        ),
        "host": (verified.replace("@127.0.0.1", "@localhost"), "does not match host name.*sslrootcert and the host's"),
        "password": (verified.replace(secret, f"{secret}1"), "password authentication failed.*check user and password"),
        "no TLS": (f"{database}?sslmode=disable", "no encryption; request TLS with sslmode"),
        "no file": (f"{database}?sslmode=verify-full&sslrootcert=/missing", "/missing.*check .*sslrootcert"),
    }[request.param]


def test_migrations_that_are_rejected_say_what_to_check(refused, seen):
    url, message = refused
    with pytest.raises(ConfigurationError, match=message) as raised:
        migrate.upgrade(url)
    seen.append(raised.value)


def test_a_sink_that_is_refused_says_what_to_check(refused, sink, seen):
    url, message = refused
    with sink(url) as storing, pytest.raises(ConfigurationError, match=message) as raised:
        storing.run()
    seen.append(raised.value)
