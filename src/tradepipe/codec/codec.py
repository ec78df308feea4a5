"""
A trade as Avro's binary encoding, and back; strict in both directions.

Both are Python functions generated from the schemas when they are first
needed: see `decoding` and `encoding`, and `decoder_source` for what they look
like. fastavro only resolves the names within a schema.
"""

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, Final, cast

from tradepipe.codec import decoder, encoder, fields
from tradepipe.codec.admission import UnknownFields, admit_schema
from tradepipe.codec.check_target import QuickCheckTarget
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.copy_target import CopyRowTarget
from tradepipe.codec.decoder import MAX_BODY, DecodeTarget
from tradepipe.codec.primitives import MAX_INT, MIN_INT
from tradepipe.codec.trade_target import TradeTarget
from tradepipe.trade.model import Trade

__all__ = ["MAX_BODY", "MAX_INT", "MIN_INT", "Decoder", "Encoder", "decoder_source", "encoder_source", "row_source"]

_EXAMPLE_ID: Final = 0


class Encoder:
    """Trades to Avro, by the current schema."""

    @property
    def encode(self) -> Callable[[Trade], bytes]:
        """
        A trade to Avro, without a frame.

        Only Avro's types are looked at, not the rules: version 0 is encoded.

        Raises:
            InvalidTrade: a value that its Avro type cannot hold exactly, with
                each such field and the code of its rule.
        """
        return _encode()


class Decoder:
    """
    Avro of one writer schema to trades of the current one.

    A number that takes more bytes than it needs is read, as by Java's decoder;
    everything else has one spelling.

    Raises:
        UnsupportedSchema: this build cannot hold the schema's records, or the
            schema is one that no decoder should be let loose on.
    """

    def __init__(self, schema: str, schema_id: int, *, unknown_fields: UnknownFields = "stop") -> None:
        self._schema_id = schema_id
        self._writer = admit_schema(schema, schema_id, unknown_fields=unknown_fields)

    @cached_property
    def decode(self) -> Callable[[bytes], Trade]:
        """
        A body to the trade in it.

        Its rules are not looked at, but for a date and an instant that Python
        cannot hold.

        Raises:
            UndecodableRecord: with `MATURITY_DATE` or `CREATED_AT` outside the
                years 1 to 9999, with `UNDECODABLE` for everything else.
        """
        return cast("Callable[[bytes], Trade]", self._compile(TradeTarget()))

    @cached_property
    def copy_row(self) -> Callable[[bytes], bytes]:
        """
        A body to the trade's columns as fields of PostgreSQL's binary COPY, in the order of `Trade`.

        Neither the number of fields nor anything else of a row is in it, and no
        object is built. As strict as `decode`, and a text with the character
        NUL, which PostgreSQL cannot hold, is refused by the code of its field.

        Raises:
            UndecodableRecord: as by `decode`.
        """
        return cast("Callable[[bytes], bytes]", self._compile(CopyRowTarget()))

    @cached_property
    def quick_check(self) -> Callable[[bytes], bytes | None]:
        """
        A body to the bytes of its `ORDERED_BY`, if a glance tells that it keeps all rules; None says nothing.

        What is passed can be decoded, and `violations` finds nothing in it.

        Raises:
            UndecodableRecord: for the reason that `decode` has.
        """
        return cast("Callable[[bytes], bytes | None]", self._compile(QuickCheckTarget()))

    def source(self, target: DecodeTarget) -> CodeBuilder:
        """The source of a function that decodes into a target; all refuse a body for the reason `decode` has."""
        sooner = None if isinstance(target, TradeTarget) else self._refuse
        return decoder.generate_decoder(self._writer, fields.trade_codec(), target, self._schema_id, sooner=sooner)

    def _refuse(self, body: bytes) -> None:
        self.decode(body)

    def _compile(self, target: DecodeTarget) -> Any:
        title = f"{target.function} of schema id {self._schema_id}"
        return self.source(target).compile(target.function, title)


def decoder_source(schema: str, *, unknown_fields: UnknownFields = "stop") -> str:
    """The Python that decodes a writer schema into a `Trade`."""
    return Decoder(schema, _EXAMPLE_ID, unknown_fields=unknown_fields).source(TradeTarget()).text


def row_source(schema: str, *, unknown_fields: UnknownFields = "stop") -> str:
    """The Python that decodes a writer schema into a row for COPY."""
    return Decoder(schema, _EXAMPLE_ID, unknown_fields=unknown_fields).source(CopyRowTarget()).text


def encoder_source() -> str:
    """The Python that encodes a `Trade`."""
    return encoder.generate_encoder(fields.trade_codec()).text


@cache
def _encode() -> Callable[[Trade], bytes]:
    source = encoder.generate_encoder(fields.trade_codec())
    return cast("Callable[[Trade], bytes]", source.compile("encode", "encode"))
