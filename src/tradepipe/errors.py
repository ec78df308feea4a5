"""
The exceptions of tradepipe.

    TradepipeError
    ├── InvalidTrade              a trade that breaks rules; it was not sent
    ├── DeliveryFailed            trades that were not acknowledged
    ├── UndecodableRecord         bytes that are not a trade
    ├── ConfigurationError        an invalid option, or a service that is not set up correctly
    │   ├── SchemaNotRegistered   the registry lacks the schema
    │   ├── IncompatibleSchema    the registry refuses the schema
    │   ├── UnsupportedSchema     a writer schema with values this build would lose
    │   ├── TopicUnusable         missing, compacted, or recreated
    │   ├── OffsetOutOfRange      the stored offset is outside the log
    │   ├── DatabaseOutdated      the database lacks a revision
    │   └── TooManyRefusals       the refusal limit was exceeded
    ├── Unavailable               a service is unavailable (retriable)
    │   ├── BrokerUnavailable
    │   ├── RegistryUnavailable
    │   │   └── SchemaIdNotYetKnown   an id the registry does not know yet
    │   └── DatabaseUnavailable
    └── DeadlineExceeded          a service was unavailable until the caller's deadline

`retriable` says whether the same call may succeed later without any change.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from tradepipe.trade.constraints import format_value
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Violation


class TradepipeError(Exception):
    """
    Base class of all exceptions of tradepipe.

    Attributes:
        unsent: of an exception of `Producer.produce_many`, the trades that are
            neither sent nor named by the exception, for another call.
    """

    retriable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 70
    """The code a command exits with: 70 is for bugs, so each kind of failure names another."""

    # An empty iterator, shared by all, is harmless: it has no state that a caller could use up.
    unsent: Iterator[Trade] = iter(())

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle would call the class with the message alone. A pool of processes hangs or breaks if that fails.
        return Exception.__new__, (type(self), *self.args), vars(self)


class InvalidTrade(TradepipeError):
    """
    A trade breaks rules; it was not sent.

    Attributes:
        trade: the trade.

        violations: every rule that it breaks, each with a code and a detail.
    """

    exit_code = 1

    def __init__(self, trade: Trade, violations: Sequence[Violation]) -> None:
        self.trade = trade
        self.violations = tuple(violations)
        reasons = "; ".join(f"{violation.code}: {violation.detail}" for violation in self.violations)
        names = f"trade {format_value(trade.trade_id)} version {format_value(trade.version)}"
        super().__init__(f"{names} is not valid: {reasons}")


class DeliveryFailed(TradepipeError):
    """
    Trades that were not acknowledged.

    Attributes:
        refused: trades that are not in the log, each with the broker's reason.

        unknown: trades that may be in the log; sending them again is safe,
            since the sink stores each version once.
    """

    exit_code = 1

    def __init__(self, refused: Sequence[tuple[Trade, str]], unknown: Sequence[tuple[Trade, str]]) -> None:
        self.refused = tuple(refused)
        self.unknown = tuple(unknown)
        summaries = [
            f"{len(trades)} {verb}, the first {trades[0][0].trade_id} version {trades[0][0].version}: {trades[0][1]}"
            for trades, verb in ((self.refused, "refused"), (self.unknown, "with unknown outcome"))
            if trades
        ]
        super().__init__("trades were not acknowledged: " + "; ".join(summaries))


class UndecodableRecord(TradepipeError):
    """Bytes that are not a trade, with the violation they are refused for."""

    def __init__(self, violation: Violation, schema_id: int | None = None) -> None:
        self.violation = violation
        self.schema_id = schema_id
        super().__init__(f"{violation.code}: {violation.detail}")


class ConfigurationError(TradepipeError):
    """An invalid option, or a service that is not set up correctly; the message says what to do."""

    exit_code = 78


class SchemaNotRegistered(ConfigurationError):
    """The registry does not hold the schema this build writes."""


class IncompatibleSchema(ConfigurationError):
    """The registry refuses the schema as incompatible with what it holds."""


class UnsupportedSchema(ConfigurationError):
    """A writer schema of the subject with values that this build would lose."""


class TopicUnusable(ConfigurationError):
    """The topic is missing or compacted, or was recreated."""


class OffsetOutOfRange(ConfigurationError):
    """The stored offset is outside the log."""


class DatabaseOutdated(ConfigurationError):
    """The database lacks a revision this build needs."""


class TooManyRefusals(ConfigurationError):
    """
    The refusal limit was exceeded: the configuration is more likely wrong than the records.

    Attributes:
        partition: the partition whose records would be refused.
    """

    def __init__(self, message: str, partition: int) -> None:
        self.partition = partition
        super().__init__(message)


class Unavailable(TradepipeError):
    """
    A service is unavailable; a later call may succeed.

    Attributes:
        service: the service as a message names it, such as `the registry at
            http://localhost:8081`; None if it answers, but cannot do this now.

        reason: why it is unavailable, without its name.

    Args:
        reason: a whole sentence, unless `service` is given.

        is_answering: the service answers, but cannot do this now.
    """

    retriable = True
    exit_code = 75
    service: str | None = "a service"

    def __init__(self, reason: str, *, service: str | None = None, is_answering: bool = False) -> None:
        self.reason = reason
        if service is not None or is_answering:
            self.service = service
        super().__init__(f"{service} is unavailable: {reason}" if service else reason)


class BrokerUnavailable(Unavailable):
    """Kafka is unavailable."""

    service = "Kafka"


class RegistryUnavailable(Unavailable):
    """The registry is unavailable, or answers that it cannot serve requests."""

    service = "the registry"


class SchemaIdNotYetKnown(RegistryUnavailable):
    """
    A schema id is not among the subject's versions, and has been looked up only once so far.

    Attributes:
        schema_id: the id.

        retry_after: seconds until the next query.

        problem: the answer so far.
    """

    def __init__(self, schema_id: int, retry_after: float, problem: str | None = None) -> None:
        self.schema_id = schema_id
        self.retry_after = retry_after
        self.problem = problem or f"the registry does not know schema id {schema_id}"
        super().__init__(f"{self.problem}; asking again in {retry_after:.1f} s", is_answering=True)


class DatabaseUnavailable(Unavailable):
    """PostgreSQL is unavailable, or answers that it cannot serve requests."""

    service = "PostgreSQL"


class DeadlineExceeded(TradepipeError):
    """A service was unavailable until the caller's deadline."""

    exit_code = 75
