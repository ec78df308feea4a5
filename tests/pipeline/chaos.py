"""Random faults of brokers, of PostgreSQL and of stages, while records flow from the producer to the table."""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from random import Random
from typing import Final, NamedTuple

from confluent_kafka import Producer as KafkaProducer

from tests.eventually import eventually
from tests.pipeline.processes import StageProcess
from tests.services.kafka import Kafka
from tradepipe import Trade
from tradepipe.errors import Unavailable
from tradepipe.trade import samples

RECOVERY_SECONDS: Final = 180.0
"""Within which the records flow again once all faults have ended; the brokers of a busy machine start slowly."""

ATTEMPTS: Final = 3
"""To start a broker."""

MEMBERS: Final = 2
"""Sinks, and validators, that run at the same time."""


class Publisher(threading.Thread):
    """Sends trades and bad records until it is stopped; `trades` are those that the producer has accepted."""

    def __init__(self, pipeline, seed: int) -> None:
        super().__init__(name="publisher", daemon=True)
        self._pipeline = pipeline
        self._seed = seed
        self._stopping = threading.Event()
        self.trades: list[Trade] = []
        self.bad = 0
        self.raised: BaseException | None = None

    def run(self) -> None:
        """Send; a trade that the producer did not take is sent again."""
        try:
            self._send_all()
        except BaseException as error:  # reported to the test
            self.raised = error

    def end(self) -> None:
        """Stop it, and wait until everything is acknowledged."""
        self._stopping.set()
        self.join(RECOVERY_SECONDS)
        assert not self.is_alive()
        if self.raised is not None:
            raise self.raised

    def _send_all(self) -> None:
        address = {"bootstrap.servers": self._pipeline.kafka["bootstrap.servers"], "log_level": 0}
        client = KafkaProducer(
            {**address, "enable.idempotence": True, "message.timeout.ms": 0, "partitioner": "murmur2_random"}
        )
        bad = samples.bad_records(self._seed, self._pipeline.serialize)
        trades = samples.trades(self._seed)
        with self._pipeline.producer(close_timeout=RECOVERY_SECONDS) as producer:
            while not self._stopping.wait(0.1):
                for trade in islice(trades, 20):
                    self._send(producer, trade)
                each = next(bad)
                client.produce(self._pipeline.topic, each.value, each.key)
                client.poll(0)
                self.bad += 1
        assert 0 == client.flush(RECOVERY_SECONDS)

    def _send(self, producer, trade: Trade) -> None:
        while True:
            with suppress(Unavailable):
                producer.produce(trade, timeout=10)
                self.trades.append(trade)
                return


class Member:
    """One process of a stage, which is replaced when a fault has ended it."""

    def __init__(self, start: Callable[[], StageProcess]) -> None:
        self._start = start
        self.process = start()

    def check(self) -> None:
        """Fail if the process ended by itself."""
        assert self.process.runs, f"exit code {self.process.wait()}: {self.process.log.read_text()[-3_000:]}"

    def replace(self, number: int) -> None:
        """End the process by a signal, and start another one."""
        self.check()
        self.end(number)
        self.process = self._start()

    def end(self, number: int = signal.SIGTERM) -> None:
        """End the process by a signal; in order, unless it is killed."""
        if number == signal.SIGTERM:
            self.process.says("records/s")  # before that it has nothing to finish, and exits with 143
        self.process.signal(number)
        code = self.process.wait(200)
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0), self.process.log.read_text()[-3_000:]


class Fault(NamedTuple):
    """A fault, with what ends it."""

    name: str
    begin: Callable[[], object]
    end: Callable[[], object]


class Chaos:
    """One run: faults in random order, some at the same time, and progress after each."""

    def __init__(self, random: Random, cluster, postgres, members: list[Member], progress: Callable[[], int]) -> None:
        self._random = random
        self._cluster = cluster
        self._postgres = postgres
        self._members = members
        self._progress = progress
        self.faults: list[str] = []

    def run(self, seconds: float) -> None:
        """Begin and end faults for this time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._disturb()
            before = self._progress()
            eventually(lambda before=before: self._has_passed(before), within=RECOVERY_SECONDS, every=0.5)  # type: ignore[misc]

    def _has_passed(self, before: int) -> bool:
        self._check_members()
        return self._progress() > before

    def _check_members(self) -> None:
        for member in self._members:
            member.check()

    def _disturb(self) -> None:
        """Let one or two faults overlap for a random time."""
        faults = self._choose()
        self.faults += [fault.name for fault in faults]
        for fault in faults:
            print(f"{time.strftime('%H:%M:%S')} {fault.name}", flush=True)
            fault.begin()
            # Not a condition: lengths of faults, between a hiccup and longer than any session timeout.
            threading.Event().wait(self._random.choice((0.0, 0.5, 3.0)))
        threading.Event().wait(self._random.choice((0.2, 2.0, 8.0, 15.0)))
        self._check_members()
        for fault in faults:
            fault.end()

    def _choose(self) -> list[Fault]:
        random, brokers = self._random, random_sample(self._random, self._cluster.brokers)
        chosen = [self._of_broker(broker) for broker in brokers[: random.choice((0, 1, 1, 1, 2))]]
        if random.random() < 0.35:
            chosen.append(self._of_postgres())
        if random.random() < 0.35 or not chosen:
            chosen.append(self._of_member(random.choice(self._members)))
        return chosen

    def _of_broker(self, broker) -> Fault:
        name = self._random.choice(("kill", "kill", "stop", "freeze"))
        end = broker.thaw if name == "freeze" else partial(_start, broker)
        return Fault(f"{name} broker {self._cluster.brokers.index(broker) + 1}", getattr(broker, name), end)

    def _of_postgres(self) -> Fault:
        postgres = self._postgres
        return self._random.choice(
            (
                Fault("kill PostgreSQL", postgres.kill, postgres.start),
                Fault("stop PostgreSQL", lambda: postgres.stop("immediate"), postgres.start),
                Fault("freeze PostgreSQL", postgres.freeze, postgres.thaw),
            )
        )

    def _of_member(self, member: Member) -> Fault:
        number = self._members.index(member)
        return self._random.choice(
            (
                Fault(f"kill stage {number}", lambda: member.replace(signal.SIGKILL), _do_nothing),
                Fault(f"terminate stage {number}", lambda: member.replace(signal.SIGTERM), _do_nothing),
                Fault(
                    f"freeze stage {number}",
                    lambda: member.process.signal(signal.SIGSTOP),
                    lambda: member.process.signal(signal.SIGCONT),
                ),
            )
        )


def _start(broker: Kafka) -> None:
    """Start a broker; on a machine that is too busy it does not answer in time, and is started again."""
    for _ in range(ATTEMPTS - 1):
        with suppress(RuntimeError):
            broker.start()
            return
    broker.start()


def random_sample(random: Random, items: list) -> list:
    """Return the items in random order."""
    return random.sample(items, len(items))


def _do_nothing() -> None:
    pass
