"""An outage of Kafka in the log of a stage: one line when it begins, and one when it ends."""

import re

import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import running

pytestmark = pytest.mark.embedded


@pytest.fixture(params=["sink", "validator"])
def make_stage(request, pipeline, targets):
    """Make a sink or a validator."""
    options = {} if request.param == "sink" else {"delivery": "at_least_once"}
    return lambda **more: getattr(pipeline, request.param)(**options, **more)


@pytest.fixture
def outages(caplog):
    """Return the lines about outages of Kafka."""
    return lambda: [each for each in caplog.messages if each.startswith("Kafka is ")]


def assert_is_one_outage(lines):
    begin, end = lines
    assert begin.startswith("Kafka is unavailable, retrying: ")
    assert re.fullmatch(r"Kafka is available again after \d+\.\d s", end)


def test_an_idle_stage_logs_an_outage_once_and_its_end_once(services, make_stage, outages):
    with running(make_stage()) as stage:
        eventually(lambda: stage.is_ready)
        services.broker.down()
        eventually(lambda: stage.waiting_for == "Kafka")
        services.broker.up()
        eventually(lambda: stage.waiting_for is None)

        assert_is_one_outage(outages())


def test_an_outage_from_the_beginning_is_logged_once_until_the_group_is_joined(services, make_stage, outages):
    services.broker.down()
    with running(make_stage()) as stage:
        eventually(outages)
        services.broker.up()
        eventually(lambda: stage.is_ready and stage.waiting_for is None)

        assert_is_one_outage(outages())
