"""Programs that store the trades of a topic in PostgreSQL, and PostgreSQL alone."""

import io
import json
import struct
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final

import psycopg2
from confluent_kafka import Consumer, Message
from fastavro import parse_schema, schemaless_reader
from psycopg2.extras import execute_values

from benchmarks.contender import Progress, Task
from tradepipe import SchemaRegistry, Sink, Trade, TradeDeserializer
from tradepipe.cli.stage_runner import tune_garbage_collection
from tradepipe.codec.copy_rows import pack_row
from tradepipe.kafka.messages import read as messages_to_records
from tradepipe.postgres.batch import BatchResult
from tradepipe.postgres.offsets import OffsetRange
from tradepipe.trade.record import Record

_COLUMNS: Final = (
    "source_topic, trade_id, version, counterparty_id, book_id, maturity_date, created_at, side, notional, currency, "
    "source_partition, source_offset, schema_id"
)
_STREAM: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = struct.pack(">h", -1)
_BATCH: Final = struct.Struct(">ii")
"""What precedes each batch in a file of encoded rows: the numbers of its rows and bytes."""


def copy_straight(task: Task, progress: Progress) -> None:
    """PostgreSQL's limit: rows that are already encoded, by COPY into the table."""
    connection = psycopg2.connect(task.database)
    cursor = connection.cursor()
    progress.commit(0)
    for rows, stream in _encoded_batches(task):
        cursor.copy_expert(f"COPY trades ({_COLUMNS}) FROM STDIN (FORMAT binary)", io.BytesIO(stream), size=1 << 20)
        connection.commit()
        progress.commit(rows)


def copy_through_staging(task: Task, progress: Progress) -> None:
    """PostgreSQL's limit where rows may conflict: COPY into a temporary table, then INSERT in the order of the key."""
    connection = psycopg2.connect(task.database)
    cursor = connection.cursor()
    cursor.execute(
        f"CREATE TEMPORARY TABLE staged ON COMMIT DELETE ROWS AS SELECT {_COLUMNS} FROM trades LIMIT 0;"
        "ALTER TABLE staged ADD ordinal serial"
    )
    connection.commit()
    progress.commit(0)
    for rows, stream in _encoded_batches(task):
        cursor.copy_expert(f"COPY staged ({_COLUMNS}) FROM STDIN (FORMAT binary)", io.BytesIO(stream), size=1 << 20)
        cursor.execute(
            f"INSERT INTO trades ({_COLUMNS}) SELECT {_COLUMNS} FROM staged ORDER BY trade_id, version, ordinal "
            "ON CONFLICT (trade_id, version) DO NOTHING"
        )
        connection.commit()
        progress.commit(rows)


def encode_rows(task: Task, made: Iterable[Trade], path: Path) -> None:
    """Write a file of COPY streams, one for each batch of a task, for PostgreSQL alone."""
    remaining = enumerate(islice(made, task.count))
    with path.open("wb") as file:
        while batch := list(islice(remaining, task.batch)):
            records = (Record("trades", number % task.partitions, number, None, None) for number, _ in batch)
            rows = (pack_row(record, 1, trade) for record, (_, trade) in zip(records, batch, strict=True))
            stream = b"".join((_STREAM, *rows, _END))
            file.write(_BATCH.pack(len(batch), len(stream)) + stream)


def _encoded_batches(task: Task) -> Iterator[tuple[int, bytes]]:
    with open(task.rows, "rb") as file:
        while head := file.read(_BATCH.size):
            rows, size = _BATCH.unpack(head)
            yield rows, file.read(size)


def sink(task: Task, progress: Progress) -> None:
    """Run tradepipe's sink as its command does."""

    stored_at: list[tuple[float, Sequence[OffsetRange]]] = []

    def note(stored: BatchResult) -> None:
        progress.commit(len(stored.batch.records))
        if task.rate:
            stored_at.append((time.time(), stored.batch.ranges))
            if progress.records >= task.count:
                running.stop()

    tune_garbage_collection()
    running = Sink(
        task.kafka,
        registry=task.registry,
        database=task.database,
        topic=task.topic,
        subject=task.subject,
        group=task.group,
        on_stored=note,
    )
    with running:
        running.run(until_end=not task.rate)
    if task.rate:
        # Only now: to decode the trades of each batch would delay the next one.
        versions = _versions(task.database)
        for at, ranges in stored_at:
            stored = ((each.ownership.partition, offset) for each in ranges for offset in range(each.start, each.end))
            progress.note_latencies(task, map(versions.__getitem__, stored), at)


