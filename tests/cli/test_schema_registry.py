"""`schema register`, `pull` and `drift`, on a registry."""

import json

import pytest

from tests.cli.doors import door
from tests.contract.schemas import decimal, field, record, text
from tests.contract.test_frozen import history, write
from tradepipe.cli.schema_registry import pulled
from tradepipe.contract.frozen import unfrozen
from tradepipe.contract.history import History, fingerprint
from tradepipe.errors import Misconfigured
from tradepipe.wire.registry import Registered, SchemaRegistry

ID = field("trade_id")
V1, V2 = record(ID), record(ID, field("note", default=""))


@pytest.fixture
def env(parts, subject):
    return {"SCHEMA_REGISTRY_URL": parts.registry_url, "TRADEPIPE_SUBJECT": subject}


@pytest.fixture
def client(parts):
    with SchemaRegistry(parts.registry_url) as client:
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
        f"{subject}: version 1 has id {registered} already\n"
        f"{subject}: version 2 would be registered\n"
        f"{subject}: compatibility level {level or 'none of its own'}, would be FULL_TRANSITIVE\n"
    ) == done.out
    assert [1] == client.versions(subject)
    assert level == client.level(subject)


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


def test_what_was_registered_is_pulled_as_a_history(env, folder, tmp_path, subject):
    schema("register", "--history", folder, env=env)
    pulled = tmp_path / "pulled"

    done = schema("pull", pulled, env=env)

    made = History.load(pulled)
    assert 0 == done.code, done.err
    assert [f"{pulled}/v001.avsc: version 1 of {subject}, id"] == [done.out.splitlines()[0].rpartition(" ")[0]]
    assert [each.sha256 for each in History.load(folder).versions] == [each.sha256 for each in made.versions]
    assert ("FULL_TRANSITIVE", ()) == (made.level, unfrozen(made))
    assert 0 == schema("check", "--history", pulled, env={}).code


def test_what_is_pulled_is_numbered_without_gaps_and_laid_out_to_be_read():
    there = [Registered("s", number, number, text(schema)) for number, schema in ((3, V1), (7, V2))]

    made = pulled(there, None)

    assert [1, 2] == [version.number for version in made.versions]
    assert fingerprint(text(V2)) == made.versions[1].sha256
    assert len(made.versions[1].text.splitlines()) > 10
    assert "FULL_TRANSITIVE" == made.level


def test_a_subject_that_is_not_avro_is_not_pulled():
    with pytest.raises(Misconfigured, match="version 3 of subject s is no Avro schema"):
        pulled([Registered("s", 3, 9, 'syntax = "proto3";')], None)


def test_a_folder_that_holds_something_is_not_pulled_into(env, folder):
    done = schema("pull", folder, env=env)

    assert 2 == done.code
    assert "is not an empty folder" in done.err


def test_a_subject_that_is_not_there_is_not_pulled(env, tmp_path):
    done = schema("pull", tmp_path / "new", env=env)

    assert 78 == done.code
    assert "no subject" in done.err
    assert not (tmp_path / "new").exists()


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
    assert f"holds no version of subject {subject}.clean" in " ".join(done.out.split())


def test_the_shipped_history_does_not_drift_once_it_is_registered(env):
    schema("register", env=env)

    assert 0 == schema("drift", env=env).code
