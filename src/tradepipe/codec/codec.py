"""
Strict encoder and decoder of trades in Avro's binary encoding.

Both are Python functions, generated from the schemas when they are first used.
fastavro only parses schemas; it does not decode or encode here.
"""

from collections.abc import Callable
from functools import cache, cached_property
from typing import cast

from tradepipe.codec import decoder, encoder, fields
from tradepipe.codec.admission import UnknownFields, admit_schema
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.decoder import MAX_BODY
from tradepipe.codec.plan import Plan, make_plan
from tradepipe.trade.model import Trade
from tradepipe.trade.type_checks import MAX_INT, MIN_INT

__all__ = ["MAX_BODY", "MAX_INT", "MIN_INT", "Decoder", "Encoder"]


class Encoder:
    """Encoder of trades with the current schema."""

    @property
    def encode(self) -> Callable[[Trade], bytes]:
        """
        Encode a trade, without a frame.

        Only Avro's types are checked, not the rules: version 0 is encoded.

        Raises:
            InvalidTrade: some values do not fit their Avro types exactly; it
                lists each such field with its violation code.
        """
        return _encode()


class Decoder:
    """
    Decoder from one writer schema to trades of the current schema.

    A number encoded in more bytes than necessary is accepted, as by Java's
    decoder. Every other value has exactly one valid encoding.

    Raises:
        UnsupportedSchema: the schema is invalid, exceeds a limit, or does not
            resolve to the current schema without loss.
    """

    def __init__(self, schema: str, schema_id: int, *, unknown_fields: UnknownFields = "stop") -> None:
        self._schema_id = schema_id
        self._writer = admit_schema(schema, schema_id, unknown_fields=unknown_fields)

    @cached_property
    def decode(self) -> Callable[[bytes], Trade]:
        """
        Decode a body into a trade, without checking the rules.

        Raises:
            UndecodableRecord: with the code `MATURITY_DATE` or `CREATED_AT` for
                a value outside the years 1 to 9999, which Python does not
                support; with `UNDECODABLE` for everything else.
        """
        title = f"decode of schema id {self._schema_id}"
        return cast("Callable[[bytes], Trade]", self.source().compile("decode", title))

    @property
    def plan(self) -> Plan:
        """The plan of the writer schema, for the compiled core."""
        return make_plan(self._writer, fields.trade_codec())

    def source(self) -> CodeBuilder:
        """Generate the source of `decode`."""
        return decoder.generate_decoder(self._writer, fields.trade_codec(), self._schema_id)


@cache
def _encode() -> Callable[[Trade], bytes]:
    source = encoder.generate_encoder(fields.trade_codec())
    return cast("Callable[[Trade], bytes]", source.compile("encode", "encode"))
