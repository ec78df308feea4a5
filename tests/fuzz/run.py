"""Fuzzing run: weighted inputs of every kind, with limits of time and memory."""

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any, Final, NamedTuple

from tests.fuzz import bodies, schemas
from tests.registry.registries import Shelf, registry
from tradepipe.codec.codec import Decoder, Encoder
from tradepipe.compiled_core import executor_name
from tradepipe.errors import RegistryUnavailable, SchemaIdNotYetKnown, UndecodableRecord, UnsupportedSchema
from tradepipe.evolution.history import current, versions
from tradepipe.registry.serde import TradeDeserializer
from tradepipe.trade.model import Trade

SECONDS: Final = 2.0
"""CPU seconds that one input may take at most."""

MEBIBYTES: Final = 64
"""Growth of the process allowed after the first tenth of the run."""


class Kind(NamedTuple):
    """One kind of input: weight, generator and checker."""

    weight: int
    make: Callable[[Random], Any]
    answer: Callable[[Any], str]


class Outcome(NamedTuple):
    """Result of a run."""

    answers: Counter[tuple[str, str]]
    slowest: dict[str, float]
    growth: float
    failures: list[str]


def run(count: int, seed: int) -> Outcome:
    """Check a number of inputs, the same for the same seed."""
    answers: Counter[tuple[str, str]] = Counter()
    slowest: dict[str, float] = {}
    failures: list[str] = []
    begin = _mebibytes()
    for number, (name, kind, random) in enumerate(_draw_inputs(count, seed)):
        made = kind.make(random)
        began = time.thread_time()
        try:
            answers[name, kind.answer(made)] += 1
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}: {made!r}"[:2_000])
        took = time.thread_time() - began
        slowest[name] = max(took, slowest.get(name, 0.0))
        if took > SECONDS:
            failures.append(f"{name}: {took:.1f} s: {made!r}"[:2_000])
        if number == count // 10:
            begin = _mebibytes()
    return Outcome(answers, slowest, _mebibytes() - begin, failures)


def _draw_inputs(count: int, seed: int) -> Iterator[tuple[str, Kind, Random]]:
    random = Random(seed)
    kinds = _kinds()
    names = list(kinds)
    weights = [kind.weight for kind in kinds.values()]
    for _ in range(count):
        (name,) = random.choices(names, weights)
        yield name, kinds[name], random


def _kinds() -> dict[str, Kind]:
    decoders = {version.number: Decoder(version.text, version.number) for version in versions()}

    def body(made: tuple[int, bytes]) -> str:
        number, encoded = made
        return decoded(decoders[number], encoded)

    return {
        "mutated body": Kind(55, bodies.mutated, body),
        "random bytes": Kind(20, bodies.noise, body),
        "bomb": Kind(10, bodies.bomb, body),
        "framed value": Kind(14, bodies.framed, _Framed()),
        "schema": Kind(1, schemas.hostile, admitted),
    }


def decoded(decoder: Decoder, body: bytes) -> str:
    """Decode a body; require that it encodes to the same trade again."""
    try:
        trade = decoder.decode(body)
    except UndecodableRecord as error:
        _require(len(str(error)) < 300, f"a long error: {error}")
        _require(_has_agreed(decoder, body, None), "the compiled core passed an invalid body")
        return error.violation.code
    _require(type(trade) is Trade, "no trade")
    _require(_has_agreed(decoder, body, trade), "the compiled core and Python differ")
    again = Encoder().encode(trade)
    _require(_today().decode(again) == trade, "another trade when encoded again")
    return "a trade"


def _has_agreed(decoder: Decoder, body: bytes, trade: Trade | None) -> bool:
    if executor_name() != "compiled":
        return True
    from tests.fuzz.compiled import has_agreed  # noqa: PLC0415 - where it is built

    return has_agreed(decoder, body, trade)


@cache
def _today() -> Decoder:
    return Decoder(current().text, current().number)


def admitted(made: tuple[str, list[bytes]]) -> str:
    """Admit or refuse a schema; try the bodies on an admitted one."""
    text, tried = made
    try:
        decoder = Decoder(text, 7, unknown_fields="drop")
    except UnsupportedSchema as error:
        _require(len(str(error)) < 600, f"a long error: {error}")
        return "UnsupportedSchema"
    for body in tried:
        decoded(decoder, body)
    return "admitted"


class _Framed:
    """Deserializer with a registry that has the released versions."""

    def __init__(self) -> None:
        shelf = Shelf()
        for version in versions():
            shelf.put(version.number, version.text)
        self._clock = 0.0
        self._decode = TradeDeserializer(registry(shelf, retries=0), clock=self._read_clock).decode

    def _read_clock(self) -> float:
        self._clock += 0.01
        return self._clock

    def __call__(self, value: bytes | None) -> str:
        try:
            self._decode(value)
        except UndecodableRecord as error:
            return error.violation.code
        except (SchemaIdNotYetKnown, RegistryUnavailable) as error:
            return type(error).__name__
        return "a trade"


def _require(held: bool, otherwise: str) -> None:
    if not held:
        raise AssertionError(otherwise)


def _mebibytes() -> float:
    """Return the peak memory of the process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
