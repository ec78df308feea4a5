"""The trades that go from one client to another, and what each frozen version holds of them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from math import isfinite
from typing import Any, Final
from uuid import UUID

from tradepipe import Trade
from tradepipe.evolution.history import SchemaVersion, current, versions
from tradepipe.trade import samples

VERSIONS: Final = versions()

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EDGES: Final[dict[str, Sequence[Any]]] = {
    "string": ["", "!", "~" * 64, "é€\N{GRINNING FACE}", "\0"],
    "int": [-(2**31), -1, 0, 2**31 - 1],
    "date": [date.min, _EPOCH.date() - timedelta(1), _EPOCH.date(), date.max],
    "timestamp-micros": [
        datetime.min.replace(tzinfo=UTC),
        _EPOCH - timedelta(microseconds=1),
        _EPOCH,
        datetime.max.replace(tzinfo=UTC),
    ],
}


def some(count: int) -> list[Trade]:
    """The first sample trades, which keep all rules."""
    return list(islice(samples.trades(7), count))


def at_the_edges() -> list[Trade]:
    """Trades whose fields, one at a time, hold the last values that Avro can; few keep the rules."""
    trade = some(1)[0]
    return [
        trade._replace(**{field["name"]: value})
        for field in current().schema["fields"]
        for value in _edges(field["type"], getattr(trade, field["name"]))
    ]


def _edges(kind: Any, sample: object) -> Sequence[Any]:
    """The last values of a type; the sample shows the class of an enum's symbols."""
    if isinstance(kind, list):
        return [None, *(value for branch in kind if branch != "null" for value in _edges(branch, sample))]
    if isinstance(kind, dict) and kind["type"] == "enum":
        return [type(sample)(symbol) for symbol in kind["symbols"]]
    if isinstance(kind, dict) and kind["logicalType"] == "decimal":
        # Not -128: fastavro gives it a byte more than Java does. No amount below zero keeps the rules.
        unscaled = (0, 1, 127, 128, 255, 10 ** kind["precision"] - 1, -1, -129)
        return [Decimal(number).scaleb(-kind["scale"]) for number in unscaled]
    return _EDGES[kind["logicalType"] if isinstance(kind, dict) else kind]


def fields(version: SchemaVersion, trade: Trade) -> dict[str, Any]:
    """What a version holds of a trade."""
    return {field["name"]: getattr(trade, field["name"]) for field in version.schema["fields"]}


def held(version: SchemaVersion, trade: Trade) -> Trade:
    """A trade that has been through a version: what it does not hold has its default."""
    return Trade(**fields(version, trade))


def records(version: SchemaVersion, trades: Iterable[Trade]) -> list[dict[str, Any]]:
    """What a version holds of trades, as JSON: dates and instants in ISO 8601, decimals as text."""
    return [{field: shown(value) for field, value in fields(version, trade).items()} for trade in trades]


def shown(value: Any) -> Any:  # noqa: PLR0911 - one case for each class
    """A value of any type as JSON, as Java's side shows it."""
    match value:
        case datetime() | time():
            return value.isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case bytes():
            return value.hex()
        case str() | UUID():
            return str(value)
        case list():
            return [shown(each) for each in value]
        case dict():
            return {key: shown(each) for key, each in value.items()}
        case tuple():
            return shown(value._asdict())  # type: ignore[attr-defined]  # a NamedTuple
        case float() if not isfinite(value):
            return str(value).replace("inf", "Infinity").replace("nan", "NaN")
    return value
