"""Dead letters in a Kafka topic: headers, markers, open and replayed dead letters."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from tradepipe.kafka.messages import UNREADABLE
from tradepipe.trade.dead_letter import DeadLetter
from tradepipe.trade.record import Code, Digest, Headers, Omitted, Record, Refusal, Violation

REPLAYS: Final = "tradepipe.replays"
"""Header of a replayed record: how often it was replayed, as decimal text. Absent on a record never replayed."""

OVERHEAD: Final = 256
"""Upper bound of the bytes that Kafka's format adds to a record's key, value and headers, including its batch."""

STAGE: Final = "validator"
"""The stage that writes dead letters."""

_PREFIX: Final = "tradepipe.dlq."
_CONNECT_PREFIX: Final = "__connect.errors."
_HEADER_COUNT: Final = f"{_PREFIX}headers"
_REPLAYED_ORIGIN: Final = f"{_PREFIX}replayed"
_MARKER_REPLAYS: Final = f"{_PREFIX}replays"
_MARKER_DIGEST: Final = f"{_PREFIX}replayed_sha256"

_CONVERTER_CODES: Final = frozenset({Code.EMPTY, Code.FRAMING, Code.UNKNOWN_SCHEMA, Code.UNDECODABLE})
_is_sha256 = re.compile("[0-9a-f]{64}").fullmatch
_TEXT_LENGTHS: Final = (10_000, 3_000, 1_000, 300, 100, 30, 10, 0)
"""Characters to which details and message are shortened, tried in order until the dead letter fits."""


class RecordOrigin(NamedTuple):
    """Coordinates of a refused record; the topic id distinguishes a topic from its recreation under the same name."""

    topic: str
    topic_id: str | None
    partition: int
    offset: int


class DeadLetterRecord(NamedTuple):
    """
    A dead letter as read from its topic.

    `record` is the dead letter itself, `refusal` contains the refused record as it was
    read. `replay_count` is how often that record had been replayed before it was refused.
    """

    record: Record
    refusal: Refusal
    topic_id: str | None
    group: str
    stage: str
    version: str
    replay_count: int
    is_connect: bool = False
    """Whether Kafka Connect wrote it."""

    @property
    def digest(self) -> str:
        """SHA-256 of the refused record: only those who could read it can write a marker for it."""
        record, digest = self.refusal.record, hashlib.sha256(_json(self.origin))
        headers = (part for name, value in record.headers for part in (name.encode(), value))
        for part in (record.key, record.value, *headers, str(self.refusal.omitted).encode()):
            digest.update(b"-" if part is None else b"%d:%b" % (len(part), part))
        return digest.hexdigest()

    @property
    def origin(self) -> RecordOrigin:
        """The refused record's coordinates."""
        refused = self.refusal.record
        return RecordOrigin(refused.topic, self.topic_id, refused.partition, refused.offset)


class Marker(NamedTuple):
    """
    Closes the earlier dead letters of one record, given by its origin and digest.

    `replay_count` is the count that the replayed record carries.
    """

    record: Record
    origin: RecordOrigin
    replay_count: int
    digest: str


class ForeignRecord(NamedTuple):
    """A record of the dead-letter topic that is neither a dead letter nor a marker."""

    record: Record


def build_record(refusal: Refusal, *, topic_id: str | None, group: str, max_bytes: int) -> Record:
    """
    Return a refusal's dead letter: its record with the headers of `build_headers`.

    If it is larger than `max_bytes`, even with shortened texts, length and SHA-256 take the
    place of the record's value, then of its headers, then of its key.
    """
    headers = build_headers(refusal, topic_id=topic_id, group=group, max_bytes=max_bytes)
    while (excess := size(refusal.record, headers) - max_bytes) > 0:
        smaller = refusal.within(size(refusal.record) - OVERHEAD - excess)
        if smaller == refusal:
            break
        refusal = smaller
        headers = build_headers(refusal, topic_id=topic_id, group=group, max_bytes=max_bytes)
    return refusal.record._replace(headers=headers)


def build_headers(refusal: Refusal, *, topic_id: str | None, group: str, max_bytes: int | None = None) -> Headers:
    """
    Return the headers of a refusal's dead letter: the refused record's own, then those of the refusal.

    Args:
        topic_id: the id of the record's topic, if known.

        group: the consumer group that refused the record.

        max_bytes: size limit of the dead letter; details and message are shortened to
            fit, nothing else is.
    """
    headers = _build_headers(refusal, topic_id, group, None)
    for length in _TEXT_LENGTHS if max_bytes is not None else ():
        if size(refusal.record, headers) <= (max_bytes or 0):
            break
        headers = _build_headers(refusal, topic_id, group, length)
    return headers


