"""`tradepipe topics`."""

import uuid

import pytest

from tests.cli.commands import run_command
from tests.cli.test_usage_errors import refused
from tradepipe.cli import topics
from tradepipe.kafka.admin import Topic, TopicAdmin
from tradepipe.pipeline.topic_checks import COMPRESSION_RISK, Severity, check_settings

NOWHERE = "127.0.0.1:1"
"""An address without a server."""

GOOD = {
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
    "compression.type": "zstd",
}


def grades(replication=3, **settings):
    """What is not fine, by setting."""
    config = GOOD | {name.replace("_", "."): value for name, value in settings.items()}
    found = check_settings(Topic("trades", "id", (0, 1), replication), config)
    return {verdict.setting: verdict.severity for verdict in found if verdict.severity is not Severity.FINE}


def test_a_production_topic_is_fine():
    assert {} == grades()


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"cleanup_policy": "compact,delete"}, {"cleanup.policy": Severity.FINDING}),
        ({"unclean_leader_election_enable": "true"}, {"unclean.leader.election.enable": Severity.FINDING}),
        ({"min_insync_replicas": "4"}, {"min.insync.replicas": Severity.FINDING}),
        ({"min_insync_replicas": "3"}, {"min.insync.replicas": Severity.ADVICE}),
        ({"min_insync_replicas": "1"}, {"min.insync.replicas": Severity.ADVICE}),
        ({"replication": 2}, {"replication factor": Severity.ADVICE, "min.insync.replicas": Severity.ADVICE}),
        ({"retention_ms": "86400000"}, {"retention.ms": Severity.ADVICE}),
        ({"retention_ms": "-1"}, {}),
        ({"retention_bytes": "1000000000"}, {"retention.bytes": Severity.ADVICE}),
        ({"max_message_bytes": "10000"}, {"max.message.bytes": Severity.ADVICE}),
        ({"compression_type": "producer"}, {"compression.type": Severity.ADVICE}),
    ],
    ids=str,
)
def test_a_broken_guarantee_is_a_finding_and_a_weakened_one_is_advice(settings, found):
    assert found == grades(**settings)


def test_one_broker_is_named_in_the_singular():
    found = {each.setting: each.reason for each in check_settings(Topic("trades", "id", (0,), 1), GOOD)}

    assert "more than the replication factor 1: no trade can be acknowledged" == found["min.insync.replicas"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("create --partitions=9999999999", "less than or equal to 100000"),
        ("create --replication=99999", "less than or equal to 10000"),
        ("create --retention=soon", "7d, 48h, 90m, or forever"),
        ("create --retention=7d -c retention.ms=1", "set the same property"),
        ("create --min-insync-replicas=2 -c min.insync.replicas=1", "set the same property"),
        ("create --min-insync-replicas=2 --replication=1", "no trade could be acknowledged"),
        ("check --nonsense", "No such option"),
    ],
)
def test_contradictory_arguments_are_a_usage_error(env, arguments, text):
    code, message = refused("topics", arguments, env)

    assert 2 == code
    assert text in message


def test_a_missing_topic_is_reported_with_the_command_that_creates_it(env):
    code, message = refused("topics", "check --topic=missing", env)

    assert 78 == code
    assert "tradepipe topics create --topic missing" in message


def test_the_check_ends_at_the_deadline_if_no_broker_answers(env):
    code, message = refused("topics", f"check --bootstrap-servers={NOWHERE} --deadline=1", env)

    assert 75 == code
    assert "gave up after 1 s" in message


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("check", "the broker returned no settings"),
        ("create --topic=new --retention=7d", "creates topics with 4 partitions and without settings"),
    ],
)
def test_a_refused_describe_request_is_one_sentence(env, arguments, text):
    code, message = refused("topics", arguments, env)

    assert 78 == code
    assert text in message


@pytest.mark.real
def test_retention_and_in_sync_replicas_have_options(addresses):
    name = f"trades-{uuid.uuid4().hex}"

    done = run_command(
        "topics", "create", "--topic", name, "--retention", "48h", "--min-insync-replicas", "1", env=addresses
    )

    assert 0 == done.code, done.err
    settings = TopicAdmin({"bootstrap.servers": addresses["KAFKA_BOOTSTRAP_SERVERS"]}).config(name)
    assert ("172800000", "1") == (settings["retention.ms"], settings["min.insync.replicas"])


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "compression"),
    [((), "zstd"), (("-c", "compression.type=lz4"), "lz4"), (("-c", "compression.type=producer"), "producer")],
    ids=str,
)
def test_a_new_topic_compresses_by_zstd_unless_another_codec_is_chosen(addresses, options, compression):
    name = f"trades-{uuid.uuid4().hex}"

    done = run_command("topics", "create", "--topic", name, *options, env=addresses)

    assert (0, "") == (done.code, done.err)
    settings = TopicAdmin({"bootstrap.servers": addresses["KAFKA_BOOTSTRAP_SERVERS"]}).config(name)
    assert compression == settings["compression.type"]


