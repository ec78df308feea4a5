"""Dead letters in a Kafka topic: headers, markers, and which letters are open."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from tradepipe.kafka.librdkafka import UNREADABLE
from tradepipe.trade.dead_letter import DeadLetter
from tradepipe.trade.record import Code, Headers, Record, Refusal, Violation

REPLAYS: Final = "tradepipe.replays"
"""How often a record was replayed, on the record itself; decimal text, absent on one that never was."""

OVERHEAD: Final = 256
"""Bytes a record takes beside its key, value and headers, and the batch around it: above what Kafka's format adds."""

STAGE: Final = "validator"

_OURS: Final = "tradepipe.dlq."
_CONNECTS: Final = "__connect.errors."
_BEFORE: Final = f"{_OURS}headers"
_REPLAYED: Final = f"{_OURS}replayed"
_GIVEN: Final = f"{_OURS}replays"

_CONVERTER: Final = frozenset({Code.EMPTY, Code.FRAMING, Code.UNKNOWN_SCHEMA, Code.UNDECODABLE})
_LENGTHS: Final = (10_000, 3_000, 1_000, 300, 100, 30, 10, 0)
"""To how many characters each of our texts is shortened, until a letter fits."""


class RecordOrigin(NamedTuple):
    """The place a letter's record had; with the topic's id, so that a topic created anew is another place."""

    topic: str
    topic_id: str | None
    partition: int
    offset: int


class DeadLetterRecord(NamedTuple):
    """
    A dead letter.

    `record` is the letter as it lies in the dead-letter topic, `refusal` holds
    the refused record as it was. `replays` counts how often that record had
    been replayed before it was refused.
    """

    record: Record
    refusal: Refusal
    topic_id: str | None
    group: str
    stage: str
    version: str
    replay_count: int

    @property
    def origin(self) -> RecordOrigin:
        """Where the refused record lies."""
        refused = self.refusal.record
        return RecordOrigin(refused.topic, self.topic_id, refused.partition, refused.offset)


class Marker(NamedTuple):
    """Says that the letters of one origin before it were replayed; `replays` is the count the record was given."""

    record: Record
    origin: RecordOrigin
    replay_count: int


class ForeignRecord(NamedTuple):
    """A record of the dead-letter topic that is no letter."""

    record: Record


def build_headers(refusal: Refusal, *, topic_id: str | None, group: str, room: int | None = None) -> Headers:
    """
    The headers of a refusal's letter: those of the refused record, then ours.

    Args:
        topic_id: the id of the topic the record came from, if it is known.

        group: the consumer group that refused it.

        room: bytes the whole letter may take; for it details and message are
            shortened, and nothing else ever is.
    """
    written = _build_headers(refusal, topic_id, group, None)
    for length in _LENGTHS if room is not None else ():
        if size(refusal.record, written) <= (room or 0):
            break
        written = _build_headers(refusal, topic_id, group, length)
    return written


def size(record: Record, written: Headers) -> int:
    """The bytes a record takes at most with these headers, uncompressed and in a batch of its own."""
    texts = sum(len(name.encode()) + len(value or b"") + 10 for name, value in written)
    return OVERHEAD + len(record.key or b"") + len(record.value or b"") + texts


def parse(record: Record) -> DeadLetterRecord | Marker | ForeignRecord:
    """What a record of the dead-letter topic is; whatever it holds, this raises nothing."""
    return _parse_dead_letter(record) or _parse_marker(record) or _parse_connect_letter(record) or ForeignRecord(record)


def marker_headers(letter: DeadLetterRecord, replays: int) -> Headers:
    """The headers of the marker that closes a letter whose record was replayed with this count."""
    return ((_REPLAYED, _json(letter.origin)), (_GIVEN, str(replays).encode()))


def replay_count(given: Headers) -> int:
    """How often a record with these headers was replayed."""
    return _read_number(dict(given).get(REPLAYS)) or 0


def strip_replay_header(given: Headers) -> Headers:
    """A record's headers without the count of its replays."""
    return tuple(header for header in given if header[0] != REPLAYS)


def _build_headers(refusal: Refusal, topic_id: str | None, group: str, length: int | None) -> Headers:
    record, codes = refusal.record, refusal.codes
    details = [_shorten(detail, length) for detail in refusal.details]
    told = "; ".join(f"{code}: {detail}" for code, detail in zip(codes, details, strict=True))
    ours = {
        "headers": str(len(record.headers)),
        "topic": record.topic,
        "topic_id": topic_id or "",
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": "" if record.timestamp is None else str(record.timestamp),
        "schema_id": "" if refusal.schema_id is None else str(refusal.schema_id),
        "group": group,
        "stage": STAGE,
        "version": _version(),
    }
    connects = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "connector.name": group,
        "task.id": "0",
        "stage": "VALUE_CONVERTER" if codes[0] in _CONVERTER else "TRANSFORMATION",
        "class.name": "tradepipe.Validator",
        "exception.class.name": str(codes[0]),
        "exception.message": _shorten(told, length),
    }
    return (
        *record.headers,
        *((f"{_OURS}{name}", _utf8(text)) for name, text in ours.items()),
        (f"{_OURS}codes", _json(codes)),
        (f"{_OURS}details", _json(details)),
        *((f"{_CONNECTS}{name}", _utf8(text)) for name, text in connects.items()),
    )


