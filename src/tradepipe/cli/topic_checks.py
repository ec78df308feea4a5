"""Whether a topic is set up so that what tradepipe promises holds."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final, NamedTuple

from tradepipe.cli.parsing import format_duration
from tradepipe.kafka.admin import Topic
from tradepipe.pipeline.validator_outputs import HEADER_ALLOWANCE

WEEKEND: Final = 72 * 3_600_000
"""Milliseconds of the longest outage that nobody may be there to end."""

BATCH: Final = 1_000_000
"""Bytes of the largest batch a producer sends: librdkafka's `message.max.bytes`."""


class Severity(Enum):
    """What a setting does to the promises."""

    FINE = "fine"
    ADVICE = "advice"
    """They hold, but for less than a production cluster should bear."""

    FINDING = "finding"
    """One of them does not hold."""


class SettingCheck(NamedTuple):
    """One setting of a topic, and what is to be said of it."""

    setting: str
    value: str
    severity: Severity
    reason: str


_Checked = tuple[Severity, str]


def check_settings(topic: Topic, settings: Mapping[str, str]) -> Iterator[SettingCheck]:
    """What is to be said of a topic's settings, those that brokers do not tell left out."""
    count = len(topic.partitions)
    yield SettingCheck("partitions", str(count), Severity.FINE, f"up to {count} sinks share the work")
    replication = topic.replication
    if replication is not None:
        yield SettingCheck("replication factor", str(replication), *_replication(replication))
    for name, judge in _CHECKS.items():
        if (value := settings.get(name)) is not None:
            shown = format_duration(int(value)) if name == "retention.ms" else value
            yield SettingCheck(name, shown, *judge(value, replication or 1))


def settings_like(source: Mapping[str, str]) -> dict[str, str]:
    """The settings of a topic that a validator writes into, by those of the one it reads."""
    found = {name: source[name] for name in ("retention.ms", "min.insync.replicas") if name in source}
    if "max.message.bytes" in source:
        found["max.message.bytes"] = str(int(source["max.message.bytes"]) + HEADER_ALLOWANCE)
    return found


def compare_settings(settings: Mapping[str, str], source: Mapping[str, str]) -> Iterator[SettingCheck]:
    """What is to be said of the settings of a topic that a validator writes into, beside those of its source."""
    wanted = settings_like(source)
    for name, judge in (("max.message.bytes", _check_batch_size), ("retention.ms", _check_segment)):
        if name in settings and name in wanted:
            value = int(settings[name])
            shown = format_duration(value) if name == "retention.ms" else str(value)
            yield SettingCheck(name, shown, *judge(value, int(wanted[name])))


def _check_batch_size(takes: int, wanted: int) -> _Checked:
    if takes < wanted - HEADER_ALLOWANCE:
        return Severity.FINDING, f"{wanted - HEADER_ALLOWANCE} at least: records that its source takes would not fit"
    if takes < wanted:
        return Severity.ADVICE, f"enough for valid trades; {wanted} for dead letters, which have headers of their own"
    return Severity.FINE, "takes the largest record of its source, as a dead letter too"


def _check_segment(keeps: int, wanted: int) -> _Checked:
    if keeps >= 0 and (wanted < 0 or keeps < wanted):
        return Severity.ADVICE, f"{format_duration(wanted)} as its source: what is read late may be gone"
    return Severity.FINE, "kept for as long as its source"


def _replication(number: int) -> _Checked:
    if number >= 3:
        return Severity.FINE, "the log outlives the loss of any broker"
    return Severity.ADVICE, "3 in production: acknowledged trades are lost with the broker they lie on"


def _in_sync(value: str, replication: int) -> _Checked:
    number = int(value)
    if number > replication:
        lies = f"the log lies on {replication} broker{'' if replication == 1 else 's'}"
        return Severity.FINDING, f"{lies}, so no trade can ever be acknowledged"
    if number < 2:
        return Severity.ADVICE, "2 in production: one broker alone may acknowledge a trade, and be lost with it"
    if number == replication:
        return Severity.ADVICE, "fewer than the replicas: as it is, producers wait whenever a broker is away"
    return Severity.FINE, "an acknowledged trade lies on that many brokers"


def _cleanup(value: str, _replication: int) -> _Checked:
    if "compact" in value:
        return Severity.FINDING, "compaction would drop versions of trades: set it to delete"
    return Severity.FINE, "records go by age or size alone"


def _unclean(value: str, _replication: int) -> _Checked:
    if value == "true":
        return Severity.FINDING, "a replica that lacks acknowledged trades may become the leader: set it to false"
    return Severity.FINE, "only a replica that has all acknowledged trades becomes the leader"


def _retention(value: str, _replication: int) -> _Checked:
    if 0 <= int(value) < WEEKEND:
        return (
            Severity.ADVICE,
            "longer than the longest outage, 3 days at least: what a sink did not store by then is lost",
        )
    return Severity.FINE, "an outage must be shorter"


def _retention_bytes(value: str, _replication: int) -> _Checked:
    if int(value) >= 0:
        return Severity.ADVICE, "-1: a partition is cut at this size, however long an outage lasts"
    return Severity.FINE, "size alone drops no record"


def _message_bytes(value: str, _replication: int) -> _Checked:
    if int(value) < BATCH:
        return Severity.ADVICE, f"{BATCH} at least: producers' batches may be as large, and would be refused"
    return Severity.FINE, "takes the largest batch of a producer"


_CHECKS: Final = {
    "min.insync.replicas": _in_sync,
    "unclean.leader.election.enable": _unclean,
    "cleanup.policy": _cleanup,
    "retention.ms": _retention,
    "retention.bytes": _retention_bytes,
    "max.message.bytes": _message_bytes,
}
