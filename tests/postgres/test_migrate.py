"""Migrations: their sum is the tables, and other applications use the same database."""

import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from contextlib import closing
from decimal import Decimal
from importlib import resources
from pathlib import Path

import psycopg2
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, inspect, text

from tests.postgres import batches
from tradepipe.errors import ConfigurationError, DatabaseUnavailable
from tradepipe.postgres import migrate, refusals
from tradepipe.postgres.migrate import Migration
from tradepipe.postgres.packaged_revisions import required_revision, revisions
from tradepipe.postgres.revision import check_revision
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import METADATA
from tradepipe.trade.dead_letter import DeadLetterFilter

OURS = {"trades", "trade_refusals", "sink_offsets", "tradepipe_revision"}

DEFINITIONS = text(
    """
    WITH ours AS (
      SELECT oid, oid::regclass::text AS name, reloptions FROM pg_class
       WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND relname <> 'tradepipe_revision'
    )
    SELECT name, conname, pg_get_constraintdef(con.oid) FROM ours JOIN pg_constraint con ON conrelid = ours.oid
    UNION ALL
    SELECT name, 'index', pg_get_indexdef(indexrelid) FROM ours JOIN pg_index ON indrelid = ours.oid
    UNION ALL
    SELECT name, attname, concat_ws(' ', attnum, format_type(atttypid, atttypmod), attnotnull,
                                    attcollation::regcollation, pg_get_expr(adbin, adrelid), reloptions)
      FROM ours JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0
      LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    UNION ALL
    SELECT viewname, 'view', definition FROM pg_views WHERE schemaname = 'public'
    """
)
"""The definitions of our tables and views, as PostgreSQL prints them."""


def connect(database: str) -> Connection:
    return create_engine_for(database, application_name="test").connect()


def run(database: str, *statements: str) -> None:
    with connect(database) as connection:
        for statement in statements:
            connection.execute(text(statement))
        connection.commit()


def definitions(database: str) -> set[tuple[str, str, str]]:
    with connect(database) as connection:
        return {tuple(row) for row in connection.execute(DEFINITIONS)}


def psycopg2_scalar(database: str, query: str) -> object:
    """Return the value of a query over a connection outside SQLAlchemy."""
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def tables(database: str) -> set[str]:
    with connect(database) as connection:
        return set(inspect(connection).get_table_names())


def add_schema(database: str, name: str) -> str:
    """Create a database schema, and return a URL whose tables are in it."""
    run(database, f"CREATE SCHEMA {name}")
    return f"{database}{'&' if '?' in database else '?'}options=-csearch_path%3D{name}"


def alembic(database: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Alembic's own command where pyproject.toml is."""
    environment = {**os.environ, "DATABASE_URL": database or ""}
    root = Path(str(resources.files("tradepipe.migrations"))).parent
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def created_database(services):
    """Return the URL of a database whose tables were created from the MetaData."""
    server = services.postgres.start()
    name = f"test_{uuid.uuid4().hex}"
    url = server.create_database(name)
    with connect(url) as connection:
        METADATA.create_all(connection)
        connection.commit()
    yield url
    server.drop_database(name)


@pytest.fixture
def newer_database(tmp_path, migrated):
    """Connect to a database that a later build has upgraded past a removal."""
    folder = tmp_path / "migrations"
    shutil.copytree(str(resources.files("tradepipe.migrations")), folder)
    previous = required_revision()
    for revision in ("9001_pre_add_venue", "9002_post_drop_book", "9003_pre_add_trader"):
        (folder / "versions" / f"{revision}.py").write_text(
            f'"""A revision."""\nrevision = "{revision}"\ndown_revision = "{previous}"\n'
            "def upgrade(): pass\ndef downgrade(): pass\n"
        )
        previous = revision
    with connect(migrated) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(folder))
        command.upgrade(config, "head")
        yield connection, config


def test_migrations_add_up_to_the_tables(migrated, created_database):
    """Columns, collations, defaults, keys, CHECKs, storage options and the view."""
    assert definitions(created_database) == definitions(migrated)


