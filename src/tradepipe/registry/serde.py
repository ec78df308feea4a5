"""Serializer and deserializer of trades, with Confluent's framing of schema ids."""

import time
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Final, TypeVar

from tradepipe.codec.admission import UnknownFields
from tradepipe.codec.codec import Decoder, Encoder
from tradepipe.errors import SchemaIdNotYetKnown, SchemaNotRegistered, UndecodableRecord
from tradepipe.evolution.history import current
from tradepipe.registry.client import SchemaRegistry
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Code, Violation

HEADER_SIZE: Final = 5
"""Bytes before the body."""

_header = Struct(">BI")


def frame(schema_id: int, body: bytes) -> bytes:
    """A body with its schema id before it."""
    return _header.pack(0, schema_id) + body


def unframe(value: bytes | None) -> tuple[int, bytes]:
    """
    The schema id and the body of a value.

    Raises:
        UndecodableRecord: with `EMPTY` for no value at all, with `FRAMING` for
            one that does not begin with a magic byte and an id.
    """
    if not value:
        raise UndecodableRecord(Violation(Code.EMPTY, "the record has no value"))
    if len(value) < HEADER_SIZE or value[0] != 0:
        raise UndecodableRecord(Violation(Code.FRAMING, _problem(value)))
    return int.from_bytes(value[1:HEADER_SIZE], "big"), value[HEADER_SIZE:]


def _problem(value: bytes) -> str:
    begins = value[:HEADER_SIZE].hex(" ")
    if value[0] != 0:
        return f"the value begins with {begins}, but a framed value begins with the magic byte 00"
    return f"the value is {begins}, {len(value)} bytes, but the magic byte and a schema id take {HEADER_SIZE}"


CONFIRM_AFTER_SECONDS: Final = 5.0
"""Seconds after which an unknown id is asked for again: a registry's replicas may lag behind the writer's."""

UNKNOWN_TTL_SECONDS: Final = 60.0
"""Seconds for which an id that is believed to be unknown is not asked for."""

MAX_NEW_PER_MINUTE: Final = 5
"""New unknown ids a minute that get a second look; more are made up, and each would hold up its partition."""

MAX_UNKNOWN_IDS: Final = 1_000
"""Ids that are remembered; of more the first are forgotten."""


T = TypeVar("T")


class UnknownIds:
    """
    The memory of one deserializer; times are seconds of its clock.

    An id that was believed once is believed at once when it is asked for again,
    however often it comes.
    """

    def __init__(self) -> None:
        self._pending: dict[int, float] = {}
        self._believed: dict[int, tuple[float, str]] = {}
        self._newcomers: deque[float] = deque(maxlen=MAX_NEW_PER_MINUTE + 1)

    def check_due(self, schema_id: int, now: float) -> None:
        """
        Return if the registry is to be asked for an id.

        Raises:
            UndecodableRecord: the id is believed to be unknown.

            SchemaIdNotYetKnown: the id is not to be asked for yet.
        """
        if schema_id in self._believed:
            until, problem = self._believed[schema_id]
            if now < until:
                raise _undecodable(schema_id, problem)
        elif schema_id in self._pending:
            left = self._pending[schema_id] + CONFIRM_AFTER_SECONDS - now
            if left > 0:
                raise SchemaIdNotYetKnown(schema_id, left)

    def record_not_found(self, schema_id: int, problem: str, now: float) -> SchemaIdNotYetKnown | UndecodableRecord:
        """What to raise when the registry has been asked and does not know an id."""
        if schema_id in self._believed or schema_id in self._pending or self._has_too_many_new(now):
            self._pending.pop(schema_id, None)
            self._believed.pop(schema_id, None)
            _remember(self._believed, schema_id, (now + UNKNOWN_TTL_SECONDS, problem))
            return _undecodable(schema_id, problem)
        _remember(self._pending, schema_id, now)
        return SchemaIdNotYetKnown(schema_id, CONFIRM_AFTER_SECONDS)

    def forget(self, schema_id: int) -> None:
        """Take out an id that is known now."""
        self._pending.pop(schema_id, None)
        self._believed.pop(schema_id, None)

    def _has_too_many_new(self, now: float) -> bool:
        self._newcomers.append(now)
        return len(self._newcomers) > MAX_NEW_PER_MINUTE and now - self._newcomers[0] < 60.0


def _remember(memory: dict[int, T], schema_id: int, what: T) -> None:
    memory[schema_id] = what
    if len(memory) > MAX_UNKNOWN_IDS:
        del memory[next(iter(memory))]


