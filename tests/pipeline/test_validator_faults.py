"""What must hold while validators die, freeze and come back: every record in exactly one of two topics, once."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.eventually import eventually
from tests.pipeline.sorted import committed_records
from tests.proxy import Proxy
from tradepipe import Validator, metrics
from tradepipe.contract import samples
from tradepipe.wire import unknown_ids

pytestmark = pytest.mark.usefixtures("targets")


class ValidatorProcess:
    """`python -m tradepipe.validate` on a test's pipeline."""

    def __init__(self, pipeline, log: Path, *options: str) -> None:
        addresses = {
            "KAFKA_BOOTSTRAP_SERVERS": pipeline.kafka["bootstrap.servers"],
            "SCHEMA_REGISTRY_URL": pipeline.registry_url,
        }
        named = ["--topic", pipeline.topic, "--clean", pipeline.clean, "--dead-letters", pipeline.dead_letters]
        named += ["--group", f"{pipeline.topic}-validator", "--subject", pipeline.subject]
        settings = [part for key, value in pipeline.kafka.items() for part in ("-X", f"{key}={value}")]
        self.log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tradepipe.validate", *named, *settings, *options],
                env={**os.environ, **addresses},
                stdout=stream,
                stderr=stream,
            )

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = 60) -> int:
        return self._process.wait(timeout)

    def says(self, text: str, within: float = 40) -> None:
        eventually(lambda: text in self.log.read_text(), within=within)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.wait()


@pytest.fixture
def start_validator(pipeline, tmp_path) -> Iterator[Callable[..., ValidatorProcess]]:
    """Starts validators as processes; the test's end kills those that still run."""
    started: list[ValidatorProcess] = []

    def start(*options: str) -> ValidatorProcess:
        started.append(ValidatorProcess(pipeline, tmp_path / f"validator-{len(started)}.log", *options))
        return started[-1]

    yield start
    for process in started:
        if process.runs:
            process.kill()
        print(process.log, process.log.read_text(), sep="\n")


def mixture(pipeline, count: int, seed: int = 5) -> list[tuple[bytes, bytes | None]]:
    """Keys and values of trades and of bad records, every twentieth bad."""
    bad = samples.bad_records(seed, pipeline.serialize)
    records: list[tuple[bytes, bytes | None]] = []
    for number, trade in enumerate(islice(samples.trades(seed), count)):
        records.append((trade.trade_id.encode(), pipeline.serialize(trade)))
        if number % 20 == 19:
            each = next(bad)
            records.append((each.key, each.value))
    return records


class Running(threading.Thread):
    """A validator that runs in a thread of its own; stopped in the end, and what it raised is raised."""

    def __init__(self, validator: Validator) -> None:
        super().__init__(name="validator", daemon=True)
        self.validator = validator
        self.raised: BaseException | None = None

    def run(self) -> None:
        try:
            self.validator.run()
        except BaseException as error:  # told to the test
            self.raised = error

    def end(self) -> None:
        self.validator.stop()
        self.join(40)
        assert not self.is_alive()


@contextmanager
def running(validator: Validator) -> Iterator[Validator]:
    thread = Running(validator)
    thread.start()
    try:
        yield validator
    finally:
        thread.end()
    if thread.raised:
        raise thread.raised


def done(validator: Validator) -> int:
    return validator.counts.passed + validator.counts.refused.total()


def value(validator: Validator, metric: metrics.Metric, *labels: str) -> float:
    return validator.meter.values(metric).get(labels, 0)


def how_many_are_sorted(pipeline) -> int:
    return sum(len(committed_records(pipeline.kafka, name)) for name in (pipeline.clean, pipeline.dead_letters))


@pytest.fixture
def written(pipeline) -> Iterator[Callable[[], int]]:
    """How far the log of valid trades reaches, open transactions included; quickly told."""
    client = Consumer({"bootstrap.servers": pipeline.kafka["bootstrap.servers"], "group.id": "tests"})
    places = [TopicPartition(pipeline.clean, partition) for partition in range(4)]
    yield lambda: sum(client.get_watermark_offsets(place, timeout=20)[1] for place in places)
    client.close()