def _versions(database: str) -> dict[tuple[int, int], int]:
    """Return the version of each trade by partition and offset."""
    connection = psycopg2.connect(database)
    cursor = connection.cursor()
    cursor.execute("SELECT source_partition, source_offset, version FROM trades")
    found = {(partition, offset): version for partition, offset, version in cursor}
    connection.close()
    return found


def bare_sink(task: Task, progress: Progress) -> None:
    """The least that a sink does: the compiled core's rows by COPY into the table, without a guarantee of any kind."""
    consumer = _consumer(task, {"enable.auto.commit": False})
    connection = psycopg2.connect(task.database)
    cursor = connection.cursor()
    deserializer = TradeDeserializer(SchemaRegistry(task.registry), subject=task.subject)

    def store(rows: list[bytes]) -> None:
        stream = io.BytesIO(b"".join((_STREAM, *rows, _END)))
        cursor.copy_expert(f"COPY trades ({_COLUMNS}) FROM STDIN (FORMAT binary)", stream, size=1 << 20)
        connection.commit()
        progress.commit(len(rows))

    tune_garbage_collection()
    read, storing = 0, None
    with ThreadPoolExecutor(1) as writer:
        while read < task.count:
            if not (messages := consumer.consume(task.batch, 0.1)):
                continue
            records = messages_to_records(messages, task.topic, None)
            if not read:
                deserializer.decode(records[0].value)  # looks up the schema
            rows = [row for run in records.runs for row in deserializer.rows(run, 0, refuse_keys=True)]
            read += len(rows)
            if storing is not None:
                storing.result()
            storing = writer.submit(store, rows)
    consumer.close()


def script(task: Task, progress: Progress) -> None:
    """A competent script: batches, fastavro, execute_values; tuned for latency if records are still being published."""
    batch, timeout = (500, 0.005) if task.rate else (task.batch, 0.1)
    consumer = _consumer(task, {"enable.auto.commit": False, **({"fetch.wait.max.ms": 5} if task.rate else {})})
    connection = psycopg2.connect(task.database)
    cursor = connection.cursor()
    decode = _Decoder(task.registry)
    while progress.records < task.count:
        messages = consumer.consume(batch, timeout)
        if not messages:
            continue
        insert = f"INSERT INTO trades ({_COLUMNS}) VALUES %s ON CONFLICT DO NOTHING"
        rows = list(map(decode, messages))
        execute_values(cursor, insert, rows, page_size=1_000)
        connection.commit()
        consumer.commit(asynchronous=True)
        progress.commit(len(messages))
        if task.rate:
            progress.note_latencies(task, (row[2] for row in rows))
    consumer.close()


def row_by_row(task: Task, progress: Progress) -> None:
    """A simple script: each record is inserted and committed by itself."""
    consumer = _consumer(task, {})
    connection = psycopg2.connect(task.database)
    cursor = connection.cursor()
    decode = _Decoder(task.registry)
    places = ", ".join(["%s"] * len(_COLUMNS.split(",")))
    while progress.records < task.count:
        if (message := consumer.poll(1.0)) is not None:
            cursor.execute(f"INSERT INTO trades ({_COLUMNS}) VALUES ({places}) ON CONFLICT DO NOTHING", decode(message))
            connection.commit()
            progress.commit(1)
    consumer.close()


def _consumer(task: Task, settings: dict[str, Any]) -> Consumer:
    common = {"group.id": task.group, "auto.offset.reset": "earliest", "fetch.queue.backoff.ms": 5}
    consumer = Consumer({**task.kafka, **common, **settings})
    consumer.subscribe([task.topic])
    return consumer


class _Decoder:
    """Decodes a message into the values of `_COLUMNS`, with fastavro."""

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self._schemas: dict[int, Any] = {}

    def __call__(self, message: Message) -> tuple[Any, ...]:
        value = message.value()
        assert value is not None
        schema_id = int.from_bytes(value[1:5], "big")
        if schema_id not in self._schemas:
            with urllib.request.urlopen(f"{self._registry}/schemas/ids/{schema_id}", timeout=10) as answer:
                self._schemas[schema_id] = parse_schema(json.loads(json.load(answer)["schema"]))
        trade: Any = schemaless_reader(io.BytesIO(value[5:]), self._schemas[schema_id], None)
        return message.topic(), *trade.values(), message.partition(), message.offset(), schema_id
