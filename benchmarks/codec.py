"""
`python -m benchmarks.codec`: a trade to Avro and back, and Avro to a row for COPY, beside others.

fastavro reads into a dict and writes from one, converting dates and instants
itself and checking little. Confluent's serdes end in a trade as ours do, by
`from_dict` and `to_dict`; they frame the value, as `TradeSerializer` does. Ours
is strict in both directions. All in one process, in turn, round by round.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from benchmarks.codec_kinds import compare_kinds
from benchmarks.report import line, spread
from tests.registry.registries import Script, Shelf, registry
from tradepipe import TradeDeserializer, TradeSerializer
from tradepipe.codec.codec import Decoder, Encoder
from tradepipe.codec.copy_rows import pack_row
from tradepipe.codec.fields import trade_codec
from tradepipe.codec.native import make_encoder, make_executor
from tradepipe.evolution.history import current
from tradepipe.registry.serde import frame
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Record
from tradepipe.trade.records import Run
from tradepipe.trade.rules import violations
from tradepipe.trade.samples import trades

_ID: Final = 1


class Way(NamedTuple):
    """A measured implementation: a function and its arguments, each for one trade or for many."""

    name: str
    work: Callable[[Any], Any]
    items: Sequence[Any]
    trades_an_item: int = 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codec", description="Measure the codec.")
    parser.add_argument("--trades", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    made = list(islice(trades(options.seed), options.trades))
    bodies = [Encoder().encode(trade) for trade in made]
    line("trades, bytes a body", f"{len(made)}, {sum(map(len, bodies)) / len(bodies):.1f}")
    for name, reference, ways in (*_decoding(bodies), *_encoding(made)):
        _compare(name, options.rounds, reference, ways)
    print("each type, beside fastavro:")
    compare_kinds(options.rounds)


def _decoding(bodies: list[bytes]) -> Iterable[tuple[str, Way, list[Way]]]:
    decoder = Decoder(current().text, _ID)
    values = [frame(_ID, body) for body in bodies]
    ways = [
        Way("Decoder.decode", decoder.decode, bodies),
        Way("decode and rules", lambda body: violations(decoder.decode(body)), bodies),
        Way("decode, rules and row", partial(_row, decoder), bodies),
    ]
    if executor := make_executor(trade_codec()):
        executor.add(frame(_ID, b""), decoder.plan)
        run, count = Run.of([_RECORD._replace(value=value) for value in values]), len(values)
        ways.append(Way("compiled: decode", executor.decode, values))
        ways.append(Way("compiled: rules", lambda _: executor.check(run, 0, False), [None], count))
        ways.append(Way("compiled: rules and row", lambda _: executor.rows(run, 0, False), [None], count))
    yield "decode, beside fastavro to a dict", Way("fastavro", _read, bodies), ways
    ours = [Way("TradeDeserializer", _deserializer(), values)]
    yield "decode, beside Confluent's with from_dict", Way("AvroDeserializer", _confluent_reads(), values), ours


def _encoding(made: list[Trade]) -> Iterable[tuple[str, Way, list[Way]]]:
    dicts = [trade._asdict() for trade in made]
    ours = [
        Way("Encoder.encode", Encoder().encode, made),
        Way("encode and rules", lambda trade: violations(trade) or Encoder().encode(trade), made),
    ]
    if encoder := make_encoder(trade_codec()):
        header = frame(_ID, b"")
        ours.append(
            Way("compiled: encode and rules", lambda _: encoder.encode_all(header, True, made, 0), [None], len(made))
        )
    yield "encode, beside fastavro from a dict", Way("fastavro", _write, dicts), ours
    ours = [Way("TradeSerializer", TradeSerializer(registry(Script((200, {"id": _ID})))), made)]
    yield "encode, beside Confluent's with to_dict", Way("AvroSerializer", _confluent_writes(), made), ours


def _row(decoder: Decoder, body: bytes) -> bytes:
    trade = decoder.decode(body)
    assert not violations(trade)
    return pack_row(_RECORD, _ID, trade)


_RECORD: Final = Record("trades", 0, 0, None, None)

_PARSED: Final = parse_schema(current().schema)


def _read(body: bytes) -> Any:
    return schemaless_reader(io.BytesIO(body), _PARSED, None)


def _write(fields: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    schemaless_writer(stream, _PARSED, fields)
    return stream.getvalue()


def _deserializer() -> Callable[[bytes], Any]:
    shelf = Shelf()
    shelf.put(_ID)
    return TradeDeserializer(registry(shelf))


def _confluent() -> tuple[Any, SerializationContext, dict[str, Any]]:
    """Return Confluent's in-memory registry, and settings with which no call queries it."""
    client = SchemaRegistryClient.new_client({"url": "mock://codec"})
    settings = {"subject.name.strategy.type": "TOPIC"}
    return client, SerializationContext("trades", MessageField.VALUE), settings


def _confluent_writes() -> Callable[[Trade], bytes]:
    client, context, settings = _confluent()
    write = AvroSerializer(client, current().text, lambda trade, _context: trade._asdict(), settings)
    return lambda trade: write(trade, context)


def _confluent_reads() -> Callable[[bytes], Trade]:
    client, context, settings = _confluent()
    AvroSerializer(client, current().text, lambda trade, _context: trade._asdict(), settings)(next(trades(1)), context)
    read = AvroDeserializer(client, None, lambda fields, _context: Trade(**fields), conf=settings)
    return lambda value: read(value, context)


def _compare(name: str, rounds: int, reference: Way, ways: list[Way]) -> None:
    """Measure all implementations in every round, the reference first, so that other load affects all of them."""
    times = [[_micros(way) for way in (reference, *ways)] for _ in range(rounds)]
    line(f"{name}: {reference.name}, µs", spread([round_[0] for round_ in times], 2))
    for number, way in enumerate(ways, start=1):
        line(f"  {way.name}, µs", spread([round_[number] for round_ in times], 2))
        line(f"  {way.name}, ratio", spread([round_[number] / round_[0] for round_ in times], 2))


def _micros(way: Way) -> float:
    """Return the CPU time of one item, since the machine may be busy."""
    begin = time.process_time()
    for item in way.items:
        way.work(item)
    return (time.process_time() - begin) / (len(way.items) * way.trades_an_item) * 1e6


if __name__ == "__main__":
    main()
