"""
`python -m benchmarks.chaos`: produce, validate, store, with validator and sink killed again and again.

On real services. Every acknowledged record must be in exactly one of the clean and
the dead-letter topic, once, its bytes unchanged, each trade's versions in order;
a reader that reads committed records all the while must see just that; and the
table must equal the clean topic. Ends with 1 if any of it does not hold.
"""

import argparse
import logging
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import confluent_kafka
import psycopg2

from benchmarks.check_validator_split import Branches, Content, Place, Reader, compare
from benchmarks.report import line, machine
from benchmarks.scratch_database import fresh_database
from benchmarks.subprocess_stages import Stage
from tests.services.real import RealServices
from tradepipe import SchemaRegistry, Trade, TradeDeserializer, TradeSerializer
from tradepipe.kafka import dead_letters
from tradepipe.registry.registration import register
from tradepipe.trade.model import PRIMARY_KEY
from tradepipe.trade.record import Record
from tradepipe.trade.samples import BadRecord, sample_stream

PARTITIONS = 4
EARLY = 0.3
"""Share of the kills soon after a start: while joining, claiming, or in the first transaction."""

STALLED = 120.0
"""Seconds without progress after which a stage counts as stalled."""

_BRIEF = ("-X", "session.timeout.ms=2000", "-X", "heartbeat.interval.ms=500")


class Topics(NamedTuple):
    """The three topics of a run."""

    source: str
    clean: str
    dead: str


