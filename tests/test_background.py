"""Calls in a background thread."""

import threading

import pytest

from tradepipe.background import run_in_thread


def test_waiting_for_a_call_that_does_not_return_times_out():
    end = threading.Event()

    with pytest.raises(TimeoutError):
        run_in_thread(end.wait, "test").result(0.05)

    end.set()


def test_an_exception_of_the_call_is_raised():
    with pytest.raises(ZeroDivisionError):
        run_in_thread(lambda: 1 // 0, "test").result(120)


def test_the_result_of_the_call_is_returned():
    assert 1 == run_in_thread(lambda: 1, "test").result(120)
