"""Validation of records: each is a valid record or a refusal."""

from collections.abc import Callable, Iterable, Sequence
from inspect import iscoroutine
from itertools import islice
from operator import attrgetter
from typing import Final, Literal, get_args

from tradepipe.codec.copy_rows import pack_row
from tradepipe.errors import ConfigurationError, RegistryUnavailable, UndecodableRecord, UnsupportedSchema
from tradepipe.registry.serde import HEADER_SIZE, TradeDeserializer
from tradepipe.trade.model import KAFKA_KEY, Trade
from tradepipe.trade.record import CODES, Code, Record, Refusal, UnreadableBatch, Violation
from tradepipe.trade.records import Run
from tradepipe.trade.rules import passes_quick_check, violations
from tradepipe.trade.samples import trades
from tradepipe.trade.validated import ValidatedRecords, ValidRecord

Rule = Callable[[Trade], Sequence[Violation]]
"""A user's rule: returns the violations of a trade as a list or tuple, and depends on the trade alone."""

RecordKey = Literal["refuse", "accept"]
"""What to do with a record whose Kafka key is not its trade's `KAFKA_KEY`."""

MAX_CODE: Final = 64
"""Characters of a user's violation code: it becomes a header and a metric label."""

_BUILTIN_CODES: Final = frozenset(CODES)
_SCHEMA_ID_HEADER: Final = "__value_schema_id"
"""Header in which Confluent's serializers put a schema id or GUID if they do not frame the value."""

_MAX_SHOWN: Final = 100
_SAMPLES: Final = 5

_kafka_key_of: Final[Callable[[Trade], str]] = attrgetter(KAFKA_KEY)


class RecordValidator:
    """
    Decode a record and check the rules; the result depends on the record and its schema alone.

    Args:
        rules: the user's rules, called for every decoded trade, also for one
            that breaks the built-in rules.

        record_key: what to do with a record whose key is not its trade_id: it
            may be on another partition than the trade's other versions.

    Raises:
        ConfigurationError: an argument is invalid.
    """

    def __init__(
        self, deserializer: TradeDeserializer, rules: Sequence[Rule] = (), record_key: RecordKey = "refuse"
    ) -> None:
        if record_key not in get_args(RecordKey):
            raise ConfigurationError(f"record_key is {record_key!r}: it must be {' or '.join(get_args(RecordKey))}")
        if not isinstance(rules, Sequence) or not all(map(callable, rules)):
            raise ConfigurationError(
                f"rules is {rules!r}: it must be a sequence of functions, each from a Trade to violations"
            )
        self._deserializer = deserializer
        self._decode = deserializer.decode
        self._rules = tuple(rules)
        self._refuses_keys = record_key == "refuse"

    def __call__(self, record: Record) -> ValidRecord | Refusal:
        """
        Validate a record.

        Raises:
            RegistryUnavailable: the schema is not available now; the record may be valid.

            UnsupportedSchema: this build would lose values of the record.

            ConfigurationError: a user's rule is broken.
        """
        decoded = self._decode_and_check(record)
        if isinstance(decoded, Refusal):
            return decoded
        schema_id, trade = decoded
        return ValidRecord(record, pack_row(record, schema_id, trade), trade)

    def validate_all(
        self, run: Run, validated: ValidatedRecords
    ) -> tuple[int, RegistryUnavailable | UnsupportedSchema | None]:
        """
        Validate records up to the first one that cannot be validated now, and add them to `validated`.

        Returns:
            How many were added, and the error of the record after them, or None.

        Raises:
            ConfigurationError: a user's rule is broken.
        """
        count, rows = 0, list[bytes]()
        listed: Sequence[Record] = ()
        try:
            while count < len(run):
                if not self._rules and (
                    compiled := self._deserializer.rows(run, count, refuse_keys=self._refuses_keys)
                ):
                    rows += compiled
                    count += len(compiled)
                    continue
                if not listed:
                    listed = list(run)
                    self.announce(listed)
                result = self(listed[count])
                if isinstance(result, Refusal):
                    if rows:
                        validated.add_valid(run.cut(count - len(rows), count), rows)
                        rows = []
                    # Cut before it is kept: a record can be a thousand times larger than a trade.
                    validated.add_refusal(result.within(), result.record.payload_bytes)
                else:
                    rows.append(result.row)
                count += 1
        except (RegistryUnavailable, UnsupportedSchema) as error:
            # Its traceback would keep the frames, and so the records, for as long as the error is kept.
            return count, error.with_traceback(None)
        finally:
            if rows:
                validated.add_valid(run.cut(count - len(rows), count), rows)
            if listed:
                self.announce(())  # frees the records' bytes
        return count, None

    @property
    def is_quick(self) -> bool:
        """Whether nearly all records are validated by the compiled core, in less than a microsecond each."""
        return not self._rules and self._deserializer.is_compiled

    def count_valid(self, run: Run, start: int) -> int:
        """Return how many records from `start` on are valid for certain; the next one may be valid too."""
        if self._rules:
            return 0
        return self._deserializer.count_valid(run, start, refuse_keys=self._refuses_keys)

    def find_refusal(self, record: Record) -> Refusal | None:
        """Validate a record whose trade is not needed: return its refusal, or None if it is valid; raises as a call."""
        decoded = self._decode_and_check(record)
        return decoded if isinstance(decoded, Refusal) else None

    def announce(self, records: Iterable[Record]) -> None:
        """Announce the records that are validated next: unknown schema ids among them share their lookups."""
        self._deserializer.announced = [record.value for record in records]

    def is_schema_known(self, record: Record) -> bool:
        """Return whether the record can be validated without a query to the registry."""
        return self._deserializer.is_known(record.value)

    def trade(self, record: Record) -> Trade:
        """Decode the trade of a valid record."""
        return self._decode(record.value)[1]

    def _decode_and_check(self, record: Record) -> tuple[int, Trade] | Refusal:
        """Decode a record into its schema id and trade, or refuse it."""
        try:
            schema_id, trade = self._decode(record.value)
        except UndecodableRecord as error:
            return Refusal(record, (_undecodable(record, error.violation),), error.schema_id)
        if not self._rules and record.key == _kafka_key_of(trade).encode() and passes_quick_check(trade):
            return schema_id, trade  # almost every record
        # Not quick any more: a refusal lists every violation, not only the first.
        found = violations(trade)
        if self._refuses_keys and record.key != _kafka_key_of(trade).encode():
            found += (_key_mismatch(record, trade),)
        for rule in self._rules:
            found += _apply(rule, trade, record)
        return Refusal(record, found, schema_id) if found else (schema_id, trade)


