"""Made-up pairs of schemas, the second made of the first by a few changes: the same for the same seed."""

import json
from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any, Final

_PRIMITIVES: Final = ("int", "long", "float", "double", "string", "bytes", "boolean", "null")
_DEFAULTS: Final = {
    "int": 0,
    "long": 0,
    "float": 0.5,
    "double": 0.5,
    "string": "",
    "bytes": "",
    "boolean": True,
    "null": None,
    "array": [],
    "map": {},
}
_MAX_DEPTH: Final = 2


def pairs(seed: int) -> Iterator[tuple[str, str]]:
    """Two records each, mostly alike."""
    random = Random(seed)
    while True:
        record = _record(random, "")
        yield json.dumps(record), json.dumps(_changed(random, record))


def _record(random: Random, path: str) -> dict[str, Any]:
    """A record; each named type bears the path to it, so that no name is defined twice."""
    names = random.sample("abcd", random.randrange(5))
    return {"type": "record", "name": f"R{path}", "fields": [_field(random, path, name) for name in names]}


def _field(random: Random, path: str, name: str) -> dict[str, Any]:
    kind = _type(random, path + name)
    return {"name": name, "type": kind} | ({"default": _default(kind)} if random.random() < 0.4 else {})


def _type(random: Random, path: str) -> Any:
    makers = (
        lambda: _enum(random, path),
        lambda: {"type": "fixed", "name": f"F{path}", "size": random.randrange(2, 4)},
        lambda: {"type": "array", "items": _type(random, f"{path}i")},
        lambda: {"type": "map", "values": _type(random, f"{path}v")},
        lambda: _record(random, path),
        lambda: [*random.sample(_PRIMITIVES, random.randrange(1, 3)), _enum(random, path)],
    )
    if len(path) > _MAX_DEPTH or random.random() < 0.5:
        return random.choice(_PRIMITIVES)
    return random.choice(makers)()


def _enum(random: Random, path: str) -> dict[str, Any]:
    symbols = random.sample("ABC", random.randrange(1, 4))
    return {"type": "enum", "name": f"E{path}", "symbols": symbols} | random.choice(({}, {"default": symbols[0]}))


def _default(kind: Any) -> Any:
    """Of a union it is its first branch's."""
    kind = kind[0] if isinstance(kind, list) else kind
    if isinstance(kind, str):
        return _DEFAULTS[kind]
    match kind["type"]:
        case "record":
            return {field["name"]: _default(field["type"]) for field in kind["fields"]}
        case "enum":
            return kind["symbols"][0]
        case "fixed":
            return "f" * kind["size"]
        case name:
            return _DEFAULTS[name]


def _changed(random: Random, record: dict[str, Any]) -> dict[str, Any]:
    changed = deepcopy(record)
    for field in changed["fields"]:
        if random.random() < 0.3:
            field["type"] = _other_type(random, field)
            field.pop("default", None)
        elif random.random() < 0.1:
            field |= {"name": f"{field['name']}x", "aliases": [field["name"]]}
    if random.random() < 0.3:
        changed["fields"] = [*changed["fields"][1:], _field(random, "", "e")]
    if random.random() < 0.1:
        changed |= {"name": "Renamed", "aliases": [record["name"]]}
    if random.random() < 0.1:
        changed["namespace"] = "elsewhere"
    return changed


def _other_type(random: Random, field: dict[str, Any]) -> Any:
    """Of an enum other symbols, of a union a branch; else any type."""
    name, kind = field["name"], field["type"]
    if isinstance(kind, dict) and kind["type"] == "enum":
        return _enum(random, name)
    return random.choice(kind) if isinstance(kind, list) else _type(random, name)
