"""`tradepipe dlq` on a dead-letter topic of real Kafka."""

import json
import signal
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from tests.cli.commands import run_command, running
from tests.cli.test_usage_errors import NOWHERE
from tests.eventually import eventually
from tests.frozen import freeze
from tests.pipeline.dead_letter_helpers import DeadLetterTopic
from tradepipe.trade.dead_letter import DeadLetterFilter

pytestmark = pytest.mark.real

LETTERS = 4_000
"""Dead letters of a replay that is killed or stopped; it sends 500 in a transaction."""

SLOWLY = ("-X", "max.in.flight=1", "-X", "transaction.timeout.ms=120000")
"""
It sends one record after the other, and so is at work when a busy machine gets to the signal. However long it stands
still, it learns of another replay from the broker, not from its own timeout, which would let it look for what is left.
"""

KILLS = (1, 700, 1_300)
"""How many records and markers are written before each kill."""


@pytest.fixture
def letters(services, kafka, topic):
    name = f"{topic}.dlq"
    services.create_topic(name)
    return DeadLetterTopic(kafka, topic, name)


@pytest.fixture
def env(addresses, letters):
    """Without a registry and a database: neither is needed."""
    return {
        **addresses,
        "DATABASE_URL": "",
        "SCHEMA_REGISTRY_URL": "",
        "TRADEPIPE_DEAD_LETTERS": letters.topic,
        "TRADEPIPE_TOPIC": letters.source,
    }


def dlq(*arguments, env):
    done = run_command("dlq", *arguments, env=env)
    assert "Traceback" not in done.err, done.err
    return done


def test_dead_letters_are_listed_shown_counted_and_exported(letters, env):
    letters.write([letters.refusal(7, headers=(("trace", b"abc"),)), letters.refusal(8, "BOOK_ID")])
    letters.write_foreign(b"junk")

    listed = dlq("ls", env=env)
    assert f"3 open dead letters in topic {letters.topic}" == listed.out.splitlines()[-1]
    assert {f"{letters.source}[0]@7", f"{letters.source}[0]@8"} <= set(listed.out.split())
    assert "(foreign)" in listed.out

    shown = dlq("show", f"{letters.source}[0]@7", env=env)
    assert {"header      trace = abc", "timestamp   2025-06-15 15:06:40 UTC", "topic id    id-1"} <= {
        line.strip() for line in shown.out.splitlines()
    }
    assert "no registry given" in shown.out

    foreign = dlq("show", f"{letters.topic}[0]@{letters.records(letters.topic)[0].offset}", env=env)
    assert 0 == foreign.code

    assert "BOOK_ID       1         0" in dlq("stats", env=env).out
    exported = [json.loads(line) for line in dlq("export", "--code", "VERSION", env=env).out.splitlines()]
    assert [(7, [["trace", "YWJj"]], 1_750_000_000_000)] == [
        (each["offset"], each["headers"], each["timestamp"]) for each in exported
    ]


def test_an_empty_topic_has_no_dead_letters(letters, env):
    assert (0, f"no open dead letters in topic {letters.topic}\n") == dlq("ls", env=env)[:2]
    assert (0, "nothing to replay\n") == dlq("replay", env=env)[:2]


def test_a_missing_topic_is_reported(letters, env):
    for command in ("ls", "replay"):
        done = dlq(command, "--dead-letters", "missing", env=env)

        assert 78 == done.code
        assert "dead-letter topic missing does not exist: check --dead-letters" in done.err


def test_all_commands_report_an_unavailable_kafka_in_the_same_words(letters, env):
    nowhere = {**env, "KAFKA_BOOTSTRAP_SERVERS": NOWHERE}
    message = {dlq(command, "--deadline", "1", env=nowhere).err.splitlines()[-1] for command in ("ls", "replay")}

    assert 1 == len(message)
    assert message.pop().startswith("Error: ")


