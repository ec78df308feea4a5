"""`schema register`, `schema pull` and `schema drift` on a registry."""

import json

import pytest

from tests.cli.commands import run_command
from tests.evolution.schemas import decimal, field, record, text
from tests.evolution.test_freeze import history, write
from tradepipe.cli.schema.registry import pull_versions
from tradepipe.errors import ConfigurationError
from tradepipe.evolution.freeze import check_frozen
from tradepipe.evolution.history import History, fingerprint
from tradepipe.registry.client import RegisteredSchema, SchemaRegistry

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
    done = run_command("schema", command, *map(str, arguments), env=env)
    assert "Traceback" not in done.err
    return done


def test_any_history_can_be_registered(env, folder, client, subject):
    done = schema("register", "--history", folder, env=env)

    assert 0 == done.code, done.err
    assert [1, 2] == client.versions(subject)
    assert done.out.endswith(f"{subject}: compatibility level FULL_TRANSITIVE\n")


def test_a_dry_run_prints_the_plan_and_changes_nothing(env, folder, client, subject):
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


@pytest.mark.output
def test_json_lists_the_registered_versions(env, folder, client, subject):
    first = client.register(subject, text(V1))

    planned = schema("register", "--history", folder, "--dry-run", "--format", "json", env=env)
    done = schema("register", "--history", folder, "--format", "json", env=env)

    outcomes = [[each["outcome"] for each in json.loads(it.out)["cases"]] for it in (planned, done)]
    assert [["unchanged", "planned", "planned"], ["unchanged", "registered", "registered"]] == outcomes
    assert (first, "register") == (json.loads(done.out)["cases"][0]["schema_id"], json.loads(done.out)["command"])


@pytest.mark.output
@pytest.mark.parametrize(
    ("form", "message"),
    [("junit", "<system-out>{}: version 1 has id"), ("github", "::notice title={} [registered]::{}: version 1 has id")],
)
def test_junit_and_annotations_list_the_registered_versions(env, folder, subject, form, message):
    done = schema("register", "--history", folder, "--format", form, env=env)

    assert message.format(subject, subject) in done.out


@pytest.mark.output
@pytest.mark.parametrize("command", ["register", "drift"])
def test_a_folder_without_a_version_is_a_usage_error(env, tmp_path, command):
    done = schema(command, "--history", tmp_path, env=env)

    assert 2 == done.code
    assert "has no versions: v001.avsc does not exist" in " ".join(done.err.split())


def test_a_warning_is_printed_and_does_not_prevent_registration(env, tmp_path, subject):
    renamed = history(record(ID, name="Trade", namespace="a"), record(ID, name="Trade", namespace="b"))

    done = schema("register", "--history", write(tmp_path, renamed), env=env)

    assert 0 == done.code, done.err
    assert "[namespace]" in done.out
    assert done.out.endswith(f"{subject}: compatibility level FULL_TRANSITIVE\n")


@pytest.mark.output
def test_a_released_version_that_was_changed_is_not_registered(env, folder, client, subject):
    (folder / "v001.avsc").write_text(text(record(field("trade_id", "bytes"))))

    done = schema("register", "--history", folder, env=env)

    assert 1 == done.code
    assert "[frozen-changed]" in done.out
    assert [] == client.versions(subject)


def test_an_incompatible_version_is_explained_and_nothing_is_registered(env, tmp_path, client, subject):
    schemas = [record(ID, field("amount", decimal(16, scale))) for scale in (2, 4)]

    done = schema("register", "--history", write(tmp_path, history(*schemas)), env=env)

    assert 1 == done.code
    assert "[decimal-scale]" in done.out
    assert [] == client.versions(subject)


def test_a_version_incompatible_with_one_subject_is_registered_under_no_subject(env, folder, client, subject):
    also = f"{subject}.clean"
    client.register(also, text(record(field("trade_id", "long"))))

    done = schema("register", "--history", folder, "--also", also, env=env)

    assert 1 == done.code
    assert f"version 1 of subject {also}" in " ".join(done.out.split())
    assert [] == client.versions(subject)


