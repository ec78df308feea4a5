"""Lines of the log about an outage."""

import logging

import pytest

from tradepipe.cli.deadline import RetryUntil
from tradepipe.errors import BrokerUnavailable, DatabaseUnavailable, RegistryUnavailable
from tradepipe.pipeline.stage import RetryForever
from tradepipe.pipeline.stats import REGISTRY, StageStats

ADDRESS = "http://127.0.0.1:8081"


@pytest.mark.parametrize(
    ("error", "begin", "end"),
    [
        (
            DatabaseUnavailable("no answer", service="PostgreSQL"),
            "PostgreSQL is unavailable, retrying for up to 60 s: no answer",
            "PostgreSQL is available again after ",
        ),
        (
            RegistryUnavailable("no answer", service=f"the registry at {ADDRESS}"),
            f"the registry at {ADDRESS} is unavailable, retrying for up to 60 s: no answer",
            f"the registry at {ADDRESS} is available again after ",
        ),
        (
            BrokerUnavailable("no broker answers"),
            "Kafka is unavailable, retrying for up to 60 s: no broker answers",
            "Kafka is available again after ",
        ),
        (
            DatabaseUnavailable("PostgreSQL is available, but a table is locked", is_answering=True),
            "retrying for up to 60 s: PostgreSQL is available, but a table is locked",
            "continuing after ",
        ),
        (
            RegistryUnavailable(f"the registry at {ADDRESS} has no subject trades-value", is_answering=True),
            f"retrying for up to 60 s: the registry at {ADDRESS} has no subject trades-value",
            "continuing after ",
        ),
    ],
    ids=["PostgreSQL", "registry", "Kafka", "lock", "no subject"],
)
def test_an_outage_is_two_sentences_that_name_the_service_once_each(caplog, error, begin, end):
    answers = iter([error, error, None])

    def call() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    with caplog.at_level(logging.WARNING, "tradepipe"):
        RetryUntil(60)(call)

    first, last = caplog.messages
    assert begin == first
    assert last.startswith(end)


def test_a_stage_names_an_unavailable_service_once(caplog):
    """By the address that failed, rather than by the usual name in front of it."""
    answers = iter([RegistryUnavailable("no answer", service=f"the registry at {ADDRESS}"), None])

    def call() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    RetryForever(StageStats("trades"), lambda: True)(REGISTRY, call)

    first, last = caplog.messages
    assert f"the registry at {ADDRESS} is unavailable, retrying: no answer" == first
    assert last.startswith(f"the registry at {ADDRESS} is available again after ")
