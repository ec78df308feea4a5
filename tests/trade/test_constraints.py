"""Constraints and rules: their conditions in Python and SQL, and their sentences."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext

import pytest
from annotated_types import Ge, Gt, Le, Lt

from tradepipe.trade.constraints import (
    Column,
    Digits,
    Identifier,
    NotBefore,
    Pattern,
    Together,
    find_pattern_problem,
    problem_finder,
    to_sql,
)

AMOUNT = Digits(18, 4)
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("bound", "inside", "outside", "problem", "sql"),
    [
        (Ge(1), 1, 0, "is less than 1", "x >= 1"),
        (Gt(0), 1, 0, "is not greater than 0", "x > 0"),
        (Le(9), 9, 10, "is greater than 9", "x <= 9"),
        (Lt(9), 8, 9, "is not less than 9", "x < 9"),
        (Gt(Decimal("0.5")), Decimal("0.51"), Decimal("0.5"), "is not greater than 0.5", "x > 0.5"),
        (
            Ge(date(2000, 1, 1)),
            date(2000, 1, 1),
            date(1999, 12, 31),
            "is less than 2000-01-01",
            "x >= '2000-01-01'",
        ),
    ],
    ids=str,
)
def test_a_bound_is_the_same_in_python_and_sql(bound, inside, outside, problem, sql):
    assert (None, problem) == (problem_finder(bound)(inside), problem_finder(bound)(outside))
    assert sql == to_sql(bound, "x")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is empty"),
        ("T" * 65, "is 65 characters long, at most 64 are allowed"),
        ("T 1", "has a blank at position 2: allowed are ASCII characters from ! to ~ without \\"),
        ("T\\", "has the character '\\\\' at position 2: allowed are ASCII characters from ! to ~ without \\"),
        ("Tü", "has the character '\\xfc' at position 2: allowed are ASCII characters from ! to ~ without \\"),
        ("T1\n", "has the character '\\n' at position 3: allowed are ASCII characters from ! to ~ without \\"),
    ],
    ids=repr,
)
def test_an_invalid_identifier_says_which_part_is_invalid(value, problem):
    assert problem == Identifier().find_problem(value)


def test_an_identifier_is_checked_in_sql_without_a_count():
    """PostgreSQL takes seven times as long for a count."""
    assert r"octet_length(x) <= 64 AND x ~ '^[!-\[\]-~]+$'" == to_sql(Identifier(), "x")


def test_a_pattern_names_its_description_or_its_expression():
    assert "is not a country" == Pattern("[A-Z]{2}", "a country").find_problem("de")
    assert "does not match [A-Z]{2}" == Pattern("[A-Z]{2}").find_problem("de")
    assert Pattern("[A-Z]{2}").find_problem("DE") is None
    assert "x ~ '^[A-Z]{2}$'" == to_sql(Pattern("[A-Z]{2}"), "x")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("[A-Z]{255}", None),
        ("[A-Z]{256}", "has a count above 255, the largest of PostgreSQL"),
        (r"[A\[]+", None),
        ("[a-zß]+", "has characters outside ASCII"),
        ("[a-z]+\n?", "has characters outside ASCII"),
        ("[[:alpha:]]+", "has the class [[:alpha:], which PostgreSQL reads differently: use characters and ranges"),
    ],
)
def test_a_pattern_that_means_something_else_to_postgresql_has_a_problem(expression, problem):
    assert problem == find_pattern_problem(expression)


@pytest.mark.parametrize("value", ["1.5", "1.50000", "1E+13", "0E-99", "-0", "99999999999999.9999", "-1"])
def test_a_number_with_enough_room_is_valid(value):
    assert AMOUNT.find_problem(Decimal(value)) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("1.00001", "has 5 decimal places, at most 4 are allowed"),
        ("99999999999999.99999", "has 5 decimal places, at most 4 are allowed"),
        ("1E-999999", "has 999999 decimal places, at most 4 are allowed"),
        ("100000000000000", "has 15 digits before the point, at most 14 are allowed"),
        ("-1E+14", "has 15 digits before the point, at most 14 are allowed"),
        ("1E+999999", "has 1000000 digits before the point, at most 14 are allowed"),
        ("NaN", "is not a finite number"),
        ("sNaN", "is not a finite number"),
        ("-Infinity", "is not a finite number"),
    ],
)
def test_a_number_without_room_says_which_part_is_too_long(value, problem):
    assert problem == AMOUNT.find_problem(Decimal(value))


def test_the_number_of_digits_does_not_depend_on_the_callers_decimal_context():
    with localcontext(prec=2):
        assert AMOUNT.find_problem(Decimal("99999999999999.9999")) is None
        assert AMOUNT.find_problem(Decimal("1.00001")) is not None


def test_a_date_is_not_before_the_day_of_a_time_in_utc():
    """Half past midnight in Berlin is still the previous day in UTC."""
    rule = NotBefore("due", "made")
    berlin = datetime(2025, 6, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))

    assert rule.find_problem(date(2025, 5, 31), berlin) is None
    assert "due is 2025-05-30, which is before the UTC date of made, 2025-05-31" == rule.find_problem(
        date(2025, 5, 30), berlin
    )
    columns = {"due": Column("due", "date"), "made": Column("made", "timestamptz")}
    assert "due >= (made AT TIME ZONE 'UTC')::date" == rule.to_sql(columns)


def test_a_date_is_not_before_the_day_of_a_time_without_a_zone():
    rule = NotBefore("due", "made")

    assert rule.find_problem(date(2025, 6, 1), datetime(2025, 6, 1, 23, 30)) is None
    assert "due is 2025-05-31, which is before the date of made, 2025-06-01" == rule.find_problem(
        date(2025, 5, 31), datetime(2025, 6, 1, 0, 30)
    )
    assert "due >= made::date" == rule.to_sql({"due": Column("due", "date"), "made": Column("made", "timestamp")})


def test_values_of_one_type_are_compared_as_they_are():
    rule = NotBefore("sent", "made")

    assert rule.find_problem(NOON, NOON) is None
    assert rule.find_problem(NOON, None) is None
    assert f"sent is {NOON.isoformat()}, which is before made, 2025-06-01T12:00:01+00:00" == rule.find_problem(
        NOON, NOON + timedelta(seconds=1)
    )
    assert "sent >= made" == rule.to_sql({name: Column(name, "timestamptz") for name in ("sent", "made")})


def test_fields_that_belong_together_are_all_given_or_all_missing():
    rule = Together("price", "unit", "venue")

    assert (None, None) == (rule.find_problem(None, None, None), rule.find_problem(0, "", "X"))
    assert "price is missing, but unit is 'KG', venue is missing: give all or none" == rule.find_problem(
        None, "KG", None
    )
    assert "(price IS NULL) = (unit IS NULL) AND (price IS NULL) = (venue IS NULL)" == rule.to_sql(
        {name: Column(name, "text") for name in ("price", "unit", "venue")}
    )
