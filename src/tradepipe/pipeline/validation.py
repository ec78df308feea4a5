"""A record judged: a trade to store, or a refusal."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from struct import Struct
from typing import Final, Literal, get_args

from tradepipe.errors import ConfigurationError, UndecodableRecord
from tradepipe.registry.serde import TradeDeserializer
from tradepipe.trade.model import KAFKA_KEY, Trade
from tradepipe.trade.record import Code, Record, Refusal, ValidRecord, Violation
from tradepipe.trade.rules import passes_quick_check, violations

Rule = Callable[[Trade], Sequence[Violation]]
"""What speaks against a trade by a rule of the user's own, as a list or tuple; depends on the trade alone."""

RecordKey = Literal["refuse", "accept"]
"""What to do with a record whose Kafka key is not its trade's ORDERED_BY."""

ValidateIn = Literal["python", "database"]
"""Who applies our rules: we, to every trade, or the table's CHECK constraints, and we to what they refuse."""

MAX_CODE: Final = 64
"""Characters of a user's own code: it becomes a header and a label of metrics."""

_BUILTIN_CODES: Final = frozenset(code.value for code in Code)
_MAX_SHOWN: Final = 100

_kafka_key_of: Final[Callable[[Trade], str]] = attrgetter(KAFKA_KEY)
_length = Struct(">i").pack


class RecordValidator:
    """
    Decode a record and apply the rules; depends on the record and the schema alone.

    Args:
        rules: the user's own, asked for every trade that can be decoded, also
            for one that breaks ours.

        record_key: what to do with a record whose key is not its trade_id: it
            may lie on another partition than the trade's other versions.

    Raises:
        ConfigurationError: an argument cannot be.
    """

    def __init__(
        self, deserializer: TradeDeserializer, rules: Sequence[Rule] = (), record_key: RecordKey = "refuse"
    ) -> None:
        if record_key not in get_args(RecordKey):
            raise ConfigurationError(f"record_key is {record_key!r}: it is {' or '.join(get_args(RecordKey))}")
        if not isinstance(rules, Sequence) or not all(map(callable, rules)):
            raise ConfigurationError(
                f"rules is {rules!r}: it is a sequence of functions, each from a Trade to violations"
            )
        self._deserializer = deserializer
        self._decode = deserializer.decode
        self._copy_row = deserializer.copy_row
        self._glance = deserializer.quick_check
        self._rules = tuple(rules)
        self._refuses_keys = record_key == "refuse"

    def __call__(self, record: Record) -> ValidRecord | Refusal:
        """
        The verdict on a record.

        Raises:
            RegistryUnavailable: the schema cannot be had now; nothing is said of the record.

            UnsupportedSchema: this build would lose values of the record.

            ConfigurationError: a rule of the user's own does not do what a rule does.
        """
        decoded = self._decode_valid(record)
        if isinstance(decoded, Refusal):
            return decoded
        schema_id, trade = decoded
        return ValidRecord(record, schema_id, self._copy_row(record.value)[1], trade)

    def find_refusal(self, record: Record) -> Refusal | None:
        """The same for whoever needs no trade: all that speaks against a record, or None; raises as a call does."""
        if not self._rules and self._quick_check(record):
            return None  # as nearly every record does
        decoded = self._decode_valid(record)
        return decoded if isinstance(decoded, Refusal) else None

    def is_schema_known(self, record: Record) -> bool:
        """Whether no registry is asked about a record."""
        return self._deserializer.is_known(record.value)

    def trade(self, record: Record) -> Trade:
        """Decode the trade of a valid record."""
        return self._decode(record.value)[1]

    def _decode_valid(self, record: Record) -> tuple[int, Trade] | Refusal:
        """Decode a record into its schema id and trade, or refuse it."""
        try:
            schema_id, trade = self._decode(record.value)
        except UndecodableRecord as error:
            return Refusal(record, (error.violation,), error.schema_id)
        found = self._find_violations(record, trade)
        return Refusal(record, found, schema_id) if found else (schema_id, trade)

    def _quick_check(self, record: Record) -> bool:
        """Whether a glance tells that nothing speaks against a record; False says nothing."""
        try:
            ordered_by = self._glance(record.value)
        except UndecodableRecord:
            return False
        return ordered_by is not None and ordered_by == record.key

    def _find_violations(self, record: Record, trade: Trade) -> tuple[Violation, ...]:
        if not self._rules and record.key == _kafka_key_of(trade).encode() and passes_quick_check(trade):
            return ()  # as nearly every record does
        found = self._apply_builtin_rules(record, trade)
        return found + self._apply_custom_rules(record, trade) if self._rules else found

    def _apply_builtin_rules(self, record: Record, trade: Trade) -> tuple[Violation, ...]:
        found = violations(trade)
        if self._refuses_keys and record.key != _kafka_key_of(trade).encode():
            found += (_key_mismatch(record, trade),)
        return found

    def _apply_custom_rules(self, record: Record, trade: Trade) -> tuple[Violation, ...]:
        found: tuple[Violation, ...] = ()
        for rule in self._rules:
            try:
                answer = rule(trade)
            except Exception as error:  # somebody else's code: it may raise anything
                raise _rule_error(rule, record, f"raised {type(error).__name__}: {error}") from error
            if not isinstance(answer, (tuple, list)):
                raise _rule_error(
                    rule, record, f"returned {_format_value(answer)}, which is no list or tuple of violations"
                )
            if answer:
                found += tuple(_check_violation(rule, record, each) for each in answer)
        return found