def _parse_dead_letter(record: Record) -> DeadLetterRecord | None:
    """A letter of ours; the last header that can be the first of ours is it, as the refused record's stand before."""
    begin = max((n for n, (name, _) in enumerate(record.headers) if name == _BEFORE), default=None)
    if begin is None:
        return None
    count = _read_number(record.headers[begin][1])
    ours = _read_texts(record.headers[begin:], _OURS)
    place = _parse_coordinates(ours)
    codes, details = _read_list(ours.get("codes")), _read_list(ours.get("details"))
    if count is None or count > begin or place is None or not codes or len(codes) != len(details):
        return None
    original = Record(
        *place, record.key, record.value, _read_number(ours.get("timestamp")), record.headers[begin - count : begin]
    )
    violations = tuple(Violation(str(code), str(detail)) for code, detail in zip(codes, details, strict=True))
    return DeadLetterRecord(
        record,
        Refusal(original, violations, _read_number(ours.get("schema_id"))),
        ours.get("topic_id") or None,
        ours.get("group", ""),
        ours.get("stage", ""),
        ours.get("version", ""),
        replay_count(original.headers),
    )


def _parse_marker(record: Record) -> Marker | None:
    given = dict(record.headers)
    origin = _read_list((given.get(_REPLAYED) or b"").decode(errors="replace"))
    if record.value is not None or len(origin) != 4:
        return None
    topic, topic_id, partition, offset = origin
    if not isinstance(topic, str) or type(partition) is not int or type(offset) is not int:
        return None
    return Marker(
        record,
        RecordOrigin(topic, str(topic_id) if topic_id else None, partition, offset),
        _read_number(given.get(_GIVEN)) or 0,
    )


def _parse_connect_letter(record: Record) -> DeadLetterRecord | None:
    """A letter that Kafka Connect wrote: its exception takes the place of code and detail."""
    connects = _read_texts(record.headers, _CONNECTS)
    place = _parse_coordinates(connects)
    if place is None:
        return None
    headers = tuple(header for header in record.headers if not header[0].startswith(_CONNECTS))
    violation = Violation(connects.get("exception.class.name", ""), connects.get("exception.message", ""))
    refusal = Refusal(Record(*place, record.key, record.value, None, headers), (violation,))
    return DeadLetterRecord(
        record, refusal, None, connects.get("connector.name", ""), connects.get("stage", ""), "", replay_count(headers)
    )


def _parse_coordinates(texts: Mapping[str, str]) -> tuple[str, int, int] | None:
    topic, partition, offset = (
        texts.get("topic"),
        _read_number(texts.get("partition")),
        _read_number(texts.get("offset")),
    )
    return None if not topic or partition is None or offset is None else (topic, partition, offset)


def _read_texts(given: Headers, prefix: str) -> dict[str, str]:
    """The headers of one prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): (value or b"").decode(errors="replace")
        for name, value in given
        if name.startswith(prefix)
    }


def _read_number(text: str | bytes | None) -> int | None:
    """A number that is not negative, in decimal digits; None for anything else."""
    digits = text.decode("latin-1") if isinstance(text, bytes) else text or ""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None


def _read_list(text: str | None) -> Sequence[Any]:
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return ()
    return found if isinstance(found, list) else ()


def _shorten(text: str, length: int | None) -> str:
    return text if length is None or len(text) <= length else f"{text[:length]}…"


def _json(values: Sequence[object]) -> bytes:
    return _utf8(json.dumps(list(values), ensure_ascii=False))


def _utf8(text: str) -> bytes:
    """UTF-8 of any text; half a surrogate pair, which has none, as the escape that is right in JSON too."""
    return text.encode(errors="backslashreplace")


@cache
def _version() -> str:
    return version("tradepipe")


UNKNOWN_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a letter was replayed whose marker does not say."""

Markers = Mapping[tuple[int, RecordOrigin], Marker]
"""The last marker of each origin, by the partition in which it lies."""


def read_markers(records: Iterable[Record]) -> Markers:
    """The markers among the records of a dead-letter topic."""
    found = (parse(record) for record in records)
    return {(marker.record.partition, marker.origin): marker for marker in found if isinstance(marker, Marker)}


def iter_dead_letters(
    records: Iterable[Record], closed: Markers
) -> Iterator[tuple[DeadLetter, DeadLetterRecord | None]]:
    """
    The letters among the records of a dead-letter topic, each with what is known of it; None for a foreign record.

    A letter is open while no marker behind it in its partition names its origin.
    """
    for record in records:
        read = parse(record)
        if isinstance(read, DeadLetterRecord):
            marker = closed.get((record.partition, read.origin))
            yield _dead_letter(read, marker if marker and marker.record.offset > record.offset else None), read
        elif not isinstance(read, Marker):
            foreign = record if record.headers is not UNREADABLE else record._replace(headers=())
            yield DeadLetter(Refusal(foreign, ()), refused_at=_time(record), topic_record=foreign), None


def _dead_letter(letter: DeadLetterRecord, marker: Marker | None) -> DeadLetter:
    return DeadLetter(
        letter.refusal,
        letter.topic_id,
        letter.group,
        _time(letter.record),
        letter.replay_count,
        (_time(marker.record) or UNKNOWN_TIME) if marker else None,
        letter.record,
    )


def _time(record: Record) -> datetime | None:
    if record.timestamp is None:
        return None
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # a producer may have written any number
        return None