def check_rule(rule: Rule) -> None:
    """Call a user's rule for sample trades: what is no rule, or forgets to return its violations, fails at once."""
    for trade in islice(trades(seed=1), _SAMPLES):
        _apply(rule, trade, None)


def _apply(rule: Rule, trade: Trade, record: Record | None) -> tuple[Violation, ...]:
    """Return the violations of a trade of a record, or of a sample."""
    try:
        answer = rule(trade)
    except Exception as error:  # a user's code may raise anything
        raise _rule_error(rule, record, f"raised {type(error).__name__}: {error}") from error
    if iscoroutine(answer):
        answer.close()  # else Python warns, at any later time, that it was never awaited
    if not isinstance(answer, (tuple, list)):
        raise _rule_error(rule, record, f"returned {_format_value(answer)}, not a list or tuple of violations")
    # Here, where the rule's name is known; the database or a header would reject the code without it.
    for problem in filter(None, map(_find_problem, answer)):
        raise _rule_error(rule, record, problem)
    return tuple(answer)


def _find_problem(violation: object) -> str | None:
    """Return what keeps a refusal with a user's violation from being stored and counted, or None."""
    if not isinstance(violation, Violation):
        return f"returned {_format_value(violation)} among its violations, not a Violation"
    code, detail = violation
    if not isinstance(code, str) or not code.strip():
        return f"gave the code {_format_value(code)}: a code is a non-empty string"
    if len(code) > MAX_CODE:
        return f"gave the code {_format_value(code)}: a code has at most {MAX_CODE} characters"
    if not code.isprintable():
        return f"gave the code {code!a}: a code has printable characters only"
    if code in _BUILTIN_CODES:
        return f"gave the code {code}, which tradepipe uses itself: choose another one"
    return None if isinstance(detail, str) else f"gave the detail {_format_value(detail)}: a detail is a string"


def _undecodable(record: Record, violation: Violation) -> Violation:
    if isinstance(record, UnreadableBatch):
        return record.violation
    if violation.code == Code.FRAMING and any(name == _SCHEMA_ID_HEADER for name, _ in record.headers):
        detail = f"{violation.detail}; its header {_SCHEMA_ID_HEADER} has the schema id instead, which is not read"
        return violation._replace(detail=detail)
    return violation


def _key_mismatch(record: Record, trade: Trade) -> Violation:
    key = "the record has no key" if record.key is None else f"the record's key is {_format_value(record.key)}"
    if record.key and record.key[0] == 0 and len(record.key) > HEADER_SIZE:
        key += ", which a registry's serializer has framed"
    elif record.key and record.key[:1] == record.key[-1:] == b'"':
        key += ", which is a JSON string"
    detail = (
        f"{key}, not its {KAFKA_KEY} {_format_value(_kafka_key_of(trade))}: it may be out of order with other versions"
    )
    return Violation(Code.RECORD_KEY, detail)


def _rule_error(rule: Rule, record: Record | None, problem: str) -> ConfigurationError:
    if record is None:
        return ConfigurationError(f"the rule {_name(rule)} {problem}; it was called for a sample trade")
    return ConfigurationError(
        f"the rule {_name(rule)} {problem}; it was called for {record.coordinates}, and no record read with "
        f"it is stored: correct the rule, or remove it"
    )


def _name(rule: Rule) -> str:
    name = getattr(rule, "__qualname__", None)
    return f"{getattr(rule, '__module__', None)}:{name}" if name else repr(rule)


def _format_value(value: object) -> str:
    """Return a value for a message, cut if it is long."""
    text = repr(value[: _MAX_SHOWN + 1]) if isinstance(value, (bytes, str)) else repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
