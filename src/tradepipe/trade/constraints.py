"""
Constraints on the value of one field, and rules between fields.

A constraint is part of a field's annotation, as in `Annotated[int, Ge(1)]`; the
bounds `Ge`, `Gt`, `Le` and `Lt` are those of `annotated_types`. A rule stands
beside the record. Each has the same condition in Python and in SQL, and a
sentence for what violates it. All are pure: the result depends on the trade
alone, without a clock or a look-up, so a record that is read again gets the same
result.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import cached_property
from typing import Any, Final, NamedTuple

from annotated_types import Ge, Gt, Le, Lt


@dataclass(frozen=True)
class Key:
    """Marks a field of the primary key."""


@dataclass(frozen=True)
class PartitionKey:
    """Marks the field that is the Kafka key: records with the same value are in one partition, in order."""


_COLON: Final = dict.fromkeys((":", r"\:"), r"\u003a")
"""A colon in PostgreSQL's regular expressions, written as an escape."""


@dataclass(frozen=True)
class Pattern:
    """
    A text that matches a regular expression as a whole.

    PostgreSQL evaluates the same expression, so it may use ASCII characters,
    classes, ranges and counts only, as in `[A-Z]{3}`.

    Attributes:
        description: what the text is, such as "three ASCII letters from A to Z".
    """

    expression: str
    description: str = ""

    @cached_property
    def _fullmatch(self) -> Callable[[str], object]:
        return re.compile(self.expression).fullmatch

    def find_problem(self, value: str) -> str | None:
        """Return what is wrong with a text, to follow "which", or None."""
        if self._fullmatch(value):
            return None
        return f"is not {self.description}" if self.description else f"does not match {self.expression}"

    def to_sql(self, column: str) -> str:
        """Return the condition in SQL."""
        # Without a colon: SQLAlchemy takes `:name` in a condition for a parameter, and makes it NULL.
        expression = re.sub(r"\\.|:", lambda found: _COLON.get(found[0], found[0]), self.expression)
        if "|" in expression:
            expression = f"({expression})"
        return "{} ~ '^{}$'".format(column, expression.replace("'", "''"))


@dataclass(frozen=True)
class Identifier(Pattern):
    """1 to 64 ASCII characters from `!` to `~` except backslash."""

    expression: str = r"[!-\[\]-~]{1,64}"

    def find_problem(self, value: str) -> str | None:
        """Return what is wrong with a text, to follow "which", or None."""
        if self._fullmatch(value):
            return None
        if not value:
            return "is empty"
        if (place := re.search(r"[^!-\[\]-~]", value)) is None:
            return f"is {len(value)} characters long, at most 64 are allowed"
        found = "a blank" if place[0] == " " else f"the character {place[0]!a}"
        return f"has {found} at position {place.start() + 1}: allowed are ASCII characters from ! to ~ without \\"

    def to_sql(self, column: str) -> str:
        """Return the condition in SQL: with the count `{1,64}` PostgreSQL takes 2.3 µs a value, this way 0.3 µs."""
        return f"octet_length({column}) <= 64 AND {column} ~ '^{self.expression.removesuffix('{1,64}')}+$'"


@dataclass(frozen=True)
class Digits:
    """A finite decimal with at most `precision` digits, `scale` of them after the point, without trailing zeros."""

    precision: int
    scale: int

    @cached_property
    def _quantize(self) -> Callable[[Decimal], Decimal]:
        # Not the thread's context: the caller may have set a lower precision, or rounding without an error.
        context = Context(prec=self.precision, traps=[Inexact, InvalidOperation])
        step = Decimal((0, (1,), -self.scale))
        return lambda value: context.quantize(value, step)

    def allows(self, value: Decimal) -> bool:
        """Return whether the number of digits is allowed."""
        try:
            self._quantize(value)
        except ArithmeticError:
            return False
        return value.is_finite()

    def find_problem(self, value: Decimal) -> str | None:
        """Return what is wrong with a number, to follow "which"."""
        if self.allows(value):
            return None
        if not value.is_finite():
            return "is not a finite number"
        significant = len("".join(map(str, value.as_tuple().digits)).rstrip("0"))
        places = significant - 1 - value.adjusted()
        if places > self.scale:
            return f"has {places} decimal places, at most {self.scale} are allowed"
        return f"has {value.adjusted() + 1} digits before the point, at most {self.precision - self.scale} are allowed"

    def to_sql(self, column: str) -> str:
        """Return the condition in SQL: the column's type counts digits, but has NaN, greater than all numbers."""
        return f"{column} < {10 ** (self.precision - self.scale)}"


_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_DIFFERING: Final = re.compile(r"\\[A-Za-z0-9]|\(\?|[.^$]|[*+?}][+?]|\{(?!\d+(,\d*)?\})")
_MAX_COUNT: Final = 255


