"""Exact amounts."""

import doctest
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradepipe.trade import model
from tradepipe.trade.model import DIGITS, LIMIT, from_unscaled, to_exact, to_unscaled

LARGEST = 10**DIGITS - 1


def test_the_examples_in_the_docstrings_hold():
    assert 0 == doctest.testmod(model).failed


@given(st.integers(-LARGEST, LARGEST))
def test_every_number_of_ten_thousandths_is_an_amount(number):
    assert number == to_unscaled(from_unscaled(number))
    assert -4 == from_unscaled(number).as_tuple().exponent


@pytest.mark.parametrize(
    ("given", "expected"),
    [("1.5", "1.5000"), ("1.50000", "1.5000"), ("1E+13", f"1{'0' * 13}.0000"), ("0E-99", "0.0000"), ("-0", "-0.0000")],
)
def test_an_amount_has_four_places(given, expected):
    assert expected == str(to_exact(Decimal(given)))


@pytest.mark.parametrize(
    "given",
    [
        "0.00001",
        "1.00005",
        str(LIMIT),
        str(-LIMIT),
        "99999999999999.99999",
        "1E+999999",
        "1E-999999",
        "NaN",
        "sNaN",
        "-Infinity",
    ],
)
def test_an_amount_that_needs_rounding_is_refused(given):
    with pytest.raises(ValueError, match=r"is not a decimal\(18,4\)"):
        to_exact(Decimal(given))


@pytest.mark.parametrize("number", [LARGEST + 1, -LARGEST - 1, 10**1_000])
def test_an_unscaled_amount_of_more_than_18_digits_is_refused(number):
    with pytest.raises(ValueError, match="more than 18 digits"):
        from_unscaled(number)


def test_amounts_ignore_the_callers_decimal_context():
    with localcontext(prec=2):
        assert LARGEST == to_unscaled(from_unscaled(LARGEST))
