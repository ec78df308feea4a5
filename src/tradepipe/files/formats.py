"""Formats of dates, times and numbers, as spreadsheets write them."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from tradepipe.files.errors import quote_cell

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_TOKEN = re.compile(r"yyyy|yy|mmm|mm?|dd?|hh?|ss?|f+|am/pm|z|t|[^a-z0-9]", re.IGNORECASE)

_NAMES: Final = {"y": "year", "d": "day", "h": "hour", "s": "second", "f": "fraction", "a": "half", "z": "offset"}
"""Parts of a date and a time, by the first letter of their code; m is a month or minutes."""

_EXPRESSIONS: Final = {
    "month_name": "(?P<month_name>[A-Za-z]{3})",
    "half": "(?P<half>[AaPp])[Mm]",
    "offset": "(?P<offset>Z|[+-][0-9]{2}(?::?[0-9]{2})?)",
}
"""Regular expressions of the parts that are not digits alone."""

_SPACES: Final = " \u00a0\u202f"
"""Spaces that group digits: Excel writes the no-break ones."""

_APOSTROPHES: Final = "'\u2019"


class DateFormat:
    """
    A format of dates, or of dates with times, in the codes of Excel.

    `YYYY`, `YY` (20YY), `MM`, `MMM` (Jan), `DD`, `hh`, `mm`, `ss`, `fff`, `AM/PM` and `Z`, an offset such as +02:00, in
    capital or small letters; `mm` after hours are minutes. Days, months and hours may lack their leading zero, unless
    digits follow each other without a separator.

    >>> DateFormat("DD.MM.YYYY").parse("31.1.2030")
    datetime.datetime(2030, 1, 31, 0, 0)

    Raises:
        ValueError: the text is not such a format.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        tokens = _TOKEN.findall(pattern)
        names = _part_names(tokens)
        if "".join(tokens) != pattern or not {"year", "day"} <= set(names) or not {"month", "month_name"} & set(names):
            raise ValueError(
                f"{quote_cell(pattern)} is not a format of dates such as DD/MM/YYYY or DD/MM/YYYY hh:mm:ss"
            )
        parts = [name for name in names if name]
        if twice := next((name for name in parts if parts.count(name) > 1), None):
            raise ValueError(f"{quote_cell(pattern)} has the {twice.replace('_', ' ')} twice")
        self.has_time = "hour" in parts
        self.has_offset = "offset" in parts
        # In 20250601 only fixed widths tell where the month begins.
        is_glued = any(first and second for first, second in pairwise(names))
        usual = "{2}" if is_glued else "{1,2}"
        expression = ""
        for token, name in zip(tokens, names, strict=True):
            digits = {"year": f"{{{len(token)}}}", "fraction": "{1,6}"}.get(name, usual)
            expression += _EXPRESSIONS.get(name, f"(?P<{name}>[0-9]{digits})") if name else re.escape(token)
        self._match = re.compile(expression).fullmatch

    def parse(self, text: str) -> datetime:
        """
        Parse a text; the result has an offset only if the format has one.

        Raises:
            ValueError: the text has another form, or there is no such day or time.
        """
        found = self._match(text)
        if found is None:
            raise ValueError(f"it is not written as {self.pattern}")
        parts = {name: value or "" for name, value in found.groupdict().items()}
        year, name, half = parts["year"], parts.get("month_name", ""), parts.get("half", "")
        if name and name.lower() not in _MONTHS:
            raise ValueError(f"{name} is not a month such as Jan")
        hour = int(parts.get("hour", 0))
        if half and not 1 <= hour <= 12:
            raise ValueError(f"hour must be in 1..12 with {half}M")
        return datetime(
            int(year) if len(year) > 2 else 2000 + int(year),
            _MONTHS.index(name.lower()) + 1 if name else int(parts["month"]),
            int(parts["day"]),
            hour % 12 + 12 * (half in "Pp") if half else hour,
            int(parts.get("minute", 0)),
            int(parts.get("second", 0)),
            int(parts.get("fraction", "0").ljust(6, "0")),
            # %z needs the minutes.
            tzinfo=datetime.strptime(f"{offset}{'00' * (len(offset) == 3)}", "%z").tzinfo
            if (offset := parts.get("offset"))
            else None,
        )


def _part_names(tokens: list[str]) -> list[str]:
    """Name the part of each code; a separator has an empty name."""
    names: list[str] = []
    for token in tokens:
        letter = token[0].lower()
        if letter == "m":
            # As in Excel, mm is a month unless hours come before it.
            is_minute = next((name for name in reversed(names) if name), "") == "hour"
            names.append("minute" if is_minute else "month_name" if len(token) > 2 else "month")
        else:
            names.append(_NAMES.get(letter, ""))
    return names


def to_instant(local: datetime, zone: ZoneInfo, shown: str) -> datetime:
    """Convert a local time to UTC; a time that the zone's clocks showed twice or never is a ValueError."""
    try:
        # fold is which of the two occurrences is meant. Where both are one instant, the time is unambiguous.
        first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second:
            return first
        is_skipped = first.astimezone(zone).replace(tzinfo=None) != local
    except OverflowError as error:
        raise ValueError(f"{quote_cell(shown)} is not a timestamp: {error}") from None
    raise ValueError(
        f"{quote_cell(shown)} {'never occurred' if is_skipped else 'occurred twice'} in {zone.key}, where clocks were "
        "changed then: write it as 2025-06-01T10:00:00+02:00"
    )


class NumberFormat:
    """
    A format of numbers, by its decimal sign and the sign that groups thousands.

    >>> NumberFormat(",", ".").parse("1.250.000,50")
    Decimal('1250000.50')
    """

    def __init__(self, decimal: str = ".", thousands: str = "") -> None:
        # One grouping sign stands for its look-alikes, which Excel writes.
        signs = next((alike for alike in (_SPACES, _APOSTROPHES) if thousands and thousands in alike), thousands)
        grouped = f"[1-9][0-9]{{0,2}}(?:[{re.escape(signs)}][0-9]{{3}})+|" if signs else ""
        self._match = re.compile(
            # At most 19 digits before the sign and 18 after it: hostile texts stay cheap. A number with leading zeros
            # is more likely an id.
            rf"-?(?:{grouped}0|[1-9][0-9]{{0,18}})(?:{re.escape(decimal)}[0-9]{{1,18}})?"
        ).fullmatch
        self._plain = str.maketrans({**dict.fromkeys(signs), decimal: "."})
        self._example = f"1{thousands}250{thousands}000{decimal}50"

    def parse(self, text: str) -> Decimal:
        """Parse a number, exactly; ValueError for a text of another form."""
        if not self._match(text):
            raise ValueError(f"{quote_cell(text)} is not a number such as {self._example}")
        return Decimal(text.translate(self._plain))


class Formats(NamedTuple):
    """
    Formats of a file's texts; without a format, a text has the plain form of its field.

    Attributes:
        timezone: zone of times without an offset.

        number: None for plain digits with a point.

        trim: whether blanks around a text are removed.
    """

    date: DateFormat | None = None
    time: DateFormat | None = None
    timezone: ZoneInfo | None = None
    number: NumberFormat | None = None
    trim: bool = False


@lru_cache(maxsize=4096)
def parse_date_cached(format: DateFormat, text: str) -> datetime:
    """Parse a date; a file has few different ones."""
    return format.parse(text)