class DatabaseValidator:
    """
    Decode a record into a row, without a trade, and leave our rules to the table's CHECK constraints.

    What cannot even be a row, or has another key, is judged as by `Judge`, so
    that all that speaks against it is told. The key is compared with the row's
    first column, which is `ORDERED_BY`.
    """

    def __init__(self, deserializer: TradeDeserializer, record_key: RecordKey = "refuse") -> None:
        self._judge = RecordValidator(deserializer, record_key=record_key)
        self._trade = self._judge.trade
        self._copy_row = deserializer.copy_row
        self._refuses_keys = record_key == "refuse"

    def __call__(self, record: Record) -> ValidRecord | Refusal:
        """The verdict on a record as far as there is one; raises as `Judge` does."""
        try:
            schema_id, row = self._copy_row(record.value)
        except UndecodableRecord:
            return self._judge(record)
        key = record.key
        if self._refuses_keys and (key is None or not row.startswith(_length(len(key)) + key)):
            return self._judge(record)
        return ValidRecord(record, schema_id, row, self._trade)


def record_validator(
    by: ValidateIn, deserializer: TradeDeserializer, rules: Sequence[Rule] = (), record_key: RecordKey = "refuse"
) -> RecordValidator | DatabaseValidator:
    """
    What judges records, by `JudgedBy`.

    Raises:
        ConfigurationError: an argument cannot be, or rules of the user's own are given, which a database does not ask.
    """
    if by not in get_args(ValidateIn):
        raise ConfigurationError(f"validate_in is {by!r}: it is {' or '.join(get_args(ValidateIn))}")
    if by == "python":
        return RecordValidator(deserializer, rules, record_key)
    if rules:
        raise ConfigurationError(
            "rules of your own need trades, and validate_in='database' builds none: use validate_in='python'"
        )
    return DatabaseValidator(deserializer, record_key)


def _check_violation(rule: Rule, record: Record, violation: object) -> Violation:
    """A violation of the user's own, with which a refusal can be stored and counted."""
    if not isinstance(violation, Violation):
        raise _rule_error(
            rule, record, f"returned {_format_value(violation)} among its violations, which is no Violation"
        )
    code, detail = violation
    if not isinstance(code, str) or not code.strip():
        raise _rule_error(rule, record, f"gave the code {_format_value(code)}: a code is a text that is not empty")
    if len(code) > MAX_CODE:
        raise _rule_error(
            rule, record, f"gave the code {_format_value(code)}: a code has at most {MAX_CODE} characters"
        )
    if code in _BUILTIN_CODES:
        raise _rule_error(rule, record, f"gave the code {code}, which is one of tradepipe's own: name it otherwise")
    if not isinstance(detail, str):
        raise _rule_error(rule, record, f"gave the detail {_format_value(detail)}: a detail is a text")
    return violation


def _key_mismatch(record: Record, trade: Trade) -> Violation:
    key = "the record has no key" if record.key is None else f"the record's key is {_format_value(record.key)}"
    detail = (
        f"{key}, not its {KAFKA_KEY} {_format_value(_kafka_key_of(trade))}: it may be out of order with other versions"
    )
    return Violation(Code.RECORD_KEY, detail)


def _rule_error(rule: Rule, record: Record, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the rule {_name(rule)} {problem}; it was asked about {record.coordinates}, and nothing read with that "
        f"record is stored: repair the rule, or leave it out"
    )


def _name(rule: Rule) -> str:
    name = getattr(rule, "__qualname__", None)
    return f"{getattr(rule, '__module__', None)}:{name}" if name else repr(rule)


def _format_value(value: object) -> str:
    """A value as a message shows it; of a long one, its beginning."""
    text = repr(value[: _MAX_SHOWN + 1]) if isinstance(value, (bytes, str)) else repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
