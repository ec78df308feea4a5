"""
A trade as Avro's binary encoding, and back; strict in both directions.

fastavro does the encoding. Logical types are stripped from the schemas it is
given and converted here: that is faster, and fastavro's own conversions accept
too much (a naive datetime would be taken as the host's local time, a float
as a whole number).
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from tradepipe.contract.history import current
from tradepipe.contract.refusal import Code, Violation
from tradepipe.contract.trade import Trade
from tradepipe.errors import InvalidTrade, UndecodableRecord
from tradepipe.wire.admission import UnknownFields, admit
from tradepipe.wire.resolution import parse, plain

MAX_BODY: Final = 1_048_576
"""Bytes of a body that is decoded; Kafka's own default limit for a record lies there too."""

MAX_INT: Final = 2**31 - 1
MIN_INT: Final = -(2**31)
"""Where Avro's int ends; fastavro reads and writes beyond."""

_RESOLUTION: Final = ("default",)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = _EPOCH.toordinal()
_MIN_MICROS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_MAX_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


class Encoder:
    """Trades to Avro, by the current schema."""

    def __init__(self) -> None:
        self._schema = parse_schema(plain(current().schema))

    def encode(self, trade: Trade) -> bytes:
        """
        The trade as Avro, without a frame.

        Only Avro's types are looked at, not the rules: version 0 is encoded.

        Raises:
            InvalidTrade: a value that its Avro type cannot hold exactly, with
                each such field and the code of its rule.
        """
        stream = BytesIO()
        schemaless_writer(stream, self._schema, _avro_of(trade))
        return stream.getvalue()


def _avro_of(trade: Trade) -> dict[str, object]:
    if not isinstance(trade, Trade):
        raise TypeError(f"a Trade is encoded, not {type(trade).__name__}")
    values: dict[str, object] = {}
    found: list[Violation] = []
    for (field, code, convert), value in zip(_FIELDS, trade, strict=True):
        try:
            values[field] = convert(value)
        except ValueError as problem:
            found.append(Violation(code, f"{field} is {_shown(value)}, which {problem}"))
    if found:
        raise InvalidTrade(trade, found)
    return values


def _to_string(value: object) -> str:
    if type(value) is not str:
        raise ValueError("is not a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("holds a lone surrogate") from None
    return value


def _to_int(value: object) -> int:
    if type(value) is not int or not MIN_INT <= value <= MAX_INT:
        raise ValueError("is not a whole number of 32 bits")
    return value


def _to_days(value: object) -> int:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("is not a date")
    return value.toordinal() - _EPOCH_ORDINAL


def _to_micros(value: object) -> int:
    if not isinstance(value, datetime):
        raise ValueError("is not a datetime")
    if value.tzinfo is not UTC and value.utcoffset() is None:
        raise ValueError("has no time zone")
    since = value - _EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not _MIN_MICROS <= micros <= _MAX_MICROS:
        raise ValueError("lies outside the years 1 to 9999 in UTC")
    return micros


_FIELDS: Final[tuple[tuple[str, Code, Callable[[object], object]], ...]] = (
    ("trade_id", Code.TRADE_ID, _to_string),
    ("version", Code.VERSION, _to_int),
    ("counterparty_id", Code.COUNTERPARTY_ID, _to_string),
    ("book_id", Code.BOOK_ID, _to_string),
    ("maturity_date", Code.MATURITY_DATE, _to_days),
    ("created_at", Code.CREATED_AT, _to_micros),
)


class Decoder:
    """
    Avro of one writer schema to trades of the current one.

    Raises:
        UnsupportedSchema: this build cannot hold the schema's records, or the
            schema is one that no decoder should be let loose on.
    """

    def __init__(self, schema: str, schema_id: int, *, unknown_fields: UnknownFields = "stop") -> None:
        writer = admit(schema, schema_id, unknown_fields=unknown_fields)
        self._schema_id = schema_id
        self._writer = parse_schema(plain(writer))
        # Resolution costs a third of the time and is needed only where the fields differ.
        self._reader = None if _same_fields(writer) else parse_schema(plain(current().schema, _RESOLUTION))

    def decode(self, body: bytes) -> Trade:
        """
        The trade in a body.

        Its rules are not looked at, but for a date and an instant that Python
        cannot hold. One malformation passes: fastavro takes a number of more
        than ten bytes for its lowest 64 bits.

        Raises:
            UndecodableRecord: with `MATURITY_DATE` or `CREATED_AT` outside the
                years 1 to 9999, with `UNDECODABLE` for everything else.
        """
        if len(body) > MAX_BODY:
            raise self._undecodable(f"the body has {len(body)} bytes, more than {MAX_BODY}")
        stream = BytesIO(body)
        try:
            values: Any = schemaless_reader(stream, self._writer, self._reader)
        except Exception as error:  # a decode guard: the codec raises anything on hostile bytes
            raise self._undecodable(f"the body is not a trade: {_told(error)}") from error
        if stream.tell() != len(body):
            raise self._undecodable(f"{len(body) - stream.tell()} bytes follow the trade")
        return self._trade_of(values)

    def _trade_of(self, values: dict[str, Any]) -> Trade:
        version, days, micros = values["version"], values["maturity_date"], values["created_at"]
        if not MIN_INT <= version <= MAX_INT:
            raise self._undecodable(f"version is {version}, which an int of 32 bits cannot hold")
        try:
            maturity_date = date.fromordinal(days + _EPOCH_ORDINAL)
        except (ValueError, OverflowError):
            raise self._bad_date(days) from None
        try:
            # Positional: half the time of keywords.
            created_at = _EPOCH + timedelta(0, 0, micros)
        except OverflowError:
            detail = f"created_at is {micros} microseconds after 1970, which lies outside the years 1 to 9999 in UTC"
            raise self._undecodable(detail, Code.CREATED_AT) from None
        return Trade(
            values["trade_id"], version, values["counterparty_id"], values["book_id"], maturity_date, created_at
        )

    def _bad_date(self, days: int) -> UndecodableRecord:
        if not MIN_INT <= days <= MAX_INT:
            return self._undecodable(f"maturity_date is {days} days, which an int of 32 bits cannot hold")
        detail = f"maturity_date is {days} days after 1970-01-01, which lies outside the years 1 to 9999"
        return self._undecodable(detail, Code.MATURITY_DATE)

    def _undecodable(self, detail: str, code: Code = Code.UNDECODABLE) -> UndecodableRecord:
        return UndecodableRecord(Violation(code, detail), self._schema_id)


def _same_fields(writer: dict[str, Any]) -> bool:
    """Whether a writer has the current fields with the current types, in whatever order."""
    return _fields_by_name(writer) == _fields_by_name(parse(current().schema).root)


def _fields_by_name(schema: dict[str, Any]) -> dict[str, Any]:
    return {field["name"]: plain(field["type"]) for field in schema["fields"]}


def _told(error: Exception) -> str:
    """An exception of the codec in a few words; its text may hold bytes of the record."""
    if isinstance(error, (EOFError, IndexError)):
        return "it ends before its last field does"
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text if len(text) <= 100 else f"{text[:100]}…"


def _shown(value: object) -> str:
    text = value.isoformat() if isinstance(value, (date, datetime)) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}… ({len(text)} characters)"