class Kills(NamedTuple):
    """The number of kills that hit a running stage, and the seconds of all its processes."""

    hit: int
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="Kill validator and sink at work.")
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--bad", type=float, default=0.05)
    parser.add_argument("--kills", type=int, default=10, help="of the validator, and as many of the sink")
    parser.add_argument("--registry-pause", type=float, default=0.0, help="seconds the registry stands still meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    services = RealServices()
    try:
        with fresh_database(services) as database:
            return _run(services, database, options)
    finally:
        services.close()


def _run(services: RealServices, database: str, options: argparse.Namespace) -> int:
    line("machine", machine(services))
    line("seed, records, share of bad ones", f"{options.seed}, {options.records:,}, {options.bad}")
    topics = Topics(*(f"chaos-{options.seed}{suffix}" for suffix in ("", ".clean", ".dlq")))
    services.create_topic(topics.source, partitions=PARTITIONS)
    for topic in topics[1:]:
        _create(services, topic, like=topics.source)
    with SchemaRegistry(services.registry_url) as registry:
        register(registry, f"{topics.source}-value")
        bad = _publish(services, topics, registry, options)
    source = _read_all(services, topics.source)
    line("acknowledged, in the log", f"{options.records:,}, {len(source):,}")
    reader = Reader(services.client_settings | {"bootstrap.servers": services.bootstrap_servers}, _each(topics[1:]))
    try:
        _let_work_and_kill(services, database, topics, reader, options)
    finally:
        seen = reader.stop(quiet_for=5.0)
    kept = _branches(services, topics, source, bad, seen)
    equal = _table_equals(services, database, topics, [_content(message) for message in seen[topics.clean]])
    holds = kept and equal and len(source) == options.records
    line("every promise held", "yes" if holds else "NO")
    return 0 if holds else 1


def _create(services: RealServices, topic: str, *, like: str) -> None:
    address = ["--bootstrap-servers", services.bootstrap_servers]
    subprocess.run(
        [sys.executable, "-m", "tradepipe.topics", "create", *address, "--topic", topic, "--like", like], check=True
    )


def _publish(
    services: RealServices, topics: Topics, registry: SchemaRegistry, options: argparse.Namespace
) -> set[bytes]:
    """Fill the source topic, requiring every acknowledgement; return the keys of the bad records."""
    serialize = TradeSerializer(registry, subject=f"{topics.source}-value")
    client = confluent_kafka.Producer(
        {"bootstrap.servers": services.bootstrap_servers, "enable.idempotence": True, "partitioner": "murmur2_random"}
    )
    bad = set()
    for item in islice(
        sample_stream(options.seed, serialize, bad=options.bad, resend=0.01, change=0.001), options.records
    ):
        if isinstance(item, BadRecord):
            key, value = item.key, item.value
            bad.add(key)
        else:
            key, value = item.trade.trade_id.encode(), serialize(item.trade)
        while True:
            try:
                client.produce(topics.source, value, key)
                break
            except BufferError:
                client.poll(0.1)
    if left := client.flush(120):
        raise RuntimeError(f"{left} records were not acknowledged")
    return bad


def _let_work_and_kill(
    services: RealServices, database: str, topics: Topics, reader: Reader, options: argparse.Namespace
) -> None:
    """Run both stages to the end of the topic, killing each at random times."""
    share = 1.0 - options.bad
    validator = Stage("validate", _validator_options(services, topics))
    sink = Stage("sink", _sink_options(services, database, topics))
    jobs: list[tuple[Stage, Callable[[], int], int]] = [
        (validator, lambda: reader.seen, options.records),
        (sink, lambda: _stored_up_to(database), int(options.records * share)),
    ]
    with ThreadPoolExecutor() as threads:
        ends = [
            threads.submit(_kill_often, stage, progress, total, options.seed + number, options.kills)
            for number, (stage, progress, total) in enumerate(jobs)
        ]
        outage = threads.submit(_freeze_registry, services, reader, options)
    outage.result()
    for (stage, _, _), end in zip(jobs, ends, strict=True):
        kills = end.result()
        result = f"{kills.hit} of {options.kills} hit it at work, {kills.seconds:.0f} s in all"
        line(f"{stage.name}: kill -9 and restart", result)


def _freeze_registry(services: RealServices, reader: Reader, options: argparse.Namespace) -> None:
    """Suspend the registry after a third of the work: a stage that starts meanwhile knows no schema."""
    if not options.registry_pause:
        return
    while reader.seen < options.records * 0.3:
        time.sleep(0.02)
    services.registry.freeze()
    time.sleep(options.registry_pause)
    services.registry.thaw()
    line("registry", f"stood still for {options.registry_pause:g} s")


def _kill_often(stage: Stage, progress: Callable[[], int], total: int, seed: int, kills: int) -> Kills:
    moments = random.Random(seed)
    marks = sorted(moments.uniform(0, total * 0.95) for _ in range(kills))
    begin, hit = time.monotonic(), 0
    for mark in marks:
        with stage.running() as process:
            if moments.random() < EARLY:
                time.sleep(moments.uniform(0.0, 3.0))
            else:
                _await(process, stage, lambda mark=mark: progress() >= mark)
            hit += process.poll() is None
            process.kill()
    with stage.running() as process:
        _await(process, stage, lambda: progress() >= total)
        if stage.name == "sink":  # it also stores what the validator still commits
            _await_quiet(progress)
        process.terminate()
        if code := process.wait(60):
            raise RuntimeError(f"the last {stage.name} ended with {code}:\n{stage.said()}")
    return Kills(hit, time.monotonic() - begin)


def _await(process: Any, stage: Stage, reached: Callable[[], bool]) -> None:
    until = time.monotonic() + STALLED
    while not reached():
        if process.poll() is not None:
            raise RuntimeError(f"a {stage.name} ended with {process.returncode} by itself:\n{stage.said()}")
        if time.monotonic() > until:
            raise RuntimeError(f"a {stage.name} stalled for {STALLED:g} s:\n{stage.said()}")
        time.sleep(0.02)


def _await_quiet(progress: Callable[[], int]) -> None:
    before, since = progress(), time.monotonic()
    while time.monotonic() - since < 20.0:
        time.sleep(0.5)
        if (now := progress()) != before:
            before, since = now, time.monotonic()


def _validator_options(services: RealServices, topics: Topics) -> list[str]:
    named = ["--topic", topics.source, "--clean", topics.clean, "--dead-letters", topics.dead, "--group", "validators"]
    # One transactional id: the next process ends the transaction that a killed one left open, without a timeout.
    return [
        *_shared(services, topics),
        *named,
        "--transactional-id",
        f"{topics.source}-validator",
        "--start",
        "earliest",
    ]


def _sink_options(services: RealServices, database: str, topics: Topics) -> list[str]:
    return [*_shared(services, topics), "--topic", topics.clean, "--group", "sinks", "--database", database]


def _shared(services: RealServices, topics: Topics) -> list[str]:
    address = ["--bootstrap-servers", services.bootstrap_servers, "--registry", services.registry_url]
    return [*address, "--subject", f"{topics.source}-value", *_BRIEF]


def _stored_up_to(database: str) -> int:
    return int(_rows(database, "SELECT coalesce(sum(next_offset), 0) FROM sink_offsets")[0][0])


def _rows(database: str, query: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(database)
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchall()
    finally:
        connection.close()


def _each(topics: tuple[str, ...]) -> dict[str, int]:
    return dict.fromkeys(topics, PARTITIONS)


def _read_all(services: RealServices, topic: str) -> dict[Place, Content]:
    reader = Reader({"bootstrap.servers": services.bootstrap_servers}, {topic: PARTITIONS})
    return {(m.partition(), m.offset()): _content(m) for m in reader.stop(quiet_for=3.0)[topic]}


def _branches(
    services: RealServices,
    topics: Topics,
    source: dict[Place, Content],
    bad: set[bytes],
    seen: Mapping[str, list[Any]],
) -> bool:
    """Return whether each record is in one output topic, and a concurrent reader saw the same as a later one."""
    clean, dead = [_content(message) for message in seen[topics.clean]], [_letter(each) for each in seen[topics.dead]]
    found = compare(source, bad, clean, dead)
    line("clean, dead letters", f"{len(clean):,}, {len(dead):,}")
    for name, number in found._asdict().items():
        line(name, f"{number:,}")
    again = {topic: len(_read_all(services, topic)) for topic in topics[1:]}
    same = again == {topic: len(seen[topic]) for topic in topics[1:]}
    line("a reader at work saw what a later one sees", "yes" if same else f"NO: {again}")
    return same and found == Branches(0, 0, 0, 0, 0)


def _content(message: Any) -> Content:
    return message.key(), message.value()


def _letter(message: Any) -> tuple[Place, Content]:
    record = Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.timestamp()[1],
        tuple(message.headers() or ()),
    )
    letter = dead_letters.parse(record)
    assert isinstance(letter, dead_letters.DeadLetterRecord), letter
    original = letter.refusal.record
    return (original.partition, original.offset), _content(message)


def _table_equals(services: RealServices, database: str, topics: Topics, clean: list[Content]) -> bool:
    """Return whether the table has the first record of each key of the clean topic, and the refusals the collisions."""
    first: dict[tuple[Any, ...], Trade] = {}
    collisions = replays = 0
    with SchemaRegistry(services.registry_url) as registry:
        decode = TradeDeserializer(registry, subject=f"{topics.source}-value")
        for trade in (decode(value) for _, value in clean):
            kept = first.setdefault(tuple(getattr(trade, field) for field in PRIMARY_KEY), trade)
            collisions, replays = collisions + (kept != trade), replays + (kept == trade)
    stored = {Trade._make(row) for row in _rows(database, f"SELECT {', '.join(Trade._fields)} FROM trades")}
    refused = _rows(database, "SELECT count(*) FROM trade_refusals WHERE codes = '{VERSION_COLLISION}'")[0][0]
    others = _rows(database, "SELECT count(*) FROM trade_refusals WHERE codes <> '{VERSION_COLLISION}'")[0][0]
    line("rows, collisions, replays", f"{len(stored):,}, {refused:,}, {replays - len(first):,}")
    equal = (stored, refused, others) == (set(first.values()), collisions, 0)
    line(
        "the table equals the clean topic", "yes" if equal else f"NO: {len(first):,} trades, {collisions:,} collisions"
    )
    return equal


if __name__ == "__main__":
    sys.exit(main())