def size(record: Record, headers: Headers | None = None) -> int:
    """Return an upper bound of a record's size, with other headers if given, uncompressed and alone in a batch."""
    headers = record.headers if headers is None else headers
    # Each header has two lengths as varints, of up to five bytes each.
    header_bytes = sum(len(name.encode()) + len(value or b"") + 10 for name, value in headers)
    return OVERHEAD + len(record.key or b"") + len(record.value or b"") + header_bytes


def parse(record: Record) -> DeadLetterRecord | Marker | ForeignRecord:
    """Parse a record of the dead-letter topic; any content is accepted without an error."""
    return (
        _parse_dead_letter(record)
        or _parse_marker(record)
        or _parse_connect_dead_letter(record)
        or ForeignRecord(record)
    )


def marker_headers(dead_letter: DeadLetterRecord, replay_count: int) -> Headers:
    """Return the headers of the marker for a dead letter whose record was replayed with this replay count."""
    return (
        (_REPLAYED_ORIGIN, _json(dead_letter.origin)),
        (_MARKER_DIGEST, dead_letter.digest.encode()),
        (_MARKER_REPLAYS, str(replay_count).encode()),
    )


def replay_count(headers: Headers) -> int:
    """Return how often a record with these headers was replayed."""
    return _read_number(dict(headers).get(REPLAYS)) or 0


def strip_replay_header(headers: Headers) -> Headers:
    """Return headers without the replay count."""
    return tuple(header for header in headers if header[0] != REPLAYS)


def _build_headers(refusal: Refusal, topic_id: str | None, group: str, length: int | None) -> Headers:
    record, codes = refusal.record, refusal.codes
    details = [_shorten(detail, length) for detail in refusal.details]
    message = "; ".join(f"{code}: {detail}" for code, detail in zip(codes, details, strict=True))
    fields = {
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
    for name, digest in refusal.omitted._asdict().items():
        if digest is not None:
            fields |= {f"{name}_bytes": str(digest.size), f"{name}_sha256": digest.sha256.hex()}
    connect_fields = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "connector.name": group,
        "task.id": "0",
        "stage": "VALUE_CONVERTER" if codes[0] in _CONVERTER_CODES else "TRANSFORMATION",
        "class.name": "tradepipe.Validator",
        "exception.class.name": str(codes[0]),
        "exception.message": _shorten(message, length),
    }
    return (
        *record.headers,
        *((f"{_PREFIX}{name}", _utf8(text)) for name, text in fields.items()),
        (f"{_PREFIX}codes", _json(codes)),
        (f"{_PREFIX}details", _json(details)),
        *((f"{_CONNECT_PREFIX}{name}", _utf8(text)) for name, text in connect_fields.items()),
    )


def _parse_dead_letter(record: Record) -> DeadLetterRecord | None:
    """Return a dead letter that a validator wrote, or None."""
    # The refused record's headers come first and may themselves be those of a dead letter, so the last match counts.
    begin = max((n for n, (name, _) in enumerate(record.headers) if name == _HEADER_COUNT), default=None)
    if begin is None:
        return None
    count = _read_number(record.headers[begin][1])
    fields = _read_texts(record.headers[begin:], _PREFIX)
    coordinates = _parse_coordinates(fields)
    codes, details = _read_list(fields.get("codes")), _read_list(fields.get("details"))
    # Every check, since any program with WRITE on the topic can write these headers.
    if count is None or count > begin or coordinates is None or not codes or len(codes) != len(details):
        return None
    original = Record(
        *coordinates,
        record.key,
        record.value,
        _read_number(fields.get("timestamp")),
        record.headers[begin - count : begin],
    )
    digests: dict[str, Digest] = {}
    for name in Omitted._fields:
        size, sha256 = _read_number(fields.get(f"{name}_bytes")), fields.get(f"{name}_sha256", "")
        if size is not None and _is_sha256(sha256):
            digests[name] = Digest(size, bytes.fromhex(sha256))
    violations = tuple(Violation(str(code), str(detail)) for code, detail in zip(codes, details, strict=True))
    return DeadLetterRecord(
        record,
        Refusal(original, violations, _read_number(fields.get("schema_id")), Omitted(**digests)),
        fields.get("topic_id") or None,
        fields.get("group", ""),
        fields.get("stage", ""),
        fields.get("version", ""),
        replay_count(original.headers),
    )


