"""Seeded streams of sample trades and bad records."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import count, cycle
from random import Random
from typing import Any, Final, NamedTuple

from tradepipe.trade.constraints import Identifier, NotBefore
from tradepipe.trade.declaration import REQUIRED, Field
from tradepipe.trade.model import DECLARATION, KAFKA_KEY, Side, Trade
from tradepipe.trade.record import Code
from tradepipe.trade.sample_values import BEGIN, broken_values, given_value

UNKNOWN_SCHEMA_ID: Final = 2_147_483_647
"""Schema id of a bad record that no registry knows."""

_MAX_OPEN_TRADES: Final = 40
_NEW_TRADE_SHARE: Final = 0.4
_COMPLETE_SHARE: Final = 0.8
_CURRENCIES: Final = ("EUR", "USD", "GBP", "CHF", "JPY")
_YEAR_10000_MICROS: Final = 253_402_300_800_000_000
"""Microseconds since 1970 of the first instant after Python's last datetime."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


Draw = Callable[[Random, datetime], Any]
"""Draws a value, given the time at which the version is made."""

_USUAL_VALUES: Final[Mapping[str, Draw]] = {
    "version": lambda _random, _now: 1,
    "counterparty_id": lambda random, _now: f"CP-{random.randrange(1, 21)}",
    "book_id": lambda random, _now: f"B{random.randrange(1, 6)}",
    "maturity_date": lambda random, now: now.date() + timedelta(days=random.randrange(3_650)),
    "created_at": lambda _random, now: now,
    "side": lambda random, _now: random.choice((Side.BUY, Side.SELL)),
    # From a hundredth to ten billion, small ones as often as large ones.
    "notional": lambda random, _now: Decimal(f"{random.randrange(1, 10 ** random.randrange(4, 13))}00e-4"),
    "currency": lambda random, _now: random.choice(_CURRENCIES),
}
"""Values of fields that should look like those of a trade; the values of other fields follow from their declaration."""

_CHANGING: Final = ("maturity_date", "created_at")
"""Fields with another value in each version; other values change sometimes."""

_CHANGE_SHARE: Final = 0.2


def trades(seed: int) -> Iterator[Trade]:
    """
    Generate valid trades without end, most in several versions, in ascending order.

    Some lack optional values, as records of earlier schema versions do. Primary keys are
    unique, also across seeds: an id contains the seed, except for seed 0, whose
    ids are short.

    >>> next(trades(0)).trade_id
    'T35247'
    """
    random = Random(seed)
    ids = _ids("T", seed, random.randrange(10_000, 60_000))
    created_at = BEGIN
    open_trades: list[Trade] = []
    while True:
        created_at += timedelta(microseconds=random.randrange(1, 2_000_000))
        if not open_trades or random.random() < _NEW_TRADE_SHARE:
            trade = _first_version(random, next(ids), created_at)
        else:
            trade = _next_version(random, open_trades.pop(random.randrange(len(open_trades))), created_at)
        open_trades.append(trade)
        # The oldest trade gets no more versions, so memory is bounded.
        if len(open_trades) > _MAX_OPEN_TRADES:
            del open_trades[0]
        yield trade


def _ids(initial: str, seed: int, first: int) -> Iterator[str]:
    prefix = initial if seed == 0 else f"{initial}{seed}-"
    return (f"{prefix}{number}" for number in count(first))


def _first_version(random: Random, trade_id: str, created_at: datetime) -> Trade:
    """Return a trade with all optional values, or with none."""
    is_complete = random.random() < _COMPLETE_SHARE
    values: dict[str, Any] = {KAFKA_KEY: trade_id}
    for field in DECLARATION.fields:
        if field.name not in values:
            is_given = is_complete or field.default is REQUIRED
            values[field.name] = _draw(field, random, created_at) if is_given else field.default
    return _keep_rules(Trade(**values))


def _next_version(random: Random, trade: Trade, created_at: datetime) -> Trade:
    """Return the next version: another maturity date, and sometimes other values."""
    changed: dict[str, Any] = {"version": trade.version + 1}
    for field in DECLARATION.fields:
        name = field.name
        if field.is_key or (name not in _CHANGING and random.random() >= _CHANGE_SHARE):
            continue
        # A missing value stays missing: rules may ask for others with it.
        if name in _CHANGING or getattr(trade, name) not in (None, field.default):
            changed[name] = _draw(field, random, created_at)
    return _keep_rules(trade._replace(**changed))


def _draw(field: Field, random: Random, now: datetime) -> Any:
    draw = _USUAL_VALUES.get(field.name)
    return draw(random, now) if draw else given_value(field, random)


