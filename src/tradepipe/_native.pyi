"""The compiled executor of codec plans, built from `native/`."""

from collections.abc import Callable, Sequence
from typing import Any

from tradepipe.codec.native import Write
from tradepipe.codec.plan import Plan
from tradepipe.trade.records import Run

INTERFACE: int

class Unsupported(ValueError):
    """The plan has something that only Python does."""

class Executor:
    """Executes codec plans over records, each by the header of its value."""

    def __init__(self, record: type[tuple[Any, ...]], conversions: Sequence[Sequence[Callable[[Any], Any]]]) -> None:
        """
        Take the class of the decoded records, and the conversions of each field, in declared order.

        The first conversion is given what the value is in Avro: a bool, an int (days, a number in the unit of the
        type, a decimal without its point), a float, a text (also of an enum) or bytes (also of a UUID). The next is
        given its result.
        """

    def add(self, header: bytes, plan: Plan) -> None:
        """
        Compile a plan for the values that begin with a header: the magic byte 00 and the schema id.

        Raises:
            Unsupported: the plan has something that only Python does; the header stays unknown.
        """

    def decode(self, value: bytes | None) -> Any | None:
        """
        Return the record of a framed value, without checking its rules; None if Python decodes or refuses it.

        What is decoded is what Python decodes.
        """

    def rows(self, run: Run, start: int, refuse_keys: bool) -> list[bytes]:
        """
        Return the rows of a run's records from `start` up to the first one that does not pass.

        A record passes if its header is known, its body is read and all checks and
        rules of the plan hold, and with `refuse_keys` its key is that of the trade.

        A row is one of PostgreSQL's binary COPY: the number of its fields, then
        source_topic, the outputs, source_partition, source_offset and schema_id.
        """

    def check(self, run: Run, start: int, refuse_keys: bool) -> int:
        """Return the place of the first record from `start` that does not pass; their number if all pass."""

class Encoder:
    """Encodes records with one schema."""

    def __init__(self, record: type[tuple[Any, ...]], writes: tuple[Write, ...], plan: Plan) -> None:
        """
        Compile a description of the fields, and the plan by which their values are checked.

        Raises:
            Unsupported: a field has something that only Python does.
        """

    def encode(self, header: bytes, check: bool, record: Any) -> bytes | None:
        """
        Encode a record after a header; None if Python encodes or refuses it.

        With `check`, what is encoded has no violations; without, its values have only their types.
        """

    def encode_all(self, header: bytes, check: bool, records: list[Any], start: int) -> list[bytes]:
        """Encode the records from `start` up to the first one that Python encodes or refuses, each after a header."""

def pick_fields(rows: list[bytes], places: tuple[int, ...]) -> bytes:
    """
    Return rows of a binary COPY with only the fields at some places, which ascend; the rows are joined.

    The last field of each is its number, an int4 from 0.
    """
