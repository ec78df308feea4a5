"""Hostile writer schemas with bodies."""

import copy
import json
from random import Random
from typing import Any, Final

from tests.fuzz.bodies import VALID
from tradepipe.codec.codec import MAX_BODY
from tradepipe.evolution.history import current, versions

_WORDS: Final = (
    *("null", "boolean", "int", "long", "float", "double", "bytes", "string", "record", "array", "map"),
    *("enum", "fixed", "Trade", "tradepipe.Trade", "Side", "", "a-b", "x\n    raise SystemExit", "\ud800", "_at"),
)
_LEAVES: Final = (*_WORDS, None, True, 0, 1, -1, 2**31, 2**70, 1.5, [], {}, [[]], "decimal", "date", "timestamp-micros")
_KEYS: Final = ("type", "name", "fields", "items", "values", "symbols", "size", "default", "logicalType", "scale")


def hostile(random: Random) -> tuple[str, list[bytes]]:
    """Return the text of a schema, and bodies to decode with it if it is admitted."""
    text = random.choice((_damaged, _damaged, _longer, _longer, _nested, _no_json))(random)
    good = VALID[current().number]
    bodies = [good, random.randbytes(random.randrange(60)), good + random.randbytes(random.randrange(1, 30))]
    bodies += [bytes(random.choice((0, 2, 4, 128)) for _ in range(40)) + good, b"\xff" * 300]
    bodies.append(bytes(MAX_BODY if random.random() < 0.02 else 20_000))
    return text, bodies


def _damaged(random: Random) -> str:
    """Return a released version with one to four changes."""
    schema = copy.deepcopy(random.choice(versions()).schema)
    for _ in range(random.randrange(1, 5)):
        _damage(random, schema)
    return json.dumps(schema)


def _damage(random: Random, schema: Any) -> None:
    """Change a random location of a schema."""
    while True:
        places = list(schema) if isinstance(schema, dict) else list(range(len(schema)))
        if not places:
            return
        place = random.choice(places)
        deeper = schema[place]
        if isinstance(deeper, (dict, list)) and random.random() < 0.8:
            schema = deeper
            continue
        break
    if random.random() < 0.2:
        del schema[place]
    else:
        schema[place] = _anything(random, 3)


def _longer(random: Random) -> str:
    """Return the current version with more fields, mostly of valid types."""
    schema = copy.deepcopy(current().schema)
    for number in range(random.randrange(1, 4)):
        place = random.randrange(len(schema["fields"]) + 1)
        schema["fields"].insert(place, {"name": f"more{number}", "type": _type(random, 5, f"{number}")})
    return json.dumps(schema)


def _type(random: Random, depth: int, name: str) -> Any:
    kind = random.choice(("leaf", "array", "map", "record", "union", "fixed", "enum") if depth else ("leaf",))
    if kind == "leaf":
        return random.choice(("null", "boolean", "int", "long", "float", "double", "bytes", "string", "Trade"))
    if kind in ("array", "map"):
        return {"type": kind, "items": _type(random, depth - 1, name), "values": _type(random, depth - 1, f"{name}v")}
    if kind == "union":
        return [_type(random, depth - 1, f"{name}u{number}") for number in range(random.randrange(4))]
    if kind == "fixed":
        return {"type": "fixed", "name": f"F{name}", "size": random.choice((0, 1, 16, 10**6, 2**40, -1))}
    if kind == "enum":
        return {
            "type": "enum",
            "name": f"E{name}",
            "symbols": [f"S{number}" for number in range(random.randrange(200))],
        }
    fields = [{"name": f"f{n}", "type": _type(random, depth - 1, f"{name}r{n}")} for n in range(random.randrange(5))]
    return {"type": "record", "name": f"R{name}", "fields": fields}


def _nested(random: Random) -> str:
    """Return a record that contains itself, or deeply nested types."""
    depth, inner = random.choice((3, 15, 17, 200, 2_000)), random.choice(('"int"', '"null"', '"Trade"'))
    opening, closing = random.choice((('{"type": "array", "items": ', "}"), ("[", "]"), ('{"type": ', "}")))
    schema = json.dumps(current().schema)
    return schema[: -len("]}")] + f', {{"name": "more", "type": {opening * depth}{inner}{closing * depth}}}]}}'


def _no_json(random: Random) -> str:
    return random.choice(("[" * 100_000, '{"a":' * 5_000, "1" * 10_000, "", "NaN", "null", "[]", '"Trade"', "\x00"))


def _anything(random: Random, depth: int) -> Any:
    draw = random.random()
    if depth == 0 or draw < 0.6:
        return copy.copy(random.choice(_LEAVES))
    if draw < 0.8:
        return [_anything(random, depth - 1) for _ in range(random.randrange(4))]
    return {random.choice(_KEYS): _anything(random, depth - 1) for _ in range(random.randrange(5))}
