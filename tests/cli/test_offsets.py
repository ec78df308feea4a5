"""`tradepipe sink offsets`."""

import json
import re
import uuid

import pytest

from tests.cli.commands import ask, run_command, running
from tests.cli.pty import at_a_terminal
from tests.eventually import eventually

NEXT = "SELECT sum(next_offset) FROM sink_offsets"
TRADES = "SELECT count(*) FROM trades"


@pytest.fixture
def filled(ready):
    """A topic with 90 trades."""
    done = run_command("produce", "--count", "90", "--seed", "0", env=ready)
    assert 0 == done.code, done.err
    return ready


@pytest.fixture
def stored(filled):
    """The same, stored by a sink that has ended."""
    done = run_command("sink", "--until-end", env=filled)
    assert 0 == done.code, done.err
    return filled


def offsets(*arguments, env):
    """Such a command, which needs no registry."""
    done = run_command("sink", "offsets", *arguments, env={**env, "SCHEMA_REGISTRY_URL": ""})
    assert "Traceback" not in done.err
    return done


def shown(env, *arguments):
    done = offsets("show", "--format", "json", *arguments, env=env)
    assert 0 == done.code, done.err
    return json.loads(done.out)


def test_stored_offsets_are_shown_beside_the_log(stored, topic):
    found = shown(stored)

    assert (topic, topic, 0, []) == (found["topic"], found["group"], found["lag"], found["notes"])
    assert [0, 1, 2, 3] == [each["partition"] for each in found["partitions"]]
    assert 90 == sum(each["next_offset"] for each in found["partitions"])
    for each in found["partitions"]:
        assert (each["log_end"], 0, 0, 1) == (each["next_offset"], each["lag"], each["log_begin"], each["epoch"])
        assert 0 <= each["age_seconds"] < 60


def test_a_group_that_stored_nothing_lags_by_the_whole_log(filled, topic):
    done = offsets("show", env=filled)

    assert 0 == done.code, done.err
    assert f"group {topic}, topic {topic}: lag 90, nothing stored yet" == done.out.splitlines()[0]
    assert 6 == len(done.out.splitlines())


@pytest.mark.output
def test_a_person_sees_a_table(stored):
    done = offsets("show", env=stored)

    heading, columns, *rows = done.out.splitlines()
    assert heading.endswith(": lag 0")
    assert ["partition", "next", "log", "start", "log", "end", "lag"] == columns.split()[:7]
    assert all(re.fullmatch(r" +\d +\d+ +0 +\d+ +0 +1 +\d+ s ago +\S+/\d+/\w+", row) for row in rows), rows


@pytest.mark.output
def test_without_kafka_the_stored_offsets_are_shown(stored):
    done = offsets("show", "--bootstrap-servers", "127.0.0.1:1", "--deadline", "1", env=stored)

    assert 0 == done.code, done.err
    assert done.out.splitlines()[0].endswith(": lag unknown")
    assert 6 == len(done.out.splitlines())
    assert "Note: Kafka is unavailable, only the stored offsets are shown" in done.err


def test_a_deleted_topic_is_reported_beside_the_stored_offsets(ready):
    done = offsets("show", "--topic", "missing", env=ready)

    assert (0, f"group {ready['TRADEPIPE_SINK_GROUP']}, topic missing: lag unknown, nothing stored yet\n") == done[:2]
    assert "tradepipe topics create --topic missing" in done.err


def test_a_reset_to_the_beginning_replays_everything(stored):
    done = offsets("reset", "--to", "earliest", env=stored)
    again = run_command("sink", "--until-end", env=stored)

    assert 0 == done.code, done.err
    assert ["partition", "before", "after"] == done.out.splitlines()[0].split()
    assert "0 stored, 90 duplicates, 0 refused" == again.err.splitlines()[-1]


def test_a_group_that_stored_nothing_can_be_sent_to_the_end(filled):
    done = offsets("reset", "--to", "latest", env=filled)
    again = run_command("sink", "--until-end", env=filled)

    assert 0 == done.code, done.err
    assert [0, 0, 0, 0] == [each["lag"] for each in shown(filled)["partitions"]]
    assert "0 stored, 0 duplicates, 0 refused" == again.err.splitlines()[-1]


def test_one_partition_goes_to_an_offset_and_the_others_stay(stored):
    before = {each["partition"]: each for each in shown(stored)["partitions"]}

    done = offsets("reset", "--to", "3", "--partition", "1", env=stored)

    after = {each["partition"]: each for each in shown(stored)["partitions"]}
    assert 0 == done.code, done.err
    assert (3, 2) == (after[1]["next_offset"], after[1]["epoch"])
    assert after[1]["owner"].startswith("reset by ")
    assert [before[n]["next_offset"] for n in (0, 2, 3)] == [after[n]["next_offset"] for n in (0, 2, 3)]


@pytest.mark.output
def test_a_dry_run_changes_nothing(stored):
    done = offsets("reset", "--to", "earliest", "--dry-run", env=stored)

    assert (0, "nothing was changed") == (done.code, done.out.splitlines()[-1])
    assert [(90,)] == ask(stored["DATABASE_URL"], NEXT)


