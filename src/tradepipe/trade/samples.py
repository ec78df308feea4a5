"""Seeded streams of sample trades and bad records."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count, cycle
from random import Random
from typing import Final, NamedTuple

from tradepipe.trade.model import KAFKA_KEY, Side, Trade
from tradepipe.trade.record import Code

BEGIN: Final = datetime(2025, 1, 2, 8, tzinfo=UTC)
"""Creation time of the first sample trade; samples do not read the clock."""

UNKNOWN_SCHEMA_ID: Final = 2_147_483_647
"""Schema id of a bad record that no registry knows."""

_MAX_OPEN_TRADES: Final = 40
_NEW_TRADE_SHARE: Final = 0.4
_AMOUNT_SHARE: Final = 0.8
_CURRENCIES: Final = ("EUR", "USD", "GBP", "CHF", "JPY")
_YEAR_10000_MICROS: Final = 253_402_300_800_000_000
"""Microseconds since 1970 of the first instant after Python's last datetime."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def trades(seed: int) -> Iterator[Trade]:
    """
    Generate valid trades without end, most in several versions, in ascending order.

    Some have no side and amount, as in schema version 1. Primary keys are
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
    counterparty_id, book_id = f"CP-{random.randrange(1, 21)}", f"B{random.randrange(1, 6)}"
    trade = Trade(trade_id, 1, counterparty_id, book_id, _maturity_date(random, created_at), created_at)
    if random.random() >= _AMOUNT_SHARE:
        return trade
    side, currency = random.choice((Side.BUY, Side.SELL)), random.choice(_CURRENCIES)
    return trade._replace(side=side, notional=_notional(random), currency=currency)


def _next_version(random: Random, trade: Trade, created_at: datetime) -> Trade:
    """Return the next version: another maturity date, and sometimes another book or notional."""
    book_id = f"B{random.randrange(1, 6)}" if random.random() < 0.2 else trade.book_id
    has_new_notional = trade.notional is not None and random.random() < 0.2
    return trade._replace(
        version=trade.version + 1,
        book_id=book_id,
        maturity_date=_maturity_date(random, created_at),
        created_at=created_at,
        notional=_notional(random) if has_new_notional else trade.notional,
    )


def _notional(random: Random) -> Decimal:
    """Draw an amount from a hundredth to ten billion, small ones as often as large ones."""
    return Decimal(f"{random.randrange(1, 10 ** random.randrange(4, 13))}00e-4")


def _maturity_date(random: Random, created_at: datetime) -> date:
    return created_at.date() + timedelta(days=random.randrange(3_650))


class BadRecord(NamedTuple):
    """An invalid record: the kind of its defect, its Kafka key and its value."""

    kind: str
    key: bytes
    value: bytes | None

    @property
    def code(self) -> str:
        """Violation code that the record is refused with."""
        return _CODES[self.kind]


def bad_records(seed: int, encode: Callable[[Trade], bytes]) -> Iterator[BadRecord]:
    """
    Generate invalid records without end, each kind in turn.

    Args:
        encode: returns the framed value of a trade; it must check types, but
            not rules.
    """
    ids = _ids("X", seed, 1)
    for trade, kind in zip(trades(seed), cycle(_CORRUPTIONS), strict=False):
        yield BadRecord(kind, *_CORRUPTIONS[kind](trade._replace(trade_id=next(ids)), encode))


_CorruptedRecord = tuple[bytes, bytes | None]
"""Kafka key and value."""

_Corruption = Callable[[Trade, Callable[[Trade], bytes]], _CorruptedRecord]


def _fields(**values: object) -> _Corruption:
    """Return a corruption that sets some fields to invalid values."""

    def corrupt(trade: Trade, encode: Callable[[Trade], bytes]) -> _CorruptedRecord:
        trade = trade._replace(**values)  # type: ignore[arg-type]  # the table below gives each field a value of its type
        return _key(trade), encode(trade)

    return corrupt


def _set_past_maturity(trade: Trade, encode: Callable[[Trade], bytes]) -> _CorruptedRecord:
    trade = trade._replace(maturity_date=trade.created_at.date() - timedelta(days=1))
    return _key(trade), encode(trade)


def _set_late_timestamp(trade: Trade, encode: Callable[[Trade], bytes]) -> _CorruptedRecord:
    # No datetime is after year 9999, so the timestamp is replaced in the encoded value.
    micros = (trade.created_at - _EPOCH) // timedelta(microseconds=1)
    return _key(trade), encode(trade).replace(_long(micros), _long(_YEAR_10000_MICROS), 1)


def _key(trade: Trade) -> bytes:
    return str(getattr(trade, KAFKA_KEY)).encode()


def _bytes(change: Callable[[bytes], bytes | None]) -> _Corruption:
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


_CORRUPTIONS: Final[dict[str, _Corruption]] = {
    "trade id with a space": _fields(trade_id="T 1"),
    "version zero": _fields(version=0),
    "empty counterparty id": _fields(counterparty_id=""),
    "book id of 65 characters": _fields(book_id="B" * 65),
    "maturity before creation": _set_past_maturity,
    "created in year 10000": _set_late_timestamp,
    "notional zero": _fields(notional=Decimal(0), currency="EUR"),
    "notional without currency": _fields(notional=Decimal(1_000), currency=None),
    "currency in lower case": _fields(notional=Decimal(1_000), currency="eur"),
    "truncated": _bytes(lambda value: value[:-3]),
    "trailing bytes": _bytes(lambda value: value + b"\x00\x00"),
    "wrong magic byte": _bytes(lambda value: b"\x01" + value[1:]),
    "unknown schema id": _bytes(lambda value: b"\x00" + UNKNOWN_SCHEMA_ID.to_bytes(4, "big") + value[5:]),
    "empty": _bytes(lambda value: None),
    "key of another trade": lambda trade, encode: (b"T-OTHER", encode(trade)),
}

_CODES: Final = {
    "trade id with a space": "TRADE_ID",
    "version zero": "VERSION",
    "empty counterparty id": "COUNTERPARTY_ID",
    "book id of 65 characters": "BOOK_ID",
    "maturity before creation": "MATURITY_DATE",
    "created in year 10000": "CREATED_AT",
    "notional zero": "NOTIONAL",
    "notional without currency": "NOTIONAL",
    "currency in lower case": "CURRENCY",
    "truncated": Code.UNDECODABLE,
    "trailing bytes": Code.UNDECODABLE,
    "wrong magic byte": Code.FRAMING,
    "unknown schema id": Code.UNKNOWN_SCHEMA,
    "empty": Code.EMPTY,
    "key of another trade": Code.RECORD_KEY,
}


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
        elif kind is ResentTrade and sent:
            yield ResentTrade(random.choice(sent))
        elif kind is ChangedTrade and sent:
            trade = random.choice(sent)
            yield ChangedTrade(trade._replace(book_id=f"{trade.book_id}-other"))
        else:
            sent.append(next(new_trades))
            yield NewTrade(sent[-1])


def _kinds(shares: Mapping[type, float]) -> Iterator[type]:
    """Spread the kinds evenly, so that every prefix of the stream has their shares as nearly as possible."""
    # Fractions, because a sum of floats drifts over an endless stream.
    exact = {kind: Fraction(str(share)) for kind, share in shares.items()}
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
