"""A record judged: a trade to store, or a refusal."""

from collections.abc import Callable, Sequence

from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Refusal, Violation
from tradepipe.contract.rules import violations
from tradepipe.contract.trade import Trade
from tradepipe.errors import UndecodableRecord
from tradepipe.postgres.staging import Accepted
from tradepipe.wire.serde import TradeDeserializer

Rules = Callable[[Trade], Sequence[Violation]]


class Judge:
    """Decode a record and apply the rules; depends on the bytes and the schema alone."""

    def __init__(self, deserializer: TradeDeserializer, rules: Rules = violations) -> None:
        self._decode = deserializer.decode
        self._rules = rules

    def __call__(self, record: Record) -> Accepted | Refusal:
        """
        The verdict on a record.

        Raises:
            RegistryAway: the schema cannot be had now; nothing is said of the record.

            UnsupportedSchema: this build would lose values of the record.
        """
        try:
            schema_id, trade = self._decode(record.value)
        except UndecodableRecord as error:
            return Refusal(record, (error.violation,), error.schema_id)
        if found := self._rules(trade):
            return Refusal(record, tuple(found), schema_id)
        return Accepted(record, trade, schema_id)
