"""
`python -m benchmarks.profile_sink`: what each step of a record's way costs, one after the other in one thread.

In the sink reading and storing overlap, so the slower of the two decides; the
CPU time of this process is what competes for the interpreter.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.publish_trades import Published, publish
from benchmarks.report import line, machine
from benchmarks.scratch_database import fresh_database
from tests.services.real import RealServices
from tradepipe import SchemaRegistry, TradeDeserializer
from tradepipe.kafka.consumer import Consumer
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.postgres import session
from tradepipe.postgres.batch import Batch, store
from tradepipe.postgres.session import create_engine_for
from tradepipe.trade.records import Records
from tradepipe.trade.validated import ValidatedRecords

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile_sink", description="Measure each step by itself."
    )
    parser.add_argument("--trades", type=int, default=200_000)
    parser.add_argument("--batch-rows", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    services = RealServices(is_optimized=True)
    try:
        line("machine", machine(services))
        published = publish(services, count=options.trades, partitions=4, seed=options.seed)
        records = _read(published)
        _share(services, _validate(published, records), options.batch_rows)
    finally:
        services.close()


def _share(services: RealServices, validated: ValidatedRecords, batch_rows: int) -> None:
    """The processing of valid records."""
    batches = [validated[at : at + batch_rows] for at in range(0, len(validated), batch_rows)]
    with fresh_database(services) as database:
        _timed("COPY, COMMIT", len(validated), lambda: _store(database, batches))


def _timed(step: str, records: int, work: Callable[[], T]) -> T:
    begin, cpu = time.perf_counter(), time.process_time()
    done = work()
    took, busy = time.perf_counter() - begin, time.process_time() - cpu
    line(f"{step}, µs a record", f"{took / records * 1e6:.1f}, CPU of this process {busy / records * 1e6:.1f}")
    return done


def _read(published: Published) -> Records:
    """Read the whole topic, timed from the first records on: joining a group takes seconds."""
    consumer = Consumer(published.kafka, topic=published.topic, group="shares")
    consumer.open()
    try:
        records = _first_records(consumer, partitions=len(published.ends))
        missing = published.count - len(records)
        records.extend(_timed("read from Kafka", missing, lambda: _further_records(consumer, missing)))
        return records
    finally:
        consumer.close()


def _first_records(consumer: Consumer, *, partitions: int) -> Records:
    """Return the records that arrive until every partition is read."""
    records = Records()
    started: set[int] = set()
    while not records or len(started) < partitions:
        records.extend(consumer.poll(1_000, 0.05))
        for number, assignment in consumer.assignments.items():
            if number not in started and consumer.start_delivery(assignment, 0):
                started.add(number)
    return records


def _further_records(consumer: Consumer, count: int) -> Records:
    records = Records()
    while len(records) < count:
        records.extend(consumer.poll(1_000, 0.05))
    return records


def _validate(published: Published, records: Records) -> ValidatedRecords:
    with SchemaRegistry(published.registry) as registry:
        validator = RecordValidator(TradeDeserializer(registry, subject=published.subject))
        validator.validate_all(records[:1].runs[0], ValidatedRecords(validator.trade))  # the registry is asked once
        validated = ValidatedRecords(validator.trade)
        _timed(
            "decode, validate, pack",
            len(records),
            lambda: [validator.validate_all(run, validated) for run in records.runs],
        )
        return validated


def _store(database: str, batches: Sequence[ValidatedRecords]) -> None:
    with session.open_session(create_engine_for(database, application_name="shares")) as connection:
        for batch in batches:
            with connection.begin():
                store(connection, Batch("shares", None, (), batch))


if __name__ == "__main__":
    main()
