"""JSON lines, and JSON arrays."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

from tradepipe.files.csv_file import find_undecoded, wrong_byte
from tradepipe.files.errors import BadInput, quote_cell
from tradepipe.files.fields import DECODER, FIELDS, OPTIONAL, read
from tradepipe.files.lines import MAX_LINE_BYTES, LineReader, TextFile
from tradepipe.files.mapping import FileMapping
from tradepipe.files.records import (
    InputRecord,
    Notify,
    RejectWriter,
    describe_columns,
    find_columns,
    to_record,
    undecodable,
)
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Violation

_CHUNK_BYTES = 1 << 16

_Found = dict[str, object] | ValueError
"""An object, or what is wrong with it."""


class JsonFile(TextFile):
    """
    JSON objects, one on each line or, with `is_array`, in one array.

    Records of an array are numbered by their items: an array is often a single line.

    Raises:
        InvalidOption: an array was expected, and the file is a single object.
    """

    ending = ".rejects.jsonl"

    def __init__(self, source: LineReader, mapping: FileMapping, notify: Notify, *, is_array: bool) -> None:
        super().__init__(source, mapping, notify)
        self.unit = "item" if is_array else "line"
        self._parsers = mapping.parsers()
        self._keys = {field: mapping.header(field) for field in FIELDS}
        self._found = self._items() if is_array else self._objects()
        first = next(self._found, None)
        if first is not None:
            self.headers = list(first[2]) if isinstance(first[2], dict) else []
            self._found = chain([first], self._found)

    def records(self) -> Iterator[InputRecord]:
        is_described = False
        for line, raw, found in self._found:
            if wrong := find_undecoded(raw):
                detail = f"the record is not {wrong_byte(wrong, self._source.encoding)}"
                yield InputRecord(line, raw, None, undecodable(detail))
            elif isinstance(found, ValueError):
                yield InputRecord(line, raw, None, undecodable(str(found)))
            else:
                if not is_described:
                    self._describe(found)
                    is_described = True
                yield to_record(line, raw, self._parse(found))

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the values of objects, in the order of the first one's keys."""
        for _, _, found in self._found:
            if isinstance(found, dict):
                yield [found.get(key) for key in self.headers]

    def reject_writer(self, file: BinaryIO) -> "JsonRejects":
        return JsonRejects(file, self.name)

    def _objects(self) -> Iterator[tuple[int, str, _Found]]:
        for line in self._source:
            if line.strip():
                found: _Found
                try:
                    found = _object(line)
                except ValueError as error:
                    found = error
                yield self._source.number, line.rstrip("\r\n"), found

    def _items(self) -> Iterator[tuple[int, str, _Found]]:
        """Yield the items of an array, one in memory at a time; `BadInput` if the rest is not that of an array."""
        text, number, is_end = self._source.read_text(_CHUNK_BYTES), 0, False
        text = text.lstrip().removeprefix("[")
        while True:
            text = text.lstrip()
            if number and text.startswith(","):
                text = text[1:].lstrip()
            try:
                if text.startswith("]"):
                    return
                value, end = DECODER.raw_decode(text)
                # A number at the end of the text may be cut.
                if end == len(text) and not is_end:
                    raise ValueError("cut")
            except (ValueError, RecursionError) as error:
                if is_end or len(text) > MAX_LINE_BYTES:
                    what = "ends within this item" if is_end and not text else f"is not JSON here: {error}"
                    raise BadInput(f"{self.name}:{number + 1}: the array {what}") from None
                # Twice as much each time: the item is parsed again after each chunk, and doubling keeps the total time
                # linear.
                more = self._source.read_text(max(_CHUNK_BYTES, len(text)))
                is_end = not more
                text += more
                continue
            number += 1
            if not isinstance(value, dict):
                value = ValueError(f"the item is not a JSON object but {quote_cell(text[:end])}")
            yield number, text[:end], value
            text = text[end:]

    def _describe(self, found: Mapping[str, object]) -> None:
        """Match the first object's keys if it has unknown ones; the required fields must be among them then."""
        if not found.keys() <= set(self._keys.values()):
            columns = find_columns(self.name, list(found), self._mapping, "first record's keys")
            describe_columns(self.name, columns, self._notify, what="keys")
            self._keys |= columns.renamed

    def _parse(self, found: Mapping[str, object]) -> Trade | tuple[Violation, ...]:
        values: dict[str, Callable[[], object]] = {}
        for field, key in self._keys.items():
            if key in found:
                values[field] = partial(self._value, field, found[key])
            else:
                values[field] = partial(self._missing, field, key)
        return read(values)

    def _value(self, field: str, value: object) -> object:
        if value is None and field in self._mapping.defaults:
            return self._mapping.defaults[field]
        return self._parsers[field].from_json(value)

    def _missing(self, field: str, header: str) -> object:
        if field in self._mapping.defaults:
            return self._mapping.defaults[field]
        if field in OPTIONAL:
            return OPTIONAL[field]
        key = "" if field == header else f"the key {quote_cell(header)} "
        raise ValueError(f"{key}is missing; if the whole file lacks it, pass --default {field}=VALUE")


class JsonRejects(RejectWriter):
    """Rejects as JSON lines: the file, the line, the reasons and the record's text."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name

    def add(self, record: InputRecord) -> None:
        reasons = [{"code": str(violation.code), "detail": violation.detail} for violation in record.violations]
        document: dict[str, Any] = {"file": self._name, "line": record.line, "reasons": reasons, "raw": record.raw}
        raw = record.raw.encode("utf-8", "surrogateescape")
        # JSON has no lone surrogates, so bytes that were not text are kept beside it.
        text = raw.decode("utf-8", "replace")
        if text != record.raw:
            document |= {"raw": text, "raw_base64": base64.b64encode(raw).decode()}
        self._file.write(json.dumps(document).encode() + b"\n")

    def close(self) -> None:
        """Write nothing more."""


def _object(line: str) -> dict[str, object]:
    """Parse the JSON object on a line; anything else and a duplicate key are a ValueError."""
    try:
        found = DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"the line is not JSON: {error.msg} at character {error.colno}") from None
    except RecursionError:
        raise ValueError("the line is not a trade: it is nested too deeply") from None
    except ValueError as error:  # from the hooks below, or from Python for a number with thousands of digits
        raise ValueError(f"the line is not a trade: {error}") from None
    if not isinstance(found, dict):
        hint = "; a JSON array is read with --input-format json" if isinstance(found, list) else ""
        raise ValueError(f"the line is not a JSON object but {quote_cell(line.strip())}{hint}")
    return found
