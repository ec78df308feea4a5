"""Agreement with fastavro, on records of every schema that resolves and on damaged records."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.sample_schema import (
    SAMPLE,
    SAMPLES,
    SCHEMA,
    by_fastavro,
    encode,
    make_decoder,
    written,
)
from tests.codec.writer_schemas import writer_samples
from tradepipe.codec.admission import check_limits, parse_writer_schema
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.resolution import STRUCTURAL, find_mismatches

decode = make_decoder()


@given(SAMPLES)
def test_the_bytes_are_those_of_fastavro(sample):
    """Only a negative notional may take a byte less: fastavro encodes -128 in two bytes, Java's BigInteger in one."""
    ours = encode(sample)

    assert (sample, len(ours)) == by_fastavro(SCHEMA, ours)
    if sample.notional is None or sample.notional >= 0:
        assert written(SCHEMA, sample._asdict()) == ours


@given(writer_samples())
def test_a_record_of_any_schema_that_resolves_is_read_as_fastavro_reads_it(made):
    writer, fields = made
    tree = parse_writer_schema(writer)
    check_limits(tree)
    assert not [found for found in find_mismatches(parse_writer_schema(SCHEMA), tree) if found.rule in STRUCTURAL]
    body = written(writer, fields)
    sample = make_decoder(writer)(body)

    assert (sample, len(body)) == by_fastavro(writer, body)


@given(writer_samples(), st.data())
def test_a_record_that_ends_early_or_late_is_refused(made, data):
    writer, fields = made
    body = written(writer, fields)
    for damaged in (body[: data.draw(st.integers(0, len(body) - 1))], body + b"\0"):
        with pytest.raises(UndecodableRecord):
            make_decoder(writer)(damaged)


@given(SAMPLES, st.data())
def test_a_damaged_record_is_refused_or_is_what_fastavro_reads(sample, data):
    damaged = bytearray(encode(sample))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        read = decode(bytes(damaged))
    except UndecodableRecord:
        return
    assert (read, len(damaged)) == by_fastavro(SCHEMA, bytes(damaged))


BODY = encode(SAMPLE)
AT = {"side": BODY.index(b"\x02\x02\x0a"), "notional": BODY.index(b"\x02\x0a"), "currency": BODY.index(b"\x02\x06EUR")}


def changed(place, old, new):
    assert BODY[place:].startswith(old)
    return BODY[:place] + new + BODY[place + len(old) :]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (changed(AT["side"], b"\x02", b"\x01"), "side holds enum symbol -1, outside 0 to 2"),
        (changed(AT["notional"], b"\x02", b"\x01"), "notional holds union branch -1, outside 0 to 1"),
        (changed(AT["side"], b"\x02", b"\x83\x00"), "side holds enum symbol -2, outside 0 to 2"),
        (changed(AT["currency"], b"\x02", b"\x03"), "currency holds union branch -2, outside 0 to 1"),
        (changed(3, b"\x02", b"\x80\x80\x80\x80\x20"), "version holds a number of more than 32 bits"),
        (changed(3, b"\x02", b"\x80\x80\x80\x80\x80\x00"), "version holds a number of more than 5 bytes"),
        (changed(AT["notional"] + 1, BODY[AT["notional"] + 1 :][:6], b"\x10\x7f" + b"\xff" * 7), "more digits than"),
        (BODY + b"\x00", "1 bytes follow"),
    ],
    ids=["symbol -1", "branch -1", "symbol -2", "branch -2", "int of 33 bits", "int of 6 bytes", "decimal", "trailing"],
)
def test_what_fastavro_reads_wrongly_is_refused(body, expected):
    """fastavro accepts each of these: it counts from the end of a list, drops bits, rounds, or ignores the rest."""
    assert isinstance(by_fastavro(SCHEMA, body)[0], tuple)
    with pytest.raises(UndecodableRecord) as refused:
        decode(body)
    assert expected in refused.value.violation.detail


@pytest.mark.parametrize("more", [b"\x80\x80\x00", b"\x80\x00"], ids=["3 bytes", "2 bytes"])
def test_a_number_may_take_more_bytes_than_it_needs(more):
    """As by Java's decoder and by fastavro."""
    stretched = changed(3, b"\x02", b"\x82" + more)

    assert SAMPLE == decode(stretched) == by_fastavro(SCHEMA, stretched)[0]


def test_every_branch_and_symbol_may_take_more_bytes_than_it_needs():
    stretched = changed(AT["side"], b"\x02\x02", b"\x82\x80\x00\x82\x00")

    assert SAMPLE == decode(stretched)


def test_a_schema_does_not_inject_code():
    """Names enter the source only as literals, even those that admission refuses."""
    name = "x'''\n        raise SystemExit  # \u2028"
    writer = json.loads(json.dumps(SCHEMA))
    writer["fields"].insert(0, {"name": name, "type": {"type": "array", "items": "int"}})

    assert SAMPLE == make_decoder(writer)(b"\x02\x02\x00" + BODY)
