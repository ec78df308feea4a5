"""A declared record with a field of every type, and strategies of its values."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from tradepipe.trade.constraints import Digits, Key, PartitionKey
from tradepipe.trade.declaration import declare
from tradepipe.trade.type_checks import MAX_INT, MAX_LONG, MIN_INT, MIN_LONG
from tradepipe.trade.types import Avro, Member, Type


class Colour(StrEnum):
    UNKNOWN = "UNKNOWN"
    RED = "RED"
    GREEN = "GREEN"


class Leg(NamedTuple):
    rate: Annotated[Decimal, Digits(18, 6)]
    starts: date
    colour: Colour | None = None


class Every(NamedTuple):
    id: Annotated[str, Key(), PartitionKey()]
    flag: bool
    number: int
    quantity: Annotated[int, Avro("long")]
    price: float
    single: Annotated[float, Avro("float")]
    text: str
    content: bytes
    digest: Annotated[bytes, Avro("fixed", 4)]
    colour: Colour
    amount: Annotated[Decimal, Digits(18, 4)]
    fixed_amount: Annotated[Decimal, Digits(9, 2), Avro("fixed", 8)]
    uuid: UUID
    fixed_uuid: Annotated[UUID, Avro("fixed")]
    day: date
    hour: time
    coarse_hour: Annotated[time, Avro("time-millis")]
    instant: datetime
    coarse_instant: Annotated[datetime, Avro("timestamp-millis")]
    fine_instant: Annotated[datetime, Avro("timestamp-nanos")]
    local: Annotated[datetime, Avro("local-timestamp-micros")]
    coarse_local: Annotated[datetime, Avro("local-timestamp-millis")]
    fine_local: Annotated[datetime, Avro("local-timestamp-nanos")]
    tags: list[str]
    rates: dict[str, Annotated[Decimal, Digits(18, 6)]]
    leg: Leg
    legs: list[Leg | None]
    maybe: Annotated[int, Avro("long")] | None = None
    maybe_legs: dict[str, list[Leg]] | None = None


EVERY = declare(Every)

_TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
_NANOS = {"min_value": datetime(1677, 9, 22), "max_value": datetime(2262, 4, 10)}


def _coarse(value: Any) -> Any:
    return value.replace(microsecond=value.microsecond // 1_000 * 1_000)


def values(type_: Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911, PLR0912 - one case for each kind of type
    """Strategy of the values of a type."""
    match type_.kind:
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(MIN_INT, MAX_INT)
        case "long":
            return st.integers(MIN_LONG, MAX_LONG)
        case "float" | "double":
            width = 32 if type_.kind == "float" else 64
            return st.floats(allow_nan=False, allow_infinity=False, width=width)
        case "string":
            return _TEXTS
        case "bytes":
            return st.binary(max_size=100)
        case "fixed":
            return st.binary(min_size=type_.size, max_size=type_.size)
        case "enum":
            return st.sampled_from(list(type_.python))  # type: ignore[call-overload]
        case "decimal":
            limit = 10**type_.precision - 1
            return st.integers(-limit, limit).map(lambda number: Decimal(f"{number}e-{type_.scale}"))
        case "uuid":
            return st.uuids()
        case "date":
            return st.dates()
        case "time-micros":
            return st.times()
        case "time-millis":
            return st.times().map(_coarse)
        case "array":
            return st.lists(member_values(type_.item), max_size=3)
        case "map":
            return st.dictionaries(_TEXTS, member_values(type_.item), max_size=3)
        case "record":
            return st.tuples(*map(member_values, type_.members)).map(lambda found: type_.python(*found))
    bounds = _NANOS if type_.kind.endswith("nanos") else {}
    moments = st.datetimes(**bounds) if "local" in type_.kind else st.datetimes(**bounds, timezones=st.just(UTC))
    return moments.map(_coarse) if type_.kind.endswith("millis") else moments


def member_values(member: Member) -> st.SearchStrategy[Any]:
    """Strategy of a member's values."""
    return st.none() | values(member.type) if member.is_nullable else values(member.type)


EVERYTHING = st.tuples(*(member_values(field.member) for field in EVERY.fields)).map(lambda found: Every(*found))

NOON = datetime(2025, 6, 1, 12)
SAMPLE = Every(
    id="T1",
    flag=True,
    number=1,
    quantity=2**40,
    price=0.1,
    single=0.25,
    text="é",
    content=b"\0\xff",
    digest=b"abcd",
    colour=Colour.RED,
    amount=Decimal("1234567.2500"),
    fixed_amount=Decimal("-0.01"),
    uuid=UUID(int=1),
    fixed_uuid=UUID(int=2**128 - 1),
    day=date(2025, 6, 1),
    hour=time(23, 59, 59, 999_999),
    coarse_hour=time(1, 2, 3, 4_000),
    instant=NOON.replace(tzinfo=UTC),
    coarse_instant=NOON.replace(tzinfo=UTC),
    fine_instant=NOON.replace(tzinfo=UTC),
    local=NOON,
    coarse_local=NOON,
    fine_local=NOON,
    tags=["a", ""],
    rates={"EUR": Decimal("1.000001")},
    leg=Leg(Decimal("-1"), date(2030, 1, 1)),
    legs=[Leg(Decimal("0"), date(2030, 1, 1), Colour.GREEN), None],
    maybe=-1,
    maybe_legs={"a": []},
)
