"""Dead letters of other frameworks."""

import pytest

from tradepipe.kafka.origin import describe_foreign_origin
from tradepipe.trade.record import Record

SPRING = (
    ("kafka_dlt-original-topic", b"trades"),
    ("kafka_dlt-original-partition", (3).to_bytes(4)),
    ("kafka_dlt-original-offset", (1_000).to_bytes(8)),
)
STREAMS = (
    ("__streams.errors.topic", b"trades"),
    ("__streams.errors.partition", b"3"),
    ("__streams.errors.offset", b"1000"),
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (SPRING, "Spring wrote it for trades[3]@1000"),
        (STREAMS, "Kafka Streams wrote it for trades[3]@1000"),
        ((("kafka_dlt-original-topic", b"\xff" * 1_000),), "Spring wrote it for " + "\ufffd" * 250 + "[0]@0"),
        ((("__streams.errors.topic", None), ("other", None)), ""),
        ((), ""),
    ],
    ids=["Spring", "Kafka Streams", "broken", "none", "no headers"],
)
def test_a_dead_letter_of_another_framework_names_its_record(headers, expected):
    assert expected == describe_foreign_origin(Record("trades.dlq", 0, 0, None, b"v", None, headers))
