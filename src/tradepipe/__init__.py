"""Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once."""

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
