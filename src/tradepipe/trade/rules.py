"""Validation rules of a trade: pure functions, each with its violation code."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from tradepipe.trade.model import DIGITS, SCALE, Trade, to_exact
from tradepipe.trade.record import Code, Violation

IDENTIFIER: Final = r"[!-\[\]-~]{1,64}"
"""1 to 64 ASCII characters from `!` to `~` except backslash; the table's CHECK constraints use this expression too."""

MAX_VERSION: Final = 2**31 - 1
"""Upper bound of Avro's int and PostgreSQL's integer."""

CURRENCY: Final = r"[A-Z]{3}"
"""Three ASCII letters from A to Z; the table's CHECK constraint uses this expression too."""

_THREE_IDENTIFIERS: Final = "\n".join([IDENTIFIER] * 3)
"""Three identifiers, one a line: an identifier contains no line break, so the match is unambiguous."""

_MICROS_PER_DAY: Final = 86_400_000_000

_is_identifier = re.compile(IDENTIFIER).fullmatch
_are_identifiers = re.compile(_THREE_IDENTIFIERS).fullmatch
_are_encoded_identifiers = re.compile(_THREE_IDENTIFIERS.encode()).fullmatch
_is_currency = re.compile(CURRENCY).fullmatch
_is_encoded_currency = re.compile(CURRENCY.encode()).fullmatch


def violations(trade: Trade) -> tuple[Violation, ...]:
    """
    Return the violations of a trade; an empty tuple if it is valid.

    The result depends on the trade alone, without a clock or a look-up, so a
    record that is read again gets the same result.

    >>> from datetime import UTC
    >>> now = datetime(2025, 6, 1, tzinfo=UTC)
    >>> trade = Trade("T1", 0, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=now)
    >>> [violation.detail for violation in violations(trade)]
    ['version is 0, which is not a whole number from 1 to 2147483647']
    """
    return () if passes_quick_check(trade) else find_violations(trade)


def passes_quick_check(trade: Trade) -> bool:
    """
    Return whether a quick check shows that a trade is valid; False is inconclusive.

    Nearly all trades of a stream pass, in half the time of `find_violations`.
    """
    trade_id, version, counterparty_id, book_id, maturity_date, created_at, _, notional, currency = trade
    return (
        type(trade_id) is type(counterparty_id) is type(book_id) is str
        and _are_identifiers(f"{trade_id}\n{counterparty_id}\n{book_id}") is not None
        and type(version) is int
        and 1 <= version <= MAX_VERSION
        and type(created_at) is datetime
        # Identity, not equality: decoded timestamps have this object, and other zones need a conversion.
        and created_at.tzinfo is UTC
        and type(maturity_date) is date
        and maturity_date >= created_at.date()
        and ((notional is None and currency is None) or _is_valid_amount(notional, currency))
    )


EncodedTrade = tuple[bytes, int, bytes, bytes, int, int, object, int | None, bytes | None]
"""
A trade's values in Avro's encoding, in the order of its fields.

Strings are UTF-8, a date is days and a timestamp microseconds since 1970, an
amount is its unscaled integer. The side is not checked.
"""


def encoded_passes_quick_check(encoded: EncodedTrade) -> bool:
    """Return whether a quick check shows that an encoded trade is valid; False is inconclusive."""
    # Only what the Avro types allow is checked: an int has no upper bound to check, a decimal no digits to count.
    trade_id, version, counterparty_id, book_id, maturity_date, created_at, _, notional, currency = encoded
    return (
        _are_encoded_identifiers(b"%b\n%b\n%b" % (trade_id, counterparty_id, book_id)) is not None
        and version >= 1
        and maturity_date >= created_at // _MICROS_PER_DAY
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
    """Return the violations of a trade, checking rule by rule."""
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
    """Check created_at; return its UTC date if it is valid."""
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
            problem = "is outside the years 1 to 9999 in UTC"
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
        problem = f"which is not above 0 with at most {DIGITS - SCALE} digits before the point and {SCALE} after it"
    elif currency is None:
        problem = "without a currency: give both or neither"
    else:
        return
    found.append(Violation(Code.NOTIONAL, f"notional is {_format_value(value)}, {problem}"))


def _is_positive(amount: Decimal) -> bool:
    """Return whether a decimal is an amount above zero; trailing zeros after the fourth place are allowed."""
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
    """Format a value for a violation's detail, shortened: a value may have a megabyte."""
    if isinstance(value, Decimal):
        text = str(value)
    else:
        text = value.isoformat() if isinstance(value, (date, datetime)) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}… ({len(text)} characters)"
