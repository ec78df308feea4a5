"""Connections through PgBouncer: sessions work, transactions and statements are refused."""

import threading

import psycopg2
import pytest
from sqlalchemy import text

from tests.cli.commands import ask
from tests.postgres.batches import connected, counts, execute, log, store, trade
from tests.postgres.pgbouncer import pooled
from tradepipe import Producer, SchemaRegistry, Sink
from tradepipe.errors import ConfigurationError
from tradepipe.postgres import migrate
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.insert import DirectCopy
from tradepipe.postgres.packaged_revisions import required_revision
from tradepipe.postgres.session import create_engine_for
from tradepipe.registry.registration import register

pytestmark = pytest.mark.real


def connect(database):
    return create_engine_for(database, application_name="test").connect()


def test_migrations_run_through_a_pool_of_sessions(database, tmp_path):
    with pooled(database, tmp_path, pool_mode="session") as url:
        assert required_revision() == migrate.upgrade(url).after


def test_a_sink_stores_through_a_pool_of_sessions(kafka, services, topic, migrated, tmp_path):
    subject = f"{topic}-value"
    with SchemaRegistry(services.registry_url) as registry:
        register(registry, subject)
    with Producer(kafka, registry=services.registry_url, topic=topic, subject=subject) as producer:
        for number in range(20):
            producer.produce(trade(f"T{number}"))

    with pooled(migrated, tmp_path, pool_mode="session") as url:
        names = {"registry": services.registry_url, "topic": topic, "subject": subject, "group": f"{topic}-sink"}
        with Sink(kafka, database=url, **names) as sink:
            sink.run(until_end=True)

    assert [(20,)] == ask(migrated, "SELECT count(*) FROM trades")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TimeZone", "UTC"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("lock_timeout", "5s"),
        ("statement_timeout", "15s"),
        ("application_name", "test"),
    ],
)
def test_a_pooled_session_has_every_setting(migrated, tmp_path, name, expected):
    with pooled(migrated, tmp_path, pool_mode="session") as url, connected(url) as connection:
        assert expected == connection.scalar(text(f"SHOW {name}"))


def test_a_pooled_session_is_clean_when_the_next_client_gets_it(migrated, tmp_path):
    """DISCARD ALL drops the staging table of the client before."""
    with pooled(migrated, tmp_path, pool_mode="session", pool_size=1) as url:
        for offset in range(2):
            with connected(url) as connection:
                assert (1, 0, 0) == counts(store(connection, *log(trade(f"T{offset}"), first=offset)))


@pytest.mark.parametrize("pool_mode", ["transaction", "statement"])
@pytest.mark.parametrize("pool_size", [1, 10])
def test_a_pool_of_transactions_or_statements_is_refused_by_name(migrated, tmp_path, pool_mode, pool_size):
    with pooled(migrated, tmp_path, pool_mode=pool_mode, pool_size=pool_size) as url:
        for _ in range(3):
            with pytest.raises(ConfigurationError, match="gives transactions, not sessions: set pool_mode=session"):
                connect(url)


def test_a_pool_of_transactions_is_refused_while_others_use_it(migrated, tmp_path):
    """The others take the idle backend before the probe does, and the first transaction gets another one."""
    done = threading.Event()

    def use(url):
        with psycopg2.connect(url) as other, other.cursor() as cursor:
            while not done.is_set():
                cursor.execute("SELECT 1")
                other.commit()

    with pooled(migrated, tmp_path, pool_mode="transaction", pool_size=5) as url:
        others = [threading.Thread(target=use, args=(url,)) for _ in range(4)]
        for other in others:
            other.start()
        try:
            with pytest.raises(ConfigurationError, match="pool_mode=session"):
                connect(url)
        finally:
            done.set()
            for other in others:
                other.join()


def cautious(*, few_stored):
    """Return a state in which the keys of the next batch are looked up, or its rows are staged."""
    direct = DirectCopy()
    direct.whole.start()
    direct.few_stored = few_stored
    return direct


@pytest.mark.parametrize(
    ("statement", "few_stored"),
    [
        ("DROP TABLE tradepipe_keys", True),
        ("DROP TABLE tradepipe_staging", False),
        ("DEALLOCATE tradepipe_advance", True),
    ],
    ids=["keys", "staging", "statement"],
)
def test_a_backend_that_a_pooler_exchanges_later_is_named_too(migrated, statement, few_stored):
    """The other backend has no temporary tables and no prepared statement."""
    with connected(migrated) as connection:
        store(connection, *log(trade()))
        execute(connection, statement)

        with pytest.raises(ConfigurationError, match="gives transactions, not sessions"), translate_errors():
            store(connection, *log(trade("T2"), first=1), direct=cautious(few_stored=few_stored))


def test_a_setting_in_the_url_that_a_pooler_refuses_is_named(migrated, tmp_path):
    with (
        pooled(migrated, tmp_path, pool_mode="session") as url,
        pytest.raises(ConfigurationError, match="set it by ALTER ROLE"),
        translate_errors(),
    ):
        connect(f"{url}?options=-csearch_path%3Dapart")


def test_a_full_pool_of_sessions_is_not_mistaken_for_one_of_transactions(migrated, tmp_path):
    """The probe gets no second backend, and gives up."""
    with pooled(migrated, tmp_path, pool_mode="session", pool_size=1) as url, connect(url) as connection:
        assert 1 == connection.scalar(text("SELECT 1"))
