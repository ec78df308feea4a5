"""A producer in a process that forks: multiprocessing, or a server that loads the application before its workers."""

import json
import subprocess
import sys

import pytest

from tests.pipeline.test_producer import log

PROGRAM = """
import json, os, sys
from datetime import UTC, date, datetime
from tradepipe import Producer, Trade

settings = json.loads(sys.argv[1])
producer = Producer(**settings)

def trade(name):
    return Trade(name, 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=datetime(2025, 6, 2, tzinfo=UTC))

def attempt(call, *arguments):
    try:
        print(call.__name__, call(*arguments), flush=True)
    except Exception as error:
        print(call.__name__, f"{type(error).__name__}: {error}", flush=True)

def fork(run):
    if child := os.fork():
        print("child", os.waitpid(child, 0)[1], flush=True)
    else:
        run()
        sys.exit()
"""

ADVICE = (
    "RuntimeError: this Producer was used before the process was forked, and Kafka's client does not work in the new "
    "process: create a Producer in each process"
)


def run(pipeline, steps):
    settings = {
        "kafka": {"bootstrap.servers": pipeline.kafka["bootstrap.servers"]},
        "registry": pipeline.registry.url,
        "topic": pipeline.topic,
        "subject": pipeline.subject,
    }
    # Python warns of a fork with threads from 3.12 on.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM + steps, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_forked_process_cannot_use_a_producer_that_has_sent(pipeline):
    """Kafka's client has no threads there: the trades would be lost without a word, and a flush would not end."""
    lines = run(
        pipeline,
        """
producer.produce(trade("PARENT-1"))
settings["kafka"]["linger"] = 5  # which Kafka's client lacks: the dictionary is the program's

def use():
    attempt(producer.produce, trade("CHILD-1"))
    attempt(producer.produce_many, [trade("CHILD-2")])
    attempt(producer.flush)
    attempt(len, producer)
    attempt(producer.close)

fork(use)
producer.produce(trade("PARENT-2"))
producer.close()
""",
    )

    assert [f"produce {ADVICE}", f"produce_many {ADVICE}", "flush None", "len 0", "close None", "child 0"] == lines
    assert {b"PARENT-1", b"PARENT-2"} == {key for _, key, _ in log(pipeline)}


@pytest.mark.slow
def test_a_process_that_is_forked_while_a_producer_connects_cannot_use_it(pipeline):
    """A thread that does not exist there holds its lock, which would never be released."""
    lines = run(
        pipeline,
        """
import threading

start = threading.Thread.start

def start_and_fork(thread):
    threading.Thread.start = start
    start(thread)
    fork(lambda: attempt(producer.produce, trade("CHILD")))

threading.Thread.start = start_and_fork
producer.produce(trade("PARENT"))
producer.close()
""",
    )

    assert [f"produce {ADVICE}", "child 0"] == lines
    assert [b"PARENT"] == [key for _, key, _ in log(pipeline)]


@pytest.mark.slow
def test_forked_processes_can_use_a_producer_that_has_sent_nothing(pipeline):
    run(
        pipeline,
        """
def use(name):
    producer.produce(trade(name))
    producer.close()

fork(lambda: use("CHILD-1"))
fork(lambda: use("CHILD-2"))
use("PARENT")
""",
    )

    assert [b"CHILD-1", b"CHILD-2", b"PARENT"] == sorted(key for _, key, _ in log(pipeline))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "error", "repair"),
    [
        ("subject", "RegistryUnavailable", "register_patiently(SchemaRegistry(settings['registry']), name)"),
        (
            "topic",
            "TopicUnusable",
            "TopicAdmin(settings['kafka']).create(name, partitions=4, replication=1, config={})",
        ),
    ],
)
def test_forked_processes_can_use_a_producer_whose_first_connection_failed(pipeline, setting, error, repair):
    """It has sent nothing. The exception is kept, with all that its traceback refers to."""
    lines = run(
        pipeline,
        f"""
from tests.registration import register_patiently
from tradepipe import SchemaRegistry
from tradepipe.kafka.admin import TopicAdmin

name = settings[{setting!r}] = settings[{setting!r}] + "-later"
producer, kept = Producer(**settings), []
try:
    producer.produce(trade("EARLY"))
except Exception as error:
    kept.append(error)
    print(type(error).__name__, flush=True)
{repair}

def use(name):
    attempt(producer.produce, trade(name))
    attempt(producer.close)

fork(lambda: (use("CHILD"), kept.clear()))
use("PARENT")
""",
    )

    assert [error, *["produce None", "close None"], "child 0", *["produce None", "close None"]] == lines
