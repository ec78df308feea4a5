"""Both executors of the codec plan: one log gives the same table and the same refusals."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.postgres.batches import connected, record, trade
from tests.postgres.test_rules_agree import trades
from tests.properties import examples
from tradepipe import InvalidTrade, SchemaRegistry, Trade, TradeDeserializer
from tradepipe.codec.codec import Encoder
from tradepipe.codec.primitives import EPOCH_ORDINAL, encode_varint
from tradepipe.evolution.history import current
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.postgres import migrate
from tradepipe.postgres.insert import DirectCopy, insert
from tradepipe.registry.registration import register
from tradepipe.registry.serde import frame
from tradepipe.trade import samples
from tradepipe.trade.record import Code, Refusal
from tradepipe.trade.records import Run
from tradepipe.trade.validated import ValidatedRecords

EXECUTORS = ("python", "compiled")
"""Without the compiled core both are Python."""

BAD = {
    "a NUL": trade("T\0"),
    "a NUL in a currency": trade("B1", notional=Decimal(1), currency="E\0R"),
    "not ASCII": trade("B2", counterparty_id="é"),
    "one of three rules": trade("B3", version=0),
    "three rules": trade("B 4", version=0, book_id=""),
    "an amount and a currency": trade("B5", notional=Decimal(-1), currency="eur"),
    "a currency alone": trade("B6", currency="EUR"),
    "maturity before creation": trade("B7", maturity_date=trade().created_at.date() - timedelta(days=1)),
}
"""Trades that break rules, and that a database sees in one way or another, or not at all."""


def choose(monkeypatch, executor):
    """Let what is made next use an executor."""
    monkeypatch.setenv("TRADEPIPE_NATIVE", "0" if executor == "python" else "1")


def outcome(pipeline, executor, group="", **options):
    """Store the log with a sink; return its counts, the table, and the refusals with their reasons."""
    pipeline.execute("TRUNCATE trades, trade_refusals")
    with pytest.MonkeyPatch.context() as environment:
        choose(environment, executor)
        counts = pipeline.store(group=f"{pipeline.topic}-{executor}{group}", max_refused=None, **options)
    refusals = [
        (row.partition, row.offset, row.codes, row.details, row.schema_id, row.key, row.value)
        for row in pipeline.refused()
    ]
    places = pipeline.query("SELECT trade_id, version, source_partition, source_offset, schema_id FROM trades")
    return counts.stored, counts.duplicates, counts.refused, pipeline.stored(), sorted(places), refusals


def publish(pipeline, trades):
    """Send trades without validating them, each with its trade_id as the key."""
    pipeline.publish_bytes([(each.trade_id.encode(), pipeline.serialize(each)) for each in trades])


@pytest.mark.parametrize("stale", ["accept", "refuse"])
def test_both_agree_on_bad_records_duplicates_and_collisions(pipeline, some_trades, stale):
    good = some_trades(60)
    bad = list(islice(samples.bad_records(7, pipeline.serialize), 30))
    pipeline.publish_bytes((each.key, each.value) for each in bad[:15])
    pipeline.publish([*good, *good[:9], *(each._replace(book_id="B-OTHER") for each in good[:4])])
    pipeline.publish_bytes((each.key, each.value) for each in bad[15:])
    publish(pipeline, [*BAD.values(), trade("S", 2), trade("S", 1), trade("S", 0)])

    found = [outcome(pipeline, executor, stale=stale) for executor in EXECUTORS]

    assert found[0] == found[1]
    assert {each.code for each in bad} | {Code.VERSION_COLLISION} <= found[1][2].keys()
    assert (stale == "refuse") is (Code.STALE_VERSION in found[1][2])


@pytest.mark.output
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_trade_is_refused_alone_with_all_its_violations(pipeline, bad):
    others = [trade(f"T{number}") for number in range(7)]
    publish(pipeline, [*others[:3], bad, *others[3:]])

    by_python, compiled = (outcome(pipeline, executor) for executor in EXECUTORS)

    assert by_python == compiled
    assert (sorted(others), 1) == (compiled[3], len(compiled[5]))


def test_a_date_or_timestamp_outside_postgresqls_range_is_refused_alone(pipeline):
    good = [trade(f"T{number}") for number in range(3)]
    matures = encode_varint(good[1].maturity_date.toordinal() - EPOCH_ORDINAL)
    days = pipeline.serialize(good[1]).replace(matures, encode_varint(2**31 - 1), 1)
    late = next(each for each in samples.bad_records(1, pipeline.serialize) if each.kind == "created at in year 10000")
    publish(pipeline, good[:1])
    pipeline.publish_bytes([(b"T1", days), (late.key, late.value)])
    publish(pipeline, good[1:])

    by_python, compiled = (outcome(pipeline, executor) for executor in EXECUTORS)

    assert by_python == compiled
    assert (Counter(MATURITY_DATE=1, CREATED_AT=1), good) == (compiled[2], compiled[3])


@pytest.mark.output
def test_text_that_is_not_utf_8_is_refused_alone(pipeline):
    framed = [pipeline.serialize(trade(name)) for name in ("T0", "T1", "T2")]
    framed[1] = framed[1].replace(b"\x04T1", b"\x04\xc3\x28", 1)
    pipeline.publish_bytes(zip((b"T0", b"T1", b"T2"), framed, strict=True))

    by_python, compiled = (outcome(pipeline, executor) for executor in EXECUTORS)

    assert by_python == compiled
    assert (Counter(UNDECODABLE=1), [trade("T0"), trade("T2")]) == (compiled[2], compiled[3])


def test_a_users_constraint_refuses_with_the_databases_message(pipeline):
    """If our rules are broken too, only their violations are reported, as by Python."""
    pipeline.execute("ALTER TABLE trades ADD CONSTRAINT no_secret_book CHECK (left(book_id, 6) <> 'SECRET')")
    publish(pipeline, [trade("T1", book_id="SECRET"), trade("T2", book_id="SECRET BOOK"), trade("T3")])

    by_python, compiled = (outcome(pipeline, executor) for executor in EXECUTORS)

    assert by_python == compiled
    assert Counter(DATABASE_REFUSED=1, BOOK_ID=1) == compiled[2]


@pytest.mark.output
@pytest.mark.parametrize(
    "key", [None, b"", b"T", b"T12", b"T2", b"\xff", b"x" * 100_000], ids=lambda key: repr(key)[:9]
)
def test_a_record_with_another_key_is_refused_unless_accepted(pipeline, key):
    pipeline.publish_bytes([(key, pipeline.serialize(trade("T1")))])

    refusing = [outcome(pipeline, executor) for executor in EXECUTORS]

    assert refusing[0] == refusing[1]
    assert {"RECORD_KEY": 1} == refusing[1][2]
    assert [trade("T1")] == outcome(pipeline, "compiled", record_key="accept", group="accepting")[3]


@pytest.mark.output
def test_each_stored_trade_is_reported(pipeline, some_trades):
    trades = some_trades(30)
    pipeline.publish(trades + trades[:5])
    publish(pipeline, [trade("T1", 0)])
    message: list[Trade] = []

    pipeline.store(on_stored=lambda stored: message.extend(stored.trades))

    assert sorted(trades) == sorted(message) == pipeline.stored()


@pytest.fixture(scope="module")
def shared_pipeline(session_services):
    """Create one database and one subject for all examples of a property: nothing is committed."""
    server = session_services.postgres.start()
    url = server.create_database("test_executors")
    migrate.upgrade(url)
    with SchemaRegistry(session_services.registry_url) as registry, connected(url) as connection:
        register(registry, "executors-value")
        schema_id = registry.lookup("executors-value", current().text)
        with pytest.MonkeyPatch.context() as environment:
            deserializers = []
            for executor in EXECUTORS:
                choose(environment, executor)
                deserializers.append(TradeDeserializer(registry, subject="executors-value"))
        yield connection, deserializers, schema_id
    server.drop_database("test_executors")


@st.composite
def bodies(draw):
    """Draw a key and an encoded trade near the limits of the rules, sometimes with a changed byte."""
    of = draw(trades() | st.sampled_from(list(BAD.values())) | st.builds(trade, st.sampled_from(["T1", "T2"])))
    try:
        body = bytearray(Encoder().encode(of))
    except InvalidTrade:
        of = trade()
        body = bytearray(Encoder().encode(of))
    if draw(st.integers(0, 3)) == 0:
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return draw(st.sampled_from([of.trade_id.encode(errors="replace")] * 5 + [b"T1", None])), bytes(body)


def outcomes_of(connection, validator, records, stale):
    """Store records and roll back; return the outcome of each refused record, and how many were stored."""
    found = ValidatedRecords(validator.trade)
    validator.validate_all(Run.of(records), found)
    refused = {at: result for at, result in enumerate(found.results) if isinstance(result, Refusal)}
    with connection.begin() as transaction:
        stored = insert(connection, found, stale, DirectCopy())
        transaction.rollback()
    return stored.inserted, sorted(stored.duplicates), refused | dict(stored.refused)


@examples(60)
@given(mix=st.lists(bodies(), min_size=1, max_size=6), stale=st.sampled_from(["accept", "refuse"]))
def test_both_agree_on_any_records(shared_pipeline, mix, stale):
    connection, deserializers, schema_id = shared_pipeline
    records = [record(offset)._replace(key=key, value=frame(schema_id, body)) for offset, (key, body) in enumerate(mix)]

    found = [outcomes_of(connection, RecordValidator(each), records, stale) for each in deserializers]

    assert found[0] == found[1]
