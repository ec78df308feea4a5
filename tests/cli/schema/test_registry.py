"""`schema register` and `schema drift` on a registry."""

import json

import pytest

from tests.cli.commands import door
from tests.evolution.schemas import decimal, field, record, text
from tests.evolution.test_freeze import history, write
from tradepipe.registry.client import SchemaRegistry

ID = field("trade_id")
V1, V2 = record(ID), record(ID, field("note", default=""))


@pytest.fixture
def env(services, subject):
    return {"SCHEMA_REGISTRY_URL": services.registry_url, "TRADEPIPE_SUBJECT": subject}


@pytest.fixture
def client(services):
    with SchemaRegistry(services.registry_url) as client:
        yield client


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, history(V1, V2))


def schema(command, *arguments, env):
    done = door("schema", command, *map(str, arguments), env=env)
    assert "Traceback" not in done.err
    return done


def test_any_history_can_be_registered(env, folder, client, subject):
    done = schema("register", "--history", folder, env=env)

    assert 0 == done.code, done.err
    assert [1, 2] == client.versions(subject)
    assert done.out.endswith(f"{subject}: compatibility level FULL_TRANSITIVE\n")


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(env, folder, client, subject):
    client.register(subject, text(V1))
    level = client.level(subject)

    done = schema("register", "--history", folder, "--dry-run", env=env)

    registered = client.version(subject, 1).schema_id
    assert (
        f"{subject}: version 1 already has id {registered}\n"
        f"{subject}: version 2 would be registered\n"
        f"{subject}: compatibility level {level or 'not set'}, would be FULL_TRANSITIVE\n"
    ) == done.out
    assert [1] == client.versions(subject)
    assert level == client.level(subject)


def test_a_program_is_told_what_was_registered(env, folder, client, subject):
    first = client.register(subject, text(V1))

    planned = schema("register", "--history", folder, "--dry-run", "--format", "json", env=env)
    done = schema("register", "--history", folder, "--format", "json", env=env)

    outcomes = [[each["outcome"] for each in json.loads(it.out)["cases"]] for it in (planned, done)]
    assert [["unchanged", "planned", "planned"], ["unchanged", "registered", "registered"]] == outcomes
    assert (first, "register") == (json.loads(done.out)["cases"][0]["schema_id"], json.loads(done.out)["command"])


@pytest.mark.parametrize(
    ("form", "told"),
    [("junit", "<system-out>{}: version 1 has id"), ("github", "::notice title={} [registered]::{}: version 1 has id")],
)
def test_a_ci_server_is_told_what_was_registered(env, folder, subject, form, told):
    done = schema("register", "--history", folder, "--format", form, env=env)

    assert told.format(subject, subject) in done.out


@pytest.mark.parametrize("command", ["register", "drift"])
def test_a_folder_without_a_version_is_a_usage_error(env, tmp_path, command):
    done = schema(command, "--history", tmp_path, env=env)

    assert 2 == done.code
    assert "has no versions: v001.avsc does not exist" in " ".join(done.err.split())


def test_a_warning_keeps_nothing_from_being_registered_and_is_told(env, tmp_path, subject):
    renamed = history(record(ID, name="Trade", namespace="a"), record(ID, name="Trade", namespace="b"))

    done = schema("register", "--history", write(tmp_path, renamed), env=env)

    assert 0 == done.code, done.err
    assert "[namespace]" in done.out
    assert done.out.endswith(f"{subject}: compatibility level FULL_TRANSITIVE\n")


def test_a_released_version_that_was_changed_is_not_registered(env, folder, client, subject):
    (folder / "v001.avsc").write_text(text(record(field("trade_id", "bytes"))))

    done = schema("register", "--history", folder, env=env)

    assert 1 == done.code
    assert "[frozen-changed]" in done.out
    assert [] == client.versions(subject)


def test_what_breaks_is_explained_and_nothing_is_registered(env, tmp_path, client, subject):
    schemas = [record(ID, field("amount", decimal(16, scale))) for scale in (2, 4)]

    done = schema("register", "--history", write(tmp_path, history(*schemas)), env=env)

    assert 1 == done.code
    assert "[decimal-scale]" in done.out
    assert [] == client.versions(subject)


def test_what_breaks_under_one_subject_is_registered_under_none(env, folder, client, subject):
    also = f"{subject}.clean"
    client.register(also, text(record(field("trade_id", "long"))))

    done = schema("register", "--history", folder, "--also", also, env=env)

    assert 1 == done.code
    assert f"version 1 of subject {also}" in " ".join(done.out.split())
    assert [] == client.versions(subject)


def test_a_registry_that_agrees_ends_with_0(env, folder, subject):
    schema("register", "--history", folder, env=env)

    done = schema("drift", "--history", folder, env=env)

    assert (0, f"{subject} and 2 versions: no errors, no warnings") == (done.code, " ".join(done.out.split()))


def test_drift_is_explained_and_ends_with_1(env, folder, client, subject):
    client.register(subject, text(V1))

    done = schema("drift", "--history", folder, "--format", "json", env=env)

    found = [each["rule"] for case in json.loads(done.out)["cases"] for each in case["findings"]]
    assert (1, ["drift-missing", "drift-level-unset"]) == (done.code, found)


def test_several_subjects_are_compared_at_once(env, folder, subject):
    schema("register", "--history", folder, env=env)

    done = schema("drift", "--history", folder, "--also", f"{subject}.clean", env=env)

    assert 1 == done.code
    assert f"has no version of subject {subject}.clean" in " ".join(done.out.split())


def test_the_shipped_history_does_not_drift_once_it_is_registered(env):
    schema("register", env=env)

    assert 0 == schema("drift", env=env).code