def test_registered_versions_are_pulled_as_a_history(env, folder, tmp_path, subject):
    schema("register", "--history", folder, env=env)
    pulled = tmp_path / "pulled"

    done = schema("pull", pulled, env=env)

    made = History.load(pulled)
    assert 0 == done.code, done.err
    assert [f"{pulled}/v001.avsc: version 1 of {subject}, id"] == [done.out.splitlines()[0].rpartition(" ")[0]]
    assert [each.sha256 for each in History.load(folder).versions] == [each.sha256 for each in made.versions]
    assert ("FULL_TRANSITIVE", ()) == (made.level, check_frozen(made))
    assert 0 == schema("check", "--history", pulled, env={}).code


def test_pulled_versions_are_numbered_without_gaps_and_indented():
    there = [RegisteredSchema("s", number, number, text(schema)) for number, schema in ((3, V1), (7, V2))]

    made = pull_versions(there, None)

    assert [1, 2] == [version.number for version in made.versions]
    assert fingerprint(text(V2)) == made.versions[1].sha256
    assert len(made.versions[1].text.splitlines()) > 10
    assert "FULL_TRANSITIVE" == made.level


@pytest.mark.parametrize(
    ("schema", "schema_type"),
    [
        ('syntax = "proto3";', "PROTOBUF"),
        ('{"type": "object"}', "JSON"),
        ('{"type": "object"}', "AVRO"),
        ('"int"', "JSON"),
    ],
    ids=["Protobuf", "JSON Schema", "JSON Schema without its type", "JSON Schema that Avro could parse"],
)
def test_a_subject_that_is_not_avro_is_not_pulled(schema, schema_type):
    with pytest.raises(ConfigurationError, match="version 3 of subject s is not an Avro schema"):
        pull_versions([RegisteredSchema("s", 3, 9, schema, schema_type)], None)


@pytest.mark.output
@pytest.mark.parametrize("stranger", ["README.md", "v001.avsc", ".gitkeep"])
def test_only_an_empty_directory_is_pulled_into(env, tmp_path, stranger):
    (tmp_path / stranger).write_text("{}")

    done = schema("pull", tmp_path, env=env)

    assert 2 == done.code
    assert "is not empty: choose another directory" in " ".join(done.err.split())
    assert [stranger] == [each.name for each in tmp_path.iterdir()]


@pytest.mark.output
@pytest.mark.parametrize("there", [".", "file", "file/further", "/proc/none"])
def test_a_directory_that_cannot_be_written_is_a_usage_error(env, folder, tmp_path, there):
    (tmp_path / "file").write_text("")
    schema("register", "--history", folder, env=env)

    done = schema("pull", tmp_path / there, env=env)

    assert 2 == done.code, done.err
    assert "'DIR'" in done.err


@pytest.mark.output
@pytest.mark.parametrize("form", ["text", "json", "junit", "github"])
def test_pulled_versions_are_reported_in_each_format(env, tmp_path, client, subject, form):
    known = client.register(subject, text(V1))
    expected = {
        "text": f"v001.avsc: version 1 of {subject}, id {known}\n",
        "json": f'"version": 1,\n      "schema_id": {known},\n      "outcome": "written",',
        "junit": f"<system-out>Written: version 1 of {subject}, id {known}.</system-out>",
        "github": f"v001.avsc [written]::Written: version 1 of {subject}, id {known}.\n",
    }

    done = schema("pull", tmp_path / "new", "--format", form, env=env)

    assert 0 == done.code, done.err
    assert expected[form] in done.out


def test_a_missing_subject_is_reported(env, tmp_path):
    done = schema("pull", tmp_path / "new", env=env)

    assert 78 == done.code
    assert "no subject" in done.err
    assert not (tmp_path / "new").exists()


def test_a_registry_that_agrees_ends_with_0(env, folder, subject):
    schema("register", "--history", folder, env=env)

    done = schema("drift", "--history", folder, env=env)

    assert (0, f"{subject} compared with 2 versions: no errors, no warnings") == (done.code, " ".join(done.out.split()))


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
