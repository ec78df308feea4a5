"""The reference: a simple script that inserts and commits the trades of a topic row by row."""

import io
import json
import time
import urllib.request

import psycopg2
from confluent_kafka import Consumer
from fastavro import parse_schema, schemaless_reader

from benchmarks.publish_trades import Published

_INSERT = """
INSERT INTO trades (trade_id, version, counterparty_id, book_id, maturity_date, created_at,
                    side, notional, currency, source_topic, source_partition, source_offset, schema_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (trade_id, version) DO NOTHING
"""


def store_row_by_row(published: Published, database: str, *, rows: int, group: str) -> float:
    """Return the seconds for a number of records, from the first one on, without joining and connecting."""
    consumer = Consumer({**published.kafka, "group.id": group, "auto.offset.reset": "earliest"})
    connection = psycopg2.connect(database)
    cursor = connection.cursor()
    schemas = {}
    try:
        consumer.subscribe([published.topic])
        begin, done = 0.0, 0
        while done < rows:
            message = consumer.poll(1.0)
            if message is None:
                continue
            begin = begin or time.perf_counter()
            value = message.value()
            schema_id = int.from_bytes(value[1:5], "big")
            if schema_id not in schemas:
                schemas[schema_id] = _schema(published.registry, schema_id)
            trade = schemaless_reader(io.BytesIO(value[5:]), schemas[schema_id], None)
            place = (message.topic(), message.partition(), message.offset())
            cursor.execute(_INSERT, (*trade.values(), *place, schema_id))
            connection.commit()
            done += 1
        return time.perf_counter() - begin
    finally:
        consumer.close()
        connection.close()


def _schema(registry: str, schema_id: int):
    with urllib.request.urlopen(f"{registry}/schemas/ids/{schema_id}", timeout=10) as answer:
        return parse_schema(json.loads(json.load(answer)["schema"]))