@pytest.mark.output
@pytest.mark.slow
@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"], ids=["no", "nothing", "ctrl-d"])
def test_a_person_is_asked_and_may_say_no(stored, answer):
    seen = at_a_terminal("sink", "offsets", "reset", "--to", "earliest", env=stored, typing=answer)

    assert (0, True) == (seen.code, seen.lines[-1].endswith("nothing was changed"))
    assert [(90,)] == ask(stored["DATABASE_URL"], NEXT)


@pytest.mark.slow
def test_confirming_resets(stored):
    seen = at_a_terminal("sink", "offsets", "reset", "--to", "earliest", env=stored, typing="y\n")

    assert 0 == seen.code
    assert [(0,)] == ask(stored["DATABASE_URL"], NEXT)


@pytest.mark.output
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("reset", "missing option: --to"),
        ("reset --to soon", "earliest, latest, an offset, or a timestamp such as 2025-06-01T08:00:00Z, not 'soon'"),
        ("reset --to -5", "not '-5'"),
        ("reset --to 5", "an offset needs --partition"),
        ("reset --to 5 --partition 9", "has no partition 9, its partitions are 0 to 3"),
        ("show --format xml", "'text', 'json'"),
    ],
)
def test_contradictory_arguments_are_a_usage_error(ready, arguments, message):
    done = offsets(*arguments.split(), env=ready)

    assert (2, "") == done[:2]
    assert message in done.err.splitlines()[-1]


def test_an_offset_outside_the_log_is_refused_with_the_range(stored, topic):
    done = offsets("reset", "--to", "1000", "--partition", "0", env=stored)

    assert (78, "") == done[:2]
    assert re.search(rf"offset 1000 is outside {topic}\[0\], whose log reaches from 0 to \d+", done.err)
    assert [(90,)] == ask(stored["DATABASE_URL"], NEXT)


@pytest.mark.output
def test_options_before_the_command_are_refused_rather_than_ignored(ready):
    done = run_command("sink", "--topic", "other", "offsets", "show", env=ready)

    assert 2 == done.code
    assert "put the options after `offsets`" in done.err.splitlines()[-1]


@pytest.mark.output
def test_an_outdated_database_is_reported(env):
    done = offsets("show", env=env)

    assert 78 == done.code
    assert "tradepipe migrate upgrade" in done.err


@pytest.mark.slow
def test_a_running_sink_continues_at_a_reset_offset_even_while_it_is_idle(filled):
    """Fenced first: the sink claims again, and nothing is lost from there on."""
    with running("sink", env=filled) as process:
        eventually(lambda: ask(filled["DATABASE_URL"], NEXT) == [(90,)])

        done = offsets("reset", "--to", "earliest", env=filled)

        assert 0 == done.code, done.err
        eventually(lambda: ask(filled["DATABASE_URL"], NEXT) == [(90,)])
        process.says("or its offset was reset")
    assert 90 == sum(each["next_offset"] for each in shown(filled)["partitions"])


@pytest.mark.real
def test_a_reset_goes_to_a_time(filled):
    """Everything was sent after this date, and nothing after the other."""
    early = offsets("reset", "--to", "2001-01-01", env=filled)
    assert 0 == early.code, early.err
    assert 90 == shown(filled)["lag"]

    late = offsets("reset", "--to", "2900-01-01T00:00:00Z", env=filled)
    assert 0 == late.code, late.err
    assert 0 == shown(filled)["lag"]


@pytest.mark.real
def test_a_reset_under_load_loses_nothing_from_there_on(filled):
    """Back and back again while records come and are stored: every one of them is in the table in the end."""
    with running("sink", "--batch-rows", "50", env=filled):
        with running("produce", "--count", "4000", "--rate", "1000", "--seed", "1", env=filled) as producing:
            for _ in range(3):
                done = offsets("reset", "--to", "earliest", env=filled)
                assert 0 == done.code, done.err
            assert 0 == producing.end().code
        eventually(lambda: shown(filled)["lag"] == 0, every=0.5)
    assert [(4090,)] == ask(filled["DATABASE_URL"], NEXT)
    assert [(4090,)] == ask(filled["DATABASE_URL"], TRADES)


@pytest.mark.real
def test_a_recreated_topic_is_adopted_by_the_command_in_its_error(stored, services, topic):
    services.kafka.delete_topic(topic)
    services.kafka.create_topic(topic)
    assert 0 == run_command("produce", "--count", "20", "--seed", "9", env=stored).code
    refused = run_command("sink", "--until-end", env=stored)
    assert 78 == refused.code
    command = re.search(r"tradepipe (sink offsets reset .* --to) earliest\|latest", refused.err)[1]

    done = run_command(*command.split(), "earliest", env=stored)

    assert 0 == done.code, done.err
    assert "20 stored, 0 duplicates, 0 refused" == run_command("sink", "--until-end", env=stored).err.splitlines()[-1]


@pytest.mark.real
def test_an_offset_that_the_log_has_dropped_is_noted_with_the_command(filled, services, topic):
    offsets("reset", "--to", "earliest", env=filled)
    services.kafka.delete_records(topic)

    done = offsets("show", env=filled)

    assert 0 == done.code
    assert f"offsets reset --topic {topic} --group {topic} --partition 0 --to" in done.err
    refused = run_command("sink", "--until-end", env=filled)
    assert 78 == refused.code
    assert f"offsets reset --topic {topic} --group {topic} --partition" in refused.err


def test_each_group_has_separate_offsets(stored):
    assert 90 == shown(stored, "--group", f"other-{uuid.uuid4().hex}")["lag"]
