"""Dead letters of other frameworks, which name their record in headers of their own."""

from tradepipe.trade.record import Record

_SPRING = "kafka_dlt-original-"
_STREAMS = "__streams.errors."


def describe_origin(record: Record) -> str:
    """Return which framework wrote a dead letter and for which record, or an empty string."""
    headers = {name: value or b"" for name, value in record.headers}
    if topic := headers.get(f"{_SPRING}topic"):
        # Big-endian int and long, as Spring for Apache Kafka writes them.
        numbers = [int.from_bytes(headers.get(f"{_SPRING}{name}", b"")[:8]) for name in ("partition", "offset")]
        return f"Spring wrote it for {_text(topic)}[{numbers[0]}]@{numbers[1]}"
    if topic := headers.get(f"{_STREAMS}topic"):
        partition, offset = (_text(headers.get(f"{_STREAMS}{name}", b"?")) for name in ("partition", "offset"))
        return f"Kafka Streams wrote it for {_text(topic)}[{partition}]@{offset}"
    return ""


def _text(value: bytes) -> str:
    return value[:250].decode(errors="replace")
