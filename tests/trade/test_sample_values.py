"""Sample values of every type and constraint."""

from datetime import date, datetime, time
from decimal import Decimal
from random import Random
from typing import Annotated, NamedTuple

import pytest
from annotated_types import Ge, Gt, Le, Lt

from tests.trade.all_types import EVERY
from tradepipe.trade.constraints import Digits, Identifier, Key, PartitionKey, Pattern, problem_finder
from tradepipe.trade.declaration import declare
from tradepipe.trade.rules import violation_finder
from tradepipe.trade.sample_values import broken_values, given_value


class Constrained(NamedTuple):
    id: Annotated[str, Key(), PartitionKey(), Identifier()]
    count: Annotated[int, Ge(1), Le(9)]
    price: Annotated[float, Gt(0)]
    share: Annotated[Decimal, Digits(9, 4), Gt(0), Lt(1)]
    day: Annotated[date, Ge(date(2030, 1, 1))]
    opened: Annotated[time, Ge(time(9))]
    hour: Annotated[datetime, Lt(datetime.fromisoformat("2030-01-01T00:00:00+00:00"))]
    isin: Annotated[str, Pattern("[A-Z]{2}[A-Z0-9]{9}[0-9]")]
    code: Annotated[str, Pattern(r"(X|Y)-\\d+")]
    grade: Annotated[str, Pattern("[^a]{1,3}[^b-z]")]


CONSTRAINED = declare(Constrained)


@pytest.mark.parametrize("declaration", [EVERY, CONSTRAINED], ids=["every type", "every constraint"])
def test_sample_values_are_valid(declaration):
    find = violation_finder(declaration)

    for seed in range(50):
        values = [given_value(field, Random(seed)) for field in declaration.fields]
        assert () == find(declaration.record(*values))


@pytest.mark.parametrize("field", CONSTRAINED.fields, ids=lambda field: field.name)
def test_each_constraint_is_broken_by_one_value(field):
    """Digits alone are not: an Avro decimal has no more of them."""
    constraints = [each for each in field.constraints if not isinstance(each, Digits)]

    broken = list(broken_values(field, given_value(field, Random(0))))
    assert len(constraints) == len(broken)
    for constraint, (label, value) in zip(constraints, broken, strict=True):
        assert problem_finder(constraint)(value) is not None, label


def test_a_constraint_that_no_value_fits_is_an_error_with_the_field():
    field = CONSTRAINED.fields[1]._replace(constraints=(Ge(9), Lt(9)))

    with pytest.raises(ValueError, match="no sample of count was found that fits"):
        given_value(field, Random(0))