@pytest.mark.real
def test_a_broker_that_refuses_the_compression_is_a_warning_with_the_consequence(addresses, monkeypatch):
    """As a managed service that allows no such setting."""
    monkeypatch.setitem(topics.PREFERRED, "compression.type", "refused")
    name = f"trades-{uuid.uuid4().hex}"

    done = run_command("topics", "create", "--topic", name, env=addresses)

    assert (0, f"created topic {name} with 4 partitions\n") == done[:2]
    (line,) = done.err.splitlines()
    assert line.startswith("Warning: the broker refused compression.type=refused (")
    assert line.endswith(f"): {COMPRESSION_RISK}")


@pytest.mark.real
def test_creating_a_topic_that_can_acknowledge_nothing_prints_a_note(addresses):
    """By its brokers' default replication, which is unknown before."""
    name = f"trades-{uuid.uuid4().hex}"

    done = run_command("topics", "create", "--topic", name, "--min-insync-replicas", "2", env=addresses)

    assert (0, f"created topic {name} with 4 partitions\n") == done[:2]
    assert (
        "Note: min.insync.replicas is 2: more than the replication factor 1: no trade can be acknowledged\n" == done.err
    )


@pytest.mark.real
def test_a_check_prints_each_setting_and_ends_with_0_for_advice(env, topic):
    done = run_command("topics", "check", env=env)

    assert 0 == done.code, done.err
    assert f"topic {topic}: findings 0, advice 3" == done.out.splitlines()[-1]
    assert any(line.startswith("replication factor") and " advice " in line for line in done.out.splitlines())
    assert 1 == run_command("topics", "check", "--strict", env=env).code


@pytest.mark.real
def test_a_finding_ends_the_check_with_1(addresses, services):
    name = f"trades-{uuid.uuid4().hex}"
    services.kafka.create_topic(name, config={"cleanup.policy": "compact"})

    done = run_command("topics", "check", "--topic", name, env=addresses)

    assert 1 == done.code, done.err
    assert "compaction drops versions of trades" in done.out


@pytest.mark.real
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("create --topic=new --replication=5", "replication"),
        ("create --topic=new -c no.such.setting=1", "no.such.setting"),
        ("create --topic=new -c retention.ms=soon", "retention.ms"),
    ],
)
def test_a_request_that_kafka_refuses_is_one_message(addresses, arguments, text):
    code, message = refused("topics", arguments, addresses)

    assert 78 == code
    assert text in message


@pytest.fixture
def weekly(services) -> str:
    """A topic of three partitions that is kept for a week."""
    name = f"trades-{uuid.uuid4().hex}"
    services.kafka.create_topic(name, partitions=3, config={"retention.ms": "604800000"})
    return name


@pytest.mark.real
def test_a_topic_like_another_takes_what_a_validator_writes_into_it(addresses, weekly):
    name = f"{weekly}.dlq"

    done = run_command("topics", "create", "--topic", name, "--like", weekly, env=addresses)

    assert (0, f"created topic {name} with 3 partitions\n") == (done.code, done.out), done.err
    settings = TopicAdmin({"bootstrap.servers": addresses["KAFKA_BOOTSTRAP_SERVERS"]}).config(name)
    assert ("604800000", "1064972") == (settings["retention.ms"], settings["max.message.bytes"])
    assert str(2**63 - 1) == settings["message.timestamp.after.max.ms"]
    checked = run_command("topics", "check", "--topic", name, "--like", weekly, env=addresses)
    assert "fits the largest record of its source, also as a dead letter" in checked.out


@pytest.mark.real
def test_a_topic_with_lower_limits_than_its_source_is_reported(addresses, weekly, services):
    name = f"{weekly}.clean"
    limits = {"retention.ms": "3600000", "max.message.bytes": "500000", "message.timestamp.after.max.ms": "1000"}
    services.kafka.create_topic(name, config=limits)

    done = run_command("topics", "check", "--topic", name, "--like", weekly, env=addresses)

    assert 1 == done.code, done.err
    assert "set it to at least 1048588: the largest records of its source do not fit" in done.out
    assert "7d as its source" in done.out
    assert f"set it to {2**63 - 1}: its source takes later times" in done.out
