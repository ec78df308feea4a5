"""Parquet files, read by pyarrow."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

import pyarrow
import pyarrow.parquet

from tradepipe.files.errors import BadInput, unusable
from tradepipe.files.file_kinds import MAX_WORKBOOK_BYTES
from tradepipe.files.mapping import FileMapping
from tradepipe.files.records import (
    REASON,
    FileProgress,
    InputRecord,
    Notify,
    Reader,
    RejectWriter,
    format_reasons,
    to_record,
)

_BATCH_ROWS: Final = 10_000


class ParquetFile(Reader):
    """A Parquet file; a damaged one or a bomb is an `InvalidOption`."""

    ending = ".rejects.parquet"

    def __init__(self, path: str, mapping: FileMapping, notify: Notify) -> None:
        super().__init__(path, mapping, notify)
        try:
            self._file = pyarrow.parquet.ParquetFile(path, pre_buffer=False)
            self._schema = self._file.schema_arrow
            groups = [self._file.metadata.row_group(at) for at in range(self._file.num_row_groups)]
        except (pyarrow.ArrowException, OSError) as error:
            raise unusable(path, f"the Parquet file is damaged: {error}") from None
        if any(group.total_byte_size > MAX_WORKBOOK_BYTES for group in groups):
            raise unusable(path, f"a row group would expand to more than {MAX_WORKBOOK_BYTES:,} bytes")
        self._total = self._file.metadata.num_rows
        self._number = 0
        self.headers = list(self._schema.names)

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def records(self) -> Iterator[InputRecord]:
        parse = self._parser_of_rows(lambda parser: parser.from_cell)
        for row in self.rows():
            yield to_record(self._number, "", parse(row), row)

    def rows(self) -> Iterator[Sequence[object]]:
        try:
            for batch in self._file.iter_batches(_BATCH_ROWS):
                for row in zip(*[_values(column) for column in batch.columns], strict=True):
                    self._number += 1
                    yield row
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise BadInput(f"{self.name}:{self._number + 1}: the Parquet file is unreadable: {error}") from error

    def progress(self) -> FileProgress | None:
        return FileProgress.of_rows(self._number, self._total)

    def reject_writer(self, file: BinaryIO) -> "ParquetRejects":
        return ParquetRejects(file, self._schema, skip=self._reasons)


class ParquetRejects(RejectWriter):
    """Rejects as a Parquet file: the reason, then the columns after the first `skip`."""

    def __init__(self, file: BinaryIO, schema: Any, *, skip: int) -> None:
        self._skip = skip
        fields = [pyarrow.field(REASON, pyarrow.string()), *list(schema)[skip:]]
        self._schema = pyarrow.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema)
        self._rows: list[Sequence[object]] = []

    def add(self, record: InputRecord) -> None:
        self._rows.append([format_reasons(record), *(record.cells or ())[self._skip :]])
        if len(self._rows) == _BATCH_ROWS:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(self._schema)
        arrays = [pyarrow.array(values, type=field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


def _values(column: Any) -> list[object]:
    """Convert a column to Python; times with nanoseconds are an error, unless these are zero."""
    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pyarrow.timestamp("us", column.type.tz))
    values: list[object] = column.to_pylist(maps_as_pydicts="strict")
    return values
