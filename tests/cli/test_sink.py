"""`tradepipe sink`."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.cli.commands import ask, run_command, running


@pytest.fixture
def filled(ready):
    """A topic with 90 records: 72 trades, 18 of them sent again."""
    done = run_command("produce", "--count", "90", "--seed", "0", "--resend", "0.2", env=ready)
    assert 0 == done.code, done.err
    return ready


def test_it_stores_what_the_topic_holds(filled):
    done = run_command("sink", "--until-end", env=filled)

    assert (0, "") == (done.code, done.out)
    assert "72 stored, 18 duplicates, 0 refused" == done.err.splitlines()[-1]
    assert [(72,)] == ask(filled["DATABASE_URL"], "SELECT count(*) FROM trades")


@pytest.mark.slow
@pytest.mark.parametrize("lines", [0, 2, 5], ids="{}-lines-read".format)
def test_a_log_that_nobody_reads_on_ends_it_as_a_closed_pipe_does(filled, lines):
    """Not as a bug, wherever the log breaks: at the first line, at a claim, or while the group is left."""
    command = [sys.executable, "-m", "tradepipe", "sink", "--until-end"]
    with subprocess.Popen(command, env={**os.environ, **filled}, stderr=subprocess.PIPE) as process:
        for _ in range(lines):
            process.stderr.readline()
        process.stderr.close()
        assert 141 == process.wait()


def test_verbose_prints_each_stored_trade_and_nothing_else(filled):
    done = run_command("sink", "--until-end", "-v", env=filled)

    stored = ask(filled["DATABASE_URL"], "SELECT trade_id, version FROM trades")
    lines = [f"Stored trade with ID {trade_id} and version {version}" for trade_id, version in stored]
    assert sorted(lines) == sorted(done.out.splitlines())


def test_stored_trades_are_not_stored_again(filled):
    first, second = (run_command("sink", "--until-end", "-v", env=filled) for _ in range(2))

    assert (0, 72) == (first.code, len(first.out.splitlines()))
    assert (0, "") == (second.code, second.out)


def test_the_summary_counts_refusals_by_code(ready):
    run_command("produce", "--count", "100", "--bad", "0.09", env=ready)

    done = run_command("sink", "--until-end", env=ready)

    assert 0 == done.code, done.err
    assert re.match("91 stored, 0 duplicates, 9 refused: NOTIONAL 2, [A-Z_]+ 1, ", done.err.splitlines()[-1])


def test_all_output_is_json_with_the_json_formats(filled):
    done = run_command("sink", "--until-end", "--metrics-port", "0", "--log-format", "json", env=filled)

    text = [json.loads(line)["message"] for line in done.err.splitlines()]
    assert 0 == done.code, done.err
    assert text[0].startswith("metrics at http://127.0.0.1:")
    assert "72 stored, 18 duplicates, 0 refused" == text[-1]


def test_a_new_group_starts_at_the_given_position(filled):
    done = run_command("sink", "--until-end", "--start", "latest", env=filled)

    assert (0, "0 stored, 0 duplicates, 0 refused") == (done.code, done.err.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(filled, number):
    with running("sink", "-v", env=filled) as process:
        process.stdout.readline()

        process.send_signal(number)

        done = process.end()
    ((stored,),) = ask(filled["DATABASE_URL"], "SELECT count(*) FROM trades")
    assert 0 == done.code, done.err
    assert f"{stored} stored" in done.err.splitlines()[-1]


@pytest.mark.slow
def test_a_signal_ends_it_while_it_waits_for_a_service(ready):
    with running("sink", "--registry", "http://127.0.0.1:1", env=ready) as process:
        process.says(" unavailable, retrying: ")

        process.send_signal(signal.SIGTERM)

        assert 0 == process.end().code


@pytest.mark.slow
def test_it_ends_when_its_output_is_closed(filled):
    """As in `tradepipe sink -v | head -1`."""
    with running("sink", "-v", "--batch-rows", "5", env=filled) as process:
        process.stdout.readline()
        process.stdout.close()

        assert 128 + signal.SIGPIPE == process.end().code
