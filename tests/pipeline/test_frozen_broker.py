"""A frozen broker, which keeps its connections and answers nothing."""

import re
import time

import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import running

pytestmark = pytest.mark.real

NOTICED_WITHIN = 20.0
"""Seconds: 13 at most, and a busy machine. Without queries, librdkafka notices it after a minute."""


@pytest.mark.usefixtures("targets")
@pytest.mark.parametrize("make", ["sink", "validator"])
def test_an_idle_stage_reports_a_frozen_broker_within_seconds(make, pipeline, own_kafka, some_trades, caplog):
    pipeline.publish(some_trades(10))
    with running(getattr(pipeline, make)()) as stage:
        eventually(lambda: stage.lag == 0)
        own_kafka.freeze()
        frozen_at = time.monotonic()
        try:
            eventually(lambda: stage.waiting_for == "Kafka", within=NOTICED_WITHIN)
            print(f"noticed after {time.monotonic() - frozen_at:.1f} s")
        finally:
            own_kafka.thaw()
        eventually(lambda: stage.waiting_for is None)

        begin, end = (each for each in caplog.messages if each.startswith("Kafka is "))
    assert re.fullmatch(r"Kafka is unavailable, retrying: no answer for .+\[[0-3](, [1-3])*\]", begin)
    assert re.fullmatch(r"Kafka is available again after \d+\.\d s", end)