def test_alembic_sees_nothing_left_to_do(migrated):
    with connect(migrated) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "tradepipe_revision"})

        assert [] == compare_metadata(context, METADATA)


def test_an_empty_database_is_brought_to_the_head(database):
    assert Migration(None, required_revision()) == migrate.upgrade(database)
    assert required_revision() == migrate.current(database)


def test_a_second_upgrade_does_nothing(migrated):
    older_database = definitions(migrated)

    assert Migration(required_revision(), required_revision()) == migrate.upgrade(migrated)
    assert older_database == definitions(migrated)


def test_a_downgrade_and_an_upgrade_restore_the_same_tables(migrated):
    """And down to the base leaves nothing but the version table."""
    older_database = definitions(migrated)

    assert Migration(required_revision(), None) == migrate.downgrade(migrated, "base")
    assert {"tradepipe_revision"} == tables(migrated)
    assert Migration(None, required_revision()) == migrate.upgrade(migrated)
    assert older_database == definitions(migrated)


@pytest.fixture
def older_database(request, database):
    """Create a database at the revision before the tested one, with a trade in it."""
    revision = request.param
    migrate.upgrade(database)
    migrate.downgrade(database, revisions()[revisions().index(revision) - 1])
    run(
        database,
        "INSERT INTO trades VALUES ('T1', 1, 'CP-1', 'B1', '2030-01-01', '2025-06-01Z', 'trades', 0, 0, 1)",
        "DROP ROLE IF EXISTS tradepipe_test_reader",
        "CREATE ROLE tradepipe_test_reader",
        "GRANT SELECT ON current_trades TO tradepipe_test_reader",
    )
    yield database
    run(database, "DROP OWNED BY tradepipe_test_reader", "DROP ROLE tradepipe_test_reader")


V2 = "0002_pre_add_notional"


@pytest.mark.parametrize("older_database", [V2], indirect=True)
def test_older_trades_have_an_unknown_side_and_no_amount(older_database):
    migrate.upgrade(older_database)

    with connect(older_database) as connection:
        found = connection.execute(text("SELECT trade_id, side, notional, currency FROM current_trades")).all()
    assert [("T1", "UNKNOWN", None, None)] == found


@pytest.mark.parametrize("older_database", [V2], indirect=True)
def test_grants_on_the_view_survive_an_upgrade(older_database):
    migrate.upgrade(older_database)

    with connect(older_database) as connection:
        assert connection.scalar(
            text("SELECT has_table_privilege('tradepipe_test_reader', 'current_trades', 'SELECT')")
        )


@pytest.mark.parametrize("older_database", [V2], indirect=True)
def test_an_interrupted_upgrade_is_resumed(older_database):
    """The first half is committed before the CHECKs are validated; the version table does not show it."""
    migrate.upgrade(older_database)
    whole = definitions(older_database)
    run(
        older_database,
        f"UPDATE tradepipe_revision SET version_num = '{revisions()[revisions().index(V2) - 1]}'",
        'ALTER TABLE trades DROP CONSTRAINT "CURRENCY", ADD CONSTRAINT "CURRENCY" CHECK (true) NOT VALID',
    )

    migrate.upgrade(older_database)

    assert whole == definitions(older_database)


@pytest.mark.parametrize("older_database", [V2], indirect=True)
def test_sinks_write_while_the_checks_are_validated(older_database):
    """The lock that excludes writers is released before the whole table is read."""
    seen = []

    @event.listens_for(Engine, "before_cursor_execute")
    def note(connection, _cursor, statement, *_rest):
        if "VALIDATE" in statement:
            held = "SELECT count(*) FROM pg_locks WHERE relation = 'trades'::regclass AND mode = 'AccessExclusiveLock'"
            seen.append(psycopg2_scalar(older_database, held))

    try:
        migrate.upgrade(older_database)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert [0, 0] == seen


