"""The compiled core passes what Python passes, with the same rows."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec import sample_schema, writer_schemas
from tests.codec.every_type import codec_of, plain_record, schema_of, write
from tests.codec.executors import HEADER, Executors, make_executor, record_of
from tests.codec.written_bodies import written_records
from tests.properties import examples
from tests.trade.declarations import declarations, records
from tradepipe._native import Executor
from tradepipe.codec import steps
from tradepipe.codec.admission import parse_writer_schema
from tradepipe.codec.codec import MAX_BODY
from tradepipe.codec.fields import record_codec, trade_codec
from tradepipe.codec.plan import Check, Output, Plan, make_plan
from tradepipe.evolution.history import current, golden_records, versions
from tradepipe.trade.record import Record, UnreadableBatch
from tradepipe.trade.records import Run

GOLDEN = golden_records()
OTHER_HEADER = b"\0" + (8).to_bytes(4, "big")
GOOD = GOLDEN[-1]


def test_the_golden_record_of_every_version_has_the_row_of_python():
    for version, golden in zip(versions(), GOLDEN, strict=True):
        assert Executors(trade_codec(), version.schema).row(golden.body) is not None


@examples(500)
@given(st.data())
def test_records_of_any_declaration_pass_where_python_passes_them(data):
    declaration = data.draw(declarations(depth=0))
    executors = Executors(codec_of(declaration), schema_of(declaration))
    for record in data.draw(st.lists(records(declaration, lambda _field: st.nothing()), min_size=1, max_size=10)):
        executors.row(write(schema_of(declaration), plain_record(declaration, record)))


@examples(500)
@given(st.data())
def test_records_of_any_writer_schema_pass_where_python_passes_them(data):
    declaration = data.draw(declarations(depth=0))
    made = data.draw(written_records(declaration))
    executors = Executors(record_codec(made.reader, declaration), made.writer)
    for body in data.draw(st.lists(made.bodies, min_size=1, max_size=5)):
        executors.row(body)
    if made.wrong is not None:
        assert executors.row(data.draw(made.wrong)) is None


@examples(300)
@given(writer_schemas.writer_samples(), st.data())
def test_damaged_records_pass_where_python_passes_them(made, data):
    writer, fields = made
    executors = Executors(sample_schema.CODEC, writer)
    body = bytearray(sample_schema.written(writer, fields))
    executors.row(bytes(body))
    for _ in range(10):
        place = data.draw(st.integers(0, len(body)))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        executors.row(bytes(body))


EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "[^a]", "[a-c]", r"\.", "[]a]", "[a-]", ""]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}"])).map(
            lambda two: "({}){}".format(*two)
        ),
    ),
    max_leaves=6,
)


@examples(2_000)
@given(EXPRESSIONS, st.lists(st.text("abc.]-é\n", max_size=8), min_size=1, max_size=10))
def test_a_text_matches_as_by_the_expressions_of_python(expression, texts):
    executor = make_pattern_executor(expression)

    found = [executor.check(run_of(record_of(long_text(text))), 0, False) == 1 for text in texts]

    assert [re.fullmatch(expression, text) is not None for text in texts] == found


def make_pattern_executor(expression):
    """An executor of records that are one text, which matches an expression."""
    output = Output("id", 0, "string", False, "text", (Check("matches", expression),))
    executor = Executor(tuple, [()])
    executor.add(
        HEADER, Plan(steps.Record((steps.Read("id", 0, steps.Scalar("string", kind="string")),)), (output,), (), 0)
    )
    return executor


def run_of(*listed):
    return Run.of(listed)


def long_text(text):
    return bytes([2 * len(text.encode())]) + text.encode()


@pytest.fixture
def executor():
    return make_executor(trade_codec(), current().schema)


def test_each_record_of_a_list_is_read_by_the_schema_of_its_header(executor):
    first, last = versions()[0], versions()[-1]
    executor.add(OTHER_HEADER, make_plan(parse_writer_schema(first.schema), trade_codec()))
    new, old = (HEADER + GOLDEN[-1].body, OTHER_HEADER + GOLDEN[0].body)
    listed = [Record("trades", 3, 5, None, value) for value in (new, old, new, new, old, old)]

    rows = executor.rows(run_of(*listed), 0, False)

    assert first.schema != last.schema
    assert [executor.rows(run_of(each), 0, False)[0] for each in listed] == rows
    assert 2 == len(set(rows))


@pytest.mark.parametrize(
    "stranger",
    [
        Record("trades", 0, 1, b"T1", None),
        Record("trades", 0, 1, b"T1", b""),
        Record("trades", 0, 1, b"T1", HEADER[:4]),
        Record("trades", 0, 1, b"T1", b"\0\0\0\0\x08" + GOOD.body),
        Record("trades", 0, 1, b"T1", b"\1" + HEADER[1:] + GOOD.body),
        Record("trades", 0, 1, None, HEADER + GOOD.body),
        Record("trades", 0, 1, b"another", HEADER + GOOD.body),
        Record("trades", 0, 1, b"T1", HEADER + GOOD.body + b"\0"),
        Record("trades", 0, 1, b"T1", HEADER + bytes(MAX_BODY + 1)),
        UnreadableBatch("trades", 0, 1, 3, "no"),
        Record("trades", 0, 1, "T1", HEADER + GOOD.body),
        Record("trades", 0, 1, b"T1", "text"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_a_list_is_done_up_to_the_first_record_that_does_not_pass(executor, stranger):
    good = record_of(GOOD.body, GOOD.trade.trade_id.encode())
    listed = run_of(good, good, stranger, good)

    assert (2, 2) == (len(executor.rows(listed, 0, True)), executor.check(listed, 0, True))
    assert (0, 2) == (len(executor.rows(listed, 2, True)), executor.check(listed, 2, True))
    assert (1, 4) == (len(executor.rows(listed, 3, True)), executor.check(listed, 3, True))
    assert ([], 4) == (executor.rows(listed, 4, True), executor.check(listed, 4, True))


def test_keys_are_compared_only_on_request(executor):
    record = record_of(GOOD.body, b"another")

    assert (0, 1) == (executor.check(run_of(record), 0, True), executor.check(run_of(record), 0, False))


def test_coordinates_that_the_columns_lack_do_not_pass(executor):
    good = record_of(GOOD.body)

    assert [] == executor.rows(run_of(good._replace(offset=2**63)), 0, False)
    for odd in (good._replace(partition=2**31), good._replace(topic="\ud800")):
        with pytest.raises(TypeError):
            executor.rows(run_of(odd), 0, False)


def test_columns_of_another_length_do_not_pass(executor):
    shorter = run_of(record_of(GOOD.body), record_of(GOOD.body))
    shorter.offsets.pop()

    assert 1 == len(executor.rows(shorter, 0, False))


@pytest.mark.parametrize("stranger", [(), None, "trades", record_of(GOOD.body)], ids=lambda each: type(each).__name__)
def test_what_is_no_run_is_an_error(executor, stranger):
    with pytest.raises((TypeError, AttributeError)):
        executor.rows(stranger, 0, False)
