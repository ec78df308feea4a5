"""What a refused record holds, as a person reads it."""

import logging
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple, Self

from tradepipe.cli.shared import registry_at
from tradepipe.contract.kept import Kept
from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Code
from tradepipe.contract.trade import Trade
from tradepipe.errors import RegistryAway, SchemaPending, TradepipeError, UndecodableRecord, UnsupportedSchema
from tradepipe.wire.serde import TradeDeserializer

logger = logging.getLogger(__name__)

TIMEOUT: Final = 5.0
"""Seconds to wait for a registry without which records can be shown too."""

WIDTH: Final = 16
"""Bytes in a line of a dump."""


class NoSuchLetter(TradepipeError):
    """There is no refused record at these coordinates."""


class Decoded(NamedTuple):
    """The trade in a record, or why there is none to be had, and the id of its schema."""

    trade: Trade | None
    schema_id: int | None
    problem: str = ""


class Reading:
    """
    Decode what can be decoded; without a registry, or while it is away, nothing can.

    Nothing is decided by it, so a schema this build would lose fields of is read too.
    """

    def __init__(self, registry: str | None, subject: str) -> None:
        self._missing = "" if registry else "no registry was named: give --registry, or set SCHEMA_REGISTRY_URL"
        self._registry = registry_at(registry, timeout=TIMEOUT) if registry else None
        self._decode = (
            TradeDeserializer(self._registry, subject=subject, unknown_fields="drop").decode if self._registry else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._registry is not None:
            self._registry.close()

    def __call__(self, record: Record) -> Decoded:
        """What is in a record."""
        if self._decode is None:
            return Decoded(None, None, self._missing)
        try:
            schema_id, trade = self._decode(record.value)
        except UndecodableRecord as error:
            return Decoded(None, error.schema_id, str(error))
        except SchemaPending as error:  # a sink asks again; whoever looks need not
            problem = f"the registry does not know schema id {error.schema_id}"
            return Decoded(None, error.schema_id, f"{Code.UNKNOWN_SCHEMA}: {problem}")
        except UnsupportedSchema as error:
            return Decoded(None, None, str(error))
        except RegistryAway as error:
            logger.warning("records are not decoded: %s", error)
            self._decode, self._missing = None, str(error)
            return Decoded(None, None, self._missing)
        return Decoded(trade, schema_id)

    def is_of(self, kept: Kept, trade_id: str) -> bool:
        """Whether a refused record is of a trade, by its value or its key."""
        if kept.record.key == trade_id.encode():
            return True
        trade = self(kept.record).trade
        return trade is not None and trade.trade_id == trade_id


def plain(text: str) -> str:
    """
    Text as one that a terminal only shows: a record may hold what would move its cursor.

    >>> plain("T1\\x1b[2J")
    'T1\\\\x1b[2J'
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def shown(given: bytes | None) -> str:
    """
    Bytes as a person reads them, as text where they are text.

    >>> shown(b"T1"), shown(b"\\xff\\x00"), shown(None)
    ('T1', '0xff00', '-')
    """
    if given is None:
        return "-"
    try:
        return plain(given.decode())
    except UnicodeDecodeError:
        return f"0x{given.hex()}"


def dump(given: bytes) -> Iterator[str]:
    """
    Bytes in lines: offset, hexadecimal, and what is printable in ASCII.

    >>> list(dump(b"\\x00T1"))
    ['00000000  00 54 31                                         |.T1|']
    """
    for offset in range(0, len(given), WIDTH):
        line = given[offset : offset + WIDTH]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{offset:08x}  {line.hex(' '):<{3 * WIDTH - 1}}  |{text}|"