def _parse_marker(record: Record) -> Marker | None:
    headers = dict(record.headers)
    origin = _read_list((headers.get(_REPLAYED_ORIGIN) or b"").decode(errors="replace"))
    # A marker has no value, so a record with a value is not a marker, whatever its headers say.
    if record.value is not None or len(origin) != 4:
        return None
    topic, topic_id, partition, offset = origin
    # By type, not isinstance: JSON's true would be the partition 1.
    if not isinstance(topic, str) or type(partition) is not int or type(offset) is not int:
        return None
    return Marker(
        record,
        RecordOrigin(topic, str(topic_id) if topic_id else None, partition, offset),
        _read_number(headers.get(_MARKER_REPLAYS)) or 0,
        (headers.get(_MARKER_DIGEST) or b"").decode(errors="replace"),
    )


def _parse_connect_dead_letter(record: Record) -> DeadLetterRecord | None:
    """Return a dead letter that Kafka Connect wrote, or None; its exception becomes the violation."""
    fields = _read_texts(record.headers, _CONNECT_PREFIX)
    coordinates = _parse_coordinates(fields)
    if coordinates is None:
        return None
    headers = tuple(header for header in record.headers if not header[0].startswith(_CONNECT_PREFIX))
    violation = Violation(fields.get("exception.class.name", ""), fields.get("exception.message", ""))
    refusal = Refusal(Record(*coordinates, record.key, record.value, None, headers), (violation,))
    return DeadLetterRecord(
        record,
        refusal,
        None,
        fields.get("connector.name", ""),
        fields.get("stage", ""),
        "",
        replay_count(headers),
        True,
    )


def _parse_coordinates(texts: Mapping[str, str]) -> tuple[str, int, int] | None:
    topic, partition, offset = (
        texts.get("topic"),
        _read_number(texts.get("partition")),
        _read_number(texts.get("offset")),
    )
    return None if not topic or partition is None or offset is None else (topic, partition, offset)


def _read_texts(headers: Headers, prefix: str) -> dict[str, str]:
    """Return the headers with a prefix as text, by name without the prefix."""
    return {
        name.removeprefix(prefix): (value or b"").decode(errors="replace")
        for name, value in headers
        if name.startswith(prefix)
    }


def _read_number(text: str | bytes | None) -> int | None:
    """Return a non-negative number in decimal digits, or None for anything else."""
    digits = text.decode("latin-1") if isinstance(text, bytes) else text or ""
    # ASCII only, since int() also takes other digits; at most 19, since a long number takes quadratic time.
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
    """Encode any text as UTF-8; a lone surrogate becomes an escape that is also valid in JSON."""
    return text.encode(errors="backslashreplace")


@cache
def _version() -> str:
    return version("tradepipe")


UNKNOWN_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Replay time of a dead letter whose marker has no timestamp."""

Markers = Mapping[tuple[int, RecordOrigin, str], Marker]
"""The last marker by partition of the dead-letter topic, origin and digest."""


def read_markers(records: Iterable[Record]) -> Markers:
    """Return the last marker of each refused record in a dead-letter topic, without keys, which may be large."""
    parsed = (parse(record) for record in records)
    return {
        (each.record.partition, each.origin, each.digest): each._replace(record=each.record._replace(key=None))
        for each in parsed
        if isinstance(each, Marker)
    }


def find_marker(markers: Markers, dead_letter: DeadLetterRecord) -> Marker | None:
    """Return the marker that closes a dead letter, or None; after the last one it was refused again."""
    record = dead_letter.record
    marker = markers.get((record.partition, dead_letter.origin, dead_letter.digest)) if markers else None
    # Both are in one partition, so their offsets say which came first.
    return marker if marker is not None and marker.record.offset > record.offset else None


def iter_dead_letters(
    records: Iterable[Record], markers: Markers
) -> Iterator[tuple[DeadLetter, DeadLetterRecord | None]]:
    """
    Yield the dead letters of a topic, each with its parsed record; None for a foreign record.

    A dead letter is open unless a later marker in its partition names its record.
    """
    for record in records:
        parsed = parse(record)
        if isinstance(parsed, DeadLetterRecord):
            marker = find_marker(markers, parsed)
            dead_letter = DeadLetter(
                parsed.refusal,
                parsed.topic_id,
                parsed.group,
                _timestamp(parsed.record),
                parsed.replay_count,
                (_timestamp(marker.record) or UNKNOWN_TIME) if marker else None,
                parsed.record,
            )
            yield dead_letter, parsed
        elif not isinstance(parsed, Marker):
            foreign = record if record.headers is not UNREADABLE else record._replace(headers=())
            yield DeadLetter(Refusal(foreign, ()), refused_at=_timestamp(record), topic_record=foreign), None


def _timestamp(record: Record) -> datetime | None:
    if record.timestamp is None:
        return None
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # a producer can set any timestamp
        return None
