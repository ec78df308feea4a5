"""The structural check agrees with Java's library, which the registries of Confluent and Apicurio use."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.evolution.schemas import decimal, field, record, text
from tests.evolution.test_evolution import CHANGES
from tests.evolution.test_resolution import pairs
from tests.properties import examples
from tradepipe.evolution.compatibility import Level
from tradepipe.evolution.compatibility_rules import VersionedSchema, structural_incompatibilities

pytestmark = pytest.mark.real


def both(old, new):
    """Reader and writer, in both directions."""
    return [(new, old), (old, new)]


def ours(asked):
    return [
        not structural_incompatibilities(reader, [VersionedSchema(1, writer)], Level.BACKWARD)
        for reader, writer in asked
    ]


def test_every_known_change_has_the_same_verdict_as_in_java(peer):
    asked = [pair for old, new, *_ in CHANGES.values() for pair in both(text(old), text(new))]

    assert peer.ask("avro-can-read", pairs=asked) == ours(asked)


@settings(examples(150), suppress_health_check=list(HealthCheck))
@given(pairs())
def test_any_two_schemas_have_the_same_verdict_as_in_java(peer, pair):
    asked = both(*pair)

    assert peer.ask("avro-can-read", pairs=asked) == ours(asked)


def test_java_reads_a_decimal_by_another_scale_as_another_number(peer):
    """Our rule about the scale of a decimal prevents this; no registry does."""
    old, new = (text(record(field("notional", decimal(18, scale)))) for scale in (2, 4))
    values = peer.ask("avro-write", writer=old, id=7, records=[{"notional": "123.45"}])

    assert [True, True] == peer.ask("avro-can-read", pairs=both(old, new))
    assert [{"notional": "1.2345"}] == peer.ask("avro-read", writer=old, reader=new, values=values)
