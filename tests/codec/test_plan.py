"""The plan alone says which records pass, and what their rows are."""

from hypothesis import given
from hypothesis import strategies as st

from tests.codec.every_type import codec_of, make_decoder, plain_record, schema_of, write
from tests.codec.plan_executor import Refused, execute
from tests.codec.written_types import written_records
from tests.properties import examples
from tests.trade.declarations import declarations, records
from tradepipe.codec.admission import parse_writer_schema
from tradepipe.codec.copy_rows import fields_packer
from tradepipe.codec.fields import trade_codec
from tradepipe.codec.plan import Check, Output, Relation, make_plan
from tradepipe.evolution.history import current
from tradepipe.trade.rules import violation_finder


def fields_of(row):
    """Split a row into its fields, None for NULL."""
    found = []
    while row:
        length = int.from_bytes(row[:4], "big", signed=True)
        found.append(row[4 : 4 + length] if length >= 0 else None)
        row = row[4 + max(0, length) :]
    return found


def executed(plan, body):
    try:
        return execute(plan, body)
    except Refused:
        return None


@examples(300)
@given(st.data())
def test_an_executor_of_the_plan_passes_what_has_no_violations(data):
    declaration = data.draw(declarations())
    codec, schema = codec_of(declaration), schema_of(declaration)
    plan = make_plan(parse_writer_schema(schema), codec)
    for record in data.draw(st.lists(records(declaration, lambda _field: st.nothing()), min_size=1, max_size=10)):
        body = write(schema, plain_record(declaration, record))

        assert (not violation_finder(declaration)(record)) is (executed(plan, body) is not None)


@examples(300)
@given(st.data())
def test_an_executor_of_the_plan_makes_the_rows(data):
    declaration = data.draw(declarations())
    writer, datum = data.draw(written_records(declaration))
    codec = codec_of(declaration)
    plan = make_plan(parse_writer_schema(writer), codec)
    body = write(writer, datum)
    if (found := executed(plan, body)) is None:
        return
    record = make_decoder(codec, writer)(body)
    row = dict(zip(declaration.record._fields, fields_of(fields_packer(declaration)(record)), strict=True))
    values = dict(zip(declaration.record._fields, found[0], strict=True))
    compared = [
        output.name for output in plan.outputs if output.column not in ("jsonb",) and "numeric" not in output.column
    ]

    assert [name for name, value in values.items() if value is None] == [
        name for name, value in record._asdict().items() if value is None
    ]
    assert [row[name] for name in compared if row[name] is not None] == fields_of(found[1])


def test_the_plan_of_a_trade_has_its_checks_and_columns():
    plan = make_plan(parse_writer_schema(current().schema), trade_codec())
    outputs = {output.name: output for output in plan.outputs}

    assert Output("version", 1, "int", False, "integer", (Check(">=", 1),)) == outputs["version"]
    assert Output("notional", 7, "decimal", True, "numeric(18, 4)", (Check(">", 0),)) == outputs["notional"]
    assert (Relation("not before", (4, 5)), Relation("together", (7, 8))) == plan.relations
    assert "trade_id" == plan.outputs[plan.key].name


def leaves(value):
    """The classes of what a value of tuples holds."""
    if isinstance(value, tuple):
        return {kind for each in value for kind in leaves(each)}
    return {type(value)}


def test_a_plan_is_a_value_of_tuples_texts_and_numbers():
    plan = make_plan(parse_writer_schema(current().schema), trade_codec())

    assert {str, int, bool, type(None)} >= leaves(plan)
