"""The names a user may import from `tradepipe`: each is a promise."""

from types import ModuleType

import tradepipe
from tradepipe import errors

PUBLIC = [
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
"""A name that is added or taken away belongs into the changelog too."""

EXPORTED = list(tradepipe.__all__)


def test_the_public_names_are_these():
    assert PUBLIC == EXPORTED


def test_the_public_names_are_sorted():
    assert sorted(EXPORTED) == EXPORTED


def test_what_the_package_holds_is_what_it_exports():
    """Rooms appear as they are imported; they are reached by their own names."""
    held = {name for name, value in vars(tradepipe).items() if name[0] != "_" and not isinstance(value, ModuleType)}

    assert held == set(EXPORTED)


def test_every_failure_can_be_caught_by_a_public_name():
    failures = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)
    }

    assert set() == failures - set(EXPORTED)


def test_every_public_name_is_documented():
    assert [] == [name for name in EXPORTED if not getattr(tradepipe, name).__doc__]