def _keep_rules(trade: Trade) -> Trade:
    """Return a trade in which no date is before its reference."""
    for rule in DECLARATION.rules:
        if isinstance(rule, NotBefore) and rule.find_problem(*(getattr(trade, name) for name in rule.fields)):
            trade = _with(trade, {rule.field: _moment_of(rule, trade)})
    return trade


def _moment_of(rule: NotBefore, trade: Trade) -> date:
    """Return the earliest value that a rule allows."""
    reference: date = getattr(trade, rule.reference)
    if isinstance(reference, datetime) and not isinstance(getattr(trade, rule.field), datetime):
        return (reference.astimezone(UTC) if reference.tzinfo else reference).date()
    return reference


class BadRecord(NamedTuple):
    """An invalid record: the kind of its defect, its Kafka key and its value."""

    kind: str
    key: bytes
    value: bytes | None

    @property
    def code(self) -> str:
        """Violation code that the record is refused with."""
        return next(corruption.code for corruption in _CORRUPTIONS if corruption.kind == self.kind)


def bad_records(seed: int, encode: Callable[[Trade], bytes]) -> Iterator[BadRecord]:
    """
    Generate invalid records without end, each kind in turn.

    Args:
        encode: returns the framed value of a trade; it must check types, but
            not rules.
    """
    # Other ids than those of `trades`, so that no invalid record has the key of a valid one.
    ids = _ids("X", seed, 1)
    for trade, corruption in zip(trades(seed), cycle(_CORRUPTIONS), strict=False):
        yield BadRecord(corruption.kind, *corruption.corrupt(_with(trade, {KAFKA_KEY: next(ids)}), encode))


_CorruptedRecord = tuple[bytes, bytes | None]
"""Kafka key and value."""

_Corrupt = Callable[[Trade, Callable[[Trade], bytes]], _CorruptedRecord]


class _Corruption(NamedTuple):
    """A kind of invalid record, the code that it is refused with, and the function that makes it from a trade."""

    kind: str
    code: str
    corrupt: _Corrupt


def _constraint_corruptions() -> Iterator[_Corruption]:
    """Yield a corruption for each constraint and each rule of the declaration."""
    identifiers = [field for field in DECLARATION.fields if Identifier() in field.constraints]
    for field in DECLARATION.fields:
        variant = identifiers.index(field) if field in identifiers else 0
        for kind, value in broken_values(field, _draw(field, Random(2), BEGIN), variant):
            together = next((rule.fields for rule in DECLARATION.rules if field.name in rule.fields), ())
            others = [name for name in together if name != field.name]
            yield _Corruption(kind, field.code, _trade(partial(_complete, names=others, changes={field.name: value})))
        if field.type.kind == "timestamp-micros" and not field.is_nullable:
            kind = f"{field.name.replace('_', ' ')} in year 10000"
            yield _Corruption(kind, field.code, partial(_set_late_timestamp, field.name))
        for rule in DECLARATION.rules_of(field.name):
            if isinstance(rule, NotBefore):
                kind = f"{rule.field} before {rule.reference}".replace("_", " ")
                yield _Corruption(kind, field.code, _trade(partial(_set_before, rule)))
            else:
                first, *others = rule.fields
                kind = f"{first} without {others[0]}".replace("_", " ")
                separate = partial(_complete, names=[first], changes=dict.fromkeys(others))
                yield _Corruption(kind, field.code, _trade(separate))


def _complete(trade: Trade, names: Sequence[str], changes: Mapping[str, Any]) -> Trade:
    """Return a trade in which these fields have values, with changes."""
    missing = [field for field in DECLARATION.fields if field.name in names and getattr(trade, field.name) is None]
    return _with(trade, {**{field.name: _draw(field, Random(0), BEGIN) for field in missing}, **changes})


def _with(trade: Trade, changes: Mapping[str, Any]) -> Trade:
    return trade._replace(**changes)


def _set_before(rule: NotBefore, trade: Trade) -> Trade:
    trade = _complete(trade, rule.fields, {})
    return _with(trade, {rule.field: _moment_of(rule, trade) - timedelta(days=1)})


def _set_late_timestamp(name: str, trade: Trade, encode: Callable[[Trade], bytes]) -> _CorruptedRecord:
    # No datetime is after year 9999, so the timestamp is replaced in the encoded value.
    micros = (getattr(trade, name) - _EPOCH) // timedelta(microseconds=1)
    return _key(trade), encode(trade).replace(_long(micros), _long(_YEAR_10000_MICROS), 1)


def _key(trade: Trade) -> bytes:
    return str(getattr(trade, KAFKA_KEY)).encode()


def _trade(change: Callable[[Trade], Trade]) -> _Corrupt:
    """Return a corruption that changes the trade."""

    def corrupt(trade: Trade, encode: Callable[[Trade], bytes]) -> _CorruptedRecord:
        changed = change(trade)
        return _key(changed), encode(changed)

    return corrupt


