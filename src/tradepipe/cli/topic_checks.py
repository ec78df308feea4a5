"""Checks of a topic's settings against tradepipe's guarantees."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final, NamedTuple

from tradepipe.cli.parsing import format_duration
from tradepipe.kafka.admin import Topic
from tradepipe.pipeline.validator_outputs import HEADER_ALLOWANCE

MIN_RETENTION_MS: Final = 72 * 3_600_000
"""Recommended retention: longer than an outage over a weekend."""

MAX_BATCH_BYTES: Final = 1_000_000
"""Size of the largest batch a producer sends: librdkafka's `message.max.bytes`."""


class Severity(Enum):
    """Effect of a setting on the guarantees."""

    FINE = "fine"
    ADVICE = "advice"
    """The guarantees hold, but with less margin than a production cluster should have."""

    FINDING = "finding"
    """A guarantee does not hold."""


class SettingCheck(NamedTuple):
    """The result of checking one setting of a topic."""

    setting: str
    value: str
    severity: Severity
    reason: str


_Checked = tuple[Severity, str]


def check_settings(topic: Topic, settings: Mapping[str, str]) -> Iterator[SettingCheck]:
    """Check a topic's settings, except those that the brokers do not report."""
    count = len(topic.partitions)
    yield SettingCheck("partitions", str(count), Severity.FINE, f"up to {count} sinks can share the work")
    replication = topic.replication
    if replication is not None:
        yield SettingCheck("replication factor", str(replication), *_replication(replication))
    for name, check in _CHECKS.items():
        if (value := settings.get(name)) is not None:
            shown = format_duration(int(value)) if name == "retention.ms" else value
            yield SettingCheck(name, shown, *check(value, replication or 1))


def settings_like(source: Mapping[str, str]) -> dict[str, str]:
    """Return the settings for a validator's output topic, derived from those of its source topic."""
    found = {name: source[name] for name in ("retention.ms", "min.insync.replicas") if name in source}
    if "max.message.bytes" in source:
        found["max.message.bytes"] = str(int(source["max.message.bytes"]) + HEADER_ALLOWANCE)
    return found


def compare_settings(settings: Mapping[str, str], source: Mapping[str, str]) -> Iterator[SettingCheck]:
    """Check the settings of a validator's output topic against those of its source topic."""
    wanted = settings_like(source)
    for name, check in (("max.message.bytes", _compare_record_size), ("retention.ms", _compare_retention)):
        if name in settings and name in wanted:
            value = int(settings[name])
            shown = format_duration(value) if name == "retention.ms" else str(value)
            yield SettingCheck(name, shown, *check(value, int(wanted[name])))


def _compare_record_size(takes: int, wanted: int) -> _Checked:
    if takes < wanted - HEADER_ALLOWANCE:
        return (
            Severity.FINDING,
            f"set it to at least {wanted - HEADER_ALLOWANCE}: the largest records of its source do not fit",
        )
    if takes < wanted:
        return Severity.ADVICE, f"enough for valid trades; dead letters have additional headers and need {wanted}"
    return Severity.FINE, "fits the largest record of its source, also as a dead letter"


def _compare_retention(keeps: int, wanted: int) -> _Checked:
    if keeps >= 0 and (wanted < 0 or keeps < wanted):
        return Severity.ADVICE, f"set it to {format_duration(wanted)} as its source: slow consumers may lose records"
    return Severity.FINE, "at least that of its source"


def _replication(number: int) -> _Checked:
    if number >= 3:
        return Severity.FINE, "the log survives the loss of any broker"
    return Severity.ADVICE, "use 3 in production: acknowledged trades are lost with their broker"


def _in_sync(value: str, replication: int) -> _Checked:
    number = int(value)
    if number > replication:
        return Severity.FINDING, f"more than the replication factor {replication}: no trade can be acknowledged"
    if number < 2:
        return Severity.ADVICE, "use 2 in production: one broker alone may acknowledge a trade, and be lost with it"
    if number == replication:
        return Severity.ADVICE, "use fewer than the replication factor: producers wait while any broker is down"
    return Severity.FINE, "an acknowledged trade is on that many brokers"


def _cleanup(value: str, _replication: int) -> _Checked:
    if "compact" in value:
        return Severity.FINDING, "set it to delete: compaction drops versions of trades"
    return Severity.FINE, "records are deleted by age or size only"


def _unclean(value: str, _replication: int) -> _Checked:
    if value == "true":
        return Severity.FINDING, "set it to false: a replica that lacks acknowledged trades may become the leader"
    return Severity.FINE, "only a replica with all acknowledged trades becomes the leader"


def _retention(value: str, _replication: int) -> _Checked:
    if 0 <= int(value) < MIN_RETENTION_MS:
        return (
            Severity.ADVICE,
            "use at least 3 days: records that no sink stored by then are lost",
        )
    return Severity.FINE, "must exceed the longest outage"


def _retention_bytes(value: str, _replication: int) -> _Checked:
    if int(value) >= 0:
        return Severity.ADVICE, "use -1: a partition is truncated at this size even during an outage"
    return Severity.FINE, "no record is deleted by size"


def _message_bytes(value: str, _replication: int) -> _Checked:
    if int(value) < MAX_BATCH_BYTES:
        return (
            Severity.ADVICE,
            f"use at least {MAX_BATCH_BYTES}: brokers would reject the largest batches of a producer",
        )
    return Severity.FINE, "fits the largest batch of a producer"


def _compression(value: str, _replication: int) -> _Checked:
    if value == "zstd":
        return Severity.FINE, "no batch unpacks to more than a consumer's receive.message.max.bytes"
    return (
        Severity.ADVICE,
        "use zstd if writers are not trusted: consumers unpack batches of other codecs without a limit",
    )


_CHECKS: Final = {
    "min.insync.replicas": _in_sync,
    "unclean.leader.election.enable": _unclean,
    "cleanup.policy": _cleanup,
    "retention.ms": _retention,
    "retention.bytes": _retention_bytes,
    "max.message.bytes": _message_bytes,
    "compression.type": _compression,
}
