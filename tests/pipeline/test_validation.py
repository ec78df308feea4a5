"""Validation of single records."""

import sys

import pytest

from tests.postgres.batches import record, trade
from tradepipe import SchemaRegistry, TradeDeserializer, TradeSerializer
from tradepipe.errors import ConfigurationError, RegistryUnavailable, SchemaIdNotYetKnown
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.registry.registration import register
from tradepipe.trade.record import MAX_KEPT_BYTES, Code, Refusal, UnreadableBatch, Violation
from tradepipe.trade.records import Run
from tradepipe.trade.validated import ValidatedRecords, ValidRecord


@pytest.fixture
def registry(services, subject):
    with SchemaRegistry(services.registry_url) as registry:
        register(registry, subject)
        yield registry


@pytest.fixture
def deserializer(registry, subject):
    return TradeDeserializer(registry, subject=subject)


@pytest.fixture
def validator(deserializer):
    return RecordValidator(deserializer)


@pytest.fixture
def encoded(registry, subject):
    """Return a record that contains a trade."""
    serialize = TradeSerializer(registry, subject=subject)
    return lambda of: record(7)._replace(key=of.trade_id.encode(), value=serialize(of))


def schema_id(encoded):
    return int.from_bytes(encoded.value[1:5], "big")


def test_a_valid_trade_is_accepted_with_its_schema_id(validator, encoded):
    given = encoded(trade())

    found = validator(given)

    assert (given, trade(), schema_id(given)) == (found.record, found.trade, found.schema_id)


def test_a_trade_that_breaks_rules_is_refused_with_all_of_them(validator, encoded):
    given = encoded(trade("a b", version=0))

    found = validator(given)

    assert (("TRADE_ID", "VERSION"), given, schema_id(given)) == (found.codes, found.record, found.schema_id)


@pytest.mark.parametrize(
    ("value", "code"),
    [(None, Code.EMPTY), (b"", Code.EMPTY), (b"\x01\x00\x00\x00\x01", Code.FRAMING), (b"{}", Code.FRAMING)],
    ids=str,
)
def test_a_value_without_a_valid_frame_is_refused(validator, value, code):
    assert (code,) == validator(record(7)._replace(value=value)).codes


def test_a_schema_id_in_a_header_is_named_as_the_reason(validator):
    """Confluent's serializer can put it there, and the value then begins with the body."""
    headers = (("__value_schema_id", b"id"),)
    (found,) = validator(record(7)._replace(value=b"\x04T1", headers=headers)).details
    (empty,) = validator(record(7)._replace(value=None, headers=headers)).details

    assert found.endswith("its header __value_schema_id has the schema id instead, which is not read")
    assert "header" not in empty


def test_an_unreadable_batch_is_refused_with_its_offsets_and_the_clients_error(validator):
    (found,) = validator(UnreadableBatch("trades", 0, 7, 9, "it does not unpack")).violations

    assert (Code.UNREADABLE, "offsets 7 to 9 cannot be read, and remain in Kafka: it does not unpack") == found


def test_an_undecodable_value_is_refused_with_its_schema_id(validator, encoded):
    given = encoded(trade())
    cut = given._replace(value=given.value[:-1])

    found = validator(cut)

    assert ((Code.UNDECODABLE,), cut, schema_id(given)) == (found.codes, found.record, found.schema_id)


LATE = Violation("TOO_LATE", "it is too late")
OTHER_KEY = "not its trade_id 'T1': it may be out of order with other versions"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (b"T2", "the record's key is b'T2', "),
        (None, "the record has no key, "),
        (b"", "the record's key is b'', "),
        (
            b"\0\0\0\0\5\4T1",
            "the record's key is b'\\x00\\x00\\x00\\x00\\x05\\x04T1', which a registry's serializer has framed, ",
        ),
        (b'"T1"', "the record's key is b'\"T1\"', which is a JSON string, "),
    ],
    ids=["other", "none", "empty", "framed", "JSON"],
)
def test_a_record_whose_key_is_not_its_trade_id_is_refused(validator, encoded, key, message):
    (found,) = validator(encoded(trade())._replace(key=key)).violations

    assert (Code.RECORD_KEY, message + OTHER_KEY) == found


def test_a_long_key_is_cut_in_the_message(validator, encoded):
    (found,) = validator(encoded(trade())._replace(key=b"x" * 1_000_000)).details

    assert len(found) < 250


def test_any_key_is_accepted_if_configured(deserializer, encoded):
    given = encoded(trade())._replace(key=None)

    assert isinstance(RecordValidator(deserializer, record_key="accept")(given), ValidRecord)


@pytest.mark.parametrize("answer", [[LATE], (LATE,)], ids=["list", "tuple"])
def test_a_users_rule_refuses_a_record(deserializer, encoded, answer):
    given = encoded(trade())

    assert Refusal(given, (LATE,), schema_id(given)) == RecordValidator(deserializer, [lambda trade: answer])(given)


@pytest.mark.parametrize("answer", [[], ()], ids=["list", "tuple"])
def test_a_users_rule_without_violations_lets_a_record_pass(deserializer, encoded, answer):
    assert isinstance(RecordValidator(deserializer, [lambda trade: answer])(encoded(trade())), ValidRecord)


def test_a_record_is_refused_with_the_violations_of_all_rules(deserializer, encoded):
    """The declared rules first, then the key, then each custom rule in the given order."""
    odd = Violation("ODD", "it is odd")
    validator = RecordValidator(deserializer, [lambda trade: [LATE, odd], lambda trade: [odd]])

    found = validator(encoded(trade("a b", version=0))._replace(key=b"k"))

    assert ("TRADE_ID", "VERSION", Code.RECORD_KEY, "TOO_LATE", "ODD", "ODD") == found.codes


