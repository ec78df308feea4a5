"""
A trade as Avro's binary encoding, and back; strict in both directions.

Both are Python functions generated from the schemas when they are first
needed: see `decoding` and `encoding`, and `decoder_source` for what they look
like. fastavro only resolves the names within a schema.
"""

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, Final, cast

from tradepipe.contract.trade import Trade
from tradepipe.wire import columns, decoding, encoding
from tradepipe.wire.admission import UnknownFields, admit
from tradepipe.wire.decoding import MAX_BODY, Target
from tradepipe.wire.glances import Glances
from tradepipe.wire.numbers import MAX_INT, MIN_INT
from tradepipe.wire.rows import Rows
from tradepipe.wire.source import Source
from tradepipe.wire.trades import Trades

__all__ = ["MAX_BODY", "MAX_INT", "MIN_INT", "Decoder", "Encoder", "decoder_source", "encoder_source", "row_source"]

_SHOWN_ID: Final = 0


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
        self._writer = admit(schema, schema_id, unknown_fields=unknown_fields)

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
        return cast("Callable[[bytes], Trade]", self._compiled(Trades()))

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
        return cast("Callable[[bytes], bytes]", self._compiled(Rows()))

    @cached_property
    def glance(self) -> Callable[[bytes], bytes | None]:
        """
        A body to the bytes of its `ORDERED_BY`, if a glance tells that it keeps all rules; None says nothing.

        What is passed can be decoded, and `violations` finds nothing in it.

        Raises:
            UndecodableRecord: for the reason that `decode` has.
        """
        return cast("Callable[[bytes], bytes | None]", self._compiled(Glances()))

    def source(self, target: Target) -> Source:
        """The source of a function that decodes into a target; all refuse a body for the reason `decode` has."""
        sooner = None if isinstance(target, Trades) else self._refuse
        return decoding.generated(self._writer, columns.trade(), target, self._schema_id, sooner=sooner)

    def _refuse(self, body: bytes) -> None:
        self.decode(body)

    def _compiled(self, target: Target) -> Any:
        title = f"{target.function} of schema id {self._schema_id}"
        return self.source(target).compiled(target.function, title)


def decoder_source(schema: str, *, unknown_fields: UnknownFields = "stop") -> str:
    """The Python that decodes a writer schema into a `Trade`."""
    return Decoder(schema, _SHOWN_ID, unknown_fields=unknown_fields).source(Trades()).text


def row_source(schema: str, *, unknown_fields: UnknownFields = "stop") -> str:
    """The Python that decodes a writer schema into a row for COPY."""
    return Decoder(schema, _SHOWN_ID, unknown_fields=unknown_fields).source(Rows()).text


def encoder_source() -> str:
    """The Python that encodes a `Trade`."""
    return encoding.generated(columns.trade()).text


@cache
def _encode() -> Callable[[Trade], bytes]:
    source = encoding.generated(columns.trade())
    return cast("Callable[[Trade], bytes]", source.compiled("encode", "encode"))
