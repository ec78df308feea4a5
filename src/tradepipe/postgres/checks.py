"""Whether the table of trades applies the rules, where nobody else does."""

from typing import Final

from sqlalchemy import Connection, text

from tradepipe.errors import Misconfigured
from tradepipe.postgres.revision import require_revision
from tradepipe.postgres.tables import CHECKED, TRADES

_CAN_BE_OFF: Final = (18,)
"""From here on a constraint may be there and not be enforced."""

_THERE: Final = "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(:trades) AND contype = 'c'"


def require_checks(connection: Connection) -> None:
    """
    Return if this build can work with the database, and every rule is a CHECK constraint there.

    Raises:
        DatabaseBehind: it lacks a revision.

        Misconfigured: it is at no revision this build can work with, or
            somebody dropped a constraint.
    """
    require_revision(connection)
    can_be_off = (connection.dialect.server_version_info or ()) >= _CAN_BE_OFF
    query = text(f"{_THERE} AND conenforced" if can_be_off else _THERE)
    missing = sorted(CHECKED - set(connection.scalars(query, {"trades": TRADES.name})))
    if missing:
        raise Misconfigured(
            f"the table {TRADES.name} does not check {', '.join(missing)}: with --judge database nobody would; "
            f"make the CHECK constraint again as the revisions make it, or use --judge python"
        )
