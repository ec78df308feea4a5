"""A call that may never return."""

import threading

import pytest

from tradepipe.kafka.librdkafka import call_with_timeout


def test_a_call_that_does_not_return_times_out():
    let_go = threading.Event()

    with pytest.raises(TimeoutError):
        call_with_timeout(let_go.wait, 0.05)

    let_go.set()


def test_an_exception_of_the_call_is_raised():
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(lambda: 1 // 0, 5)


def test_a_call_that_returns_is_done():
    done: list[int] = []

    call_with_timeout(lambda: done.append(1), 5)

    assert [1] == done
