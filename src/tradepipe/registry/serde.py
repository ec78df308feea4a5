"""Trade serializer and deserializer with Confluent's wire format."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct
from typing import Final, get_args

from tradepipe.codec.admission import UnknownFields, check_rules
from tradepipe.codec.codec import MAX_BODY, Decoder, Encoder
from tradepipe.codec.fields import trade_codec
from tradepipe.codec.native import make_encoder, make_executor
from tradepipe.errors import ConfigurationError, SchemaNotRegistered, UndecodableRecord
from tradepipe.evolution.history import current
from tradepipe.names import check_name
from tradepipe.registry.client import SchemaRegistry, check_registry
from tradepipe.registry.schema_ids import SubjectCheck, SubjectIds
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Code, Violation
from tradepipe.trade.records import Run

logger = logging.getLogger(__name__)

HEADER_SIZE: Final = 5
"""Bytes of the magic byte and the schema id."""

SCHEMA_GUID_SIZE: Final = 16

_LOOKS: Final = {b"Obj\x01": "an Avro file", b"\xc3\x01": "Avro's single-object encoding"}
"""What a value without a frame seems to be, by its first bytes."""

_header = Struct(">BI")

_BODY_END: Final = HEADER_SIZE + MAX_BODY + 1
"""Where the copy of a body ends: a longer one is refused, and may take hundreds of megabytes."""


def frame(schema_id: int, body: bytes) -> bytes:
    """Return a body preceded by the magic byte and its schema id."""
    return _header.pack(0, schema_id) + body


def unframe(value: bytes | None) -> tuple[int, bytes]:
    """Split a value into schema id and body; `UndecodableRecord` if it is `EMPTY`, or not framed (`FRAMING`)."""
    if not value:
        raise UndecodableRecord(Violation(Code.EMPTY, "the record has no value"))
    if len(value) < HEADER_SIZE or value[0] != 0:
        start = value[:HEADER_SIZE].hex(" ")
        if value[0] != 0:
            kind = next((kind for start, kind in _LOOKS.items() if value.startswith(start)), "")
            if value[0] == 1 and len(value) > SCHEMA_GUID_SIZE:
                kind = "a frame with a schema GUID"
            elif value.lstrip()[:1] in (b"{", b"[", b'"'):
                kind = "JSON"
            looks = f", which looks like {kind}," if kind else ","
            problem = f"the value begins with {start}{looks} but a framed value begins with the magic byte 00"
        else:
            problem = f"the value is {start}, {len(value)} bytes, but the magic byte and a schema id take {HEADER_SIZE}"
        raise UndecodableRecord(Violation(Code.FRAMING, problem))
    return int.from_bytes(value[1:HEADER_SIZE], "big"), value[HEADER_SIZE:]


def _decide_nothing(_trade: Trade) -> None:
    """Leave a trade to the encoder in Python."""


class TradeSerializer:
    """
    Serialize trades to framed values.

    The schema id is looked up once, for the first trade. The rules are not checked.
    """

    def __init__(self, registry: SchemaRegistry, *, subject: str = "trades-value") -> None:
        check_registry(registry)
        check_name(subject, "subject")
        self.subject = subject
        self._registry = registry
        self._check_subject = SubjectCheck(registry, subject)
        self._encode = Encoder().encode
        self._encoder = make_encoder(trade_codec())
        self._header: bytes | None = None

    def __call__(self, trade: Trade, ctx: object = None) -> bytes:
        """
        Return the framed value of a trade.

        Raises:
            InvalidTrade: a value does not fit its Avro type.

            SchemaNotRegistered: the subject lacks the schema that this build writes.

            RegistryUnavailable: the registry may be starting, as it has no version of the subject; see
                also `SchemaRegistry`.

            ConfigurationError: see `SchemaRegistry`.
        """
        header = self._header or self.connect()
        if self._encoder is not None and (value := self._encoder.encode(header, False, trade)) is not None:
            return value
        return header + self._encode(trade)

    @property
    def encode_valid(self) -> Callable[[Trade], bytes | None]:
        """
        A function that returns the framed value of a valid trade, or None if it cannot decide that the trade is valid.

        Taken before `connect`, or without the compiled core, the function always returns None.
        """
        if self._encoder is None or self._header is None:
            return _decide_nothing
        return partial(self._encoder.encode, self._header, True)

    def serialize_valid(self, trades: list[Trade], start: int) -> list[bytes]:
        """
        Return the framed values of valid trades from `start` on, up to one about which the compiled core cannot decide.

        The next trade may be valid too. Before `connect`, or without the compiled core, the list is empty.
        """
        if self._encoder is None or self._header is None:
            return []
        return self._encoder.encode_all(self._header, True, trades, start)

    def connect(self) -> bytes:
        """Look up the schema id, unless that was done; return the header of every value. Raises as for a trade."""
        if self._header is not None:
            return self._header
        schema = current()
        schema_id = self._registry.lookup(self.subject, schema.text)
        if schema_id is None:
            # An outage while the subject has no version at all: then its absence says nothing about the schema.
            self._check_subject()
            # Again: between the two requests, a registry that is starting may have read its data.
            schema_id = self._registry.lookup(self.subject, schema.text)
        if schema_id is None:
            raise SchemaNotRegistered(
                f"version {schema.number} of the trade schema is not registered under subject {self.subject} "
                f"at {self._registry.url}; register it with: "
                f"tradepipe schema register --subject {self.subject}"
            )
        self._header = frame(schema_id, b"")
        return self._header


class TradeDeserializer:
    """
    Deserialize framed values to trades.

    Only versions of one subject are decoded, since any writer can put any schema id
    into a record. An id that the subject lacks is unknown after two lookups, five
    seconds apart; if there are many such ids, after one. While the registry knows no
    version of the subject, no id is unknown: the registry may be starting.

    Args:
        unknown_fields: reaction to a version with fields that this build lacks:
            "stop", or "drop" their values.

        clock: monotonic clock, in seconds.

    Raises:
        ConfigurationError: an argument is invalid.
    """

    def __init__(
        self,
        registry: SchemaRegistry,
        *,
        subject: str = "trades-value",
        unknown_fields: UnknownFields = "stop",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_registry(registry)
        check_name(subject, "subject")
        if unknown_fields not in get_args(UnknownFields):
            raise ConfigurationError(
                f"unknown_fields is {unknown_fields!r}: it must be {' or '.join(get_args(UnknownFields))}"
            )
        self.subject = subject
        self._registry = registry
        self._unknown_fields = unknown_fields
        self._ids = SubjectIds(registry, subject, clock)
        self.announced: Sequence[bytes | None] = ()
        """The values that are decoded next: unknown schema ids among them share their lookups."""
        self._decoders: dict[int, Decoder] = {}
        # By frame header: one dictionary lookup per value, once its schema is known.
        self._executor = make_executor(trade_codec())
        self._decodes: dict[bytes, tuple[int, Callable[[bytes], Trade]]] = {}

    def __call__(self, value: bytes | None, ctx: object = None) -> Trade:
        """Return the trade of a framed value; raises the same errors as `decode`."""
        return self.decode(value)[1]

    def decode(self, value: bytes | None) -> tuple[int, Trade]:
        """
        Return the schema id and the trade of a framed value.

        Raises:
            UndecodableRecord: the record must be refused, for the given violation.

            SchemaIdNotYetKnown: the schema id is unknown so far; retry after `retry_after` seconds.

            UnsupportedSchema: this build would lose values of the schema.

            RegistryUnavailable, ConfigurationError: see `SchemaRegistry`.
        """
        known = self._decodes.get(value[:HEADER_SIZE]) if value else None
        if known is None:
            schema_id, _ = unframe(value and value[:_BODY_END])
            decoder = self._decoders.get(schema_id) or self._admit(schema_id)
            known = self._decodes.setdefault(frame(schema_id, b""), (schema_id, decoder.decode))
        schema_id, decode = known
        if self._executor is not None and (trade := self._executor.decode(value)) is not None:
            return schema_id, trade
        return schema_id, decode(value[HEADER_SIZE:_BODY_END])  # type: ignore[index]  # None has no known header

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled core is there."""
        return self._executor is not None

    def rows(self, run: Run, start: int, *, refuse_keys: bool) -> list[bytes]:
        """
        Return the rows of valid records from `start` on, up to one about which the compiled core cannot decide.

        The next record may be valid too. Without the compiled core the list is empty.
        """
        return [] if self._executor is None else self._executor.rows(run, start, refuse_keys)

    def count_valid(self, run: Run, start: int, *, refuse_keys: bool) -> int:
        """Return how many records `rows` would return a row for."""
        return 0 if self._executor is None else self._executor.check(run, start, refuse_keys) - start

    def is_known(self, value: bytes | None) -> bool:
        """Return whether a value can be decoded without a registry lookup."""
        return not value or value[0] != 0 or int.from_bytes(value[1:HEADER_SIZE], "big") in self._decoders

    def _admit(self, schema_id: int) -> Decoder:
        announced = (
            int.from_bytes(value[1:HEADER_SIZE], "big")
            for value in self.announced
            if value is not None and len(value) >= HEADER_SIZE and value[0] == 0
        )
        definition = self._ids.find(schema_id, (each for each in announced if each not in self._decoders))
        check_rules(definition.rule_set, schema_id)
        decoder = Decoder(definition.schema, schema_id, unknown_fields=self._unknown_fields)
        # Only now: an id with rules, or with a schema that this build cannot hold, must fail each time it is read.
        self._decoders[schema_id] = decoder
        if self._executor is not None:
            try:
                self._executor.add(frame(schema_id, b""), decoder.plan)
            except ValueError as error:
                logger.warning("records of schema id %d are decoded in Python, which is slower: %s", schema_id, error)
        return decoder
