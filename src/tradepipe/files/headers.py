"""Columns of a file: which header belongs to which field."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tradepipe.files.errors import InvalidOption, format_names, quote_cell
from tradepipe.files.fields import FIELDS, OPTIONAL
from tradepipe.files.mapping import FileMapping

REASON: Final = "reason"
"""First header of a file of rejects, which is ignored when the corrected file is loaded."""

_OTHER_NAMES: Final[Mapping[str, str]] = {
    "trade_id": "trade id|trade ref|trade reference|trade no|trade number|deal id|deal ref|deal no|deal number|"
    "reference|ref|id|external id|geschäftsnummer|geschäftsnr|handelsnummer",
    "version": "ver|rev|revision|trade version|amendment|version no",
    "counterparty_id": "counterparty|cpty|cpty id|cp|client|client id|customer|party|gegenpartei|kontrahent|kunde",
    "book_id": "book|portfolio|portfolio id|trading book|desk book|buch|handelsbuch",
    "maturity_date": "maturity|end date|ends|expiry|expiry date|expiration date|termination date|settlement date|"
    "settle date|value date|payment date|fälligkeit|laufzeitende|enddatum",
    "created_at": "created|created on|creation time|booked|booked at|booking time|trade time|trade date time|"
    "trade timestamp|timestamp|execution time|entry time|trade date|deal date|erfasst|erfasst am|handelszeit",
    "side": "buy sell|b s|bs|direction|buy or sell|seite|kauf verkauf|richtung",
    "notional": "notional amount|nominal|amount|face amount|nennwert|nennbetrag|betrag",
    "currency": "ccy|cur|curr|notional currency|notional ccy|währung",
}
"""Usual headers beyond the names of fields, the more exact first."""


class Columns(NamedTuple):
    """
    The columns of a file.

    Attributes:
        positions: column of each field that has one.

        renamed: headers that match except for case and blanks, by field.

        unused: headers that belong to no field.

        lacking: optional fields without a column and a default.
    """

    positions: dict[str, int]
    renamed: dict[str, str]
    unused: list[str]
    lacking: list[str]


def find_columns(name: str, headers: Sequence[str], mapping: FileMapping, what: str = "headers") -> Columns:
    """
    Find the column of each field: its exact header, else the same without regard to case and surrounding blanks.

    Raises:
        InvalidOption: a required column is missing, or several headers match.
    """
    positions: dict[str, int] = {}
    for field in FIELDS:
        header = mapping.header(field)
        found = [at for at, each in enumerate(headers) if each == header] or [
            at for at, each in enumerate(headers) if _fold(each) == _fold(header)
        ]
        if len(found) > 1:
            raise InvalidOption(
                f"{name} has {len(found)} columns for {field}: {format_names([headers[at] for at in found])}; "
                + (
                    f"choose one with --column {field}=HEADER"
                    if len({headers[at] for at in found}) == len(found)
                    else "rename all but one"
                )
            )
        if found:
            positions[field] = found[0]
    missing = [
        field
        for field in FIELDS
        if field not in positions and (field in mapping.columns or field not in {*OPTIONAL, *mapping.defaults})
    ]
    if missing:
        raise _missing_columns(name, missing, headers, mapping, what)
    used = set(positions.values())
    return Columns(
        positions,
        {field: headers[at] for field, at in positions.items() if headers[at] != mapping.header(field)},
        # The reasons of an earlier run are expected, and not reported as unused.
        [header for at, header in enumerate(headers) if at not in used and not (at == 0 and header == REASON)],
        [field for field in FIELDS if field not in positions and field not in mapping.defaults],
    )


def suggest_headers(fields: Sequence[str], headers: Sequence[str]) -> dict[str, str]:
    """Find headers that usually mean one of these fields; each is suggested once."""
    # Reversed, so that of two similar headers the first one remains.
    left = {_letters(header): header for header in reversed(headers)}
    found: dict[str, str] = {}
    for field in fields:
        for name in (field, field.removesuffix("_id"), *_OTHER_NAMES.get(field, "").split("|")):
            if header := left.pop(_letters(name), None):
                found[field] = header
                break
    return found


def has_reason(headers: Sequence[str], mapping: FileMapping) -> bool:
    """Return whether a file's first column holds the reasons of an earlier run."""
    return headers[:1] == [REASON] and REASON not in mapping.columns.values()


def _fold(header: str) -> str:
    return header.strip().casefold()


def _letters(header: str) -> str:
    return "".join(character for character in header.casefold() if character.isalnum())


def _missing_columns(
    name: str, missing: list[str], headers: Sequence[str], mapping: FileMapping, what: str
) -> InvalidOption:
    needed = ", ".join(
        f"{field} ({quote_cell(mapping.columns[field])})" if field in mapping.columns else field for field in missing
    )
    found = suggest_headers(missing, [header for header in headers if header not in mapping.columns.values()])
    if found:
        options = " ".join(f"--column {shlex.quote(f'{field}={header}')}" for field, header in found.items())
        advice = f"did you mean {options}?"
    else:
        advice = f"pass --column {missing[0]}=HEADER, or --default {missing[0]}=VALUE for all trades"
    return InvalidOption(
        f"{name} has no column for {needed}; its {what} are {format_names(headers) or 'none'}; {advice} "
        "(--suggest-mapping FILE begins a mapping file)"
    )