def _undecodable(schema_id: int, problem: str) -> UndecodableRecord:
    return UndecodableRecord(Violation(Code.UNKNOWN_SCHEMA, problem), schema_id)


_Made = TypeVar("_Made")
_Function = Callable[[bytes], _Made]
_KnownSchema = tuple[int, _Function[_Made]]


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

            RegistryUnavailable, ConfigurationError: as the registry's methods.
        """
        if self._head is None:
            self._head = frame(self._schema_id(), b"")
        return self._head + self._encode(trade)

    def _schema_id(self) -> int:
        schema = current()
        schema_id = self._registry.lookup(self.subject, schema.text)
        if schema_id is None:
            raise SchemaNotRegistered(
                f"version {schema.number} of the trade schema is not registered under subject {self.subject} "
                f"at {self._registry.url}; register it with: "
                f"tradepipe schema register --subject {self.subject}"
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
        self._decodes: dict[bytes, _KnownSchema[Trade]] = {}
        self._copies: dict[bytes, _KnownSchema[bytes]] = {}
        self._glances: dict[bytes, _KnownSchema[bytes | None]] = {}
        self._unknown = UnknownIds()

    def __call__(self, value: bytes | None, ctx: object = None) -> Trade:
        """The trade in a framed value; raises as `decode`."""
        return self.decode(value)[1]

    def decode(self, value: bytes | None) -> tuple[int, Trade]:
        """
        The schema id and the trade of a framed value.

        Raises:
            UndecodableRecord: the record is to be refused, and why.

            SchemaIdNotYetKnown: the id is not known; ask again after `retry_after`.

            UnsupportedSchema: this build cannot hold what the schema describes.

            RegistryUnavailable, ConfigurationError: as the registry's methods.
        """
        known = self._decodes.get(value[:HEADER_SIZE]) if value else None
        schema_id, decode = known or self._function_for(value, self._decodes, lambda decoder: decoder.decode)
        return schema_id, decode(value[HEADER_SIZE:])  # type: ignore[index]  # None has no head that is known

    def copy_row(self, value: bytes | None) -> tuple[int, bytes]:
        """
        The schema id and the trade of a framed value, as fields of PostgreSQL's binary COPY: see `Decoder.copy_row`.

        Raises:
            As `decode`.
        """
        known = self._copies.get(value[:HEADER_SIZE]) if value else None
        schema_id, copy_row = known or self._function_for(value, self._copies, lambda decoder: decoder.copy_row)
        return schema_id, copy_row(value[HEADER_SIZE:])  # type: ignore[index]  # None has no head that is known

    def quick_check(self, value: bytes | None) -> bytes | None:
        """
        The bytes of a framed value's `ORDERED_BY`, if a glance tells that it keeps all rules; None says nothing.

        Raises:
            As `decode`.
        """
        known = self._glances.get(value[:HEADER_SIZE]) if value else None
        _, glance = known or self._function_for(value, self._glances, lambda decoder: decoder.quick_check)
        return glance(value[HEADER_SIZE:])  # type: ignore[index]  # None has no head that is known

    def is_known(self, value: bytes | None) -> bool:
        """Whether the registry is not asked about a value, as its schema was met before or it names none."""
        return not value or value[0] != 0 or int.from_bytes(value[1:HEADER_SIZE], "big") in self._decoders

    def _function_for(
        self,
        value: bytes | None,
        known: dict[bytes, _KnownSchema[_Made]],
        function_of: Callable[[Decoder], _Function[_Made]],
    ) -> _KnownSchema[_Made]:
        """The id of a value whose frame has not been met so far, and the function for it, kept for ever."""
        schema_id, _ = unframe(value)
        decoder = self._decoders.get(schema_id) or self._admit(schema_id)
        return known.setdefault(frame(schema_id, b""), (schema_id, function_of(decoder)))

    def _admit(self, schema_id: int) -> Decoder:
        self._unknown.check_due(schema_id, self._clock())
        subjects = {subject for subject, _ in self._registry.versions_of(schema_id)}
        schema = self._registry.schema(schema_id) if self.subject in subjects else None
        if schema is None:
            raise self._unknown.record_not_found(schema_id, self._problem(schema_id, subjects), self._clock())
        decoder = Decoder(schema, schema_id, unknown_fields=self._unknown_fields)
        self._unknown.forget(schema_id)
        self._decoders[schema_id] = decoder
        return decoder

    def _problem(self, schema_id: int, subjects: set[str]) -> str:
        if not subjects:
            return f"the registry does not know schema id {schema_id}"
        others = ", ".join(sorted(subjects)[:3])
        return f"schema id {schema_id} is not a version of subject {self.subject}, but of {others}"
