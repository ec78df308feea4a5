"""Golden records: a trade of each released version, with its bytes."""

from pathlib import Path
from random import Random
from typing import Any

from tradepipe.codec.codec import Encoder
from tradepipe.evolution.history import SchemaVersion, golden_trade, to_golden_json, versions
from tradepipe.trade.model import DECLARATION
from tradepipe.trade.sample_values import given_value


def write_golden_record(folder: Path, version: SchemaVersion) -> None:
    """
    Write the golden record of a version that was just released: that of the version before, with values of new fields.

    The record and its bytes are never changed again: later builds must decode the bytes into the same trade.
    """
    versions.cache_clear()  # the release is among them from now on
    before = golden_trade(version.number - 1)
    known = {field["name"] for field in version.schema["fields"]}
    old = {field["name"] for field in versions()[-2].schema["fields"]}
    values: dict[str, Any] = {
        field.name: given_value(field, Random(field.name)) for field in DECLARATION.fields if field.name in known - old
    }
    trade = before._replace(**values)
    stem = folder / "golden" / f"v{version.number:03}"
    stem.with_suffix(".json").write_text(to_golden_json(trade), "utf-8")
    stem.with_suffix(".bin").write_bytes(Encoder().encode(trade))
