"""From 0.1.0 to this build: both at once, in every order in which a roll-out may meet them."""

import re
import signal
import subprocess
import sys
import zipfile

import pytest

from tests.cli.commands import Done, ask, process, run_command, running
from tests.eventually import eventually
from tradepipe.evolution.history import current
from tradepipe.postgres.packaged_revisions import required_revision

pytestmark = pytest.mark.real

WHEEL = "tests/releases/tradepipe-0.1.0-py3-none-any.whl"
WHAT_RUNS = """
from importlib.metadata import version
from tradepipe.contract.history import current
from tradepipe.postgres.revision import head
print(version("tradepipe"), current().number, head())
"""


@pytest.fixture(scope="session")
def release(pytestconfig, tmp_path_factory) -> str:
    """The folder of 0.1.0: on PYTHONPATH it precedes what is installed."""
    folder = tmp_path_factory.mktemp("release")
    with zipfile.ZipFile(pytestconfig.rootpath / WHEEL) as wheel:
        wheel.extractall(folder)
    return str(folder)


@pytest.fixture
def topic(services, topic) -> str:
    """One partition, so that there is one order of old and new."""
    services.create_topic(f"{topic}-1", partitions=1)
    return f"{topic}-1"


@pytest.fixture
def new(services, database, topic, subject) -> dict[str, str]:
    """What this build's commands find in their environment."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": services.bootstrap_servers,
        "SCHEMA_REGISTRY_URL": services.registry_url,
        "DATABASE_URL": database,
        "TRADEPIPE_KAFKA_PROPERTIES": " ".join(f"{key}={value}" for key, value in services.client_settings.items()),
        "TRADEPIPE_TOPIC": topic,
        "TRADEPIPE_SUBJECT": subject,
        "TRADEPIPE_SINK_TOPIC": topic,
        "TRADEPIPE_SINK_GROUP": topic,
    }


@pytest.fixture
def old(new, release) -> dict[str, str]:
    """The same for the commands of 0.1.0, which has set up schema and tables."""
    old = new | {"PYTHONPATH": release, "TRADEPIPE_GROUP": new["TRADEPIPE_SINK_GROUP"]}
    for command in ("migrate", "upgrade"), ("schema", "register"):
        done(*command, env=old)
    return old


def run(*command: str, env: dict[str, str]) -> Done:
    """Run a command to its end; one of the old release needs a process, because this one has the new modules."""
    return (process if "PYTHONPATH" in env else run_command)(*command, env=env)


def done(*command: str, env: dict[str, str]) -> str:
    """What a command prints that ends well."""
    ended = run(*command, env=env)
    assert 0 == ended.code, ended.err
    return ended.out + ended.err


def roll_out_what_comes_first(new: dict[str, str]) -> None:
    for command in ("migrate", "upgrade"), ("schema", "register"):
        done(*command, env=new)


def state(env: dict[str, str]) -> tuple[int, int, int]:
    """Trades stored, records refused, and how far the offsets have come."""
    (counts,) = ask(
        env["DATABASE_URL"],
        "SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM trade_refusals),"
        " (SELECT coalesce(sum(next_offset), 0)::int FROM sink_offsets)",
    )
    return counts


def test_the_old_release_is_what_runs_as_old(release):
    """And not the build that is checked out, which is installed in the same environment and leaves its traces here."""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", WHAT_RUNS], env={"PYTHONPATH": release}, capture_output=True, text=True, check=True
    )

    assert "0.1.0 1 0001_trades" == ended.stdout.strip()
    assert (2, "0003_pre_add_refusal_digests") == (current().number, required_revision())


def test_old_and_new_producers_side_by_side_have_all_their_trades_stored(old, new):
    roll_out_what_comes_first(new)
    with running("produce", "--count", "300", "--seed", "1", env=old) as process:
        done("produce", "--count", "300", "--seed", "2", env=new)
        assert 0 == process.end().code

    done("sink", "--until-end", env=new)

    assert (600, 0, 600) == state(new)
    sides = ask(
        new["DATABASE_URL"], "SELECT trade_id LIKE 'T1-%', bool_or(notional IS NOT NULL) FROM trades GROUP BY 1"
    )
    assert {(True, False), (False, True)} == set(sides)


def test_an_old_sink_that_meets_a_new_record_stops_and_its_successor_resumes_there(old, new):
    """Refusing it, or storing it without its amount, would lose what the new producer said."""
    done("produce", "--count", "40", "--seed", "1", env=old)
    roll_out_what_comes_first(new)
    done("produce", "--count", "50", "--seed", "2", env=new)

    stopped = run("sink", "--until-end", env=old)

    assert 78 == stopped.code, stopped.err
    assert "upgrade tradepipe here" in stopped.err
    assert (40, 0, 40) == state(new)
    assert "50 stored, 0 duplicates, 0 refused" in done("sink", "--until-end", env=new)
    assert (90, 0, 90) == state(new)


def test_an_old_sink_continues_on_the_migrated_database(old, new):
    done("produce", "--count", "30", "--seed", "1", env=old)
    with running("sink", env=old) as sink:
        eventually(lambda: state(old) == (30, 0, 30))
        done("migrate", "upgrade", env=new)
        done("produce", "--count", "30", "--seed", "2", env=old)
        eventually(lambda: state(old) == (60, 0, 60))
        sink.send_signal(signal.SIGTERM)
        assert 0 == sink.end().code
    done("produce", "--count", "30", "--seed", "3", env=old)

    again = done("sink", "--until-end", env=old)

    assert f"at revision {required_revision()}, ahead of this build's 0001_trades" in again
    assert (90, 0, 90) == state(new)


def test_an_old_sink_stores_again_what_a_new_one_stored(old, new):
    """Its records are the same content, by either release."""
    done("produce", "--count", "30", "--seed", "1", env=old)
    roll_out_what_comes_first(new)
    done("sink", "--until-end", env=new)

    again = done("sink", "--until-end", "--group", f"{new['TRADEPIPE_SINK_GROUP']}-again", env=old)

    assert "0 stored, 30 replayed, 0 refused" in again  # as 0.1.0 calls duplicates


def acknowledged(process) -> int:
    """The last output of a producer that is stopped."""
    process.send_signal(signal.SIGTERM)
    ended = process.end()
    assert [] == re.findall(
        r"[1-9][\d,]* (?:refused|unknown|of unknown fate|with unknown outcome)", ended.out + ended.err
    )
    # The summary: 0.1.0 prints it to stdout; on stderr, lines of progress come before it.
    *_, counted = re.findall(r"([\d,]+) acknowledged", ended.out or ended.err)
    assert 0 == ended.code, ended.err
    return int(counted.replace(",", ""))


def stopped(process) -> None:
    process.send_signal(signal.SIGTERM)
    assert 0 == process.end().code


def test_a_roll_out_under_load_loses_and_duplicates_nothing(old, new):
    """Migrate, then sinks, then producers, while trades come in all the time; 0.1.0 had no validators."""
    load = ("produce", "--rate", "200", "--seed")
    with running(*load, "1", env=old) as old_producer, running("sink", env=old) as old_sink:
        eventually(lambda: state(old)[0] > 100)
        roll_out_what_comes_first(new)
        with running("sink", env=new) as new_sink:
            stopped(old_sink)
            with running(*load, "2", env=new) as new_producer:
                eventually(lambda: ask(new["DATABASE_URL"], "SELECT FROM trades WHERE notional IS NOT NULL LIMIT 1"))
                sent = acknowledged(old_producer) + acknowledged(new_producer)
            eventually(lambda: state(new) == (sent, 0, sent))
            stopped(new_sink)


def test_producers_of_both_releases_work_with_a_validator_and_a_sink(old, new):
    """Version 1 passes beside version 2, and all of both is stored from the clean topic."""
    roll_out_what_comes_first(new)
    topic, database = new["TRADEPIPE_TOPIC"], new["DATABASE_URL"]
    clean, dead_letters = f"{topic}.clean", f"{topic}.dlq"
    for target in (clean, dead_letters):
        done("topics", "create", "--topic", target, "--like", topic, env=new)
    targets = ("--clean", clean, "--dead-letters", dead_letters, "--group", f"{topic}-validator")
    load = ("produce", "--rate", "200", "--seed")
    with (
        running(*load, "1", env=old) as old_producer,
        running(*load, "2", env=new) as new_producer,
        running("validate", *targets, env=new) as validator,
        running("sink", "--topic", clean, env=new) as sink,
    ):
        for producer in ("T1-%", "T2-%"):
            stored = f"SELECT FROM trades WHERE trade_id LIKE '{producer}' LIMIT 1"
            eventually(lambda stored=stored: ask(database, stored))
        sent = acknowledged(old_producer) + acknowledged(new_producer)
        eventually(lambda: state(new)[:2] == (sent, 0))
        stopped(validator)
        stopped(sink)
