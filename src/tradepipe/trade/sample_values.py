"""Sample values of declared fields: valid ones, and one that breaks each constraint."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final
from uuid import UUID

from annotated_types import Ge, Gt, Le, Lt

from tradepipe.trade.constraints import Digits, Identifier, Pattern, limit_of, problem_finder
from tradepipe.trade.declaration import Field
from tradepipe.trade.type_checks import type_problem_finder
from tradepipe.trade.types import Member, Type

BEGIN: Final = datetime(2025, 1, 2, 8, tzinfo=UTC)
"""Time of the first sample; samples do not read the clock."""

_GIVEN_SHARE: Final = 0.8
_TRIES: Final = 1_000

_PRINTABLE: Final = range(0x21, 0x7F)
"""Printable ASCII without the blank, which identifiers refuse."""


def given_value(field: Field, random: Random) -> Any:
    """Return a valid value of a field other than None; ValueError if none was found that fits the constraints."""
    finders = [type_problem_finder(field.type), *map(problem_finder, field.constraints)]
    for _ in range(_TRIES):
        value = _constrained_value(field, random)
        if all(find_problem(value) is None for find_problem in finders):
            return value
    raise ValueError(f"no sample of {field.name} was found that fits {', '.join(map(str, field.constraints))}")


def broken_values(field: Field, valid: Any, variant: int = 0) -> Iterator[tuple[str, Any]]:
    """
    Yield a description and a value for each constraint that a value of the field's Avro type can break.

    Args:
        valid: a valid value, from which a text that breaks a pattern is made.

        variant: chooses among the mistakes in an identifier.
    """
    has_type = type_problem_finder(field.type)
    for constraint in field.constraints:
        if isinstance(constraint, Digits):
            continue  # an Avro decimal of this size has no more digits
        find_problem = problem_finder(constraint)
        for label, value in _candidates(field, constraint, valid, variant):
            if has_type(value) is None and find_problem(value) is not None:
                yield label, value
                break


def _constrained_value(field: Field, random: Random) -> Any:
    for constraint in field.constraints:
        if isinstance(constraint, Identifier):
            return f"{_initials(field.name)}-{random.randrange(1, 21)}"
        if isinstance(constraint, Pattern):
            return _matching_text(re._parser.parse(constraint.expression), random)  # type: ignore[attr-defined]  # not documented, but it is what re itself uses
    bounds = [constraint for constraint in field.constraints if isinstance(constraint, Ge | Gt | Le | Lt)]
    if bounds:
        limit = limit_of(random.choice(bounds))
        # Within a thousand steps of the limit, of three sizes: half of the values or more are valid.
        steps = random.randrange(-1_000, 1_001) // 10 ** random.randrange(3)
        if field.type.kind == "decimal":
            return Decimal(limit) + Decimal(steps).scaleb(-random.randint(0, field.type.scale))
        return _shift(field.type, limit, steps)
    return _value(field.name, field.type, random)


def _shift(type_: Type, value: Any, steps: int) -> Any:
    match type_.kind:
        case "int" | "long":
            return value + steps
        case "float" | "double":
            return value + steps / 4
        case "decimal":
            return value + Decimal(steps).scaleb(-type_.scale)
        case "date":
            return value + timedelta(days=steps)
        case "time-micros" | "time-millis":
            return (datetime.combine(BEGIN, value) + timedelta(minutes=steps)).time()
    return value + timedelta(minutes=steps)


def _value(name: str, type_: Type, random: Random) -> Any:  # noqa: PLR0911, PLR0912 - one case for each kind of type
    match type_.kind:
        case "boolean":
            return random.random() < 0.5
        case "int" | "long":
            return random.randrange(1, 1_000)
        case "float" | "double":
            return random.randrange(1, 400_000) / 4
        case "string":
            return f"{name.replace('_', ' ')} {random.randrange(1, 100)}"
        case "bytes" | "fixed":
            return random.randbytes(type_.size or random.randrange(1, 17))
        case "enum":
            return random.choice(list(type_.python))  # type: ignore[call-overload]  # a StrEnum
        case "decimal":
            return Decimal(random.randrange(1, 10 ** min(type_.precision, 9))).scaleb(-type_.scale)
        case "uuid":
            return UUID(int=random.getrandbits(128), version=4)
        case "date":
            return BEGIN.date() + timedelta(days=random.randrange(3_650))
        case "time-micros" | "time-millis":
            return time(random.randrange(24), random.randrange(60))
        case "array":
            return [_member(name, type_.item, random) for _ in range(random.randrange(1, 4))]
        case "map":
            return {f"{name} {key}": _member(name, type_.item, random) for key in range(1, random.randrange(2, 4))}
        case "record":
            return type_.python(*(_member(member.name, member, random) for member in type_.members))
    moment = BEGIN + timedelta(seconds=random.randrange(100_000_000))
    return moment.replace(tzinfo=None) if type_.kind.startswith("local") else moment


def _member(name: str, member: Member, random: Random) -> Any:
    if member.is_nullable and random.random() >= _GIVEN_SHARE:
        return None
    return _value(name, member.type, random)


def _initials(name: str) -> str:
    return "".join(part[:1] for part in name.removesuffix("_id").split("_")).upper()


def _matching_text(parsed: Any, random: Random) -> str:
    """Return a text that matches a parsed pattern of ASCII characters, classes, ranges, groups and counts."""
    text = ""
    for code, given in parsed:
        match str(code):
            case "LITERAL":
                text += chr(given)
            case "IN":
                is_negated = str(given[0][0]) == "NEGATE"
                # A character, or the first and the last of a range.
                ends = [(each, each) if isinstance(each, int) else each for _, each in given[is_negated:]]
                fitting = [each for each in _PRINTABLE if any(low <= each <= high for low, high in ends) != is_negated]
                text += chr(random.choice(fitting))
            case "NOT_LITERAL":
                text += chr(random.choice([each for each in _PRINTABLE if each != given]))
            case "MAX_REPEAT":
                fewest, most, repeated = given
                for _ in range(random.randint(fewest, min(most, fewest + 8))):
                    text += _matching_text(repeated, random)
            case "SUBPATTERN":
                text += _matching_text(given[-1], random)
            case "BRANCH":
                text += _matching_text(random.choice(given[1]), random)
            case _:
                raise ValueError(f"no sample of a pattern with {code}")
    return text


def _candidates(field: Field, constraint: Any, valid: Any, variant: int) -> Iterator[tuple[str, Any]]:
    """Yield descriptions and values of which one breaks a constraint."""
    words = field.name.replace("_", " ")
    if isinstance(constraint, Pattern):
        mistakes: list[tuple[str, Any]] = [
            (f"{words} with a space", f"{_initials(field.name)} 1"),
            (f"empty {words}", ""),
            (f"{words} of 65 characters", _initials(field.name)[:1] * 65),
        ]
        if isinstance(constraint, Identifier):
            yield mistakes[variant % len(mistakes)]
            return
        yield f"{words} in lower case", valid.lower()
        yield f"{words} in upper case", valid.upper()
        yield from mistakes
        yield f"{words} with a question mark", f"{valid}?"
        return
    limit = limit_of(constraint)
    if field.type.python in (Decimal, float):
        limit = field.type.python(limit)
    if isinstance(constraint, Ge | Le):
        limit = _shift(field.type, limit, -1 if isinstance(constraint, Ge) else 1)
    yield f"{words} {limit}", limit
