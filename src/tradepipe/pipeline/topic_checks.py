"""Checks of a topic's settings against tradepipe's guarantees."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from tradepipe.kafka.admin import Topic
from tradepipe.pipeline.validator_outputs import HEADER_ALLOWANCE, NO_TIME_LIMIT, TIME_LIMIT, takes_times_of
from tradepipe.plural import format_duration

MIN_RETENTION_MS: Final = 72 * 3_600_000
"""Recommended retention: longer than an outage over a weekend."""

MAX_BATCH_BYTES: Final = 1_000_000
"""Size of the largest batch a producer sends: librdkafka's `message.max.bytes`."""


COMPRESSION_RISK: Final = (
    "consumers unpack batches of other codecs than zstd without a limit, and some batches in gzip abort them"
)
"""What a writer can do where `compression.type` is not zstd."""


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


@dataclass(frozen=True)
class _Rule:
    """When a setting is not fine, with what effect and advice, and why it is fine otherwise."""

    is_broken: Callable[[str], bool]
    severity: Severity
    advice: str
    fine: str

    def __call__(self, value: str, _replication: int) -> _Checked:
        return (self.severity, self.advice) if self.is_broken(value) else (Severity.FINE, self.fine)


def check_settings(topic: Topic, settings: Mapping[str, str]) -> Iterator[SettingCheck]:
    """Check a topic's settings, except those that the brokers do not report."""
    count = len(topic.partitions)
    yield SettingCheck("partitions", str(count), Severity.FINE, f"up to {count} sinks can share the work")
    replication = topic.replication
    if replication is not None:
        found = Severity.FINE, "the log survives the loss of any broker"
        if replication < 3:
            found = Severity.ADVICE, "use 3 in production: acknowledged trades are lost with their broker"
        yield SettingCheck("replication factor", str(replication), *found)
    for name, check in _CHECKS.items():
        if (value := settings.get(name)) is not None:
            shown = format_duration(int(value)) if name == "retention.ms" else value
            yield SettingCheck(name, shown, *check(value, replication or 1))


def settings_like(source: Mapping[str, str]) -> dict[str, str]:
    """Return the settings for a validator's output topic, derived from those of its source topic."""
    found = {name: source[name] for name in ("retention.ms", "min.insync.replicas") if name in source}
    if "max.message.bytes" in source:
        found["max.message.bytes"] = str(int(source["max.message.bytes"]) + HEADER_ALLOWANCE)
    # The source has checked the time, and the clock of another broker may be behind.
    if TIME_LIMIT in source:
        found[TIME_LIMIT] = str(NO_TIME_LIMIT)
    return found


def compare_settings(settings: Mapping[str, str], source: Mapping[str, str]) -> Iterator[SettingCheck]:
    """Check the settings of a validator's output topic against those of its source topic."""
    wanted = settings_like(source)
    if "max.message.bytes" in settings and "max.message.bytes" in wanted:
        takes, needed = int(settings["max.message.bytes"]), int(wanted["max.message.bytes"])
        largest = needed - HEADER_ALLOWANCE
        found = Severity.FINE, "fits the largest record of its source, also as a dead letter"
        if takes < largest:
            found = Severity.FINDING, f"set it to at least {largest}: the largest records of its source do not fit"
        elif takes < needed:
            advice = f"enough for valid trades; dead letters have additional headers and need {needed}"
            found = Severity.ADVICE, advice
        yield SettingCheck("max.message.bytes", str(takes), *found)
    if "retention.ms" in settings and "retention.ms" in wanted:
        keeps, needed = int(settings["retention.ms"]), int(wanted["retention.ms"])
        found = Severity.FINE, "at least that of its source"
        if keeps >= 0 and (needed < 0 or keeps < needed):
            advice = f"set it to {format_duration(needed)} as its source: slow consumers may lose records"
            found = Severity.ADVICE, advice
        yield SettingCheck("retention.ms", format_duration(keeps), *found)
    if TIME_LIMIT in settings and TIME_LIMIT in wanted:
        found = Severity.FINE, "takes the time of every record that its source takes"
        if not takes_times_of(settings, source):
            found = Severity.FINDING, f"set it to {NO_TIME_LIMIT}: its source takes later times"
        elif int(settings[TIME_LIMIT]) < NO_TIME_LIMIT:
            advice = f"set it to {NO_TIME_LIMIT}: if its broker's clock is behind, it rejects what its source takes"
            found = Severity.ADVICE, advice
        yield SettingCheck(TIME_LIMIT, settings[TIME_LIMIT], *found)


def _check_in_sync(value: str, replication: int) -> _Checked:
    number = int(value)
    if number > replication:
        return Severity.FINDING, f"more than the replication factor {replication}: no trade can be acknowledged"
    if number < 2:
        return Severity.ADVICE, "use 2 in production: one broker alone may acknowledge a trade, and be lost with it"
    if number == replication:
        return Severity.ADVICE, "use fewer than the replication factor: producers wait while any broker is down"
    return Severity.FINE, "an acknowledged trade is on that many brokers"


_CHECKS: Final[Mapping[str, Callable[[str, int], _Checked]]] = {
    "min.insync.replicas": _check_in_sync,
    "unclean.leader.election.enable": _Rule(
        lambda value: value == "true",
        Severity.FINDING,
        "set it to false: a replica that lacks acknowledged trades may become the leader",
        "only a replica with all acknowledged trades becomes the leader",
    ),
    "cleanup.policy": _Rule(
        lambda value: "compact" in value,
        Severity.FINDING,
        "set it to delete: compaction drops versions of trades",
        "records are deleted by age or size only",
    ),
    "retention.ms": _Rule(
        lambda value: 0 <= int(value) < MIN_RETENTION_MS,
        Severity.ADVICE,
        "use at least 3 days: records that no sink stored by then are lost",
        "must exceed the longest outage",
    ),
    "retention.bytes": _Rule(
        lambda value: int(value) >= 0,
        Severity.ADVICE,
        "use -1: a partition is truncated at this size even during an outage",
        "no record is deleted by size",
    ),
    "max.message.bytes": _Rule(
        lambda value: int(value) < MAX_BATCH_BYTES,
        Severity.ADVICE,
        f"use at least {MAX_BATCH_BYTES}: brokers would reject the largest batches of a producer",
        "fits the largest batch of a producer",
    ),
    "compression.type": _Rule(
        lambda value: value != "zstd",
        Severity.ADVICE,
        f"use zstd if writers are not trusted: {COMPRESSION_RISK}",
        "no batch unpacks to more than a consumer's receive.message.max.bytes, or aborts a consumer",
    ),
}
