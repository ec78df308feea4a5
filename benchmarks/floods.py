"""
`python -m benchmarks.floods`: how long good records wait behind a flood of other ones.

Each flood is sent to a topic, and 200 good trades after it. The time runs from the
start of a sink until these are stored, and is compared with that for as many good
trades instead of the flood, one after the other, so that both have the same load.
"""

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from confluent_kafka import Producer

from benchmarks.publish_trades import Published, publish
from benchmarks.report import line, machine, spread
from benchmarks.scratch_database import fresh_database
from tests.services.real import RealServices
from tradepipe import SchemaRegistry, Sink, TradeSerializer
from tradepipe.trade.samples import trades

GOOD: Final = 200
OPEN_SECONDS: Final = 15.0
"""How long the open transaction is open."""

Records = Iterator[tuple[bytes, bytes | None]]


class Topic(NamedTuple):
    """An empty topic and its subject."""

    published: Published
    serialize: TradeSerializer

    def trades(self, seed: int, count: int, **changed: Any) -> Records:
        for trade in islice(trades(seed), count):
            yield trade.trade_id.encode(), self.serialize(trade._replace(**changed))


def _unknown_ids(count: int) -> Callable[[Topic], Records]:
    return lambda _: ((b"key", b"\0%b body" % (1_000_000 + number).to_bytes(4, "big")) for number in range(count))


def _unframed(count: int) -> Callable[[Topic], Records]:
    return lambda _: ((b"key", b"\x01 no frame") for _number in range(count))


def _undecodable(topic: Topic) -> Records:
    return ((key, value[:-1]) for key, value in topic.trades(2, 100))


def _unframed_and_duplicates(topic: Topic) -> Records:
    duplicates = list(topic.trades(2, 10_000))
    for number, duplicate in enumerate(duplicates):
        yield duplicate
        yield b"key%d" % number, b"\x01 no frame"
        yield duplicate
        yield duplicate


def _collisions(topic: Topic) -> Records:
    yield from topic.trades(2, 8_000)
    yield from topic.trades(2, 8_000, book_id="OTHER")


FLOODS: Final[dict[str, tuple[int, Callable[[Topic], Records]]]] = {
    "100 undecodable records": (100, _undecodable),
    "10 unknown schema ids": (10, _unknown_ids(10)),
    "4,000 unknown schema ids": (4_000, _unknown_ids(4_000)),
    "10,000 unknown schema ids": (10_000, _unknown_ids(10_000)),
    "20,000 records without a frame": (20_000, _unframed(20_000)),
    "10,000 of them and 30,000 duplicates": (40_000, _unframed_and_duplicates),
    "8,000 trades and 8,000 collisions": (16_000, _collisions),
}
"""Their numbers of records, and how to make them."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floods", description="Time good records behind floods.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="measure only floods whose name contains this text")
    options = parser.parse_args()
    services = RealServices(is_optimized=True)
    try:
        line("machine", machine(services))
        _measure(services, _good(0))  # the first one is slower
        chosen = {name: flood for name, flood in FLOODS.items() if options.only in name}
        runs = [{name: _compare(services, *flood) for name, flood in chosen.items()} for _ in range(options.runs)]
        for name in chosen:
            seconds, baseline = zip(*(run[name] for run in runs), strict=True)
            ratios = [flood / good for flood, good in zip(seconds, baseline, strict=True)]
            line(name, f"{spread(seconds, 1)} s; good trades {spread(baseline, 1)} s; ratio {spread(ratios, 1)}")
        if not options.only:
            line(f"a transaction open for {OPEN_SECONDS:.0f} s", f"{_measure_open_transaction(services):.1f} s")
    finally:
        services.close()
    return 0


def _good(count: int) -> Callable[[Topic], Records]:
    return lambda topic: topic.trades(2, count)


def _compare(services: RealServices, count: int, flood: Callable[[Topic], Records]) -> tuple[float, float]:
    """Measure a flood, and as many good trades in its place."""
    return _measure(services, flood), _measure(services, _good(count))


def _measure(services: RealServices, flood: Callable[[Topic], Records]) -> float:
    published = publish(services, count=0, partitions=4, seed=1)
    with SchemaRegistry(services.registry_url, timeout=60.0) as registry, fresh_database(services) as database:
        topic = Topic(published, TradeSerializer(registry, subject=published.subject))
        _send(published, flood(topic))
        _send(published, topic.trades(1, GOOD))
        return _store(published, database)


def _measure_open_transaction(services: RealServices) -> float:
    published = publish(services, count=0, partitions=4, seed=1)
    with SchemaRegistry(services.registry_url, timeout=60.0) as registry, fresh_database(services) as database:
        topic = Topic(published, TradeSerializer(registry, subject=published.subject))
        address = {"bootstrap.servers": published.kafka["bootstrap.servers"]}
        writer = Producer({**address, "transactional.id": published.topic})
        writer.init_transactions(30)
        writer.begin_transaction()
        for partition in range(4):
            writer.produce(published.topic, b"open", b"key", partition=partition)
        writer.flush(30)
        _send(published, topic.trades(1, GOOD))
        end = threading.Timer(OPEN_SECONDS, writer.abort_transaction, [30])
        end.start()
        seconds = _store(published, database)
        end.join()
        return seconds


def _send(published: Published, records: Records) -> None:
    client = Producer({"bootstrap.servers": published.kafka["bootstrap.servers"], "partitioner": "murmur2_random"})
    for number, (key, value) in enumerate(records):
        client.produce(published.topic, value, key)
        if number % 1_000 == 0:
            client.poll(0)
    assert client.flush(60) == 0


def _store(published: Published, database: str) -> float:
    begin = time.perf_counter()
    options = {"topic": published.topic, "subject": published.subject, "group": f"{published.topic}-sink"}
    with Sink(published.kafka, registry=published.registry, database=database, max_refused=None, **options) as sink:
        sink.run(until_end=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    raise SystemExit(main())