def test_two_that_upgrade_at_once_do_not_race(database):
    """One does it, the other finds it done."""
    done: list[Migration] = []
    threads = [threading.Thread(target=lambda: done.append(migrate.upgrade(database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [Migration(None, required_revision()), *[Migration(required_revision(), required_revision())] * 3] == sorted(
        done, key=lambda it: it.before or ""
    )


def test_an_upgrade_names_the_session_that_locks_a_table(migrated):
    """It ends after 3 s, so that the sinks waiting after it get their locks."""
    migrate.downgrade(migrated, "0001_trades")
    reader = create_engine_for(migrated, application_name="a-report")
    with reader.connect() as reading:
        reading.execute(text("SELECT FROM trades"))

        with pytest.raises(DatabaseUnavailable) as raised:
            migrate.upgrade(migrated)

    assert re.search(
        r"the tables are locked: process \d+ of user postgres, a-report, in a transaction since \d{4}-",
        str(raised.value),
    )
    assert required_revision() == migrate.upgrade(migrated).after


def test_an_upgrade_names_the_session_that_holds_the_lock_of_migrations(migrated, caplog):
    """Any role may take that lock."""
    with create_engine_for(migrated, application_name="an-intruder").connect() as holding:
        holding.execute(text("SELECT pg_advisory_lock(hashtext('tradepipe_revision'))"))

        with pytest.raises(DatabaseUnavailable, match=r"has not finished: process \d+ of user postgres, an-intruder"):
            migrate.upgrade(migrated, lock_seconds=0.1)

    assert 1 == caplog.text.count("waiting for another migration of this database: process")


PLANTED = """
    CREATE TABLE public.ran_as (who text, what text);
    GRANT INSERT ON public.ran_as TO PUBLIC;
    CREATE FUNCTION public.planted_equal(oid, regclass) RETURNS boolean LANGUAGE sql AS
      $$ INSERT INTO public.ran_as VALUES (current_user, 'operator'); SELECT $1 OPERATOR(pg_catalog.=) $2::oid $$;
    CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = public.planted_equal);
    CREATE FUNCTION public.obj_description(regclass, name) RETURNS text LANGUAGE sql AS
      $$ INSERT INTO public.ran_as VALUES (current_user, 'obj_description'); SELECT NULL::text $$;
    CREATE FUNCTION public.pg_try_advisory_lock(integer) RETURNS boolean LANGUAGE sql AS
      $$ INSERT INTO public.ran_as VALUES (current_user, 'pg_try_advisory_lock'); SELECT true $$;
    CREATE FUNCTION public.pg_advisory_unlock(integer) RETURNS boolean LANGUAGE sql AS
      $$ INSERT INTO public.ran_as VALUES (current_user, 'pg_advisory_unlock'); SELECT true $$;
    CREATE FUNCTION public.planted_more(numeric, integer) RETURNS boolean LANGUAGE sql AS
      $$ INSERT INTO public.ran_as VALUES (current_user, 'more'); SELECT $1 OPERATOR(pg_catalog.>) $2::numeric $$;
    CREATE OPERATOR public.> (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = public.planted_more);
    CREATE FUNCTION public.planted_overlap(text[], text[]) RETURNS boolean LANGUAGE sql AS
      $$ INSERT INTO public.ran_as VALUES (current_user, 'overlap'); SELECT $1 OPERATOR(pg_catalog.&&) $2 $$;
    CREATE OPERATOR public.&& (LEFTARG = text[], RIGHTARG = text[], FUNCTION = public.planted_overlap);
"""
"""Functions and operators whose types match our statements better than PostgreSQL's do (CVE-2018-1058)."""


def test_no_function_or_operator_that_others_created_in_public_runs_with_our_rights(database):
    run(database, PLANTED)

    migrate.upgrade(database)
    with connect(database) as connection:
        check_revision(connection)
        refusals.count(connection, DeadLetterFilter(codes=("FRAMING",)))
    run(database, "UPDATE tradepipe_revision SET version_num = '9001_pre_add_venue'")
    migrate.upgrade(database)
    with batches.connected(database) as connection:
        notional = {"notional": Decimal(5), "currency": "EUR"}
        batches.store(connection, *batches.log(batches.trade(**notional), batches.trade(), None))

    assert 0 == psycopg2_scalar(database, "SELECT count(*) FROM ran_as")


def test_other_tables_of_the_database_are_unchanged(database):
    """Other tables, and the version table of another Alembic environment."""
    run(
        database,
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('theirs')",
        "CREATE TABLE theirs (x int)",
    )

    migrate.upgrade(database)

    assert OURS | {"alembic_version", "theirs"} == tables(database)
    with connect(database) as connection:
        assert ["theirs"] == connection.scalars(text("SELECT version_num FROM alembic_version")).all()


@pytest.mark.slow
def test_autogenerate_does_not_propose_to_drop_the_hosts_tables(migrated):
    run(migrated, "CREATE TABLE theirs (x int)")

    found = alembic(migrated, "check")

    assert (0, "No new upgrade operations detected.\n") == (found.returncode, found.stdout)


def test_the_url_chooses_the_database_schema_of_the_tables(database):
    """`search_path` decides, so the tables can be in a separate database schema."""
    apart = add_schema(database, "apart")

    migrate.upgrade(apart)

    assert set() == tables(database)
    assert OURS == tables(apart)


@pytest.mark.parametrize("by_alembic", [False, True], ids=["migrate upgrade", "alembic upgrade"])
def test_a_second_set_of_tables_is_created_with_a_warning(migrated, by_alembic, caplog):
    """Two may be intended, for example of two environments; or else `search_path` is wrong."""
    apart = add_schema(migrated, "apart")

    if by_alembic:
        warnings = alembic(apart, "upgrade", "head").stderr.splitlines()
    else:
        migrate.upgrade(apart)
        warnings = caplog.messages

    assert OURS == tables(apart)
    assert [
        "creating tables in database schema apart, although database schema public has tradepipe's tables; unless you "
        "want both, drop the new ones, and add ?options=-csearch_path=public to the URL or set search_path "
        "by ALTER ROLE"
    ] == warnings


def test_a_database_schema_whose_tables_were_dropped_by_a_downgrade_is_not_warned_of(migrated, caplog):
    migrate.downgrade(migrated, "base")

    migrate.upgrade(add_schema(migrated, "apart"))

    assert [] == caplog.messages


def test_whoever_asks_for_the_revision_of_another_database_schema_is_told_where_the_tables_are(migrated, caplog):
    assert migrate.current(add_schema(migrated, "apart")) is None

    assert [
        "found no revision: search_path is 'apart', but tradepipe's tables are in database schema public; add "
        "?options=-csearch_path=public to the URL, or set search_path by ALTER ROLE"
    ] == caplog.messages


def test_an_upgrade_of_either_set_of_tables_warns_of_nothing(migrated, caplog):
    apart = add_schema(migrated, "apart")
    migrate.upgrade(apart)
    caplog.clear()

    for database in (migrated, apart):
        migrate.downgrade(database, "0001_trades")
        migrate.upgrade(database)

    assert [] == caplog.messages


def test_a_table_of_our_name_is_not_overwritten(database):
    run(database, "CREATE TABLE trades (theirs int)")

    with pytest.raises(ConfigurationError, match="separate database schema"):
        migrate.upgrade(database)

    assert {"trades"} == tables(database)


def test_a_missing_target_is_reported(migrated):
    with pytest.raises(ConfigurationError, match="cannot downgrade to 'nowhere'"):
        migrate.downgrade(migrated, "nowhere")

    assert required_revision() == migrate.current(migrated)


def test_an_unavailable_database_is_reported():
    with pytest.raises(DatabaseUnavailable):
        migrate.upgrade("postgresql://u@127.0.0.1:1/db")


def test_the_migrations_are_found_in_a_folder_with_a_percent_sign(database, tmp_path, monkeypatch):
    """Alembic reads its configuration with ConfigParser, which would take it for an interpolation."""
    folder = tmp_path / "50%" / "migrations"
    shutil.copytree(str(resources.files("tradepipe.migrations")), folder)
    monkeypatch.setattr(
        resources, "files", {"tradepipe.migrations": folder, "tradepipe.migrations.versions": folder / "versions"}.get
    )

    assert Migration(None, required_revision()) == migrate.upgrade(database)


@pytest.mark.slow
def test_alembics_own_command_works_in_the_repository(database):
    upgraded = alembic(database, "upgrade", "head")

    assert (0, "") == (upgraded.returncode, upgraded.stderr)
    assert upgraded.stdout.splitlines()[0].startswith("the database goes from revision none to 0001")
    assert upgraded.stdout.splitlines()[-1].endswith(f" to {required_revision()}")
    assert required_revision() == migrate.current(database)


@pytest.mark.slow
def test_alembics_own_command_prints_sql_without_a_database(database):
    printed = alembic(None, "upgrade", "head", "--sql")
    with connect(database) as connection:
        connection.exec_driver_sql(re.sub(r"^(BEGIN|COMMIT);$", "", printed.stdout, flags=re.M))
        connection.commit()

    assert required_revision() == migrate.current(database)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database", "message"),
    [
        (None, "FAILED: set DATABASE_URL"),
        ("mysql://u:s3cret@h/db", "FAILED: the database URL begins with mysql://"),
        ("postgresql://u:s3cret@127.0.0.1:1/db", "FAILED: PostgreSQL is unavailable"),
    ],
    ids=["none", "not PostgreSQL", "unavailable"],
)
def test_alembics_own_command_fails_in_one_sentence(database, message):
    failed = alembic(database, "current")

    assert message in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr
    assert "s3cret" not in failed.stdout + failed.stderr


def test_a_removal_counts_after_later_revisions(newer_database):
    """The version table alone would not show it to an older build."""
    connection, _ = newer_database

    with pytest.raises(ConfigurationError, match=r"at revision 9003_pre_add_trader, past 9002_post_drop_book"):
        check_revision(connection)


def test_a_removal_that_was_taken_back_is_forgotten(newer_database):
    connection, config = newer_database

    command.downgrade(config, "9001_pre_add_venue")

    check_revision(connection)


def test_an_older_build_does_not_change_a_newer_database(newer_database, migrated):
    connection, config = newer_database
    command.downgrade(config, "9001_pre_add_venue")
    connection.close()

    assert Migration("9001_pre_add_venue", "9001_pre_add_venue") == migrate.upgrade(migrated)


def test_an_older_build_does_not_call_a_database_past_a_removal_up_to_date(newer_database, migrated):
    """The upgrade fails at once, instead of each sink at its start."""
    connection, _ = newer_database
    connection.close()

    with pytest.raises(ConfigurationError, match=r"past 9002_post_drop_book.*upgrade this build"):
        migrate.upgrade(migrated)


def test_a_build_that_knows_a_removal_works_with_the_database_after_it(newer_database, monkeypatch):
    """Also where the removal is the last revision it knows."""
    connection, config = newer_database
    versions = Path(config.get_main_option("script_location")) / "versions"
    (versions / "9003_pre_add_trader.py").unlink()
    monkeypatch.setattr(resources, "files", {"tradepipe.migrations.versions": versions}.get)

    assert "9002_post_drop_book" == required_revision()
    check_revision(connection)


def test_every_revision_is_named_after_its_file():
    config = Config()
    config.set_main_option("script_location", str(resources.files("tradepipe.migrations")))
    walked = ScriptDirectory.from_config(config).walk_revisions()

    assert list(reversed(revisions())) == [script.revision for script in walked]


def test_revisions_import_nothing_of_ours():
    """They are history, while our modules change."""
    folder = resources.files("tradepipe.migrations.versions")
    imported = {
        module
        for name in revisions()
        for module in re.findall(r"^\s*(?:from|import) (\w+)", (folder / f"{name}.py").read_text(), flags=re.M)
    }

    assert imported <= {"alembic", "sqlalchemy"}
