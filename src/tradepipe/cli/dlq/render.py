"""Dead letters as text: lists, details, statistics."""

import logging
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, NamedTuple, Self

from tradepipe.cli.settings import open_registry
from tradepipe.cli.terminal import format_table
from tradepipe.errors import (
    RegistryUnavailable,
    SchemaIdNotYetKnown,
    TradepipeError,
    UndecodableRecord,
    UnsupportedSchema,
)
from tradepipe.registry.serde import TradeDeserializer
from tradepipe.trade.dead_letter import DeadLetter
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Code, Record

logger = logging.getLogger(__name__)

TIMEOUT: Final = 5.0
"""Seconds to wait for a registry without which records can be shown too."""

VALUE_WIDTH: Final = 16
"""Bytes in a line of a dump."""


class NoSuchDeadLetter(TradepipeError):
    """No dead letter has these coordinates."""

    exit_code = 1


class DecodedRecord(NamedTuple):
    """The trade in a record, or why there is none to be had, and the id of its schema."""

    trade: Trade | None
    schema_id: int | None
    problem: str = ""


class RecordDecoder:
    """
    Decode what can be decoded; without a registry, or while it is away, nothing can.

    Nothing is decided by it, so a schema this build would lose fields of is read too.
    """

    def __init__(self, registry: str | None, subject: str) -> None:
        self._missing = "" if registry else "no registry was named: give --registry, or set SCHEMA_REGISTRY_URL"
        self._registry = open_registry(registry, timeout=TIMEOUT) if registry else None
        self._decode = (
            TradeDeserializer(self._registry, subject=subject, unknown_fields="drop").decode if self._registry else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._registry is not None:
            self._registry.close()

    def __call__(self, record: Record) -> DecodedRecord:
        """What is in a record."""
        if self._decode is None:
            return DecodedRecord(None, None, self._missing)
        try:
            schema_id, trade = self._decode(record.value)
        except UndecodableRecord as error:
            return DecodedRecord(None, error.schema_id, str(error))
        except SchemaIdNotYetKnown as error:  # a sink asks again; whoever looks need not
            problem = f"the registry does not know schema id {error.schema_id}"
            return DecodedRecord(None, error.schema_id, f"{Code.UNKNOWN_SCHEMA}: {problem}")
        except UnsupportedSchema as error:
            return DecodedRecord(None, None, str(error))
        except RegistryUnavailable as error:
            logger.warning("records are not decoded: %s", error)
            self._decode, self._missing = None, str(error)
            return DecodedRecord(None, None, self._missing)
        return DecodedRecord(trade, schema_id)

    def is_of(self, kept: DeadLetter, trade_id: str) -> bool:
        """Whether a refused record is of a trade, by its value or its key."""
        if kept.record.key == trade_id.encode():
            return True
        trade = self(kept.record).trade
        return trade is not None and trade.trade_id == trade_id


def escape(text: str) -> str:
    """
    Text as one that a terminal only shows: a record may hold what would move its cursor.

    >>> plain("T1\\x1b[2J")
    'T1\\\\x1b[2J'
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def format_value(given: bytes | None) -> str:
    """
    Bytes as a person reads them, as text where they are text.

    >>> shown(b"T1"), shown(b"\\xff\\x00"), shown(None)
    ('T1', '0xff00', '-')
    """
    if given is None:
        return "-"
    try:
        return escape(given.decode())
    except UnicodeDecodeError:
        return f"0x{given.hex()}"


def hex_dump(given: bytes) -> Iterator[str]:
    """
    Bytes in lines: offset, hexadecimal, and what is printable in ASCII.

    >>> list(dump(b"\\x00T1"))
    ['00000000  00 54 31                                         |.T1|']
    """
    for offset in range(0, len(given), VALUE_WIDTH):
        line = given[offset : offset + VALUE_WIDTH]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{offset:08x}  {line.hex(' '):<{3 * VALUE_WIDTH - 1}}  |{text}|"


WIDTH: Final = 80
"""Columns that a terminal has at least."""

BAR: Final = 24
"""Characters of the longest bar."""

MAX_DUMPED_BYTES: Final = 1_024
"""Bytes of a value that are shown; `dlq export` has all of them."""

FOREIGN: Final = "(foreign)"

_HEADINGS: Final = ("refused at (UTC)", "record", "code", "tries", "trade")


def format_list(kept: Sequence[DeadLetter], reading: RecordDecoder) -> str:
    """A line each. A trade's id is cut at the end of a line, codes behind the first are counted."""
    states = any(each.replayed_at is not None for each in kept)
    headings = (*_HEADINGS[:4], *(("replayed",) if states else ()), _HEADINGS[4])
    rows = [_row(each, reading, states=states) for each in kept]
    table = format_table(headings, rows, left={0, 1, 2, *range(4, len(headings))})
    widest = max(len(row) for row in _without_last(headings, rows))
    return "\n".join(_cut(line, max(WIDTH, widest)) for line in table.splitlines())


def format_details(kept: DeadLetter, decoded: DecodedRecord) -> str:
    """All that is known of one."""
    lines = [f"{kept.record.coordinates}: {_state(kept)}", "", *_reasons(kept), *_keeping(kept), *_headers(kept)]
    return "\n".join([*lines, *_value(kept, decoded)])


def format_stats(kept: Iterable[DeadLetter], by: str, place: str, *, narrowed: bool) -> str:
    """How many of what, with bars; each of a record's codes counts."""
    numbers: Counter[str] = Counter()
    replayed: Counter[str] = Counter()
    total = Counter[bool]()
    for each in kept:
        total[each.replayed_at is not None] += 1
        for name in _names(each, by):
            (numbers if each.replayed_at is None else replayed)[name] += 1
    names = sorted({*numbers, *replayed}, key=lambda name: (-numbers[name], -replayed[name], name))
    if by in ("day", "partition"):
        names.sort(key=_natural)
    most = max(numbers.values(), default=0)
    rows = [(name, f"{numbers[name]:,}", f"{replayed[name]:,}", _bar(numbers[name], most)) for name in names]
    table = [format_table((by, "open", "replayed", ""), rows, left={0, 3})] if rows else []
    what = _plural(total[False], "such open " if narrowed else "open ")
    return "\n".join([*table, f"{what} and {total[True]:,} replayed in {place}"])


def format_summary(shown_: int, total: int, place: str, *, replayed: bool, narrowed: bool) -> str:
    """The line below a list; `narrowed` if not all that are there were asked for."""
    kind = ("such " if narrowed else "") + ("" if replayed else "open ")
    what = f"{_plural(total, kind)} in {place}"
    return what if shown_ == total else f"{what}, newest {shown_:,} shown (--limit)"


def replay_hint(kept: DeadLetter, door: str, typed: str) -> Iterator[str]:
    """How an open one is brought back."""
    if kept.replayed_at is None and not kept.is_foreign:
        topic, partition, offset = kept.record[:3]
        source = shlex.quote(escape(topic))
        yield "Bring it back when the reason is gone, first with --dry-run:"
        yield f"  {door} replay --source {source} --partition {partition} --offsets {offset}{typed}"


def _row(kept: DeadLetter, reading: RecordDecoder, *, states: bool) -> tuple[str, ...]:
    codes = [escape(code) for code in kept.refusal.codes] or [FOREIGN]
    trade = reading(kept.record).trade
    return (
        _time(kept.refused_at),
        escape(kept.record.coordinates),
        codes[0] + (f" +{len(codes) - 1}" if len(codes) > 1 else ""),
        str(kept.replay_count + 1),
        *(("yes" if kept.replayed_at else "no",) if states else ()),
        escape(f"{trade.trade_id} v{trade.version}") if trade else format_value(kept.record.key),
    )


def _without_last(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines up to their last column, and a few characters of it."""
    shorter = [tuple(row[:-1]) for row in (headings, *rows)]
    return [f"{line}  {'x' * 8}" for line in format_table(shorter[0], shorter[1:]).splitlines()]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _state(kept: DeadLetter) -> str:
    if kept.is_foreign:
        return "no dead letter of ours or of Kafka Connect's; it is never replayed"
    if kept.replayed_at is not None:
        return f"replayed at {_time(kept.replayed_at)} UTC"
    times = (
        "once" if kept.replay_count == 0 else "twice" if kept.replay_count == 1 else f"{kept.replay_count + 1} times"
    )
    return f"open, refused {times}"


def _reasons(kept: DeadLetter) -> Iterator[str]:
    for violation in kept.refusal.violations:
        yield f"  {escape(violation.code)}: {escape(violation.detail)}"
    yield ""


def _keeping(kept: DeadLetter) -> Iterator[str]:
    record = kept.record
    yield _field("refused at", f"{_time(kept.refused_at)} UTC")
    if kept.group:
        yield _field("by group", escape(kept.group))
    if kept.topic_record is not None and not kept.is_foreign:
        yield _field("lies in", escape(kept.topic_record.coordinates))
    if record.timestamp is not None:
        yield _field("its time", _of_milliseconds(record.timestamp))
    if kept.topic_id:
        yield _field("topic id", escape(kept.topic_id))
    if kept.refusal.schema_id is not None:
        yield _field("schema id", str(kept.refusal.schema_id))
    yield _field("key", format_value(record.key))


def _headers(kept: DeadLetter) -> Iterator[str]:
    if kept.topic_record is None:
        yield _field("headers", "not kept in the table, the record in Kafka has them")
    for name, value in kept.record.headers:
        yield _field("header", f"{escape(name)} = {format_value(value)}")


def _value(kept: DeadLetter, decoded: DecodedRecord) -> Iterator[str]:
    value = kept.record.value
    if value is None:
        yield _field("value", "none")
    elif decoded.trade is not None:
        yield _field("value", f"{len(value):,} bytes, decoded by schema id {decoded.schema_id}:")
        for name, field in decoded.trade._asdict().items():
            yield f"    {name:<17} {escape(str(field))}"
    else:
        yield _field("value", f"{len(value):,} bytes, not decoded{_problem(kept, decoded)}")
        yield from (f"  {line}" for line in hex_dump(value[:MAX_DUMPED_BYTES]))
        if len(value) > MAX_DUMPED_BYTES:
            yield f"  and {len(value) - MAX_DUMPED_BYTES:,} bytes more, all of them by `dlq export`"


def _problem(kept: DeadLetter, decoded: DecodedRecord) -> str:
    """Why it is not decoded, unless that is what it was refused for."""
    told = {f"{violation.code}: {violation.detail}" for violation in kept.refusal.violations}
    return "" if decoded.problem in told else f": {escape(decoded.problem)}"


def _names(kept: DeadLetter, by: str) -> Sequence[str]:
    if by == "code":
        return [escape(code) for code in dict.fromkeys(kept.refusal.codes)] or [FOREIGN]
    if by == "day":
        return [_time(kept.refused_at)[:10]]
    return [escape(f"{kept.record.topic}[{kept.record.partition}]")]


def _natural(name: str) -> tuple[str, int]:
    topic, _, partition = name.rpartition("[")
    number = partition.removesuffix("]")
    return (topic, int(number)) if number.isdecimal() else (name, 0)


def _bar(number: int, most: int) -> str:
    return "#" * max(1, round(BAR * number / most)) if number else ""


def _plural(number: int, kind: str) -> str:
    return f"{number or 'no'} {kind}dead letter{'' if number == 1 else 's'}"


def _field(name: str, value: str) -> str:
    return f"  {name:<11} {value}"


def _time(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if time else "unknown"


def _of_milliseconds(milliseconds: int) -> str:
    try:
        return f"{_time(datetime.fromtimestamp(milliseconds / 1000, UTC))} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms since 1970"
