"""What a sink serves, as Prometheus takes it."""

import subprocess

import pytest

from tests.cli.commands import run_command, running
from tests.cli.prometheus import program, scraping
from tests.cli.scrape import get, port_of, total
from tests.eventually import eventually

pytestmark = pytest.mark.real


@pytest.fixture
def port(ready):
    """Where a sink serves its metrics that has stored 91 trades and refused 9."""
    assert 0 == run_command("produce", "--count", "100", "--bad", "0.09", "--seed", "0", env=ready).code
    with running("sink", "--metrics-port", "0", env=ready) as process:
        port = port_of(process)
        eventually(lambda: total(port, "tradepipe_records_written_total") == 100)
        yield port


def test_a_prometheus_answers_a_query_with_the_right_value(port, tmp_path):
    with scraping(port, tmp_path) as prometheus:
        eventually(lambda: prometheus.ask('tradepipe_records_written_total{result="inserted"}') == 91)

        assert 9 == prometheus.ask("sum(tradepipe_records_refused_total)")
        eventually(lambda: prometheus.ask("sum(tradepipe_lag_records)") == 0)
        assert 100 == prometheus.ask("tradepipe_batch_rows_sum")
        assert 0 < prometheus.ask("histogram_quantile(0.5, tradepipe_e2e_latency_seconds_bucket)")


def test_promtool_reports_nothing(port):
    _, text = get(port, "/metrics")

    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
