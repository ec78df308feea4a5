"""Kafka Connect with Debezium's JDBC sink connector and Apicurio's converter: one worker, started and measured."""

import json
import os
import time
import urllib.error
import urllib.request
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import psycopg2
from psycopg2.extensions import parse_dsn

from benchmarks.contender import Commit, Progress, Task, peak_mebibytes
from tests.services import downloads
from tests.services.java import java
from tradepipe.embedded.process import ChildProcess, TempFolder, free_port

PREPARATION: Final = """
DROP VIEW current_trades;
ALTER TABLE trades DROP CONSTRAINT "CREATED_AT", DROP CONSTRAINT "MATURITY_DATE";
ALTER TABLE trades ALTER created_at TYPE bigint USING 0;
ALTER TABLE trades
    ADD CONSTRAINT "CREATED_AT" CHECK (created_at >= -62135596800000000 AND created_at < 253402300800000000),
    ADD CONSTRAINT "MATURITY_DATE" CHECK (
        maturity_date <= DATE '9999-12-31' AND maturity_date >= DATE '0001-01-01'
        AND maturity_date >= (to_timestamp(created_at / 1e6) AT TIME ZONE 'UTC')::date
    );
"""
"""Connect has no type for timestamp-micros, so created_at is a bigint; the CHECKs are the same."""

_WORKER: Final = """
bootstrap.servers={bootstrap}
listeners=HTTP://127.0.0.1:{port}
plugin.path={plugins}
offset.storage.file.filename={folder}/offsets
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=io.apicurio.registry.utils.converter.AvroConverter
value.converter.apicurio.registry.url={registry}
value.converter.apicurio.registry.as-confluent=true
value.converter.apicurio.registry.use-id=contentId
value.converter.apicurio.registry.headers.enabled=false
consumer.max.poll.records={batch}
"""
_CONNECTOR: Final = """
name={name}
connector.class=io.debezium.connector.jdbc.JdbcSinkConnector
topics={topic}
connection.url=jdbc:postgresql://{database[host]}:{database[port]}/{database[dbname]}?reWriteBatchedInserts=true
connection.username={database[user]}
connection.password={database[password]}
insert.mode=upsert
primary.key.mode=record_value
primary.key.fields=trade_id,version
schema.evolution=none
collection.name.format=trades
batch.size={batch}
"""
_SAMPLE_SECONDS: Final = 0.2
_SAMPLES_PER_COUNT: Final = 5
_PATIENCE_SECONDS: Final = 180.0
"""Seconds without a stored record after which something is wrong; a start takes half a minute."""


def store(task: Task, progress: Progress) -> None:
    """Store trades by upserts, as the connector's documentation recommends; idempotent, as ours are."""
    folder, port = TempFolder("connect"), free_port()
    values = {
        "bootstrap": task.kafka["bootstrap.servers"],
        "port": port,
        "plugins": downloads.connect_plugins(),
        "folder": folder.path,
        "registry": task.registry.replace("/ccompat/v7", "/registry/v2"),
        "batch": task.batch,
        # The consumer group is named after it: another run must not continue where this one ends.
        "name": task.group,
        "topic": task.topic,
        "database": parse_dsn(task.database),
    }
    files = {"worker": _WORKER, "connector": _CONNECTOR}
    for name, properties in files.items():
        (folder.path / name).write_text(properties.format(**values))
    worker = ChildProcess(
        [
            java() / "bin" / "java",
            "-Xmx1g",
            *("-cp", f"{downloads.kafka_tools()}/*", "org.apache.kafka.connect.cli.ConnectStandalone"),
            *(str(folder.path / name) for name in files),
        ],
        log=folder.path / "log",
        folder=folder.path,
        environment={"HOME": str(folder.path), "LC_ALL": "C.UTF-8"},
    )
    try:
        samples = _sample_until_stored(task, worker, port)
        progress.commits = _commits(task, samples)
        progress.mebibytes = peak_mebibytes(worker.pid)
    finally:
        worker.stop()
        folder.close()


def _sample_until_stored(task: Task, worker: ChildProcess, port: int) -> list[tuple[float, float]]:
    """Return times, on the monotonic clock, with the worker's CPU time until then."""
    samples: list[tuple[float, float]] = []
    connection = psycopg2.connect(task.database)
    connection.autocommit = True
    cursor = connection.cursor()
    stored, stored_at = 0, time.monotonic()
    while True:
        samples.append((time.monotonic(), _cpu(worker.pid)))
        if len(samples) % _SAMPLES_PER_COUNT == 0:
            cursor.execute("SELECT count(*) FROM trades")
            (count,) = cursor.fetchone() or (0,)
            if count == task.count:
                return samples
            if count > stored:
                stored, stored_at = count, time.monotonic()
            elif time.monotonic() - stored_at > _PATIENCE_SECONDS:
                raise RuntimeError(
                    f"Kafka Connect stored {stored} records of {task.count}, then no more: {worker.output}"
                )
            _raise_for_failure(worker, port, task.group)
        time.sleep(_SAMPLE_SECONDS)


def _commits(task: Task, samples: list[tuple[float, float]]) -> list[Commit]:
    """Return the start of each transaction, which stored_at has, with the records that were committed by then."""
    cursor = psycopg2.connect(task.database).cursor()
    cursor.execute("SELECT extract(epoch FROM stored_at)::float, count(*) FROM trades GROUP BY 1 ORDER BY 1")
    found: list[tuple[float, int]] = cursor.fetchall()
    to_monotonic = time.monotonic() - time.time()
    before = accumulate((records for _, records in found), initial=0)
    times = [at for at, _ in samples]
    return [
        Commit(at + to_monotonic, samples[max(bisect_right(times, at + to_monotonic) - 1, 0)][1], records)
        for (at, _), records in zip(found, before, strict=False)
    ]


def _raise_for_failure(worker: ChildProcess, port: int, name: str) -> None:
    if not worker.is_alive:
        raise RuntimeError(f"Kafka Connect ended: {worker.output}")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/connectors/{name}/status", timeout=5) as answer:
            status: Any = json.load(answer)
    except (urllib.error.URLError, TimeoutError):
        return  # it is still starting
    for failed in (each for each in (status["connector"], *status["tasks"]) if each["state"] == "FAILED"):
        raise RuntimeError(f"Kafka Connect failed: {failed['trace']}")


def _cpu(pid: int) -> float:
    """Return the seconds that a process has used the processors, its ended threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
