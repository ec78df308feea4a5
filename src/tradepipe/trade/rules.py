"""The rules of a trade: pure functions of the record, each with its code."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from tradepipe.trade.model import DIGITS, SCALE, Trade, to_exact
from tradepipe.trade.record import Code, Violation

IDENTIFIER: Final = r"[!-\[\]-~]{1,64}"
"""1 to 64 ASCII characters from `!` to `~` without backslash; PostgreSQL's CHECKs use the same expression."""

MAX_VERSION: Final = 2**31 - 1
"""Avro's int and PostgreSQL's integer end here."""

CURRENCY: Final = r"[A-Z]{3}"
"""Three ASCII letters from A to Z; PostgreSQL's CHECK uses it too."""

_THREE: Final = "\n".join([IDENTIFIER] * 3)
"""No identifier has a line break, so three of them cannot be taken for others."""

_DAY: Final = 86_400_000_000

_is_identifier = re.compile(IDENTIFIER).fullmatch
_are_identifiers = re.compile(_THREE).fullmatch
_are_encoded_identifiers = re.compile(_THREE.encode()).fullmatch
_is_currency = re.compile(CURRENCY).fullmatch
_is_encoded_currency = re.compile(CURRENCY.encode()).fullmatch


def violations(trade: Trade) -> tuple[Violation, ...]:
    """
    All that speaks against a trade, or nothing.

    Depends on the trade alone: no clock, no look-up, so that a replay is judged
    as the first time was.

    >>> from datetime import UTC
    >>> now = datetime(2025, 6, 1, tzinfo=UTC)
    >>> trade = Trade("T1", 0, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=now)
    >>> [violation.detail for violation in violations(trade)]
    ['version is 0, which is not a whole number from 1 to 2147483647']
    """
    return () if passes_quick_check(trade) else find_violations(trade)


def passes_quick_check(trade: Trade) -> bool:
    """
    Whether a trade keeps all rules, as far as a quick look tells; False says nothing.

    Nearly all trades of a stream pass here, in half the time of `found_in`.
    """
    trade_id, version, counterparty_id, book_id, maturity_date, created_at, _, notional, currency = trade
    return (
        type(trade_id) is type(counterparty_id) is type(book_id) is str
        and _are_identifiers(f"{trade_id}\n{counterparty_id}\n{book_id}") is not None
        and type(version) is int
        and 1 <= version <= MAX_VERSION
        and type(created_at) is datetime
        and created_at.tzinfo is UTC
        and type(maturity_date) is date
        and maturity_date >= created_at.date()
        and ((notional is None and currency is None) or _is_valid_amount(notional, currency))
    )


EncodedTrade = tuple[bytes, int, bytes, bytes, int, int, object, int | None, bytes | None]
"""
A trade's values as its schema writes them, in the order of its fields.

Texts are UTF-8, a date is days and an instant microseconds from 1970, an amount
is its unscaled number; a side may be anything.
"""


def encoded_passes_quick_check(written: EncodedTrade) -> bool:
    """The same of written values; what their types cannot hold is not asked again."""
    trade_id, version, counterparty_id, book_id, maturity_date, created_at, _, notional, currency = written
    return (
        _are_encoded_identifiers(b"%b\n%b\n%b" % (trade_id, counterparty_id, book_id)) is not None
        and version >= 1
        and maturity_date >= created_at // _DAY
        and (
            (notional is None and currency is None)
            or (
                notional is not None
                and currency is not None
                and notional > 0
                and _is_encoded_currency(currency) is not None
            )
        )
    )


def _is_valid_amount(notional: object, currency: object) -> bool:
    return (
        type(notional) is Decimal
        and type(currency) is str
        and _is_currency(currency) is not None
        and _is_positive(notional)
    )


def find_violations(trade: Trade) -> tuple[Violation, ...]:
    """All that speaks against a trade, rule by rule."""
    found: list[Violation] = []
    _check_identifier(found, Code.TRADE_ID, "trade_id", trade.trade_id)
    _check_version(found, trade.version)
    _check_identifier(found, Code.COUNTERPARTY_ID, "counterparty_id", trade.counterparty_id)
    _check_identifier(found, Code.BOOK_ID, "book_id", trade.book_id)
    created_on = _check_created_at(found, trade.created_at)
    _check_maturity_date(found, trade.maturity_date, created_on)
    if trade.notional is not None or trade.currency is not None:
        _check_notional(found, trade.notional, trade.currency)
        _check_currency(found, trade.currency)
    return tuple(found)


def _check_identifier(found: list[Violation], code: Code, field: str, value: object) -> None:
    if type(value) is not str or not _is_identifier(value):
        found.append(
            Violation(
                code, f"{field} is {_format_value(value)}, which is not 1 to 64 ASCII characters from ! to ~ without \\"
            )
        )


def _check_version(found: list[Violation], value: object) -> None:
    if type(value) is not int or not 1 <= value <= MAX_VERSION:
        found.append(
            Violation(
                Code.VERSION, f"version is {_format_value(value)}, which is not a whole number from 1 to {MAX_VERSION}"
            )
        )


def _check_created_at(found: list[Violation], value: object) -> date | None:
    """The UTC date of created_at, where it has one."""
    if not isinstance(value, datetime):
        problem = "is not a datetime"
    elif value.tzinfo is UTC:
        return value.date()
    elif value.utcoffset() is None:
        problem = "has no time zone"
    else:
        try:
            return value.astimezone(UTC).date()
        except OverflowError:
            problem = "lies outside the years 1 to 9999 in UTC"
    found.append(Violation(Code.CREATED_AT, f"created_at is {_format_value(value)}, which {problem}"))
    return None


def _check_maturity_date(found: list[Violation], value: object, created_on: date | None) -> None:
    if isinstance(value, datetime) or not isinstance(value, date):
        problem = "is not a date"
    elif created_on is not None and value < created_on:
        problem = f"is before the UTC date of created_at, {created_on}"
    else:
        return
    found.append(Violation(Code.MATURITY_DATE, f"maturity_date is {_format_value(value)}, which {problem}"))


def _check_notional(found: list[Violation], value: object, currency: object) -> None:
    if value is None:
        problem = f"though the currency is {_format_value(currency)}: give both or neither"
    elif type(value) is not Decimal:
        problem = "which is not a Decimal"
    elif not _is_positive(value):
        problem = f"which is not above 0 with at most {DIGITS - SCALE} digits before the point and {SCALE} behind it"
    elif currency is None:
        problem = "without a currency: give both or neither"
    else:
        return
    found.append(Violation(Code.NOTIONAL, f"notional is {_format_value(value)}, {problem}"))


def _is_positive(amount: Decimal) -> bool:
    """Whether it is an amount, and above zero; zeros behind the fourth place are none in the value, and so allowed."""
    try:
        return to_exact(amount) > 0
    except ValueError:
        return False


def _check_currency(found: list[Violation], value: object) -> None:
    if value is not None and (type(value) is not str or not _is_currency(value)):
        found.append(
            Violation(
                Code.CURRENCY, f"currency is {_format_value(value)}, which is not three ASCII letters from A to Z"
            )
        )


def _format_value(value: object) -> str:
    """A value as a detail shows it: a record of a megabyte must not make a detail of a megabyte."""
    if isinstance(value, Decimal):
        text = str(value)
    else:
        text = value.isoformat() if isinstance(value, (date, datetime)) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}… ({len(text)} characters)"
