"""Dead letters as text: lists, details, statistics."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

from tradepipe.cli.settings import Registry
from tradepipe.cli.terminal import format_table, wrap
from tradepipe.errors import (
    RegistryUnavailable,
    SchemaIdNotYetKnown,
    TradepipeError,
    UndecodableRecord,
    UnsupportedSchema,
)
from tradepipe.kafka.origin import describe_foreign_origin
from tradepipe.plural import format_count
from tradepipe.redaction import escape
from tradepipe.registry.serde import TradeDeserializer
from tradepipe.trade.dead_letter import DeadLetter
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Code, Record

logger = logging.getLogger(__name__)

REGISTRY_TIMEOUT: Final = 5.0
"""Seconds to wait for a registry; short, because records can be shown without it."""

DUMP_BYTES_PER_LINE: Final = 16
"""Bytes in a line of a hex dump."""


class NoSuchDeadLetter(TradepipeError):
    """No dead letter has these coordinates."""

    exit_code = 1


class DecodedRecord(NamedTuple):
    """The trade in a record, or why it is not decodable, and the id of its schema."""

    trade: Trade | None
    schema_id: int | None
    problem: str = ""


class RecordDecoder:
    """Decodes records for display, without unknown fields, as far as a registry is given and available."""

    def __init__(self, registry: Registry | None, subject: str) -> None:
        self._problem = "" if registry else "no registry given: pass --registry, or set SCHEMA_REGISTRY_URL"
        self._registry = registry.open(timeout=REGISTRY_TIMEOUT) if registry else None
        self._decode = (
            TradeDeserializer(self._registry, subject=subject, unknown_fields="drop").decode if self._registry else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._registry is not None:
            self._registry.close()

    def __call__(self, record: Record) -> DecodedRecord:
        """Decode a record."""
        if self._decode is None:
            return DecodedRecord(None, None, self._problem)
        try:
            schema_id, trade = self._decode(record.value)
        except UndecodableRecord as error:
            return DecodedRecord(None, error.schema_id, str(error))
        except SchemaIdNotYetKnown as error:  # a sink asks twice, but for display one answer is enough
            return DecodedRecord(None, error.schema_id, f"{Code.UNKNOWN_SCHEMA}: {error.problem}")
        except UnsupportedSchema as error:
            return DecodedRecord(None, None, str(error))
        except RegistryUnavailable as error:
            logger.warning("registry unavailable, showing records without decoding them: %s", error)
            # For good: each further record would wait for the timeout again.
            self._decode, self._problem = None, str(error)
            return DecodedRecord(None, None, self._problem)
        return DecodedRecord(trade, schema_id)

    def is_of(self, dead_letter: DeadLetter, trade_id: str) -> bool:
        """Return whether a dead letter belongs to a trade, by its value or its key."""
        if dead_letter.record.key == trade_id.encode():
            return True
        trade = self(dead_letter.record).trade
        return trade is not None and trade.trade_id == trade_id


def format_value(value: bytes | None) -> str:
    """
    Format bytes as text if they are UTF-8, otherwise as hexadecimal.

    >>> format_value(b"T1"), format_value(b"\\xff\\x00"), format_value(None)
    ('T1', '0xff00', '-')
    """
    if value is None:
        return "-"
    try:
        return escape(value.decode())
    except UnicodeDecodeError:
        return f"0x{value.hex()}"


def hex_dump(value: bytes) -> Iterator[str]:
    """
    Yield lines of a hex dump: offset, hexadecimal bytes, printable ASCII.

    >>> list(hex_dump(b"\\x00T1"))
    ['00000000  00 54 31                                         |.T1|']
    """
    for offset in range(0, len(value), DUMP_BYTES_PER_LINE):
        line = value[offset : offset + DUMP_BYTES_PER_LINE]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{offset:08x}  {line.hex(' '):<{3 * DUMP_BYTES_PER_LINE - 1}}  |{text}|"


BAR_WIDTH: Final = 24
"""Characters of the longest bar."""

MAX_DUMPED_BYTES: Final = 1_024
"""Bytes of a value in a hex dump; `dlq export` writes all of them."""

FOREIGN: Final = "(foreign)"

_HEADINGS: Final = ("refused at (UTC)", "record", "code", "tries", "trade")


def format_list(dead_letters: Sequence[DeadLetter], decoder: RecordDecoder) -> str:
    """Format one line per dead letter; long trade ids are truncated, and codes after the first are only counted."""
    states = any(each.replayed_at is not None for each in dead_letters)
    headings = (*_HEADINGS[:4], *(("replayed",) if states else ()), _HEADINGS[4])
    rows = [_row(each, decoder, states=states) for each in dead_letters]
    return format_table(headings, rows, left={0, 1, 2, *range(4, len(headings))}, truncate=True)


def format_details(dead_letter: DeadLetter, decoded: DecodedRecord) -> str:
    """Format everything known about a dead letter."""
    attempts = dead_letter.replay_count + 1
    state = f"open, refused {('once', 'twice')[attempts - 1] if attempts < 3 else f'{attempts} times'}"
    if dead_letter.replayed_at is not None:
        state = f"replayed at {_time(dead_letter.replayed_at)} UTC"
    if dead_letter.is_foreign:
        origin = describe_foreign_origin(dead_letter.record)
        note = f" ({escape(origin)})" if origin else ""
        state = f"not a dead letter of tradepipe or Kafka Connect{note}; it is never replayed"
    reasons = [
        f"  {wrap(f'{escape(each.code)}: {escape(each.detail)}', indent='    ', margin=2, err=False)}"
        for each in dead_letter.refusal.violations
    ]
    lines = [f"{escape(dead_letter.record.coordinates)}: {state}", "", *reasons, ""]
    return "\n".join([*lines, *_metadata(dead_letter), *_value(dead_letter, decoded)])


class DeadLetterCounts(NamedTuple):
    """Open and replayed dead letters by group; a record counts for each of its codes, and once in the totals."""

    open: Counter[str]
    replayed: Counter[str]
    total_open: int
    total_replayed: int

    def names(self, by: str) -> list[str]:
        """Return the groups: days and partitions in their order, codes by number."""
        names = sorted({*self.open, *self.replayed}, key=lambda name: (-self.open[name], -self.replayed[name], name))
        # Partitions by topic and number: of two names of a topic, the shorter one has the smaller number.
        return names if by == "code" else sorted(names, key=lambda name: (name.partition("[")[0], len(name), name))

    def document(self, by: str) -> dict[str, object]:
        """Return the JSON document of `--format json`."""
        groups = [{by: each, "open": self.open[each], "replayed": self.replayed[each]} for each in self.names(by)]
        return {"open": self.total_open, "replayed": self.total_replayed, "groups": groups}


def count_dead_letters(dead_letters: Iterable[DeadLetter], by: str) -> DeadLetterCounts:
    """Count dead letters by code, partition or day."""
    counts: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    totals = Counter[bool]()
    for each in dead_letters:
        is_replayed = each.replayed_at is not None
        totals[is_replayed] += 1
        if by == "code":
            names = list(dict.fromkeys(each.refusal.codes)) or [FOREIGN]
        else:
            names = [_time(each.refused_at)[:10] if by == "day" else each.record.coordinates.partition("@")[0]]
        counts[is_replayed].update(map(escape, names))
    return DeadLetterCounts(counts[False], counts[True], totals[False], totals[True])


def format_stats(counts: DeadLetterCounts, by: str, store: str, *, is_filtered: bool) -> str:
    """Format counts with bars."""
    most = max(counts.open.values(), default=0)
    rows = [
        (
            name,
            f"{counts.open[name]:,}",
            f"{counts.replayed[name]:,}",
            "#" * max(1, round(BAR_WIDTH * counts.open[name] / most)) if counts.open[name] else "",
        )
        for name in counts.names(by)
    ]
    table = [format_table((by, "open", "replayed", ""), rows, left={0, 3})] if rows else []
    what = format_count(counts.total_open, f"{'matching ' if is_filtered else ''}open dead letter", zero="no")
    return "\n".join([*table, f"{what} and {counts.total_replayed:,} replayed in {store}"])


def format_summary(listed: int, total: int, store: str, *, replayed: bool, is_filtered: bool) -> str:
    """Format the line below a list."""
    kind = ("matching " if is_filtered else "") + ("" if replayed else "open ")
    text = f"{format_count(total, f'{kind}dead letter', zero='no')} in {store}"
    return text if listed == total else f"{text}, newest {listed:,} shown (--limit)"


def _row(dead_letter: DeadLetter, decoder: RecordDecoder, *, states: bool) -> tuple[str, ...]:
    codes = [escape(code) for code in dead_letter.refusal.codes] or [FOREIGN]
    trade = decoder(dead_letter.record).trade
    return (
        _time(dead_letter.refused_at),
        escape(dead_letter.record.coordinates),
        codes[0] + (f" +{len(codes) - 1}" if len(codes) > 1 else ""),
        str(dead_letter.replay_count + 1),
        *(("yes" if dead_letter.replayed_at else "no",) if states else ()),
        escape(f"{trade.trade_id} v{trade.version}") if trade else format_value(dead_letter.record.key),
    )


def _metadata(dead_letter: DeadLetter) -> Iterator[str]:
    record = dead_letter.record
    yield _field("refused at", f"{_time(dead_letter.refused_at)} UTC")
    if dead_letter.group:
        yield _field("by group", escape(dead_letter.group))
    if dead_letter.topic_record is not None and not dead_letter.is_foreign:
        yield _field("stored at", escape(dead_letter.topic_record.coordinates))
    if record.timestamp is not None:
        try:
            time = f"{_time(datetime.fromtimestamp(record.timestamp / 1000, UTC))} UTC"
        except (OverflowError, ValueError, OSError):  # a producer may send any number
            time = f"{record.timestamp} ms since 1970"
        yield _field("timestamp", time)
    if dead_letter.topic_id:
        yield _field("topic id", escape(dead_letter.topic_id))
    if dead_letter.refusal.schema_id is not None:
        yield _field("schema id", str(dead_letter.refusal.schema_id))
    omitted = dead_letter.refusal.omitted.key
    yield _field("key", f"{omitted}, not kept" if omitted else format_value(record.key))
    if dead_letter.topic_record is None:
        yield _field("headers", "only in Kafka, not in the table")
    if dead_letter.refusal.omitted.headers:
        yield _field("headers", f"{dead_letter.refusal.omitted.headers}, not kept")
    for name, value in record.headers:
        yield _field("header", f"{escape(name)} = {format_value(value)}")


def _value(dead_letter: DeadLetter, decoded: DecodedRecord) -> Iterator[str]:
    value, omitted = dead_letter.record.value, dead_letter.refusal.omitted.value
    if omitted:
        yield _field("value", f"{omitted}, not kept")
    if not dead_letter.refusal.is_complete and not dead_letter.is_foreign:
        coordinates = escape(dead_letter.record.coordinates)
        yield f"The record itself is only in Kafka, at {coordinates}, as long as its topic keeps it"
    elif value is None:
        yield _field("value", "none")
    elif decoded.trade is not None:
        yield _field("value", f"{format_count(len(value), 'byte')}, decoded with schema id {decoded.schema_id}:")
        for name, field in decoded.trade._asdict().items():
            yield f"    {name:<17} {escape(str(field))}"
    else:
        yield _field("value", f"{format_count(len(value), 'byte')}, not decoded{_problem(dead_letter, decoded)}")
        yield from (f"  {line}" for line in hex_dump(value[:MAX_DUMPED_BYTES]))
        if len(value) > MAX_DUMPED_BYTES:
            yield f"  and {format_count(len(value) - MAX_DUMPED_BYTES, 'more byte')}; `dlq export` writes all of them"


def _problem(dead_letter: DeadLetter, decoded: DecodedRecord) -> str:
    """Return why the value is not decoded, unless it was refused for the same reason."""
    reasons = {f"{violation.code}: {violation.detail}" for violation in dead_letter.refusal.violations}
    return "" if decoded.problem in reasons else f": {escape(decoded.problem)}"


def _field(name: str, value: str) -> str:
    return f"  {name:<11} {value}"


def _time(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if time else "unknown"