def _bytes(change: Callable[[bytes], bytes | None]) -> _Corrupt:
    """Return a corruption that changes the framed value."""
    return lambda trade, encode: (_key(trade), change(encode(trade)))


def _long(number: int) -> bytes:
    """Encode a non-negative integer as Avro does: zigzag, seven bits a byte, the lowest first."""
    zigzag, encoded = number << 1, bytearray()
    while zigzag > 0x7F:
        encoded.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    encoded.append(zigzag)
    return bytes(encoded)


_CORRUPTIONS: Final[tuple[_Corruption, ...]] = (
    *_constraint_corruptions(),
    _Corruption("truncated", Code.UNDECODABLE, _bytes(lambda value: value[:-3])),
    _Corruption("trailing bytes", Code.UNDECODABLE, _bytes(lambda value: value + b"\x00\x00")),
    _Corruption("wrong magic byte", Code.FRAMING, _bytes(lambda value: b"\x01" + value[1:])),
    _Corruption(
        "unknown schema id",
        Code.UNKNOWN_SCHEMA,
        _bytes(lambda value: b"\x00" + UNKNOWN_SCHEMA_ID.to_bytes(4, "big") + value[5:]),
    ),
    _Corruption("empty", Code.EMPTY, _bytes(lambda value: None)),
    _Corruption("key of another trade", Code.RECORD_KEY, lambda trade, encode: (b"T-OTHER", encode(trade))),
)


RESEND_WINDOW: Final = 10_000
"""Latest trades that may be sent again; limits the memory of an endless stream."""

MAX_SEED: Final = 1 << 40
"""Exclusive upper bound of random seeds: two of a thousand runs share one with a chance of one in two million."""


class NewTrade(NamedTuple):
    """A trade that is sent for the first time."""

    trade: Trade


class ResentTrade(NamedTuple):
    """A trade that was sent before, equal in every field."""

    trade: Trade


class ChangedTrade(NamedTuple):
    """A trade whose primary key was sent before with other content: a collision."""

    trade: Trade


SampleRecord = NewTrade | ResentTrade | ChangedTrade | BadRecord


def random_seed() -> int:
    """Return a seed that no other run is likely to use."""
    return Random().randrange(1, MAX_SEED)


def sample_stream(
    seed: int, encode: Callable[[Trade], bytes], *, bad: float = 0.0, resend: float = 0.0, change: float = 0.0
) -> Iterator[SampleRecord]:
    """
    Generate sample records without end, the same for the same arguments.

    Args:
        encode: returns the framed value of a trade.

        bad: share of invalid records.

        resend: share of trades that are sent again unchanged.

        change: share of trades that are sent again with other content.
    """
    random = Random(seed)
    new_trades, invalid = trades(seed), bad_records(seed, encode)
    sent: deque[Trade] = deque(maxlen=RESEND_WINDOW)
    for kind in _kinds({BadRecord: bad, ResentTrade: resend, ChangedTrade: change}):
        if kind is BadRecord:
            yield next(invalid)
        # The first records have nothing to resend, and are new trades instead.
        elif kind is ResentTrade and sent:
            yield ResentTrade(random.choice(sent))
        elif kind is ChangedTrade and sent:
            trade = random.choice(sent)
            yield ChangedTrade(_change(trade, random))
        else:
            sent.append(next(new_trades))
            yield NewTrade(sent[-1])


def _change(trade: Trade, random: Random) -> Trade:
    """Return a trade with the same primary key and other content."""
    fields = [field for field in DECLARATION.fields if not field.is_key]
    for field in fields:
        if field.constraints == (Identifier(),) and not field.is_nullable:
            return _with(trade, {field.name: f"{getattr(trade, field.name)}-other"})
    # A drawn value may be the same by chance, and equal content is a duplicate, not a collision.
    while (changed := _with(trade, {field.name: _draw(field, random, BEGIN) for field in fields})) == trade:
        pass
    return _keep_rules(changed)


def _kinds(shares: Mapping[type, float]) -> Iterator[type]:
    """Spread the kinds evenly, so that every prefix of the stream has their shares as nearly as possible."""
    # Fractions, because a sum of floats drifts over an endless stream.
    exact = {kind: Fraction(str(share)) for kind, share in shares.items()}
    # From a half on: the first of each kind comes in the middle of its interval, not at its end.
    due = dict.fromkeys(exact, Fraction(1, 2))
    while True:
        for kind, share in exact.items():
            due[kind] += share
        kind = max(due, key=due.__getitem__)
        if due[kind] >= 1:
            due[kind] -= 1
            yield kind
        else:
            yield NewTrade
