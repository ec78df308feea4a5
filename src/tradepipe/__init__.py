"""Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once."""

import importlib
import typing

if typing.TYPE_CHECKING:
    from tradepipe.contract.refusal import Refusal, Violation
    from tradepipe.contract.rules import violations
    from tradepipe.contract.trade import Side, Trade
    from tradepipe.errors import (
        Away,
        BrokerAway,
        CeilingReached,
        DatabaseAway,
        DatabaseBehind,
        DeadlineExceeded,
        DeliveryFailed,
        IncompatibleSchema,
        InvalidTrade,
        Misconfigured,
        OffsetOutOfRange,
        RegistryAway,
        SchemaNotRegistered,
        SchemaPending,
        TopicUnusable,
        TradepipeError,
        UndecodableRecord,
        UnsupportedSchema,
    )
    from tradepipe.pipeline.producer import Producer
    from tradepipe.pipeline.sink import Sink
    from tradepipe.pipeline.validator import Validator
    from tradepipe.wire.registry import SchemaRegistry
    from tradepipe.wire.serde import TradeDeserializer, TradeSerializer

__all__ = [
    "Away",
    "BrokerAway",
    "CeilingReached",
    "DatabaseAway",
    "DatabaseBehind",
    "DeadlineExceeded",
    "DeliveryFailed",
    "IncompatibleSchema",
    "InvalidTrade",
    "Misconfigured",
    "OffsetOutOfRange",
    "Producer",
    "Refusal",
    "RegistryAway",
    "SchemaNotRegistered",
    "SchemaPending",
    "SchemaRegistry",
    "Side",
    "Sink",
    "TopicUnusable",
    "Trade",
    "TradeDeserializer",
    "TradeSerializer",
    "TradepipeError",
    "UndecodableRecord",
    "UnsupportedSchema",
    "Validator",
    "Violation",
    "violations",
]

_HOMES = {
    "Away": "tradepipe.errors",
    "BrokerAway": "tradepipe.errors",
    "CeilingReached": "tradepipe.errors",
    "DatabaseAway": "tradepipe.errors",
    "DatabaseBehind": "tradepipe.errors",
    "DeadlineExceeded": "tradepipe.errors",
    "DeliveryFailed": "tradepipe.errors",
    "IncompatibleSchema": "tradepipe.errors",
    "InvalidTrade": "tradepipe.errors",
    "Misconfigured": "tradepipe.errors",
    "OffsetOutOfRange": "tradepipe.errors",
    "Producer": "tradepipe.pipeline.producer",
    "Refusal": "tradepipe.contract.refusal",
    "RegistryAway": "tradepipe.errors",
    "SchemaNotRegistered": "tradepipe.errors",
    "SchemaPending": "tradepipe.errors",
    "SchemaRegistry": "tradepipe.wire.registry",
    "Side": "tradepipe.contract.trade",
    "Sink": "tradepipe.pipeline.sink",
    "TopicUnusable": "tradepipe.errors",
    "Trade": "tradepipe.contract.trade",
    "TradeDeserializer": "tradepipe.wire.serde",
    "TradeSerializer": "tradepipe.wire.serde",
    "TradepipeError": "tradepipe.errors",
    "UndecodableRecord": "tradepipe.errors",
    "UnsupportedSchema": "tradepipe.errors",
    "Validator": "tradepipe.pipeline.validator",
    "Violation": "tradepipe.contract.refusal",
    "violations": "tradepipe.contract.rules",
}
"""Each name's module, loaded when the name is first asked for: whoever wants a `Trade` need not wait for SQLAlchemy."""


def __getattr__(name: str) -> typing.Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
