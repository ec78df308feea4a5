"""Schemas as tests write them."""

import json
from typing import Any


def record(*fields: dict[str, Any], name: str = "Trade", **further: Any) -> dict[str, Any]:
    """A record."""
    return {"type": "record", "name": name, "fields": list(fields), **further}


def field(name: str, kind: Any = "string", **further: Any) -> dict[str, Any]:
    """A field of a record."""
    return {"name": name, "type": kind, **further}


def enum(*symbols: str, **further: Any) -> dict[str, Any]:
    """An enum."""
    return {"type": "enum", "name": "Side", "symbols": list(symbols), **further}


def logical(base: str, name: str, **further: Any) -> dict[str, Any]:
    """A type with a logical type."""
    return {"type": base, "logicalType": name, **further}


def decimal(precision: int, scale: int, **further: Any) -> dict[str, Any]:
    """A decimal in bytes, or in a fixed of the given size."""
    fixed = {"type": "fixed", "name": "Amount"} if "size" in further else {"type": "bytes"}
    return {**fixed, "logicalType": "decimal", "precision": precision, "scale": scale, **further}


def text(schema: Any) -> str:
    """A schema as JSON."""
    return json.dumps(schema)
