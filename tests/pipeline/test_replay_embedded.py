"""Replay of a dead-letter topic on the embedded broker, which has no transactions."""

import pytest

from tests.pipeline.dead_letter_helpers import DeadLetterTopic
from tradepipe.errors import ConfigurationError

pytestmark = pytest.mark.embedded


def test_a_replay_is_refused_before_anything_is_written(services, kafka, topic):
    services.create_topic(f"{topic}.dlq")
    letters = DeadLetterTopic(kafka, topic, f"{topic}.dlq")
    letters.write([letters.refusal(7)])

    with pytest.raises(ConfigurationError, match="no transactions, which a replay requires"):
        letters.run()

    assert 1 == len(letters.run(keep=False))
