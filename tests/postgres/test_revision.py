"""Which databases a build can work with."""

import logging

import pytest
from sqlalchemy import Connection, text

from tradepipe.errors import ConfigurationError, DatabaseOutdated
from tradepipe.postgres import migrate
from tradepipe.postgres.packaged_revisions import required_revision, revisions
from tradepipe.postgres.revision import check_revision, current, is_post
from tradepipe.postgres.session import create_engine_for


def set_revision(connection: Connection, revision: str, last_post: str | None = None) -> None:
    """Set the database to a revision of a later build."""
    connection.execute(text("UPDATE tradepipe_revision SET version_num = :revision"), {"revision": revision})
    if last_post is not None:
        connection.execute(text(f"COMMENT ON TABLE tradepipe_revision IS '{last_post}'"))


def test_revisions_are_numbered_without_a_gap():
    assert [f"{number:04d}" for number in range(1, len(revisions()) + 1)] == [name[:4] for name in revisions()]


def test_the_head_is_the_last_revision():
    assert revisions()[-1] == required_revision()


def test_a_revision_fits_into_alembics_version_table():
    assert [] == [revision for revision in revisions() if len(revision) > 32]


@pytest.mark.parametrize(
    ("revision", "expected"),
    [("0001_trades", False), ("0003_pre_add_post_code", False), ("0004_post_drop_exchange", True)],
)
def test_the_id_shows_whether_a_revision_removes_something(revision, expected):
    assert expected == is_post(revision)


def test_a_database_at_the_head_is_fine(connection):
    check_revision(connection)

    assert required_revision() == current(connection)


@pytest.mark.parametrize("emptied", [False, True], ids=["without a version table", "with an empty one"])
def test_a_database_without_tables_is_outdated(database, emptied):
    if emptied:
        migrate.upgrade(database)
        migrate.downgrade(database, "base")
    with create_engine_for(database, application_name="test").connect() as connection:
        with pytest.raises(
            DatabaseOutdated, match=f"none, this build needs {required_revision()}.*tradepipe migrate upgrade"
        ):
            check_revision(connection)

        assert current(connection) is None


def test_tables_in_a_schema_that_search_path_lacks_are_not_reported_as_missing(connection):
    """`migrate upgrade` would create others in another schema."""
    connection.execute(text("CREATE SCHEMA elsewhere; SET search_path = elsewhere"))

    with pytest.raises(DatabaseOutdated) as raised:
        check_revision(connection)

    assert str(raised.value) == (
        f"the database is at revision none, this build needs {required_revision()}: search_path is 'elsewhere', but "
        "tradepipe's tables are in database schema public; add ?options=-csearch_path=public to the URL, or set "
        "search_path by ALTER ROLE"
    )


def test_tables_in_a_schema_that_the_role_may_not_use_are_not_reported_as_missing(connection):
    """PostgreSQL takes such a schema of search_path for one that does not exist."""
    connection.execute(
        text(
            "CREATE SCHEMA apart; ALTER TABLE tradepipe_revision SET SCHEMA apart; "
            "ALTER TABLE sink_offsets SET SCHEMA apart; "
            "CREATE ROLE reader; SET LOCAL ROLE reader; SET search_path = apart"
        )
    )

    with pytest.raises(DatabaseOutdated, match="in database schema apart, on which role reader lacks USAGE; GRANT it"):
        check_revision(connection)


@pytest.mark.parametrize("path", ["''", "missing, 'as well'"])
def test_a_search_path_without_a_schema_that_exists_is_named(database, path):
    with create_engine_for(database, application_name="test").connect() as connection:
        connection.execute(text(f"SET search_path = {path}"))
        with pytest.raises(DatabaseOutdated, match=r"search_path is '.*', which names no database schema that exists"):
            check_revision(connection)


def test_the_error_of_an_outdated_database_names_both_revisions(connection):
    set_revision(connection, "0000_older")

    with pytest.raises(DatabaseOutdated, match=f"0000_older, this build needs {required_revision()}"):
        check_revision(connection)


def test_a_database_ahead_is_allowed_and_logged(connection, caplog):
    set_revision(connection, "9001_pre_add_venue")

    with caplog.at_level(logging.INFO):
        check_revision(connection)

    assert "9001_pre_add_venue, ahead of" in caplog.text


@pytest.mark.parametrize(
    ("revision", "last_post"),
    [("9001_post_drop_book", None), ("9002_pre_add_venue", "9001_post_drop_book")],
    ids=["the latest", "one before the latest"],
)
def test_a_database_past_a_removal_is_not_allowed(connection, revision, last_post):
    set_revision(connection, revision, last_post)

    with pytest.raises(ConfigurationError, match=r"past 9001_post_drop_book.*upgrade this build"):
        check_revision(connection)


def test_a_removal_this_build_knows_does_no_harm(connection):
    set_revision(connection, "9002_pre_add_venue", "0000_post_drop_exchange")

    check_revision(connection)


@pytest.mark.parametrize("revision", [f"{required_revision()[:4]}_other", "a1b2c3", "9001"])
def test_a_revision_that_is_not_ours_is_not_allowed(connection, revision):
    set_revision(connection, revision)

    with pytest.raises(ConfigurationError, match=revision):
        check_revision(connection)


def test_a_version_table_with_two_revisions_is_not_allowed(connection):
    connection.execute(text("INSERT INTO tradepipe_revision VALUES ('0009_pre_more')"))

    with pytest.raises(ConfigurationError, match=f"several revisions, {required_revision()}, 0009_pre_more"):
        current(connection)
