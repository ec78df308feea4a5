"""Dead letters on a screen: a line each, one in full, how many of what."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from tradepipe.cli.columns import columns
from tradepipe.cli.dlq.reading import Decoded, Reading, dump, plain, shown
from tradepipe.contract.kept import Kept

WIDTH: Final = 80
"""Columns that a terminal has at least."""

BAR: Final = 24
"""Characters of the longest bar."""

DUMPED: Final = 1_024
"""Bytes of a value that are shown; `dlq export` has all of them."""

FOREIGN: Final = "(foreign)"

_HEADINGS: Final = ("refused at (UTC)", "record", "code", "tries", "trade")


def listed(kept: Sequence[Kept], reading: Reading) -> str:
    """A line each. A trade's id is cut at the end of a line, codes behind the first are counted."""
    states = any(each.replayed_at is not None for each in kept)
    headings = (*_HEADINGS[:4], *(("replayed",) if states else ()), _HEADINGS[4])
    rows = [_row(each, reading, states=states) for each in kept]
    table = columns(headings, rows, left={0, 1, 2, *range(4, len(headings))})
    widest = max(len(row) for row in _without_last(headings, rows))
    return "\n".join(_cut(line, max(WIDTH, widest)) for line in table.splitlines())


def in_full(kept: Kept, decoded: Decoded) -> str:
    """All that is known of one."""
    lines = [f"{kept.record.coordinates}: {_state(kept)}", "", *_reasons(kept), *_keeping(kept), *_headers(kept)]
    return "\n".join([*lines, *_value(kept, decoded)])


def counted(kept: Iterable[Kept], by: str, place: str, *, narrowed: bool) -> str:
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
    table = [columns((by, "open", "replayed", ""), rows, left={0, 3})] if rows else []
    what = _many(total[False], "such open " if narrowed else "open ")
    return "\n".join([*table, f"{what} and {total[True]:,} replayed in {place}"])


def summed(shown_: int, total: int, place: str, *, replayed: bool, narrowed: bool) -> str:
    """The line below a list; `narrowed` if not all that are there were asked for."""
    kind = ("such " if narrowed else "") + ("" if replayed else "open ")
    what = f"{_many(total, kind)} in {place}"
    return what if shown_ == total else f"{what}, newest {shown_:,} shown (--limit)"


def ways_back(kept: Kept, door: str, typed: str) -> Iterator[str]:
    """How an open one is brought back."""
    if kept.replayed_at is None and not kept.is_foreign:
        topic, partition, offset = kept.record[:3]
        source = shlex.quote(plain(topic))
        yield "Bring it back when the reason is gone, first with --dry-run:"
        yield f"  {door} replay --source {source} --partition {partition} --offsets {offset}{typed}"


def _row(kept: Kept, reading: Reading, *, states: bool) -> tuple[str, ...]:
    codes = [plain(code) for code in kept.refusal.codes] or [FOREIGN]
    trade = reading(kept.record).trade
    return (
        _time(kept.refused_at),
        plain(kept.record.coordinates),
        codes[0] + (f" +{len(codes) - 1}" if len(codes) > 1 else ""),
        str(kept.replays + 1),
        *(("yes" if kept.replayed_at else "no",) if states else ()),
        plain(f"{trade.trade_id} v{trade.version}") if trade else shown(kept.record.key),
    )


def _without_last(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines up to their last column, and a few characters of it."""
    shorter = [tuple(row[:-1]) for row in (headings, *rows)]
    return [f"{line}  {'x' * 8}" for line in columns(shorter[0], shorter[1:]).splitlines()]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _state(kept: Kept) -> str:
    if kept.is_foreign:
        return "no dead letter of ours or of Kafka Connect's; it is never replayed"
    if kept.replayed_at is not None:
        return f"replayed at {_time(kept.replayed_at)} UTC"
    times = "once" if kept.replays == 0 else "twice" if kept.replays == 1 else f"{kept.replays + 1} times"
    return f"open, refused {times}"


def _reasons(kept: Kept) -> Iterator[str]:
    for violation in kept.refusal.violations:
        yield f"  {plain(violation.code)}: {plain(violation.detail)}"
    yield ""


def _keeping(kept: Kept) -> Iterator[str]:
    record = kept.record
    yield _field("refused at", f"{_time(kept.refused_at)} UTC")
    if kept.group:
        yield _field("by group", plain(kept.group))
    if kept.letter is not None and not kept.is_foreign:
        yield _field("lies in", plain(kept.letter.coordinates))
    if record.timestamp is not None:
        yield _field("its time", _of_milliseconds(record.timestamp))
    if kept.topic_id:
        yield _field("topic id", plain(kept.topic_id))
    if kept.refusal.schema_id is not None:
        yield _field("schema id", str(kept.refusal.schema_id))
    yield _field("key", shown(record.key))


def _headers(kept: Kept) -> Iterator[str]:
    if kept.letter is None:
        yield _field("headers", "not kept in the table, the record in Kafka has them")
    for name, value in kept.record.headers:
        yield _field("header", f"{plain(name)} = {shown(value)}")


def _value(kept: Kept, decoded: Decoded) -> Iterator[str]:
    value = kept.record.value
    if value is None:
        yield _field("value", "none")
    elif decoded.trade is not None:
        yield _field("value", f"{len(value):,} bytes, decoded by schema id {decoded.schema_id}:")
        for name, field in decoded.trade._asdict().items():
            yield f"    {name:<17} {plain(str(field))}"
    else:
        yield _field("value", f"{len(value):,} bytes, not decoded{_problem(kept, decoded)}")
        yield from (f"  {line}" for line in dump(value[:DUMPED]))
        if len(value) > DUMPED:
            yield f"  and {len(value) - DUMPED:,} bytes more, all of them by `dlq export`"


def _problem(kept: Kept, decoded: Decoded) -> str:
    """Why it is not decoded, unless that is what it was refused for."""
    told = {f"{violation.code}: {violation.detail}" for violation in kept.refusal.violations}
    return "" if decoded.problem in told else f": {plain(decoded.problem)}"


def _names(kept: Kept, by: str) -> Sequence[str]:
    if by == "code":
        return [plain(code) for code in dict.fromkeys(kept.refusal.codes)] or [FOREIGN]
    if by == "day":
        return [_time(kept.refused_at)[:10]]
    return [plain(f"{kept.record.topic}[{kept.record.partition}]")]


def _natural(name: str) -> tuple[str, int]:
    topic, _, partition = name.rpartition("[")
    number = partition.removesuffix("]")
    return (topic, int(number)) if number.isdecimal() else (name, 0)


def _bar(number: int, most: int) -> str:
    return "#" * max(1, round(BAR * number / most)) if number else ""


def _many(number: int, kind: str) -> str:
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
