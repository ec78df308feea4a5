"""Frozen records of every schema version, given to readers."""

import pytest

from tradepipe import SchemaRegistry, TradeDeserializer
from tradepipe.evolution.history import versions

pytestmark = pytest.mark.embedded  # the kit starts its own services in every run


@pytest.fixture
def reader(tradepipe_registry, tradepipe_subject):
    with SchemaRegistry(tradepipe_registry.url) as registry:
        yield TradeDeserializer(registry, subject=tradepipe_subject)


def test_todays_build_reads_every_version(assert_every_version_decodes):
    assert_every_version_decodes()


def test_a_custom_reader_gets_every_version(assert_every_version_decodes, reader):
    read = []

    assert_every_version_decodes(lambda value: read.append(reader(value)) or read[-1])

    assert len(versions()) == len(read)


def test_a_reader_may_give_something_else_than_trades(assert_every_version_decodes, reader):
    assert_every_version_decodes(lambda value: reader(value).trade_id, expected=lambda trade: trade.trade_id)


def test_wrong_results_of_a_reader_are_reported_for_each_version(assert_every_version_decodes, reader):
    with pytest.raises(AssertionError) as raised:
        assert_every_version_decodes(lambda value: reader(value)._replace(book_id="FX"))

    message = str(raised.value)
    assert f"{len(versions())} of {len(versions())} frozen records are not read as they should" in message
    assert [] == [each.number for each in versions() if f"version {each.number}: book_id is 'FX', not " not in message]


def test_an_exception_of_a_reader_is_reported(assert_every_version_decodes):
    with pytest.raises(AssertionError, match=r"version 1: KeyError: 'book'"):
        assert_every_version_decodes(lambda value: {}["book"])


def test_a_frozen_record_is_read_as_what_it_says(frozen_record, reader):
    """Once for each version."""
    assert frozen_record.trade == reader(frozen_record.value)
    assert versions()[frozen_record.version - 1].number == frozen_record.version
