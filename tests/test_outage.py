"""Lines of the log about an outage."""

import logging

import pytest

from tradepipe.cli.deadline import RetryUntil
from tradepipe.errors import BrokerUnavailable, DatabaseUnavailable, RegistryUnavailable

ADDRESS = "http://127.0.0.1:8081"


@pytest.mark.parametrize(
    ("error", "begin", "end"),
    [
        (
            DatabaseUnavailable("PostgreSQL is unavailable: no answer"),
            "PostgreSQL is unavailable, retrying for up to 60 s: no answer",
            "PostgreSQL is available again after ",
        ),
        (
            RegistryUnavailable(f"the registry at {ADDRESS} is unavailable: no answer"),
            f"the registry at {ADDRESS} is unavailable, retrying for up to 60 s: no answer",
            f"the registry at {ADDRESS} is available again after ",
        ),
        (
            BrokerUnavailable("no broker answers"),
            "Kafka is unavailable, retrying for up to 60 s: no broker answers",
            "Kafka is available again after ",
        ),
    ],
    ids=["PostgreSQL", "registry", "Kafka"],
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
