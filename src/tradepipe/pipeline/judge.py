"""A record judged: a trade to store, or a refusal."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, Literal, get_args

from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Code, Refusal, Violation
from tradepipe.contract.rules import violations
from tradepipe.contract.trade import ORDERED_BY, Trade
from tradepipe.errors import Misconfigured, UndecodableRecord
from tradepipe.postgres.staging import Accepted
from tradepipe.wire.serde import TradeDeserializer

Rule = Callable[[Trade], Sequence[Violation]]
"""What speaks against a trade by a rule of the user's own, as a list or tuple; depends on the trade alone."""

RecordKey = Literal["refuse", "accept"]
"""What to do with a record whose Kafka key is not its trade's ORDERED_BY."""

MAX_CODE: Final = 64
"""Characters of a user's own code: it becomes a header and a label of metrics."""

_OURS: Final = frozenset(code.value for code in Code)
_SHOWN: Final = 100

_ordered_by: Final[Callable[[Trade], str]] = attrgetter(ORDERED_BY)


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
        self._decode = deserializer.decode
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
        found = violations(trade)
        if self._refuses_keys and record.key != _ordered_by(trade).encode():
            found += (_other_key(record, trade),)
        if self._rules:
            found += self._by_own_rules(record, trade)
        return Refusal(record, found, schema_id) if found else Accepted(record, trade, schema_id)

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
