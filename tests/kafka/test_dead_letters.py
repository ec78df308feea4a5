"""Dead letters and markers are parsed as they were written, whatever the refused record contains."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradepipe.kafka import dead_letters
from tradepipe.kafka.dead_letters import DeadLetterRecord, ForeignRecord, Marker, RecordOrigin
from tradepipe.trade.record import Code, Digest, Omitted, Record, Refusal, Violation

REFUSED = Record("trades", 3, 42, b"T1", b"\x00\x00", 1_750_000_000_000, (("traceparent", b"\xff"), ("empty", None)))
VIOLATIONS = (Violation("VERSION", "version is 0"), Violation("ODD", "odd, \u201cyes\u201d"))
REFUSAL = Refusal(REFUSED, VIOLATIONS, 7)


def laid(headers, *, key=b"T1", value=b"\x00\x00", offset=5):
    """Return a record of the dead-letter topic."""
    return Record("trades.dlq", 1, offset, key, value, 1_750_000_009_000, tuple(headers))


def letter(refusal, **options):
    written = dead_letters.build_headers(refusal, **{"topic_id": "id-1", "group": "checkers", **options})
    return laid(written, key=refusal.record.key, value=refusal.record.value)


def test_a_dead_letter_is_parsed_into_its_refusal():
    read = dead_letters.parse(letter(REFUSAL))

    assert isinstance(read, DeadLetterRecord)
    assert (REFUSAL, "id-1", "checkers", "validator", 0) == (
        read.refusal,
        read.topic_id,
        read.group,
        read.stage,
        read.replay_count,
    )
    assert RecordOrigin("trades", "id-1", 3, 42) == read.origin


def test_the_headers_of_the_refused_record_come_first_and_unchanged():
    assert REFUSED.headers == letter(REFUSAL).headers[:2]


def test_unknown_values_stay_unknown():
    refusal = Refusal(Record("trades", 0, 0, None, None), (Violation(Code.EMPTY, "no value"),))

    read = dead_letters.parse(letter(refusal, topic_id=None))

    assert (refusal, None) == (read.refusal, read.topic_id)


def test_a_dead_letter_that_is_refused_itself_is_parsed_with_its_own_headers():
    """Its original headers have the same names as ours; only their number distinguishes them."""
    first = letter(REFUSAL)
    again = Refusal(first._replace(topic="other"), (Violation(Code.FRAMING, "no frame"),))

    read = dead_letters.parse(letter(again))

    assert again == read.refusal


def test_the_names_of_kafka_connect_are_there_too():
    reported = {name: value.decode() for name, value in letter(REFUSAL).headers if name.startswith("__connect.errors.")}

    assert {
        "__connect.errors.topic": "trades",
        "__connect.errors.partition": "3",
        "__connect.errors.offset": "42",
        "__connect.errors.connector.name": "checkers",
        "__connect.errors.task.id": "0",
        "__connect.errors.stage": "TRANSFORMATION",
        "__connect.errors.class.name": "tradepipe.Validator",
        "__connect.errors.exception.class.name": "VERSION",
        "__connect.errors.exception.message": "VERSION: version is 0; ODD: odd, \u201cyes\u201d",
    } == reported


@pytest.mark.parametrize("code", [Code.EMPTY, Code.FRAMING, Code.UNKNOWN_SCHEMA, Code.UNDECODABLE])
def test_an_undecodable_record_is_described_as_a_failure_of_the_converter(code):
    reported = dict(letter(Refusal(REFUSED, (Violation(code, "bad"),))).headers)

    assert b"VALUE_CONVERTER" == reported["__connect.errors.stage"]


def test_a_dead_letter_of_kafka_connect_is_parsed_as_far_as_its_header_names_allow():
    names = {
        "topic": b"trades",
        "partition": b"1",
        "offset": b"9",
        "connector.name": b"jdbc",
        "stage": b"VALUE_CONVERTER",
        "exception.class.name": b"org.apache.kafka.connect.errors.DataException",
        "exception.message": b"Unknown magic byte!",
    }
    record = laid([("mine", b"1"), *((f"__connect.errors.{name}", value) for name, value in names.items())])

    read = dead_letters.parse(record)

    original = Record("trades", 1, 9, record.key, record.value, None, (("mine", b"1"),))
    violation = Violation("org.apache.kafka.connect.errors.DataException", "Unknown magic byte!")
    assert (
        DeadLetterRecord(record, Refusal(original, (violation,)), None, "jdbc", "VALUE_CONVERTER", "", 0, True) == read
    )


def test_a_marker_names_what_was_replayed():
    read = dead_letters.parse(letter(REFUSAL))

    mark = laid(dead_letters.marker_headers(read, 2), value=None, offset=6)

    assert Marker(mark, read.origin, 2, read.digest) == dead_letters.parse(mark)


def test_a_record_with_a_value_closes_no_dead_letter():
    """A marker has no value; a record with the header and a value has another writer."""
    pretended = laid(dead_letters.marker_headers(dead_letters.parse(letter(REFUSAL)), 2), value=b"a value")

    assert ForeignRecord(pretended) == dead_letters.parse(pretended)


def test_a_refused_record_with_the_header_of_a_marker_is_a_dead_letter():
    forged = REFUSED._replace(value=None, headers=(("tradepipe.dlq.replayed", b'["trades", "id-1", 3, 41]'),))

    assert forged == dead_letters.parse(letter(Refusal(forged, VIOLATIONS))).refusal.record


def test_the_replay_count_stays_in_a_dead_letter_and_is_removed_from_a_forwarded_record():
    replayed = REFUSED._replace(headers=(("a", b"1"), ("tradepipe.replays", b"3"), ("b", None)))

    assert 3 == dead_letters.parse(letter(Refusal(replayed, VIOLATIONS))).replay_count
    assert (("a", b"1"), ("b", None)) == dead_letters.strip_replay_header(replayed.headers)


def test_only_our_texts_are_shortened_to_fit():
    long = Refusal(REFUSED._replace(value=b"v" * 5_000), (Violation("VERSION", "long " * 50_000),), 7)

    tight = letter(long, max_bytes=8_000)

    read = dead_letters.parse(tight)
    assert dead_letters.size(long.record, tight.headers) <= 8_000
    assert (long.record, long.codes) == (read.refusal.record, read.refusal.codes)
    assert read.refusal.details[0].startswith("long long")
    assert read.refusal.details[0].endswith("…")


def test_a_dead_letter_without_space_still_has_its_coordinates():
    read = dead_letters.parse(letter(REFUSAL, max_bytes=0))

    assert (REFUSED, ("VERSION", "ODD"), ("…", "…")) == (read.refusal.record, read.refusal.codes, read.refusal.details)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("headers", b"1000"),
        ("headers", b"-1"),
        ("partition", b"\xd9\xa3"),
        ("offset", None),
        ("codes", b"["),
        ("codes", b"[]"),
        ("details", b'["one"]'),
    ],
)
def test_a_broken_dead_letter_of_ours_is_parsed_by_the_names_of_connect(name, value):
    record = letter(REFUSAL)
    broken = tuple((n, value if n == f"tradepipe.dlq.{name}" else v) for n, v in record.headers)

    read = dead_letters.parse(record._replace(headers=broken))

    assert ("", ("VERSION",)) == (read.version, read.refusal.codes)


_names = st.sampled_from(
    [
        *(name for name, _ in dead_letters.build_headers(REFUSAL, topic_id="id", group="g")),
        "tradepipe.dlq.replayed",
        "tradepipe.dlq.replays",
        "tradepipe.replays",
    ]
)
_values = (
    st.none() | st.binary(max_size=20) | st.sampled_from([b"0", b"3", b"[]", b'["a"]', json.dumps(["t", "", 1, 2])])
)
_values = _values.map(lambda value: value.encode() if isinstance(value, str) else value)


@given(st.lists(st.tuples(_names, _values), max_size=12), st.none() | st.binary(max_size=3))
def test_any_record_is_read_as_something(headers, value):
    read = dead_letters.parse(laid(headers, value=value))

    assert isinstance(read, (DeadLetterRecord, Marker, ForeignRecord))


@given(st.lists(st.tuples(_names, _values), max_size=6), st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_any_refusal_is_read_as_it_was_written(headers, violations):
    record = REFUSED._replace(headers=tuple(headers))
    refusal = Refusal(record, tuple(Violation(code, detail) for code, detail in violations))

    assert refusal == dead_letters.parse(letter(refusal)).refusal


@pytest.mark.parametrize("max_bytes", [30_000, 3_000])
def test_a_dead_letter_that_is_too_large_for_its_topic_is_written_without_its_value(max_bytes):
    large = REFUSAL._replace(record=REFUSED._replace(value=b"v" * 50_000))

    record = dead_letters.build_record(large, topic_id="id-1", group="g", max_bytes=max_bytes)
    read = dead_letters.parse(record)

    assert (None, b"T1") == (record.value, record.key)
    assert dead_letters.size(record) <= max_bytes
    assert (REFUSED.headers, VIOLATIONS) == (read.refusal.record.headers, read.refusal.violations)
    assert Omitted(value=Digest.of(b"v" * 50_000)) == read.refusal.omitted


def test_a_dead_letter_without_space_for_its_headers_has_their_digest():
    large = REFUSAL._replace(record=REFUSED._replace(headers=(("x", b"v" * 50_000),)))

    record = dead_letters.build_record(large, topic_id="id-1", group="g", max_bytes=30_000)

    assert dead_letters.size(record) <= 30_000
    assert 50_003 == dead_letters.parse(record).refusal.omitted.headers.size


@given(st.text())
def test_an_invalid_digest_is_ignored(text):
    headers = (
        *letter(REFUSAL).headers,
        ("tradepipe.dlq.value_bytes", b"5"),
        ("tradepipe.dlq.value_sha256", text.encode(errors="replace")),
    )

    assert Omitted() == dead_letters.parse(laid(headers)).refusal.omitted
