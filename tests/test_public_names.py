"""The names a user may import from `tradepipe`: each is a promise."""

import ast
from pathlib import Path
from types import ModuleType

import pytest

import tradepipe
from tradepipe import errors

PUBLIC = [
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
"""A name that is added or taken away belongs into the changelog too."""

EXPORTED = list(tradepipe.__all__)


def test_the_public_names_are_these():
    assert PUBLIC == EXPORTED


def test_the_public_names_are_sorted():
    assert sorted(EXPORTED) == EXPORTED


def test_what_the_package_holds_is_what_it_exports():
    """Packages appear as they are imported; they are reached by their own names."""
    assert set(EXPORTED) <= set(dir(tradepipe))
    loaded = {name: getattr(tradepipe, name) for name in EXPORTED}
    held = {name for name, value in vars(tradepipe).items() if name[0] != "_" and not isinstance(value, ModuleType)}

    assert held == set(loaded)


def test_a_name_comes_from_where_a_type_checker_looks_for_it():
    tree = ast.parse(Path(tradepipe.__file__).read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    checked = {alias.name: node.module for node in imported for alias in node.names}

    assert checked == {name: tradepipe._HOMES.get(name, "tradepipe.errors") for name in EXPORTED}


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tradepipe' has no attribute 'Consumer'"):
        tradepipe.Consumer  # noqa: B018 - it is looked up


def test_every_failure_can_be_caught_by_a_public_name():
    failures = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)
    }

    assert set() == failures - set(EXPORTED)


def test_every_public_name_is_documented():
    assert [] == [name for name in EXPORTED if not getattr(tradepipe, name).__doc__]