def test_only_selected_dead_letters_are_sent_back(letters, env):
    letters.write([letters.refusal(7), letters.refusal(8, "BOOK_ID")])

    dry = dlq("replay", "--unverified", "--code", "VERSION", "--dry-run", env=env)
    assert f"1 would be sent back to topic {letters.source}; nothing was changed\n" == dry.out
    done = dlq("replay", "--unverified", "--code", "VERSION", env=env)

    assert (0, f"1 sent back to topic {letters.source}\n") == done[:2]
    assert "out of order" in done.err
    assert [b"v7"] == [record.value for record in letters.records()]
    assert [8] == [kept.record.offset for kept in letters.dead_letters()]


def written(letters):
    """How many records and markers of transactions the source topic has by now."""
    return sum(each.high for each in letters.admin.watermarks(letters.source, range(4)).values())


@contextmanager
def stopped_in_the_middle(letters, env):
    """
    Run a replay in short turns until it has written some records, and yield it as it stands still.

    If it had written most of them by then, it is to finish, and the next one gets more. Also yields how many
    dead letters there were, and how many of them were sent back before it.
    """
    total = 0
    while True:
        letters.write(letters.refusal(number) for number in range(total, total + LETTERS))
        sent, before, total = len(letters.records()), written(letters), total + LETTERS
        with running("dlq", "replay", "--unverified", *SLOWLY, env=env) as process:

            def has_begun(process=process, before=before):
                process.send_signal(signal.SIGCONT)
                time.sleep(0.1)
                freeze(process.pid)
                # It stands still while a broker says how much.
                return written(letters) > before

            eventually(has_begun)
            if written(letters) - before < LETTERS / 2:
                yield process, total, sent
                return
            process.send_signal(signal.SIGCONT)
            process.end()


def killed(letters, env, *, after):
    """Kill a replay as soon as so much more is written; whether it was still at work."""
    before = written(letters)
    with running("dlq", "replay", "--unverified", "--code", "VERSION", *SLOWLY, env=env) as process:
        eventually(lambda: written(letters) >= before + after)
        process.send_signal(signal.SIGKILL)
        return -signal.SIGKILL == process.end().code


def test_a_replay_that_is_killed_and_repeated_puts_each_back_once(letters, env):
    letters.write(letters.refusal(number, "VERSION" if number % 5 else "BOOK_ID") for number in range(LETTERS))
    assert killed(letters, env, after=KILLS[0])
    for after in KILLS[1:]:
        if written(letters) < LETTERS * 0.7:  # else the first was nearly through, on a machine that was busy elsewhere
            killed(letters, env, after=after)

    done = dlq("replay", "--unverified", "--code", "VERSION", env=env)

    assert 0 == done.code, done.err
    found = Counter(record.value for record in letters.records())
    assert {b"v%d" % number for number in range(LETTERS) if number % 5} == set(found)
    assert {1} == set(found.values())
    assert [number for number in range(LETTERS) if number % 5 == 0] == sorted(
        kept.record.offset for kept in letters.dead_letters()
    )
    assert LETTERS == len(letters.dead_letters(DeadLetterFilter(replayed=True)))


def test_the_first_of_two_concurrent_replays_reports_the_conflict(letters, env):
    with stopped_in_the_middle(letters, env) as (first, total, _):
        second = dlq("replay", "--unverified", env=env)
        first.send_signal(signal.SIGCONT)
        ended = first.end()

    assert (0, 75) == (second.code, ended.code), ended.err
    assert "another replay of these dead letters has started" in ended.err.splitlines()[-1]
    assert total == len({record.value for record in letters.records()}) == len(letters.records())


def test_a_signal_ends_it_after_the_current_transaction(letters, env):
    with stopped_in_the_middle(letters, env) as (process, total, sent):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        done = process.end()

    assert 130 == done.code, done.err
    count = len(letters.records()) - sent
    message = f"{count:,} sent back to topic {letters.source}; stopped, run the command again for the rest"
    assert message == done.out.splitlines()[-1]
    assert total == len(letters.records()) + len(letters.dead_letters())
