"""
A kit for the tests of services that publish or consume trades.

A pytest plugin. Name it in the topmost conftest.py

    pytest_plugins = ["tradepipe.testing"]

or pass `-p tradepipe.testing`. Installing tradepipe does not load it, because every
run of pytest in the environment would then import tradepipe. Each service is
loaded by the fixtures that use it.

Fixtures:
    make_trade             creates valid trades
    publish, produced      send trades to the test's topic, read them from it
    producer_settings      the arguments of a `Producer`
    sink_settings          the arguments of a `Sink`
    broker_unavailable     makes the broker unavailable within a block
    assert_every_version_decodes, frozen_record
                           records of every schema version, to test a reader
    tradepipe_topic, tradepipe_subject, tradepipe_database
                           a topic, a subject and a database for one test
    tradepipe_broker, tradepipe_registry, tradepipe_databases
                           the services, one of each for the whole run

The function `assert_compatible` checks the schemas of another service.

PYTEST_DONT_REWRITE: there is no assert statement here, and pytest would warn if a
conftest.py both imports from here and names the plugin.
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
from tradepipe.testing.schema_assertions import DecodesEveryVersion, FrozenRecord, assert_compatible
from tradepipe.testing.trades import ProducedTrades, TradeFactory

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
