"""
Trades to framed values and back, with the ids of a registry.

Both classes are called as Confluent's serializers are, so `SerializingProducer`
and `DeserializingConsumer` take them; nothing of Confluent's is needed for it.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from tradepipe.contract.history import current
from tradepipe.contract.trade import Trade
from tradepipe.errors import SchemaNotRegistered
from tradepipe.wire.admission import UnknownFields
from tradepipe.wire.codec import Decoder, Encoder
from tradepipe.wire.framing import HEAD, frame, unframe
from tradepipe.wire.registry import SchemaRegistry
from tradepipe.wire.unknown_ids import UnknownIds

_Made = TypeVar("_Made")
_Function = Callable[[bytes], _Made]
_Known = tuple[int, _Function[_Made]]


class TradeSerializer:
    """
    Trades to framed values.

    The registry is asked once, when the first trade comes. The rules are not
    applied here.
    """

    def __init__(self, registry: SchemaRegistry, *, subject: str = "trades-value") -> None:
        self.subject = subject
        self._registry = registry
        self._encode = Encoder().encode
        self._head: bytes | None = None

    def __call__(self, trade: Trade, ctx: object = None) -> bytes:
        """
        The framed value of a trade.

        Raises:
            InvalidTrade: a value that its Avro type cannot hold.

            SchemaNotRegistered: the subject lacks the schema this build writes.

            RegistryAway, Misconfigured: as the registry's methods.
        """
        if self._head is None:
            self._head = frame(self._registered(), b"")
        return self._head + self._encode(trade)

    def _registered(self) -> int:
        schema = current()
        schema_id = self._registry.lookup(self.subject, schema.text)
        if schema_id is None:
            raise SchemaNotRegistered(
                f"version {schema.number} of the trade schema is not registered under subject {self.subject} "
                f"at {self._registry.url}; register it with: "
                f"python -m tradepipe.schema register --subject {self.subject}"
            )
        return schema_id


class TradeDeserializer:
    """
    Framed values to trades.

    Only versions of one subject are decoded: an id is a number any writer can
    choose, and the schema behind it may be anybody's. An id the subject does
    not have is believed to be unknown after two answers, five seconds apart.

    Args:
        unknown_fields: what to do with a version that this build would lose
            values of: "stop", or "drop" them knowingly.

        clock: seconds that never go back.
    """

    def __init__(
        self,
        registry: SchemaRegistry,
        *,
        subject: str = "trades-value",
        unknown_fields: UnknownFields = "stop",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.subject = subject
        self._registry = registry
        self._unknown_fields = unknown_fields
        self._clock = clock
        self._decoders: dict[int, Decoder] = {}
        # By the frame's head: whoever's is known needs no other look.
        self._decodes: dict[bytes, _Known[Trade]] = {}
        self._copies: dict[bytes, _Known[bytes]] = {}
        self._glances: dict[bytes, _Known[bytes | None]] = {}
        self._unknown = UnknownIds()

    def __call__(self, value: bytes | None, ctx: object = None) -> Trade:
        """The trade in a framed value; raises as `decode`."""
        return self.decode(value)[1]

    def decode(self, value: bytes | None) -> tuple[int, Trade]:
        """
        The schema id and the trade of a framed value.

        Raises:
            UndecodableRecord: the record is to be refused, and why.

            SchemaPending: the id is not known; ask again after `retry_after`.

            UnsupportedSchema: this build cannot hold what the schema describes.

            RegistryAway, Misconfigured: as the registry's methods.
        """
        known = self._decodes.get(value[:HEAD]) if value else None
        schema_id, decode = known or self._first(value, self._decodes, lambda decoder: decoder.decode)
        return schema_id, decode(value[HEAD:])  # type: ignore[index]  # None has no head that is known

    def copy_row(self, value: bytes | None) -> tuple[int, bytes]:
        """
        The schema id and the trade of a framed value, as fields of PostgreSQL's binary COPY: see `Decoder.copy_row`.

        Raises:
            As `decode`.
        """
        known = self._copies.get(value[:HEAD]) if value else None
        schema_id, copy_row = known or self._first(value, self._copies, lambda decoder: decoder.copy_row)
        return schema_id, copy_row(value[HEAD:])  # type: ignore[index]  # None has no head that is known

    def glance(self, value: bytes | None) -> bytes | None:
        """
        The bytes of a framed value's `ORDERED_BY`, if a glance tells that it keeps all rules; None says nothing.

        Raises:
            As `decode`.
        """
        known = self._glances.get(value[:HEAD]) if value else None
        _, glance = known or self._first(value, self._glances, lambda decoder: decoder.glance)
        return glance(value[HEAD:])  # type: ignore[index]  # None has no head that is known

    def knows(self, value: bytes | None) -> bool:
        """Whether the registry is not asked about a value, as its schema was met before or it names none."""
        return not value or value[0] != 0 or int.from_bytes(value[1:HEAD], "big") in self._decoders

    def _first(
        self, value: bytes | None, known: dict[bytes, _Known[_Made]], function_of: Callable[[Decoder], _Function[_Made]]
    ) -> _Known[_Made]:
        """The id of a value whose frame has not been met so far, and the function for it, kept for ever."""
        schema_id, _ = unframe(value)
        decoder = self._decoders.get(schema_id) or self._admitted(schema_id)
        return known.setdefault(frame(schema_id, b""), (schema_id, function_of(decoder)))

    def _admitted(self, schema_id: int) -> Decoder:
        self._unknown.require_due(schema_id, self._clock())
        subjects = {subject for subject, _ in self._registry.versions_of(schema_id)}
        schema = self._registry.schema(schema_id) if self.subject in subjects else None
        if schema is None:
            raise self._unknown.answered(schema_id, self._problem(schema_id, subjects), self._clock())
        decoder = Decoder(schema, schema_id, unknown_fields=self._unknown_fields)
        self._unknown.forget(schema_id)
        self._decoders[schema_id] = decoder
        return decoder

    def _problem(self, schema_id: int, subjects: set[str]) -> str:
        if not subjects:
            return f"the registry does not know schema id {schema_id}"
        others = ", ".join(sorted(subjects)[:3])
        return f"schema id {schema_id} is not a version of subject {self.subject}, but of {others}"
