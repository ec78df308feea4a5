"""
Dead letters: a refusal as a Kafka record, written and read.

A letter has the key, the value and the headers of the refused record unchanged;
behind them stand headers of ours, and those by which Kafka Connect's own dead
letters are known (`DeadLetterQueueReporter`), so that tools for these read ours.
A record that a replay put back is named by a marker in the letter's partition.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from tradepipe.contract.record import Headers, Record
from tradepipe.contract.refusal import Code, Refusal, Violation

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


class Origin(NamedTuple):
    """The place a letter's record had; with the topic's id, so that a topic created anew is another place."""

    topic: str
    topic_id: str | None
    partition: int
    offset: int


class Letter(NamedTuple):
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
    replays: int

    @property
    def origin(self) -> Origin:
        """Where the refused record lies."""
        refused = self.refusal.record
        return Origin(refused.topic, self.topic_id, refused.partition, refused.offset)


class Marker(NamedTuple):
    """Says that the letters of one origin before it were replayed; `replays` is the count the record was given."""

    record: Record
    origin: Origin
    replays: int


class Foreign(NamedTuple):
    """A record of the dead-letter topic that is no letter."""

    record: Record


def headers(refusal: Refusal, *, topic_id: str | None, group: str, room: int | None = None) -> Headers:
    """
    The headers of a refusal's letter: those of the refused record, then ours.

    Args:
        topic_id: the id of the topic the record came from, if it is known.

        group: the consumer group that refused it.

        room: bytes the whole letter may take; for it details and message are
            shortened, and nothing else ever is.
    """
    written = _written(refusal, topic_id, group, None)
    for length in _LENGTHS if room is not None else ():
        if size(refusal.record, written) <= (room or 0):
            break
        written = _written(refusal, topic_id, group, length)
    return written


def size(record: Record, written: Headers) -> int:
    """The bytes a record takes at most with these headers, uncompressed and in a batch of its own."""
    texts = sum(len(name.encode()) + len(value or b"") + 10 for name, value in written)
    return OVERHEAD + len(record.key or b"") + len(record.value or b"") + texts


def read(record: Record) -> Letter | Marker | Foreign:
    """What a record of the dead-letter topic is; whatever it holds, this raises nothing."""
    return _letter(record) or _marker(record) or _letter_of_connect(record) or Foreign(record)


def marker(letter: Letter, replays: int) -> Headers:
    """The headers of the marker that closes a letter whose record was replayed with this count."""
    return ((_REPLAYED, _json(letter.origin)), (_GIVEN, str(replays).encode()))


def replays(given: Headers) -> int:
    """How often a record with these headers was replayed."""
    return _number(dict(given).get(REPLAYS)) or 0


def forwarded(given: Headers) -> Headers:
    """A record's headers without the count of its replays."""
    return tuple(header for header in given if header[0] != REPLAYS)


def _written(refusal: Refusal, topic_id: str | None, group: str, length: int | None) -> Headers:
    record, codes = refusal.record, refusal.codes
    details = [_shortened(detail, length) for detail in refusal.details]
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
        "exception.message": _shortened(told, length),
    }
    return (
        *record.headers,
        *((f"{_OURS}{name}", _utf8(text)) for name, text in ours.items()),
        (f"{_OURS}codes", _json(codes)),
        (f"{_OURS}details", _json(details)),
        *((f"{_CONNECTS}{name}", _utf8(text)) for name, text in connects.items()),
    )


def _letter(record: Record) -> Letter | None:
    """A letter of ours; the last header that can be the first of ours is it, as the refused record's stand before."""
    begin = max((n for n, (name, _) in enumerate(record.headers) if name == _BEFORE), default=None)
    if begin is None:
        return None
    count = _number(record.headers[begin][1])
    ours = _texts(record.headers[begin:], _OURS)
    place = _place(ours)
    codes, details = _list(ours.get("codes")), _list(ours.get("details"))
    if count is None or count > begin or place is None or not codes or len(codes) != len(details):
        return None
    original = Record(
        *place, record.key, record.value, _number(ours.get("timestamp")), record.headers[begin - count : begin]
    )
    violations = tuple(Violation(str(code), str(detail)) for code, detail in zip(codes, details, strict=True))
    return Letter(
        record,
        Refusal(original, violations, _number(ours.get("schema_id"))),
        ours.get("topic_id") or None,
        ours.get("group", ""),
        ours.get("stage", ""),
        ours.get("version", ""),
        replays(original.headers),
    )


def _marker(record: Record) -> Marker | None:
    given = dict(record.headers)
    origin = _list((given.get(_REPLAYED) or b"").decode(errors="replace"))
    if record.value is not None or len(origin) != 4:
        return None
    topic, topic_id, partition, offset = origin
    if not isinstance(topic, str) or type(partition) is not int or type(offset) is not int:
        return None
    return Marker(
        record, Origin(topic, str(topic_id) if topic_id else None, partition, offset), _number(given.get(_GIVEN)) or 0
    )


def _letter_of_connect(record: Record) -> Letter | None:
    """A letter that Kafka Connect wrote: its exception takes the place of code and detail."""
    connects = _texts(record.headers, _CONNECTS)
    place = _place(connects)
    if place is None:
        return None
    headers = tuple(header for header in record.headers if not header[0].startswith(_CONNECTS))
    violation = Violation(connects.get("exception.class.name", ""), connects.get("exception.message", ""))
    refusal = Refusal(Record(*place, record.key, record.value, None, headers), (violation,))
    return Letter(
        record, refusal, None, connects.get("connector.name", ""), connects.get("stage", ""), "", replays(headers)
    )


def _place(texts: Mapping[str, str]) -> tuple[str, int, int] | None:
    topic, partition, offset = texts.get("topic"), _number(texts.get("partition")), _number(texts.get("offset"))
    return None if not topic or partition is None or offset is None else (topic, partition, offset)


def _texts(given: Headers, prefix: str) -> dict[str, str]:
    """The headers of one prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): (value or b"").decode(errors="replace")
        for name, value in given
        if name.startswith(prefix)
    }


def _number(text: str | bytes | None) -> int | None:
    """A number that is not negative, in decimal digits; None for anything else."""
    digits = text.decode("latin-1") if isinstance(text, bytes) else text or ""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None


def _list(text: str | None) -> Sequence[Any]:
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return ()
    return found if isinstance(found, list) else ()


def _shortened(text: str, length: int | None) -> str:
    return text if length is None or len(text) <= length else f"{text[:length]}…"


def _json(values: Sequence[object]) -> bytes:
    return _utf8(json.dumps(list(values), ensure_ascii=False))


def _utf8(text: str) -> bytes:
    """UTF-8 of any text; half a surrogate pair, which has none, as the escape that is right in JSON too."""
    return text.encode(errors="backslashreplace")


@cache
def _version() -> str:
    return version("tradepipe")
