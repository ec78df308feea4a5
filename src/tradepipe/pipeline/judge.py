"""A record judged: a trade to store, or a refusal."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from struct import Struct
from typing import Final, Literal, get_args

from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Code, Refusal, Violation
from tradepipe.contract.rules import keeps_all, violations
from tradepipe.contract.trade import ORDERED_BY, Trade
from tradepipe.errors import Misconfigured, UndecodableRecord
from tradepipe.postgres.accepted import Accepted
from tradepipe.wire.serde import TradeDeserializer

Rule = Callable[[Trade], Sequence[Violation]]
"""What speaks against a trade by a rule of the user's own, as a list or tuple; depends on the trade alone."""

RecordKey = Literal["refuse", "accept"]
"""What to do with a record whose Kafka key is not its trade's ORDERED_BY."""

JudgedBy = Literal["python", "database"]
"""Who applies our rules: we, to every trade, or the table's CHECK constraints, and we to what they refuse."""

MAX_CODE: Final = 64
"""Characters of a user's own code: it becomes a header and a label of metrics."""

_OURS: Final = frozenset(code.value for code in Code)
_SHOWN: Final = 100

_ordered_by: Final[Callable[[Trade], str]] = attrgetter(ORDERED_BY)
_length = Struct(">i").pack


class Judge:
    """
    Decode a record and apply the rules; depends on the record and the schema alone.

    Args:
        rules: the user's own, asked for every trade that can be decoded, also
            for one that breaks ours.

        record_key: what to do with a record whose key is not its trade_id: it
            may lie on another partition than the trade's other versions.

    Raises:
        Misconfigured: an argument cannot be.
    """

    def __init__(
        self, deserializer: TradeDeserializer, rules: Sequence[Rule] = (), record_key: RecordKey = "refuse"
    ) -> None:
        if record_key not in get_args(RecordKey):
            raise Misconfigured(f"record_key is {record_key!r}: it is {' or '.join(get_args(RecordKey))}")
        if not isinstance(rules, Sequence) or not all(map(callable, rules)):
            raise Misconfigured(f"rules is {rules!r}: it is a sequence of functions, each from a Trade to violations")
        self._deserializer = deserializer
        self._decode = deserializer.decode
        self._copy_row = deserializer.copy_row
        self._glance = deserializer.glance
        self._rules = tuple(rules)
        self._refuses_keys = record_key == "refuse"

    def __call__(self, record: Record) -> Accepted | Refusal:
        """
        The verdict on a record.

        Raises:
            RegistryAway: the schema cannot be had now; nothing is said of the record.

            UnsupportedSchema: this build would lose values of the record.

            Misconfigured: a rule of the user's own does not do what a rule does.
        """
        try:
            schema_id, trade = self._decode(record.value)
        except UndecodableRecord as error:
            return Refusal(record, (error.violation,), error.schema_id)
        found = self._against(record, trade)
        return Refusal(record, found, schema_id) if found else Accepted(record, schema_id, self, trade)

    def refusal(self, record: Record) -> Refusal | None:
        """The same for whoever needs no trade: all that speaks against a record, or None; raises as a call does."""
        if not self._rules and self._passes(record):
            return None  # as nearly every record does
        verdict = self(record)
        return verdict if isinstance(verdict, Refusal) else None

    def knows(self, record: Record) -> bool:
        """Whether no registry is asked about a record."""
        return self._deserializer.knows(record.value)

    def trade(self, record: Record) -> Trade:
        """The trade in a record that was decoded before."""
        return self._decode(record.value)[1]

    def row(self, record: Record) -> bytes:
        """The same as fields of PostgreSQL's binary COPY."""
        return self._copy_row(record.value)[1]

    def violations(self, record: Record) -> tuple[Violation, ...]:
        """All that our rules say against a record that was decoded before; the user's own are not asked."""
        return self._by_our_rules(record, self.trade(record))

    def _passes(self, record: Record) -> bool:
        """Whether a glance tells that nothing speaks against a record; False says nothing."""
        try:
            ordered_by = self._glance(record.value)
        except UndecodableRecord:
            return False
        return ordered_by is not None and ordered_by == record.key

    def _against(self, record: Record, trade: Trade) -> tuple[Violation, ...]:
        if not self._rules and record.key == _ordered_by(trade).encode() and keeps_all(trade):
            return ()  # as nearly every record does
        found = self._by_our_rules(record, trade)
        return found + self._by_own_rules(record, trade) if self._rules else found

    def _by_our_rules(self, record: Record, trade: Trade) -> tuple[Violation, ...]:
        found = violations(trade)
        if self._refuses_keys and record.key != _ordered_by(trade).encode():
            found += (_other_key(record, trade),)
        return found

    def _by_own_rules(self, record: Record, trade: Trade) -> tuple[Violation, ...]:
        found: tuple[Violation, ...] = ()
        for rule in self._rules:
            try:
                answer = rule(trade)
            except Exception as error:  # somebody else's code: it may raise anything
                raise _unfit(rule, record, f"raised {type(error).__name__}: {error}") from error
            if not isinstance(answer, (tuple, list)):
                raise _unfit(rule, record, f"returned {_shown(answer)}, which is no list or tuple of violations")
            if answer:
                found += tuple(_checked(rule, record, each) for each in answer)
        return found


