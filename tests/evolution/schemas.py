"""Builders of schemas for tests."""

import json
from typing import Any


def record(*fields: dict[str, Any], name: str = "Trade", **further: Any) -> dict[str, Any]:
    """Return a record."""
    return {"type": "record", "name": name, "fields": list(fields), **further}


def field(name: str, kind: Any = "string", **further: Any) -> dict[str, Any]:
    """Return a field of a record."""
    return {"name": name, "type": kind, **further}


def enum(*symbols: str, **further: Any) -> dict[str, Any]:
    """Return an enum."""
    return {"type": "enum", "name": "Side", "symbols": list(symbols), **further}


def logical(base: str, name: str, **further: Any) -> dict[str, Any]:
    """Return a type with a logical type."""
    return {"type": base, "logicalType": name, **further}


def decimal(precision: int, scale: int, **further: Any) -> dict[str, Any]:
    """Return a decimal on bytes, or on a fixed of a given size."""
    fixed = {"type": "fixed", "name": "Amount"} if "size" in further else {"type": "bytes"}
    return {**fixed, "logicalType": "decimal", "precision": precision, "scale": scale, **further}


def text(schema: Any) -> str:
    """Return the JSON text of a schema."""
    return json.dumps(schema)
