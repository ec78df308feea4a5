"""Stages, producers and commands on a registry that answers at first as if it knew nothing."""

import re
from itertools import islice

import pytest

from tests.cli.commands import run_command
from tests.eventually import eventually
from tests.pipeline.running_stages import running
from tests.registry.forgetful_registry import ForgetfulRegistry
from tradepipe import RegistryUnavailable, SchemaNotRegistered
from tradepipe.errors import UnsupportedSchema
from tradepipe.registry import schema_ids
from tradepipe.registry.serde import frame
from tradepipe.trade import samples


@pytest.fixture
def registry(pipeline):
    """Return a registry for the pipeline that can forget everything."""
    with ForgetfulRegistry(pipeline.registry_url) as registry:
        yield registry


@pytest.fixture
def long_startup(monkeypatch):
    """Wait for a starting registry during the whole test."""
    monkeypatch.setattr(schema_ids, "STARTUP_SECONDS", 600.0)


@pytest.fixture(params=["sink", "validator"])
def make_stage(request, pipeline, targets, registry):
    """Make a sink or a validator on the registry that forgets."""
    options = {} if request.param == "sink" else {"delivery": "at_least_once"}
    return lambda **more: getattr(pipeline, request.param)(registry=registry.url, **options, **more)


def passed(stage):
    return stage.counts.stored if hasattr(stage.counts, "stored") else stage.counts.passed


def test_a_stage_waits_for_a_registry_that_has_not_read_its_data_when_it_starts(
    pipeline, some_trades, registry, make_stage, long_startup
):
    pipeline.publish(some_trades(50))
    registry.forgets = 3
    with make_stage() as stage:
        stage.run(until_end=True)

    assert (50, {}, 0) == (passed(stage), stage.counts.refused, registry.forgets)


def test_no_record_is_refused_while_a_registry_that_restarted_has_not_read_its_data(
    pipeline, some_trades, registry, make_stage
):
    """The stage has seen the subject; the schema of these records it has not met yet."""
    with running(make_stage()) as stage:
        eventually(lambda: stage.is_ready)
        registry.forgets = None
        pipeline.publish(some_trades(50))
        # Two lookups of one id are enough to refuse a record of a registry that knows the subject.
        eventually(lambda: sum("/schemas/ids/" in path for path in registry.paths) >= 3)
        assert "the registry" == eventually(lambda: stage.waiting_for)
        assert (0, {}) == (passed(stage), stage.counts.refused)
        registry.forgets = 0
        eventually(lambda: passed(stage) == 50)

    assert {} == stage.counts.refused


def test_an_outage_of_the_registry_is_one_line_when_it_begins_and_one_when_it_ends(
    pipeline, some_trades, registry, make_stage, caplog
):
    with running(make_stage()) as stage:
        eventually(lambda: stage.is_ready)
        registry.forgets = None
        pipeline.publish(some_trades(50))
        eventually(lambda: sum("/schemas/ids/" in path for path in registry.paths) >= 5)
        registry.forgets = 0
        eventually(lambda: passed(stage) == 50)

    begin, end = (each for each in caplog.messages if each.startswith(("retrying", "continuing")))
    place = rf"{pipeline.topic}\[\d\] at offset \d+"
    assert re.match(rf"retrying, paused {place}: the registry at \S+ knows neither schema id \d+ nor subject ", begin)
    assert re.fullmatch(r"continuing after \d+\.\d s", end)


def test_good_records_pass_a_flood_of_unknown_schema_ids_with_few_requests(pipeline, some_trades, registry, make_stage):
    trades = some_trades(300)
    values = [(trade.trade_id.encode(), pipeline.serialize(trade)) for trade in trades]
    flood = [(b"flood", frame(1_000_000 + number, b"")) for number in range(3_000)]
    pipeline.publish_bytes(flood[:1_500] + values[:200] + flood[1_500:] + values[200:], partition=1)
    with make_stage(max_refused=None) as stage:
        stage.run(until_end=True)

    assert (300, {"UNKNOWN_SCHEMA": 3_000}) == (passed(stage), dict(stage.counts.refused))
    assert 40 > len(registry.paths)


def test_a_producer_reports_a_registry_without_the_subject_as_unavailable_at_first(
    pipeline, registry, long_startup, monkeypatch
):
    (trade,) = islice(samples.trades(7), 1)
    registry.forgets = None
    with pipeline.producer(registry=registry.url) as producer:
        with pytest.raises(RegistryUnavailable, match="is it starting"):
            producer.produce(trade)
        monkeypatch.setattr(schema_ids, "STARTUP_SECONDS", 0.0)
        with pytest.raises(SchemaNotRegistered):
            producer.produce(trade)
        registry.forgets = 0
        producer.produce(trade)
    pipeline.store()

    assert [trade] == pipeline.stored()


@pytest.mark.parametrize(
    "command",
    [
        "produce --count 5 --topic {topic} --bootstrap-servers {servers}",
        "schema pull {folder}",
        "schema drift",
    ],
    ids=["produce", "pull", "drift"],
)
@pytest.mark.usefixtures("long_startup")
def test_a_command_waits_for_a_registry_that_has_not_read_its_data(pipeline, registry, tmp_path, command):
    registry.forgets = 3
    servers = pipeline.kafka["bootstrap.servers"]
    name, *arguments = command.format(topic=pipeline.topic, servers=servers, folder=tmp_path / "pulled").split()
    options = ("--registry", registry.url, "--subject", pipeline.subject)

    done = run_command(name, *arguments, *options, env={})

    assert (0, 0) == (done.code, registry.forgets), done.err


CONFLUENT = {"metadata": {"properties": {"owner": "desk"}}, "guid": "6f5d1bb5-6d26-4a5e-9ba1-8a0ab4d3a5c1"}
"""What Confluent's server tells of a schema besides its text."""

ENCRYPTED = {"name": "hide", "kind": "TRANSFORM", "type": "ENCRYPT", "mode": "WRITEREAD", "tags": ["PII"]}


def test_encrypted_fields_are_never_stored_as_data(pipeline, some_trades, registry, make_stage):
    pipeline.publish(some_trades(50))
    registry.fields = {**CONFLUENT, "ruleSet": {"domainRules": [ENCRYPTED]}}

    with make_stage() as stage, pytest.raises(UnsupportedSchema, match=r"has the rule 'hide' \('?ENCRYPT"):
        stage.run(until_end=True)

    assert (0, {}) == (passed(stage), stage.counts.refused)


def test_what_confluents_registry_adds_to_a_schema_does_not_matter(pipeline, some_trades, registry, make_stage):
    pipeline.publish(some_trades(50))
    registry.fields = {**CONFLUENT, "ruleSet": {"domainRules": [{**ENCRYPTED, "type": "CEL", "mode": "WRITE"}]}}

    with make_stage() as stage:
        stage.run(until_end=True)

    assert (50, {}) == (passed(stage), stage.counts.refused)
