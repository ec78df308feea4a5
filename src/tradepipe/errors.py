"""
Every failure tradepipe reports.

    TradepipeError
    ├── InvalidTrade              a trade breaks rules; it was not sent
    ├── DeliveryFailed            trades that were not acknowledged
    ├── UndecodableRecord         bytes that are not a trade
    ├── ConfigurationError             an option, or a part that is not set up for us
    │   ├── SchemaNotRegistered   the registry lacks the schema
    │   ├── IncompatibleSchema    the registry refuses the schema
    │   ├── UnsupportedSchema     a writer schema this build cannot hold
    │   ├── TopicUnusable         missing, compacted, or recreated
    │   ├── OffsetOutOfRange      the stored offset lies outside the log
    │   ├── DatabaseOutdated        the database lacks a revision
    │   └── TooManyRefusals        too many refusals to believe in the data
    ├── Unavailable                      a part that is not reachable now (retriable)
    │   ├── BrokerUnavailable
    │   ├── RegistryUnavailable
    │   │   └── SchemaIdNotYetKnown     an id the registry does not know yet
    │   └── DatabaseUnavailable
    └── DeadlineExceeded          a part stayed away for as long as the caller allowed

`retriable` says whether the same call may succeed later without anybody's doing.
"""

from collections.abc import Sequence
from typing import ClassVar

from tradepipe.trade.model import Trade
from tradepipe.trade.record import Refusal, Violation


class TradepipeError(Exception):
    """The base of all failures tradepipe reports."""

    retriable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 70
    """The code a command exits with: 70 is for bugs, so each kind of failure names another."""


class InvalidTrade(TradepipeError):
    """A trade breaks rules; it was not sent."""

    exit_code = 1

    def __init__(self, trade: Trade, violations: Sequence[Violation]) -> None:
        self.trade = trade
        self.violations = tuple(violations)
        told = "; ".join(f"{violation.code}: {violation.detail}" for violation in self.violations)
        super().__init__(f"trade {trade.trade_id!r} version {trade.version!r} is not valid: {told}")


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
        told = [
            f"{len(trades)} {verb}, the first {trades[0][0].trade_id} version {trades[0][0].version}: {trades[0][1]}"
            for trades, verb in ((self.refused, "refused"), (self.unknown, "of unknown fate"))
            if trades
        ]
        super().__init__("trades were not acknowledged: " + "; ".join(told))


class UndecodableRecord(TradepipeError):
    """Bytes that are not a trade, with the code they are refused by."""

    def __init__(self, violation: Violation, schema_id: int | None = None) -> None:
        self.violation = violation
        self.schema_id = schema_id
        super().__init__(f"{violation.code}: {violation.detail}")


class ConfigurationError(TradepipeError):
    """An option that cannot be, or a part that is not set up for us; the message says what to do."""

    exit_code = 78


class SchemaNotRegistered(ConfigurationError):
    """The registry does not hold the schema this build writes."""


class IncompatibleSchema(ConfigurationError):
    """The registry refuses the schema as incompatible with what it holds."""


class UnsupportedSchema(ConfigurationError):
    """A writer schema of the subject that this build would lose values of."""


class TopicUnusable(ConfigurationError):
    """The topic is missing, is compacted, or was created anew."""


class OffsetOutOfRange(ConfigurationError):
    """The stored offset lies outside the log."""


class DatabaseOutdated(ConfigurationError):
    """The database lacks a revision this build needs."""


class TooManyRefusals(ConfigurationError):
    """So many records were refused that we may be the ones who are wrong."""

    def __init__(self, message: str, refusals: Sequence[Refusal] = ()) -> None:
        self.refusals = tuple(refusals)
        super().__init__(message)


class Unavailable(TradepipeError):
    """A part that is not reachable now."""

    retriable = True
    exit_code = 75


class BrokerUnavailable(Unavailable):
    """Kafka is not reachable now."""


class RegistryUnavailable(Unavailable):
    """The registry is not reachable now, or answers that it cannot serve."""


class SchemaIdNotYetKnown(RegistryUnavailable):
    """
    The registry does not know a schema id, and has not yet been asked twice.

    Attributes:
        schema_id: the id.

        retry_after: seconds after which to ask again.
    """

    def __init__(self, schema_id: int, retry_after: float) -> None:
        self.schema_id = schema_id
        self.retry_after = retry_after
        super().__init__(f"the registry does not know schema id {schema_id}; asking again in {retry_after:.1f} s")


class DatabaseUnavailable(Unavailable):
    """PostgreSQL is not reachable now, or answers that it cannot serve."""


class DeadlineExceeded(TradepipeError):
    """A part stayed away for as long as the caller allowed."""

    exit_code = 75
