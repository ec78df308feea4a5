"""Retries of a stage while a service is unavailable."""

import re
import threading

import pytest

from tradepipe.errors import BrokerUnavailable
from tradepipe.pipeline.stage import RetryForever, StopRequested
from tradepipe.pipeline.stats import KAFKA, StageStats


def test_a_call_is_repeated_until_the_service_answers():
    answers = iter([BrokerUnavailable("no"), "yes"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert "yes" == RetryForever(StageStats("trades"), lambda: True)(KAFKA, call)


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(caplog):
    answers = iter([BrokerUnavailable("no"), BrokerUnavailable("not yet"), BrokerUnavailable("almost"), "yes"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    RetryForever(StageStats("trades"), lambda: True)(KAFKA, call)

    begin, end = caplog.messages
    assert "Kafka is unavailable, retrying: no" == begin
    assert re.fullmatch(r"Kafka is available again after \d+\.\d s", end)


def test_a_stop_does_not_wait_for_a_call_that_hangs():
    called, answered = threading.Event(), threading.Event()

    def hang() -> None:
        called.set()
        answered.wait(200)

    with pytest.raises(StopRequested):
        RetryForever(StageStats("trades"), lambda: not called.is_set())(KAFKA, hang)
    assert not answered.is_set()
    answered.set()
