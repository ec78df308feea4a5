"""Whether a default is a value of its type, as Java's parser asks, which is the strictest."""

from collections.abc import Callable, Mapping
from typing import Any, Final

Named = Callable[[str], Any]
"""The definition that a name means, or None."""

_RANGES: Final = {"int": 2**31, "long": 2**63}


def fits(value: Any, schema: Any, named: Named) -> bool:
    """
    Whether a default is a value of a schema; of a union's, of any branch.

    What is no schema is nobody's default: it is told elsewhere.
    """
    if isinstance(schema, list):
        return any(fits(value, branch, named) for branch in schema)
    if isinstance(schema, str) and schema not in _JUDGES:
        definition = named(schema)
        return definition is None or fits(value, definition, named)
    kind = schema if isinstance(schema, str) else schema.get("type")
    judge = _JUDGES.get(kind) if isinstance(kind, str) else None
    return judge is None or judge(value, schema, named)


def _is_number(value: Any, schema: Any, _named: Named) -> bool:
    limit = _RANGES[schema if isinstance(schema, str) else schema["type"]]
    return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit


def _is_float(value: Any, _schema: Any, _named: Named) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bytes(value: Any, _schema: Any, _named: Named) -> bool:
    """Text whose characters are the bytes."""
    return isinstance(value, str) and all(ord(character) < 256 for character in value)


def _is_fixed(value: Any, schema: Any, named: Named) -> bool:
    return _is_bytes(value, schema, named) and len(value) == schema.get("size")


def _is_array(value: Any, schema: Any, named: Named) -> bool:
    return isinstance(value, list) and all(fits(each, schema.get("items"), named) for each in value)


def _is_map(value: Any, schema: Any, named: Named) -> bool:
    return isinstance(value, Mapping) and all(fits(each, schema.get("values"), named) for each in value.values())


def _is_record(value: Any, schema: Any, named: Named) -> bool:
    return isinstance(value, Mapping) and all(
        fits(value[field["name"]], field["type"], named) if field["name"] in value else "default" in field
        for field in schema.get("fields", ())
    )


_JUDGES: Final[Mapping[str, Callable[[Any, Any, Named], bool]]] = {
    "null": lambda value, _schema, _named: value is None,
    "boolean": lambda value, _schema, _named: isinstance(value, bool),
    "int": _is_number,
    "long": _is_number,
    "float": _is_float,
    "double": _is_float,
    "bytes": _is_bytes,
    "string": lambda value, _schema, _named: isinstance(value, str),
    "fixed": _is_fixed,
    "enum": lambda value, schema, _named: value in schema.get("symbols", ()),
    "array": _is_array,
    "map": _is_map,
    "record": _is_record,
    "error": _is_record,
}
