"""
A kit for the tests of services that publish or consume trades.

A pytest plugin, which is named where it is wanted: in the topmost conftest.py

    pytest_plugins = ["tradepipe.testing"]

or by `-p tradepipe.testing`. It is not loaded by being installed: that would
cost every run of pytest in the environment the import of tradepipe. The parts
are loaded by the fixtures that use them.

Fixtures:
    make_trade             makes valid trades
    publish, produced      trades into the test's topic, and out of it
    producer_settings      the arguments of a `Producer`
    sink_settings          the arguments of a `Sink`
    broker_unavailable            takes the broker away for a block
    assert_every_version_decodes, frozen_record
                           records of every schema version, for your own reader
    tradepipe_topic, tradepipe_subject, tradepipe_database
                           the test's own
    tradepipe_broker, tradepipe_registry, tradepipe_databases
                           the parts, one of each for the whole run

Beside them `assert_compatible`, for your own schemas.

PYTEST_DONT_REWRITE: there is no assert statement here, and pytest would warn where a
conftest.py imports from here and names the plugin.
"""

from tradepipe.testing.fixtures import (
    assert_every_version_decodes,
    broker_unavailable,
    frozen_record,
    make_trade,
    produced,
    producer_settings,
    publish,
    sink_settings,
    tradepipe_broker,
    tradepipe_database,
    tradepipe_databases,
    tradepipe_registry,
    tradepipe_subject,
    tradepipe_topic,
)
from tradepipe.testing.produced import ProducedTrades
from tradepipe.testing.schema_assertions import DecodesEveryVersion, FrozenRecord, assert_compatible
from tradepipe.testing.trades import TradeFactory

__all__ = [
    "DecodesEveryVersion",
    "FrozenRecord",
    "ProducedTrades",
    "TradeFactory",
    "assert_compatible",
    "assert_every_version_decodes",
    "broker_unavailable",
    "frozen_record",
    "make_trade",
    "produced",
    "producer_settings",
    "publish",
    "sink_settings",
    "tradepipe_broker",
    "tradepipe_database",
    "tradepipe_databases",
    "tradepipe_registry",
    "tradepipe_subject",
    "tradepipe_topic",
]