class RowJudge:
    """
    Decode a record into a row, without a trade, and leave our rules to the table's CHECK constraints.

    What cannot even be a row, or has another key, is judged as by `Judge`, so
    that all that speaks against it is told. The key is compared with the row's
    first column, which is `ORDERED_BY`.
    """

    def __init__(self, deserializer: TradeDeserializer, record_key: RecordKey = "refuse") -> None:
        self._judge = Judge(deserializer, record_key=record_key)
        self._copy_row = deserializer.copy_row
        self._refuses_keys = record_key == "refuse"

    def __call__(self, record: Record) -> Accepted | Refusal:
        """The verdict on a record as far as there is one; raises as `Judge` does."""
        try:
            schema_id, row = self._copy_row(record.value)
        except UndecodableRecord:
            return self._judge(record)
        key = record.key
        if self._refuses_keys and (key is None or not row.startswith(_length(len(key)) + key)):
            return self._judge(record)
        return Accepted(record, schema_id, self._judge, None, row)


def judge_of(
    by: JudgedBy, deserializer: TradeDeserializer, rules: Sequence[Rule] = (), record_key: RecordKey = "refuse"
) -> Judge | RowJudge:
    """
    What judges records, by `JudgedBy`.

    Raises:
        Misconfigured: an argument cannot be, or rules of the user's own are given, which a database does not ask.
    """
    if by not in get_args(JudgedBy):
        raise Misconfigured(f"judge is {by!r}: it is {' or '.join(get_args(JudgedBy))}")
    if by == "python":
        return Judge(deserializer, rules, record_key)
    if rules:
        raise Misconfigured("rules of your own need trades, and judge='database' makes none: take judge='python'")
    return RowJudge(deserializer, record_key)


def _checked(rule: Rule, record: Record, violation: object) -> Violation:
    """A violation of the user's own, with which a refusal can be stored and counted."""
    if not isinstance(violation, Violation):
        raise _unfit(rule, record, f"returned {_shown(violation)} among its violations, which is no Violation")
    code, detail = violation
    if not isinstance(code, str) or not code.strip():
        raise _unfit(rule, record, f"gave the code {_shown(code)}: a code is a text that is not empty")
    if len(code) > MAX_CODE:
        raise _unfit(rule, record, f"gave the code {_shown(code)}: a code has at most {MAX_CODE} characters")
    if code in _OURS:
        raise _unfit(rule, record, f"gave the code {code}, which is one of tradepipe's own: name it otherwise")
    if not isinstance(detail, str):
        raise _unfit(rule, record, f"gave the detail {_shown(detail)}: a detail is a text")
    return violation


def _other_key(record: Record, trade: Trade) -> Violation:
    key = "the record has no key" if record.key is None else f"the record's key is {_shown(record.key)}"
    detail = f"{key}, not its {ORDERED_BY} {_shown(_ordered_by(trade))}: it may be out of order with other versions"
    return Violation(Code.RECORD_KEY, detail)


def _unfit(rule: Rule, record: Record, problem: str) -> Misconfigured:
    return Misconfigured(
        f"the rule {_name(rule)} {problem}; it was asked about {record.coordinates}, and nothing read with that "
        f"record is stored: repair the rule, or leave it out"
    )


def _name(rule: Rule) -> str:
    name = getattr(rule, "__qualname__", None)
    return f"{getattr(rule, '__module__', None)}:{name}" if name else repr(rule)


def _shown(value: object) -> str:
    """A value as a message shows it; of a long one, its beginning."""
    text = repr(value[: _SHOWN + 1]) if isinstance(value, (bytes, str)) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
