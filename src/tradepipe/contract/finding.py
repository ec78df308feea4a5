"""What is to be said of a schema: a rule it breaks, where, and what would happen to whose data."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from tradepipe.contract.compatibility import Direction


class Severity(StrEnum):
    """What a finding keeps from happening."""

    ERROR = "error"
    """Data breaks, or is read as what it is not."""

    WARNING = "warning"
    """Not everywhere: some registry or reader goes another way."""


class Finding(NamedTuple):
    """
    One finding.

    Attributes:
        rule: the rule's id, the same for ever.

        path: the place by names, such as `Trade.legs[].price`.

        sentence: what would happen to whose data.

        mend: what to do instead.

        old, new: what stands there before and after.

        direction: who cannot read whom; None where no two versions are compared.

        against: the number of the version it is about or breaks with.

        pointer: the place in the newer schema's JSON, as a JSON pointer.
    """

    rule: str
    severity: Severity
    path: str
    sentence: str
    mend: str = ""
    old: str = ""
    new: str = ""
    direction: Direction | None = None
    against: int | None = None
    pointer: str = ""


def errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that break data."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)
