"""`tradepipe validate`."""

import re
import signal

import pytest

from tests.cli.commands import run_command, running
from tests.cli.scrape import get, port_of, total
from tests.eventually import eventually

OPTIONS = ("--delivery", "at_least_once")
"""The embedded broker has no transactions to speak of."""


@pytest.fixture
def filled(ready, outputs):
    """A topic with 91 trades and 9 bad records, and the topics they go to."""
    done = run_command("produce", "--count", "100", "--bad", "0.09", env=ready)
    assert 0 == done.code, done.err
    return ready | outputs


def test_it_sorts_the_records_and_prints_a_summary(filled):
    done = run_command("validate", "--until-end", *OPTIONS, env=filled)

    assert (0, "") == (done.code, done.out), done.err
    assert re.match("91 passed, 9 refused: NOTIONAL 2, [A-Z_]+ 1, ", done.err.splitlines()[-1])


@pytest.mark.real
def test_by_transactions_it_does_the_same(filled):
    done = run_command("validate", "--until-end", env=filled)

    assert (0, "") == (done.code, done.out), done.err
    assert "91 passed, 9 refused" in done.err.splitlines()[-1]


@pytest.mark.embedded
def test_a_sink_stores_what_passed(filled):
    run_command("validate", "--until-end", *OPTIONS, env=filled)

    done = run_command("sink", "--until-end", "--topic", filled["TRADEPIPE_CLEAN"], "--group", "behind", env=filled)

    assert "91 stored, 0 duplicates, 0 refused" == done.err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.embedded
def test_metrics_and_health_are_served_until_a_signal_ends_it(filled):
    with running("validate", "--metrics-port", "0", *OPTIONS, env=filled) as process:
        port = port_of(process)
        eventually(lambda: total(port, "tradepipe_records_validated_total") == 100)

        assert 91 == total(port, "tradepipe_records_validated_total", result="passed")
        assert (200, "ready\n") == get(port, "/readyz")
        process.send_signal(signal.SIGTERM)
        done = process.end()

    assert 0 == done.code, done.err
    assert "91 passed, 9 refused" in done.err.splitlines()[-1]


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--delivery twice", 2, "'--delivery'"),
        ("--batch-records 0", 2, "'--batch-records'"),
        ("--start soon", 2, "'--start'"),
        ("--max-refused 2", 2, "'--max-refused'"),
        ("--rules nowhere:rule", 2, "module nowhere not found"),
        ("--clean trades --dead-letters trades", 78, "a validator needs three different topics"),
        ("--transactional-id one --delivery at_least_once", 78, "requires delivery exactly_once"),
        ("-X transactional.id=one", 78, "transactional.id=one is not allowed"),
        ("-X transactional.id=one --delivery at_least_once", 78, "transactional.id is not allowed"),
        ("--topic nowhere", 78, "there is no topic nowhere; create it"),
        ("--dead-letters nowhere --delivery at_least_once", 78, "--topic nowhere --like"),
    ],
)
def test_a_wrong_configuration_ends_the_validator_at_once_with_what_to_do(filled, options, code, message):
    done = run_command("validate", *options.split(), env=filled)

    assert code == done.code, done.err
    assert message in done.err
    assert "Traceback" not in done.err
