"""Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once."""

import importlib
import typing

if typing.TYPE_CHECKING:
    from tradepipe.errors import (
        BrokerUnavailable,
        ConfigurationError,
        DatabaseOutdated,
        DatabaseUnavailable,
        DeadlineExceeded,
        DeliveryFailed,
        IncompatibleSchema,
        InvalidTrade,
        OffsetOutOfRange,
        RegistryUnavailable,
        SchemaIdNotYetKnown,
        SchemaNotRegistered,
        TooManyRefusals,
        TopicUnusable,
        TradepipeError,
        Unavailable,
        UndecodableRecord,
        UnsupportedSchema,
    )
    from tradepipe.pipeline.producer import Producer
    from tradepipe.pipeline.sink import Sink
    from tradepipe.pipeline.stats import SinkCounts, ValidatorCounts
    from tradepipe.pipeline.validator import Validator
    from tradepipe.postgres.batch import BatchResult
    from tradepipe.registry.client import SchemaRegistry
    from tradepipe.registry.serde import TradeDeserializer, TradeSerializer
    from tradepipe.trade.model import Side, Trade
    from tradepipe.trade.record import Refusal, Violation
    from tradepipe.trade.rules import violations

__all__ = [
    "BatchResult",
    "BrokerUnavailable",
    "ConfigurationError",
    "DatabaseOutdated",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "DeliveryFailed",
    "IncompatibleSchema",
    "InvalidTrade",
    "OffsetOutOfRange",
    "Producer",
    "Refusal",
    "RegistryUnavailable",
    "SchemaIdNotYetKnown",
    "SchemaNotRegistered",
    "SchemaRegistry",
    "Side",
    "Sink",
    "SinkCounts",
    "TooManyRefusals",
    "TopicUnusable",
    "Trade",
    "TradeDeserializer",
    "TradeSerializer",
    "TradepipeError",
    "Unavailable",
    "UndecodableRecord",
    "UnsupportedSchema",
    "Validator",
    "ValidatorCounts",
    "Violation",
    "violations",
]

_HOMES = {
    "BatchResult": "tradepipe.postgres.batch",
    "Producer": "tradepipe.pipeline.producer",
    "Refusal": "tradepipe.trade.record",
    "SchemaRegistry": "tradepipe.registry.client",
    "Side": "tradepipe.trade.model",
    "Sink": "tradepipe.pipeline.sink",
    "SinkCounts": "tradepipe.pipeline.stats",
    "Trade": "tradepipe.trade.model",
    "TradeDeserializer": "tradepipe.registry.serde",
    "TradeSerializer": "tradepipe.registry.serde",
    "Validator": "tradepipe.pipeline.validator",
    "ValidatorCounts": "tradepipe.pipeline.stats",
    "Violation": "tradepipe.trade.record",
    "violations": "tradepipe.trade.rules",
}
"""Module of each name that is not an error, imported at its first use: a `Trade` alone does not load SQLAlchemy."""


def __getattr__(name: str) -> typing.Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES.get(name, "tradepipe.errors")), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
