"""
The golden records: what producers of each schema version wrote, frozen beside the schemas.

`golden/v001.bin` is the Avro body of one record, without a frame;
`golden/v001.json` is what it says, by field: dates and instants as ISO 8601,
decimals as text. A field that a version does not have is not there, and has
today's default.
"""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from importlib import resources
from typing import Any, Final, NamedTuple

from tradepipe.contract.history import PACKAGE, versions
from tradepipe.contract.trade import Side, Trade

_FROM_JSON: Final[Mapping[str, Callable[[str], Any]]] = {
    "maturity_date": date.fromisoformat,
    "created_at": datetime.fromisoformat,
    "side": Side,
    "notional": Decimal,
}
"""The fields whose values are not JSON's own."""


class GoldenRecord(NamedTuple):
    """One record: the number of the version that wrote it, its body, and what it says as today's `Trade`."""

    version: int
    body: bytes
    trade: Trade


def golden_records() -> tuple[GoldenRecord, ...]:
    """
    The golden record of every frozen version, the oldest first.

    Raises:
        FileNotFoundError: a version has none.
    """
    folder = resources.files(PACKAGE) / "golden"
    return tuple(
        GoldenRecord(
            version.number,
            (folder / f"v{version.number:03}.bin").read_bytes(),
            _trade(json.loads((folder / f"v{version.number:03}.json").read_text("utf-8"))),
        )
        for version in versions()
    )


def _trade(values: Mapping[str, Any]) -> Trade:
    return Trade(**{name: _value(name, value) for name, value in values.items()})


def _value(name: str, value: Any) -> Any:
    return _FROM_JSON[name](value) if name in _FROM_JSON and value is not None else value
