"""Golden records of every released version."""

import pytest

from tradepipe import violations
from tradepipe.codec.codec import Decoder, Encoder
from tradepipe.evolution.history import golden_records, versions

GOLDEN = golden_records()


def test_every_version_has_a_golden_record():
    assert [version.number for version in versions()] == [record.version for record in GOLDEN]


@pytest.mark.parametrize("record", GOLDEN, ids=lambda record: f"v{record.version}")
def test_every_golden_record_decodes_into_todays_trade(record):
    decode = Decoder(versions()[record.version - 1].text, 1).decode

    # By what it looks like: to equality 1.5 is 1.5000, and a Side is its name.
    assert repr(record.trade) == repr(decode(record.body))


def test_the_current_version_encodes_its_golden_record():
    assert GOLDEN[-1].body == Encoder().encode(GOLDEN[-1].trade)


@pytest.mark.parametrize("record", GOLDEN, ids=lambda record: f"v{record.version}")
def test_a_golden_record_is_a_valid_trade(record):
    assert () == violations(record.trade)
