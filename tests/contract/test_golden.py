"""What every version wrote is still read, and says what it said."""

import pytest

from tradepipe import violations
from tradepipe.contract.golden import golden_records
from tradepipe.contract.history import versions
from tradepipe.wire.codec import Decoder

GOLDEN = golden_records()


def test_every_version_has_a_golden_record():
    assert [version.number for version in versions()] == [record.version for record in GOLDEN]


@pytest.mark.parametrize("record", GOLDEN, ids=lambda record: f"v{record.version}")
def test_every_golden_record_decodes_into_todays_trade(record):
    decode = Decoder(versions()[record.version - 1].text, 1).decode

    assert record.trade == decode(record.body)


@pytest.mark.parametrize("record", GOLDEN, ids=lambda record: f"v{record.version}")
def test_a_golden_record_is_a_valid_trade(record):
    assert () == violations(record.trade)
