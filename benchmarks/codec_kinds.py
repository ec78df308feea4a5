"""The codec's time for each type, beside fastavro's: records of a key and four fields of one type."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple, get_type_hints

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from benchmarks.report import line
from tests.codec.every_type import codec_of, make_decoder, make_encoder, plain_record, schema_of
from tests.trade.all_types import SAMPLE, Every
from tradepipe.codec import native
from tradepipe.codec.admission import parse_writer_schema
from tradepipe.codec.plan import make_plan
from tradepipe.registry.serde import frame
from tradepipe.trade.declaration import declare

FIELDS: Final = 4
HEADER: Final = frame(1, b"")


def compare_kinds(rounds: int) -> None:
    """Print the ratios to fastavro's time, the best of some rounds; without those that the compiled core lacks."""
    hints = get_type_hints(Every, include_extras=True)
    for name in list(hints)[1:]:
        ratios = ", ".join(f"{what} {ratio}" for what, ratio in _ratios(hints["id"], name, hints[name], rounds))
        line(f"  {name}, ratios", ratios)


def _ratios(key: Any, name: str, hint: Any, rounds: int) -> Iterator[tuple[str, str]]:
    record = NamedTuple("Kind", [("id", key), *((f"f{number}", hint) for number in range(FIELDS))])  # type: ignore[misc]
    declaration = declare(record)
    schema, codec = schema_of(declaration), codec_of(declaration)
    parsed = parse_schema(schema, {})
    made = record("T1", *[getattr(SAMPLE, name)] * FIELDS)
    encode, fields = make_encoder(codec), plain_record(declaration, made)
    body = encode(made)
    read = _micros(lambda: schemaless_reader(io.BytesIO(body), parsed, None), rounds)
    write = _micros(lambda: schemaless_writer(io.BytesIO(), parsed, fields), rounds)
    decode = make_decoder(codec, schema)
    yield "decode", f"{_micros(lambda: decode(body), rounds) / read:.2f}"
    yield "encode", f"{_micros(lambda: encode(made), rounds) / write:.2f}"
    executor = native.make_executor(codec)
    with suppress(ValueError):
        assert executor is not None
        executor.add(HEADER, make_plan(parse_writer_schema(schema), codec))
        value = HEADER + body
        yield "compiled decode", f"{_micros(lambda: executor.decode(value), rounds) / read:.2f}"
    if compiled := native.make_encoder(codec):
        yield "compiled encode", f"{_micros(lambda: compiled.encode(HEADER, False, made), rounds) / write:.2f}"


def _micros(work: Callable[[], Any], rounds: int, count: int = 1_000) -> float:
    best = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        for _ in range(count):
            work()
        best = min(best, time.process_time() - begin)
    return best / count * 1e6