def raising(_trade):
    raise ZeroDivisionError("by nothing")


def generating(_trade):
    yield LATE


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (raising, "test_validation:raising raised ZeroDivisionError: by nothing; it was called for trades[0]@7"),
        (generating, "not a list or tuple of violations"),
        (lambda trade: None, "returned None, not a list or tuple of violations"),
        (lambda trade: "TOO_LATE", "returned 'TOO_LATE', not a list or tuple of violations"),
        (lambda trade: LATE, "returned 'TOO_LATE' among its violations, not a Violation"),
        (lambda trade: [("TOO_LATE", "x")], "returned ('TOO_LATE', 'x') among its violations, not a Violation"),
        (lambda trade: [Violation("", "x")], "gave the code '': a code is a non-empty string"),
        (lambda trade: [Violation(" ", "x")], "gave the code ' ': a code is a non-empty string"),
        (lambda trade: [Violation(7, "x")], "gave the code 7: a code is a non-empty string"),
        (lambda trade: [Violation("X" * 65, "x")], "a code has at most 64 characters"),
        (lambda trade: [Violation("A\0B", "x")], r"gave the code 'A\x00B': a code has printable characters only"),
        (lambda trade: [Violation("A\ud800", "x")], r"gave the code 'A\ud800': a code has printable characters only"),
        (lambda trade: [LATE, Violation("CURRENCY", "x")], "gave the code CURRENCY, which tradepipe uses itself"),
        (lambda trade: [Violation("X", None)], "gave the detail None: a detail is a string"),
    ],
)
def test_a_broken_rule_is_reported_with_the_record_it_was_called_for(deserializer, encoded, rule, message):
    with pytest.raises(ConfigurationError) as stopped:
        RecordValidator(deserializer, [lambda trade: [], rule])(encoded(trade()))

    assert message in str(stopped.value)
    assert f"the rule {rule.__module__}:{rule.__qualname__} " in str(stopped.value)
    assert "trades[0]@7" in str(stopped.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rules": raising}, "rules is <function raising"),
        ({"rules": ["desk:late"]}, "rules is ['desk:late']: it must be a sequence of functions"),
        ({"record_key": "ignore"}, "record_key is 'ignore': it must be refuse or accept"),
    ],
    ids=["one function", "a name", "record_key"],
)
def test_an_invalid_argument_is_refused_at_construction(deserializer, arguments, message):
    with pytest.raises(ConfigurationError) as refused:
        RecordValidator(deserializer, **arguments)

    assert message in str(refused.value)


def test_an_unavailable_registry_does_not_refuse_the_record(encoded, subject):
    with SchemaRegistry("http://127.0.0.1:1") as registry:
        validator = RecordValidator(TradeDeserializer(registry, subject=subject))

        with pytest.raises(RegistryUnavailable):
            validator(encoded(trade()))


def test_an_error_that_is_kept_does_not_keep_the_records(validator):
    """Their partition is read again, so a large record would be in memory twice."""
    value = b"\0" * 1_000
    before = sys.getrefcount(value)

    run = Run.of([record(7)._replace(value=value)])
    count, error = validator.validate_all(run, ValidatedRecords(validator.trade))
    del run

    assert isinstance(error, SchemaIdNotYetKnown)
    assert (0, before) == (count, sys.getrefcount(value))


@pytest.mark.parametrize(
    "rules",
    [(), (lambda _: (),), (lambda _: [Violation("NONE", "no trade is right")],)],
    ids=["without a rule", "with a rule", "with a rule that refuses"],
)
@pytest.mark.parametrize("kinds", ["ggg", "bgg", "gbg", "ggb", "gubkgg", "bb", "gxg", "bggxg", "x", "gbgxbg"])
def test_a_run_is_validated_up_to_the_first_record_that_has_to_wait(deserializer, encoded, kinds, rules):
    """Each is as it would be alone: g is a valid record, x one of an unknown schema; the others are refused."""
    good = encoded(trade())
    made = {"g": {}, "b": {"value": None}, "k": {"key": None}, "x": {"value": b"\0\x7f\xff\xff\xff" + good.value[5:]}}
    records = [
        UnreadableBatch(good.topic, good.partition, offset, offset, "invalid compressed data")
        if kind == "u"
        else good._replace(offset=offset, **made[kind])
        for offset, kind in enumerate(kinds)
    ]
    validator = RecordValidator(deserializer, rules)
    found = ValidatedRecords(validator.trade)

    count, error = validator.validate_all(Run.of(records), found)

    assert (len(kinds.partition("x")[0]), "x" in kinds) == (count, isinstance(error, SchemaIdNotYetKnown))
    alone = [validator(each) for each in records[:count]]
    assert [each.record for each in alone] == [each.record for each in found]
    assert [each for each in alone if isinstance(each, Refusal)] == found.refusals
    assert [each.row for each in alone if isinstance(each, ValidRecord)] == found.rows
    assert sum(each.payload_bytes for each in records[:count]) == found.payload_bytes
    assert all(len(run) for run in found.records.runs)
    assert [] == list(deserializer.announced)


def test_a_large_refused_record_of_a_run_is_kept_in_part_and_counts_as_it_was_read(validator, encoded):
    good = encoded(trade())
    large = good._replace(offset=8, value=b"\1" * (MAX_KEPT_BYTES + 1))
    found = ValidatedRecords(validator.trade)

    validator.validate_all(Run.of([good, large, good._replace(offset=9)]), found)

    assert [good.value, None, good.value] == [each.value for each in found.records]
    assert 2 * good.payload_bytes + large.payload_bytes == found.payload_bytes
