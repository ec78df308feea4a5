"""Retries of a stage while a service is unavailable."""

import threading

import pytest

from tradepipe.errors import BrokerUnavailable
from tradepipe.pipeline.retry import RetryForever, StopRequested
from tradepipe.pipeline.stats import KAFKA, StageStats


def test_a_call_is_repeated_until_the_service_answers():
    answers = iter([BrokerUnavailable("no"), "yes"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert "yes" == RetryForever(StageStats("trades"), lambda: True)(KAFKA, call)


def test_a_stop_does_not_wait_for_a_call_that_hangs():
    called, answered = threading.Event(), threading.Event()

    def hang() -> None:
        called.set()
        answered.wait(200)

    with pytest.raises(StopRequested):
        RetryForever(StageStats("trades"), lambda: not called.is_set())(KAFKA, hang)
    assert not answered.is_set()
    answered.set()
