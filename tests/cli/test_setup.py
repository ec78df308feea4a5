"""What prepares the services: `migrate`, `schema` and `topics`."""

import uuid

import pytest

from tests.cli.commands import ask, run_command
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.postgres.packaged_revisions import required_revision
from tradepipe.registry.client import SchemaRegistry


def test_migrate_prints_the_revisions_before_and_after(env):
    first, second = (run_command("migrate", "upgrade", env=env) for _ in range(2))

    assert (0, f"upgraded the database from revision none to {required_revision()}\n") == first[:2]
    assert (0, f"the database is already at revision {required_revision()}\n") == second[:2]
    assert [(0,)] == ask(env["DATABASE_URL"], "SELECT count(*) FROM trades")


def test_migrate_prints_the_current_revision(ready):
    done = run_command("migrate", "current", env=ready)

    assert (0, f"the database is at revision {required_revision()}; this build needs {required_revision()}\n") == done[
        :2
    ]


def test_there_is_no_revision_to_draft_while_the_revisions_make_what_is_declared(ready):
    done = run_command("migrate", "draft", env=ready)

    nothing = f"nothing to draft: the revisions up to {required_revision()} make what trade/model.py declares\n"
    assert (0, nothing, "") == done


def test_there_is_no_schema_to_draft_while_the_newest_version_is_what_is_declared():
    done = run_command("schema", "draft", env={})

    assert (0, "", "nothing to draft: version 2 is what trade/model.py declares\n") == done


def test_a_revision_is_not_drafted_into_an_installed_package(ready, tmp_path):
    done = run_command("migrate", "draft", "--revisions", str(tmp_path / "site-packages" / "x"), env=ready)

    assert 2 == done.code
    assert "belongs to the installed package: pass the directory in your repository" in done.err


def test_schema_register_prints_which_versions_are_new(env, subject, services):
    also = f"{subject}.clean"
    first, second = (run_command("schema", "register", "--also", also, env=env) for _ in range(2))

    with SchemaRegistry(services.registry_url) as registry:
        registered = registry.version(subject, 1)
        assert "FULL_TRANSITIVE" == registry.level(also)
    assert 0 == first.code, first.err
    assert f"{subject}: version 1 has id {registered.schema_id}, new" == first.out.splitlines()[0]
    assert f"{also}: compatibility level FULL_TRANSITIVE" == first.out.splitlines()[-1]
    assert f"{subject}: version 1 has id {registered.schema_id}, already registered" == second.out.splitlines()[0]


def test_schema_register_sets_the_given_level(env, subject, services):
    assert 0 == run_command("schema", "register", "--level", "BACKWARD", env=env).code

    with SchemaRegistry(services.registry_url) as registry:
        assert "BACKWARD" == registry.level(subject)


def test_an_existing_topic_is_not_changed(env, topic):
    done = run_command("topics", "create", "--partitions", "9", env=env)

    assert (0, f"topic {topic} already exists with 4 partitions\n") == done[:2]


@pytest.mark.real
def test_a_topic_is_created(addresses):
    name = f"trades-{uuid.uuid4().hex}"

    done = run_command(
        "topics", "create", "--topic", name, "--partitions", "3", "-c", "retention.ms=60000", env=addresses
    )

    topics = TopicAdmin({"bootstrap.servers": addresses["KAFKA_BOOTSTRAP_SERVERS"]})
    assert (0, f"created topic {name} with 3 partitions\n") == done[:2]
    assert (0, 1, 2) == topics.describe(name).partitions


@pytest.mark.real
def test_a_compacted_topic_that_exists_is_refused(addresses, services):
    name = f"trades-{uuid.uuid4().hex}"
    services.kafka.create_topic(name, config={"cleanup.policy": "compact"})

    done = run_command("topics", "create", "--topic", name, env=addresses)

    assert 78 == done.code
    assert "set cleanup.policy=delete" in done.err
