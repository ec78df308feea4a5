"""When the trades of each book end, read by this service's own schema."""

import json
from collections.abc import Iterable
from datetime import date
from io import BytesIO
from typing import NamedTuple

from fastavro import parse_schema, schemaless_reader

from tradepipe import SchemaRegistry

SCHEMA = {
    "type": "record",
    "name": "Trade",
    "namespace": "tradepipe",
    "fields": [
        {"name": "trade_id", "type": "string"},
        {"name": "book_id", "type": "string"},
        {"name": "maturity_date", "type": {"type": "int", "logicalType": "date"}},
    ],
}
"""What this service needs of a trade."""


class Maturity(NamedTuple):
    """A trade, as far as this service knows it."""

    trade_id: str
    book_id: str
    maturity_date: date


class Reader:
    """Values of records to maturities."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry

    def __call__(self, value: bytes) -> Maturity:
        """The maturity in the value of a record, whatever version of the schema wrote it."""
        writer = self._registry.schema(int.from_bytes(value[1:5], "big"))
        if writer is None:
            raise ValueError(f"the registry does not know the schema of {value!r}")
        return Maturity(**schemaless_reader(BytesIO(value[5:]), parse_schema(json.loads(writer)), SCHEMA))


def last_days(maturities: Iterable[Maturity]) -> dict[str, date]:
    """The last day of each book."""
    days: dict[str, date] = {}
    for maturity in maturities:
        days[maturity.book_id] = max(maturity.maturity_date, days.get(maturity.book_id, date.min))
    return days