def find_pattern_problem(expression: str) -> str | None:
    """Return what keeps a regular expression from meaning the same in Python and in PostgreSQL, or None."""
    if not expression.isascii() or not expression.isprintable():
        return "has characters outside ASCII"
    classes = _CLASS.findall(expression)
    if wrong := [each for each in classes if "[" in each[1:].replace("\\[", "") or re.search(r"\\[A-Za-z0-9]", each)]:
        return f"has the class {wrong[0]}, which PostgreSQL reads differently: use characters and ranges"
    try:
        re.compile(expression)
    except re.error as error:
        return f"is not a regular expression: {error}"
    rest = re.sub(r"\\[^A-Za-z0-9]", "", _CLASS.sub("", expression))
    if found := _DIFFERING.search(rest):
        return f"has {found[0]}, which PostgreSQL reads differently: use characters, classes, ranges and counts"
    if any(int(count) > _MAX_COUNT for count in re.findall(r"\d+", "".join(re.findall(r"\{[\d,]*\}", rest)))):
        return f"has a count above {_MAX_COUNT}, the largest of PostgreSQL"
    return None


Bound = Ge | Gt | Le | Lt
Constraint = Bound | Pattern | Digits
"""A condition on a value that has the type of its field and is not None."""

_COMPARISONS: Final[dict[type, tuple[str, Callable[[Any, Any], bool], str]]] = {
    Ge: (">=", operator.ge, "is less than"),
    Gt: (">", operator.gt, "is not greater than"),
    Le: ("<=", operator.le, "is greater than"),
    Lt: ("<", operator.lt, "is not less than"),
}


def problem_finder(constraint: Constraint) -> Callable[[Any], str | None]:
    """Return a function that returns what is wrong with a value, to follow "which", or None if it is valid."""
    if isinstance(constraint, (Pattern, Digits)):
        return constraint.find_problem
    _, holds, words = _COMPARISONS[type(constraint)]
    limit = limit_of(constraint)
    return lambda value: None if holds(value, limit) else f"{words} {limit}"


def to_sql(constraint: Constraint, column: str) -> str:
    """Return a constraint in SQL."""
    if isinstance(constraint, (Pattern, Digits)):
        return constraint.to_sql(column)
    limit = limit_of(constraint)
    literal = f"'{limit.isoformat()}'" if isinstance(limit, (date, time)) else str(limit)
    return f"{column} {operator_of(constraint)} {literal}"


def operator_of(bound: Bound) -> str:
    """Return a bound's operator, which is the same in Python and SQL."""
    return _COMPARISONS[type(bound)][0]


def limit_of(bound: Bound) -> Any:
    """Return the value that a bound compares with."""
    match bound:
        case Ge(limit) | Gt(limit) | Le(limit) | Lt(limit):
            return limit


class Column(NamedTuple):
    """A field's column in SQL: its name, in quotes if need be, and its type."""

    name: str
    type: str


@dataclass(frozen=True)
class NotBefore:
    """A date or time that is not before another field; a date is compared with the date of a time in UTC."""

    field: str
    reference: str

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that the rule relates; a violation has the code of the first."""
        return self.field, self.reference

    def find_problem(self, value: date | None, reference: date | None) -> str | None:
        """Return a sentence about what is wrong, or None if the values are valid or one is missing."""
        if value is None or reference is None:
            return None
        name = self.reference
        if isinstance(reference, datetime) and not isinstance(value, datetime):
            zone = "UTC date" if reference.tzinfo else "date"
            reference = (reference.astimezone(UTC) if reference.tzinfo else reference).date()
            name = f"the {zone} of {self.reference}"
        if value >= reference:
            return None
        return f"{self.field} is {format_value(value)}, which is before {name}, {format_value(reference)}"

    def to_sql(self, columns: Mapping[str, Column]) -> str:
        """Return the rule in SQL."""
        field, (name, kind) = columns[self.field], columns[self.reference]
        if field.type == "date" and kind != "date":
            name = f"({name} AT TIME ZONE 'UTC')::date" if kind == "timestamptz" else f"{name}::date"
        return f"{field.name} >= {name}"


@dataclass(frozen=True, init=False)
class Together:
    """Fields that are all given, or all missing."""

    fields: tuple[str, ...]

    def __init__(self, *fields: str) -> None:
        object.__setattr__(self, "fields", fields)

    def find_problem(self, *values: Any) -> str | None:
        """Return a sentence about what is wrong, or None if the values are valid."""
        if len({value is None for value in values}) == 1:
            return None
        found = zip(self.fields, values, strict=True)
        first, *others = (f"{name} is {'missing' if value is None else format_value(value)}" for name, value in found)
        return f"{first}, but {', '.join(others)}: give {'both or neither' if len(others) == 1 else 'all or none'}"

    def to_sql(self, columns: Mapping[str, Column]) -> str:
        """Return the rule in SQL."""
        first, *others = (columns[name].name for name in self.fields)
        return " AND ".join(f"({first} IS NULL) = ({other} IS NULL)" for other in others)


Rule = NotBefore | Together
"""A relation between the fields of a record."""


def format_value(value: object) -> str:
    """Format a value for a violation's detail, shortened: a value may have a megabyte."""
    match value:
        case Decimal():
            text = str(value)
        case date() | time():
            text = value.isoformat()
        case _:
            text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}… ({len(text)} characters)"
