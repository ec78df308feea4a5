"""Fills are booked as trades."""

from datetime import date

import pytest
from booking.fills import as_trade, book

from tradepipe import DeliveryFailed, Producer, Sink, violations

FILL = {"ref": "A-17", "with": "CP-7", "book": "RATES", "ends": "2031-03-20", "at": "2025-06-02T09:15:00+00:00"}


def test_a_fill_is_a_valid_trade():
    trade = as_trade(FILL)

    assert ("A-17", 1, "CP-7", "RATES", date(2031, 3, 20)) == trade[:5]
    assert () == violations(trade)


def test_fills_and_their_amendments_are_sent(producer_settings, produced):
    with Producer(**producer_settings) as producer:
        assert [] == book([FILL, {**FILL, "amendment": 1}], producer)

    assert [("A-17", 1), ("A-17", 2)] == [(trade.trade_id, trade.version) for trade in produced()]


def test_an_invalid_fill_is_reported_and_the_others_are_sent(producer_settings, produced):
    with Producer(**producer_settings) as producer:
        (problem,) = book([{**FILL, "with": "CP 7"}, FILL], producer)

    assert "COUNTERPARTY_ID: counterparty_id is 'CP 7'" in problem
    assert ["A-17"] == [trade.trade_id for trade in produced()]


def test_no_trade_is_lost_silently_while_kafka_is_unavailable(producer_settings, broker_unavailable):
    producer = Producer(**producer_settings, close_timeout=0.5)
    book([FILL], producer)
    producer.flush()

    with broker_unavailable():
        book([{**FILL, "ref": "A-18"}], producer)
        with pytest.raises(DeliveryFailed) as failed:
            producer.close()

    assert ["A-18"] == [trade.trade_id for trade, _ in failed.value.unknown]


def test_what_is_sent_is_stored_once(producer_settings, sink_settings):
    for _ in range(2):
        with Producer(**producer_settings) as producer:
            book([FILL], producer)

    with Sink(**sink_settings) as sink:
        counts = sink.run(until_end=True)

    assert (1, 1) == (counts.stored, counts.duplicates)
