"""Logical types: what bytes mean beyond what Avro's resolution looks at."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

BASES: Final[Mapping[str, frozenset[str]]] = {
    "date": frozenset({"int"}),
    "decimal": frozenset({"bytes", "fixed"}),
    "local-timestamp-micros": frozenset({"long"}),
    "local-timestamp-millis": frozenset({"long"}),
    "time-micros": frozenset({"long"}),
    "time-millis": frozenset({"int"}),
    "timestamp-micros": frozenset({"long"}),
    "timestamp-millis": frozenset({"long"}),
    "uuid": frozenset({"string"}),
}
"""The logical types that every reader follows, and the types they may stand on; on others they are ignored."""


class Logical(NamedTuple):
    """A logical type; precision and scale are a decimal's."""

    name: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"{self.name}({self.precision},{self.scale})" if self.name == "decimal" else self.name


def logical_of(node: Any) -> Logical | None:
    """
    The logical type a schema's node has for its readers, if it has one.

    One that stands where readers ignore it is none. One that is not in `BASES`
    is taken for what it says: somewhere there may be a reader that knows it.
    """
    name = node.get("logicalType") if isinstance(node, dict) else None
    if not isinstance(name, str) or (name in BASES and defect(node)):
        return None
    return Logical(name, node["precision"], node.get("scale", 0)) if name == "decimal" else Logical(name)


def defect(node: Mapping[str, Any]) -> str | None:
    """Why readers ignore the node's logical type, which is one of `BASES`, if they do."""
    name, kind = node["logicalType"], node.get("type")
    if kind not in BASES[name]:
        return f"{name} on {kind} is ignored: it stands on {' or '.join(sorted(BASES[name]))}"
    return _decimal_defect(node, kind) if name == "decimal" else None


def _decimal_defect(node: Mapping[str, Any], kind: str) -> str | None:
    precision: Any = node.get("precision")
    scale: Any = node.get("scale", 0)
    if not _is_count(precision) or precision == 0:
        return f"precision {precision!r} is no number of digits"
    if not _is_count(scale) or scale > precision:
        return f"scale {scale!r} is not between 0 and precision {precision}"
    if kind == "fixed" and precision > max_digits(node.get("size")):
        return f"precision {precision} is more than the {max_digits(node.get('size'))} digits its bytes can hold"
    return None


def max_digits(size: Any) -> int:
    """How many decimal digits a signed number of so many bytes can always hold."""
    return len(str(2 ** (8 * size - 1) - 1)) - 1 if _is_count(size) and 0 < size <= 1024 else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
