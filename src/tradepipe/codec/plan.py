"""
The codec plan: what the executor does with the records of one writer schema.

A plan is a plain value of tuples, texts and numbers: the steps that read a
record into slots, what each slot must satisfy, and its column. It is made of
the writer schema, the reader schema and the declaration, and an executor needs
none of these. Limits are in the unit of the bytes: days, microseconds,
unscaled decimals.
"""

from decimal import Decimal
from math import ceil, floor
from typing import Any, NamedTuple

from annotated_types import Gt, Le

from tradepipe.codec.fields import RecordCodec
from tradepipe.codec.steps import Record, resolve_record
from tradepipe.evolution.schema_tree import SchemaType
from tradepipe.trade.avro_types import EXACT, to_number
from tradepipe.trade.constraints import Bound, Digits, NotBefore, Pattern, Rule, limit_of, operator_of
from tradepipe.trade.types import Type


class Check(NamedTuple):
    """
    A condition on the value of one slot, unless it is null.

    Attributes:
        operator: `>=`, `>`, `<=` or `<` with a number, or `matches` with a regular expression of the whole text.
    """

    operator: str
    operand: Any


class Output(NamedTuple):
    """
    One declared field.

    Attributes:
        slot: slot of the record's steps that has its value.

        kind: the declared kind, which limits the values: a float is finite, a text has no NUL.

        column: type of its column, with precision and scale in `numeric(p, s)`.
    """

    name: str
    slot: int
    kind: str
    is_nullable: bool
    column: str
    checks: tuple[Check, ...]


class Relation(NamedTuple):
    """
    A rule between outputs, by their places.

    Attributes:
        name: `together`, or `not before`: the first output, a date or a time, is not before the second.
    """

    name: str
    outputs: tuple[int, ...]


class Plan(NamedTuple):
    """
    The plan of a writer schema.

    Attributes:
        outputs: in declared order, which is that of a row.

        key: place of the output whose bytes are the Kafka key.
    """

    record: Record
    outputs: tuple[Output, ...]
    relations: tuple[Relation, ...]
    key: int


def make_plan(writer: SchemaType, codec: RecordCodec) -> Plan:
    """Make the plan of a writer schema; TypeError if it lacks a declared field without a default."""
    declaration = codec.declaration
    slots = {field.name: slot for slot, field in enumerate(codec.in_schema)}
    places = {field.name: place for place, field in enumerate(declaration.fields)}
    outputs = tuple(
        Output(
            field.name,
            slots[field.name],
            field.type.kind,
            field.is_nullable,
            field.type.postgres,
            tuple(_check(field.type, each) for each in field.constraints if not isinstance(each, Digits)),
        )
        for field in declaration.fields
    )
    relations = tuple(Relation(_name(rule), tuple(places[name] for name in rule.fields)) for rule in declaration.rules)
    return Plan(resolve_record(codec.reader, writer), outputs, relations, places[declaration.partition_key])


def _name(rule: Rule) -> str:
    return "not before" if isinstance(rule, NotBefore) else "together"


def _check(type_: Type, constraint: Bound | Pattern) -> Check:
    if isinstance(constraint, Pattern):
        return Check("matches", constraint.expression)
    limit = limit_of(constraint)
    if type_.kind == "decimal":
        # A limit may have more decimals than the values have: the next value takes its place.
        exact = EXACT.scaleb(Decimal(limit), type_.scale)
        limit = floor(exact) if isinstance(constraint, (Gt, Le)) else ceil(exact)
    return Check(operator_of(constraint), to_number(type_, limit))
