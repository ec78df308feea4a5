"""Schema ids a registry does not know: when to ask again, and when to believe it."""

from collections import deque
from typing import Final, TypeVar

from tradepipe.contract.refusal import Code, Violation
from tradepipe.errors import SchemaPending, UndecodableRecord

SECOND_LOOK: Final = 5.0
"""Seconds after which an unknown id is asked for again: a registry's replicas may lag behind the writer's."""

BELIEVED_FOR: Final = 60.0
"""Seconds for which an id that is believed to be unknown is not asked for."""

NEWCOMERS: Final = 5
"""New unknown ids a minute that get a second look; more are made up, and each would hold up its partition."""

MAX_REMEMBERED: Final = 1_000
"""Ids that are remembered; of more the first are forgotten."""


T = TypeVar("T")


class UnknownIds:
    """
    The memory of one deserializer; times are seconds of its clock.

    An id that was believed once is believed at once when it is asked for again,
    however often it comes.
    """

    def __init__(self) -> None:
        self._pending: dict[int, float] = {}
        self._believed: dict[int, tuple[float, str]] = {}
        self._newcomers: deque[float] = deque(maxlen=NEWCOMERS + 1)

    def require_due(self, schema_id: int, now: float) -> None:
        """
        Return if the registry is to be asked for an id.

        Raises:
            UndecodableRecord: the id is believed to be unknown.

            SchemaPending: the id is not to be asked for yet.
        """
        if schema_id in self._believed:
            until, problem = self._believed[schema_id]
            if now < until:
                raise _undecodable(schema_id, problem)
        elif schema_id in self._pending:
            left = self._pending[schema_id] + SECOND_LOOK - now
            if left > 0:
                raise SchemaPending(schema_id, left)

    def answered(self, schema_id: int, problem: str, now: float) -> SchemaPending | UndecodableRecord:
        """What to raise when the registry has been asked and does not know an id."""
        if schema_id in self._believed or schema_id in self._pending or self._too_many_newcomers(now):
            self._pending.pop(schema_id, None)
            self._believed.pop(schema_id, None)
            _remember(self._believed, schema_id, (now + BELIEVED_FOR, problem))
            return _undecodable(schema_id, problem)
        _remember(self._pending, schema_id, now)
        return SchemaPending(schema_id, SECOND_LOOK)

    def forget(self, schema_id: int) -> None:
        """Take out an id that is known now."""
        self._pending.pop(schema_id, None)
        self._believed.pop(schema_id, None)

    def _too_many_newcomers(self, now: float) -> bool:
        self._newcomers.append(now)
        return len(self._newcomers) > NEWCOMERS and now - self._newcomers[0] < 60.0


def _remember(memory: dict[int, T], schema_id: int, what: T) -> None:
    memory[schema_id] = what
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]


def _undecodable(schema_id: int, problem: str) -> UndecodableRecord:
    return UndecodableRecord(Violation(Code.UNKNOWN_SCHEMA, problem), schema_id)