@pytest.mark.real
def test_killed_again_and_again_validators_put_each_record_into_one_topic_once(pipeline, start_validator, written):
    """Most kills hit a transaction; what it wrote stays invisible, and is written again by the next one."""
    # For so long an open transaction of a killed one holds up who reads what is committed.
    pipeline.kafka |= {"transaction.timeout.ms": 5_000, "socket.timeout.ms": 4_000}
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    moments = random.Random(seed)
    records = mixture(pipeline, 5_000)
    pipeline.publish_bytes(records)
    for _ in range(3):
        validator, target = start_validator("--batch-records", "50"), written() + moments.randrange(1, 600)
        eventually(lambda target=target: written() >= target, within=60, every=0)
        validator.kill()

    pipeline.validate()

    eventually(lambda: len(records) == how_many_are_sorted(pipeline), within=30, every=0.2)
    pipeline.sorted().check()


@pytest.mark.real
def test_a_frozen_validator_wakes_up_adds_nothing_and_joins_again(pipeline, start_validator):
    first, second = mixture(pipeline, 400), mixture(pipeline, 400, seed=6)
    frozen = start_validator()
    frozen.says("reading")
    pipeline.publish_bytes(first)
    eventually(lambda: how_many_are_sorted(pipeline) > 0, within=30, every=0)
    frozen.signal(signal.SIGSTOP)
    other = start_validator()
    pipeline.publish_bytes(second)
    eventually(lambda: how_many_are_sorted(pipeline) == len(first + second), within=60, every=0.2)

    frozen.signal(signal.SIGCONT)

    frozen.says("revoked")
    eventually(lambda: frozen.log.read_text().count("assigned") > 1, within=40)
    for validator in (frozen, other):
        validator.signal(signal.SIGTERM)
        assert 0 == validator.wait(25)
    pipeline.sorted().check()


@pytest.mark.real
def test_a_crash_of_the_broker_pauses_the_validator_which_goes_on_by_itself(pipeline, parts):
    records = mixture(pipeline, 2_000)
    pipeline.publish_bytes(records[:1_000])
    with running(pipeline.validator(batch_records=100)) as validator:
        eventually(lambda: done(validator) > 0, within=30)
        parts.kafka.kill()
        parts.kafka.start()
        pipeline.publish_bytes(records[1_000:])
        eventually(lambda: validator.lag == 0 and len(records) == how_many_are_sorted(pipeline), within=90)

    pipeline.sorted().check()


def through(proxy: Proxy, url: str) -> str:
    """A URL of 127.0.0.1 that leads through a proxy."""
    before, _, after = url.partition("127.0.0.1:")
    return f"{before}127.0.0.1:{proxy.port}{after.lstrip('0123456789')}"


@pytest.mark.embedded
def test_a_registry_that_is_away_refuses_nothing(pipeline, monkeypatch):
    monkeypatch.setattr(unknown_ids, "SECOND_LOOK", 0.25)
    records = mixture(pipeline, 200)
    pipeline.publish_bytes(records)
    port = int(pipeline.registry_url.partition("127.0.0.1:")[2].partition("/")[0])
    with Proxy(port) as proxy:
        validator = pipeline.validator(registry=through(proxy, pipeline.registry_url), delivery="at_least_once")
        proxy.blackhole()
        with running(validator):
            eventually(lambda: validator.waiting_for == "the registry", within=30)
            assert (0, {}) == (validator.counts.passed, validator.counts.refused)
            proxy.heal()
            eventually(lambda: done(validator) == len(records), within=60)

    pipeline.sorted().check()


@pytest.mark.real
def test_two_validators_with_one_transactional_id_do_not_fight_for_ever(pipeline):
    """Kafka lets each take it from the other; one gives up, and says which id it was."""
    threads = [Running(pipeline.validator(transactional_id=f"{pipeline.topic}-id")) for _ in range(2)]
    records = iter(mixture(pipeline, 20_000))
    for thread in threads:
        thread.start()

    def one_has_ended() -> bool:
        pipeline.publish_bytes(islice(records, 40))
        return any(not thread.is_alive() for thread in threads)

    eventually(one_has_ended, within=60)
    for thread in threads:
        thread.end()

    told = [str(thread.raised) for thread in threads if thread.raised]
    assert any(f"transactional.id {pipeline.topic}-id was taken from this process 3 times" in text for text in told)
    pipeline.validate()
    pipeline.sorted().check()
