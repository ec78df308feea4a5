"""Apache Kafka: a node, as KRaft."""

import base64
import hashlib
import os
import shutil
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from signal import SIGTERM
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from tests.eventually import eventually
from tests.services import downloads
from tests.services.broker import Broker
from tests.services.java import START_TIMEOUT, JavaServer, java, java_version
from tradepipe.embedded.process import ChildProcess, free_port

_PROPERTIES: Final = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/logs
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
metadata.max.idle.interval.ms=0
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=1000
# Tests send records of past years, which the default of a week deletes half a minute after the start.
log.retention.ms=-1
# 128 MB by default, allocated at the start.
log.cleaner.dedupe.buffer.size=4194304
{further}
"""

_CLASSES: Final = "classes.aot"
_SAVES_CLASSES: Final = 25
"""The first Java that saves loaded classes by one option (JEP 514)."""

_FIRST_RECORDS: Final = "bootstrap.checkpoint"
_META: Final = """
version=1
cluster.id={}
directory.id={}
node.id={}
"""


class Kafka(JavaServer, Broker):
    """
    A broker on 127.0.0.1, on the same ports as long as it is not closed.

    After a kill the controller takes it back when `broker.session.timeout.ms` is
    over: 9 s by default, 3 s here.

    Args:
        properties: further lines of `server.properties`.

        advertised_port: the port that clients use, if a proxy is between.

        users: the passwords of users who may come by SCRAM-SHA-512, known when the broker has started.
    """

    name = "kafka"

    def __init__(
        self,
        *,
        properties: Mapping[str, str] | None = None,
        advertised_port: int | None = None,
        users: Mapping[str, str] | None = None,
        is_optimized: bool = False,
    ) -> None:
        super().__init__(is_optimized=is_optimized)
        self.port = free_port()
        self.controller_port = free_port()
        self._advertised = advertised_port or self.port
        self.bootstrap_servers = f"127.0.0.1:{self._advertised}"
        self._further = "\n".join(f"{name}={value}" for name, value in (properties or {}).items())
        self.cluster_id = _new_id()
        self._node = 1
        self._users = dict(users or {})

    def join(self, number: int, controllers: Mapping[int, int], cluster_id: str) -> None:
        """Make it, before its start, node `number` of a cluster with these controllers, node to port."""
        self.cluster_id = cluster_id
        quorum = ",".join(f"{node}@127.0.0.1:{port}" for node, port in controllers.items())
        # The last value of a property counts.
        self._further += f"\nnode.id={number}\ncontroller.quorum.voters={quorum}"
        self._node = number

    def prepare(self) -> None:
        properties = _PROPERTIES.format(
            port=self.port,
            controller=self.controller_port,
            advertised=self._advertised,
            folder=self.folder,
            further=self._further,
        )
        (self.folder / "server.properties").write_text(properties)
        # Formatting takes half as much CPU time as a start, and the metadata log always begins with the same records.
        formatted = downloads.kept(f"kafka-format-{downloads.KAFKA_VERSION}", self._save_format)
        logs = self.folder / "logs"
        logs.mkdir()
        shutil.copy(formatted / _FIRST_RECORDS, logs)
        (logs / "meta.properties").write_text(_META.format(self.cluster_id, _new_id(), self._node))

    def start(self) -> Self:
        super().start()
        if self._users:
            self._add_users()
        return self

    def launch(self) -> ChildProcess:
        return self._kafka(*self.class_options(), "-Xms256m", "-Xmx1g", "kafka.Kafka")

    def class_options(self) -> tuple[str, ...]:
        """Java's options about saved classes; those who optimize start as they would elsewhere."""
        return saved_classes() if self._options else ()

    def is_ready(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        try:
            return bool(self._admin(f"127.0.0.1:{self.port}").list_topics(timeout=5).brokers)
        except KafkaException:
            return False

    def _add_users(self) -> None:
        admin = self._admin()
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        users = [UserScramCredentialUpsertion(name, how, password.encode()) for name, password in self._users.items()]
        for answer in admin.alter_user_scram_credentials(users).values():
            answer.result(timeout=120)
        # The controller answers before the broker knows them.
        eventually(lambda: self._users.keys() <= admin.describe_user_scram_credentials().result(timeout=120).keys())

    def _format(self) -> None:
        formatted = self._kafka("-Xmx128m", "kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c")
        formatted.wait()
        if formatted.exit_code:
            raise RuntimeError(f"Kafka's folder could not be formatted: {formatted.output}")

    def _save_format(self, folder: Path) -> None:
        """Format this broker's folder, and save what is the same for all brokers."""
        self._format()
        (folder / "whole").mkdir()
        shutil.copy(self.folder / "logs" / _FIRST_RECORDS, folder / "whole")
        shutil.rmtree(self.folder / "logs")

    def _kafka(self, *arguments: str) -> ChildProcess:
        jars = ("-cp", f"{downloads.kafka()}/*")
        return self.run(*jars, *arguments, str(self.folder / "server.properties"))


class _Forerunner(Kafka):
    """A broker that, when it ends, saves the classes it has loaded."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def class_options(self) -> tuple[str, ...]:
        return (f"-XX:AOTCacheOutput={self._file}",)

    def save(self) -> None:
        with self:
            assert self._child is not None
            self._child.stop(SIGTERM, timeout=START_TIMEOUT)
            if not self._file.exists():
                raise RuntimeError(f"Java has not saved Kafka's classes: {self._child.output}")


@cache
def saved_classes() -> tuple[str, ...]:
    """
    Options with which Java maps Kafka's classes from a file, if it can: that halves the CPU time of a start.

    The file is made once, which takes 13 s of CPU time. Java uses it only with the very jars it was made with.
    """
    if java_version() < _SAVES_CLASSES:
        return ()
    jars = [f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in sorted(downloads.kafka().iterdir())]
    digest = hashlib.sha256("\n".join([str(java()), (java() / "release").read_text(), *jars]).encode()).hexdigest()[:16]
    return (f"-XX:AOTCache={downloads.kept(f'kafka-classes-{digest}', _save_classes) / _CLASSES}",)


def _save_classes(folder: Path) -> None:
    whole = folder / "whole"
    whole.mkdir()
    _Forerunner(whole / _CLASSES).save()


def _new_id() -> str:
    """Return a random id that does not begin with "-", which would be taken for an option."""
    return "t" + base64.urlsafe_b64encode(os.urandom(16)).decode()[1:22]
