"""
`python -m benchmarks.codec`: bytes to a checked trade and back, beside fastavro to a dict and back.

fastavro converts dates and instants itself there and checks little; ours ends
in a `Trade`, strict in both directions. Both in the same run, in turn.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterable
from itertools import islice

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from benchmarks.report import line, spread
from tradepipe.contract.history import current
from tradepipe.contract.rules import violations
from tradepipe.contract.samples import trades
from tradepipe.wire.codec import Decoder, Encoder


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codec", description="Measure the codec.")
    parser.add_argument("--trades", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    made = list(islice(trades(options.seed), options.trades))
    bodies = [Encoder().encode(trade) for trade in made]
    dicts = [trade._asdict() for trade in made]
    line("trades, bytes a body", f"{len(made)}, {sum(map(len, bodies)) / len(bodies):.1f}")
    fast_decode, fast_encode = _fastavro()
    decode = Decoder(current().text, 1).decode
    _compare("decode", options.rounds, (fast_decode, bodies), (decode, bodies))
    _compare("decode and rules", options.rounds, (fast_decode, bodies), (lambda body: violations(decode(body)), bodies))
    _compare("encode", options.rounds, (fast_encode, dicts), (Encoder().encode, made))


def _fastavro() -> tuple[Callable, Callable]:
    schema = parse_schema(current().schema)

    def encode(trade: dict) -> bytes:
        stream = io.BytesIO()
        schemaless_writer(stream, schema, trade)
        return stream.getvalue()

    return lambda body: schemaless_reader(io.BytesIO(body), schema, None), encode


def _compare(name: str, rounds: int, reference: tuple[Callable, Iterable], ours: tuple[Callable, Iterable]) -> None:
    pairs = [(_micros(*reference), _micros(*ours)) for _ in range(rounds)]
    line(f"{name}: fastavro to or from a dict, µs", spread([theirs for theirs, _ in pairs], 2))
    line(f"{name}: ours, µs", spread([our for _, our in pairs], 2))
    line(f"{name}: ratio ours to fastavro", spread([our / theirs for theirs, our in pairs], 2))


def _micros(work: Callable, items: Iterable) -> float:
    """CPU time of one item; the machine may be busy with other things."""
    begin, done = time.process_time(), 0
    for item in items:
        work(item)
        done += 1
    return (time.process_time() - begin) / done * 1e6


if __name__ == "__main__":
    main()
