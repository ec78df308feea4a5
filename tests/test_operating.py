"""docs/operating.md: its commands and queries run, and its roles have the rights they need and no more."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege

from tests.cli.commands import ask, run_command
from tests.markdown import Document
from tests.postgres import batches
from tradepipe import SchemaRegistry, Sink
from tradepipe.cli.user_rules import load_rules
from tradepipe.postgres import migrate
from tradepipe.postgres.refusals import COPY_ROWS
from tradepipe.postgres.replay import RefusalReplayer
from tradepipe.registry.registration import register
from tradepipe.trade.dead_letter import DeadLetterFilter

PAGE = Document(Path(__file__).parents[1] / "docs" / "operating.md")
ROLES = ("migrator", "writer", "replayer", "reader")


def execute(database: str, script: str) -> None:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(script)
    connection.close()


@pytest.fixture
def here(database) -> Iterator[Callable[[str], str]]:
    """Gives the roles in a script names of this test: roles belong to the server, not to a database."""
    suffix = uuid.uuid4().hex[:8]
    names = {f"tradepipe_{role}": f"tradepipe_{role}_{suffix}" for role in ROLES}

    def replace(script: str) -> str:
        for shown, real in names.items():
            script = script.replace(shown, real)
        return script.replace("DATABASE trades", f"DATABASE {urlsplit(database).path[1:]}")

    yield replace
    for role in names.values():
        execute(database, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.fixture
def urls(database, here) -> dict[str, str]:
    """URLs of the database for each role; roles and tables were created as the page says."""
    (roles,) = PAGE.blocks("sql", "CREATE ROLE")
    (grants,) = PAGE.blocks("sql", "ON trades, trade_refusals TO tradepipe_writer")
    url = urlsplit(database)
    urls = {
        role: url._replace(netloc=f"{here(f'tradepipe_{role}')}:change-me@{url.netloc.rpartition('@')[2]}").geturl()
        for role in ROLES
    }
    execute(database, here(roles))
    migrate.upgrade(urls["migrator"])
    execute(urls["migrator"], here(grants))
    return urls


def test_the_roles_have_the_rights_they_need_and_no_more(services, kafka, topic, subject, urls):
    with SchemaRegistry(services.registry_url) as registry:
        register(registry, subject)
    addresses = {"KAFKA_BOOTSTRAP_SERVERS": services.bootstrap_servers, "SCHEMA_REGISTRY_URL": services.registry_url}
    run_command("produce", "--topic", topic, "--subject", subject, "--count", "20", "--bad", "0.2", env=addresses)

    for group in ("first", "second"):
        names = {"topic": topic, "subject": subject, "group": group, "registry": services.registry_url}
        with Sink(kafka, database=urls["writer"], **names) as sink:
            sink.run(until_end=True)

    assert [(16,)] == ask(urls["reader"], "SELECT count(*) FROM trades")
    for role, forbidden in (
        ("writer", "DELETE FROM trades"),
        ("writer", "UPDATE trades SET version = 1"),
        ("writer", "CREATE TABLE more (a integer)"),
        ("writer", "UPDATE trade_refusals SET value = ''"),
        ("replayer", "UPDATE trade_refusals SET value = ''"),
        ("replayer", "UPDATE sink_offsets SET next_offset = 0"),
        ("replayer", "DELETE FROM trade_refusals"),
        ("reader", "INSERT INTO trades SELECT * FROM trades"),
        ("reader", "CREATE TEMPORARY TABLE more (a integer)"),
    ):
        with pytest.raises(InsufficientPrivilege):
            execute(urls[role], forbidden)


def test_the_writer_can_store_refusals_whether_few_or_many(urls):
    """Many are copied, through a temporary table if one is stored already."""
    with batches.connected(urls["writer"]) as connection:
        few = batches.store(connection, *batches.log(None))
        many = batches.store(connection, *batches.log(*[None] * COPY_ROWS, first=1))
        again = batches.store(connection, *batches.log(*[None] * COPY_ROWS), group="another")

    assert (1, COPY_ROWS, COPY_ROWS) == (len(few.refusals), len(many.refusals), len(again.refusals))


def test_the_replayer_can_replay(urls):
    """A refusal that is refused again, and one whose trade is valid now."""
    with batches.connected(urls["writer"]) as connection:
        batches.store(connection, *batches.log(None, None))
    everything = DeadLetterFilter()

    with RefusalReplayer(urls["replayer"]) as replayer:
        bad, good = replayer.next_page(everything, None, 10)
        result = replayer.replay([(bad, batches.refusal(0)), (good, batches.accepted(1, batches.trade()))])

    assert (1, 1) == (len(result.stored), len(result.refused))


def test_the_reader_can_run_the_queries(urls):
    (queries,) = PAGE.blocks("sql", "FROM sink_offsets")

    for query in filter(str.strip, queries.split(";\n")):
        ask(urls["reader"], query)


def test_the_custom_rule_is_loaded_and_reports_a_violation(tmp_path, monkeypatch):
    (rule,) = PAGE.blocks("python")
    (tmp_path / "desk.py").write_text(rule)
    monkeypatch.syspath_prepend(tmp_path)

    (known_book,) = load_rules(["desk:known_book"])

    assert [] == known_book(batches.trade(book_id="B1"))
    assert ["BOOK_UNKNOWN"] == [found.code for found in known_book(batches.trade(book_id="X1"))]


def test_every_sql_block_is_run_by_these_tests():
    assert 3 == len(PAGE.blocks("sql"))


@pytest.mark.real
def test_the_commands_run(services, topic):
    """With replication 1, because there is one broker."""
    (script,) = PAGE.blocks("sh")
    env = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": services.bootstrap_servers,
        "TRADEPIPE_TOPIC": f"{topic}-new",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    script = script.replace("--replication 3", "--replication 1")
    run = subprocess.run(["bash", "-euc", script], env=env, capture_output=True, text=True, timeout=200, check=False)

    assert 0 == run.returncode, run.stderr
    assert "24 partitions" in run.stdout
