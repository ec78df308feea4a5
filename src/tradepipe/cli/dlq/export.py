"""`tradepipe dlq export`: refused records as lines of JSON."""

import base64
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from tradepipe.cli.dlq.options import All, DlqArguments, Limit, with_dlq_options
from tradepipe.cli.dlq.render import RecordDecoder
from tradepipe.cli.dlq.stores import open_store
from tradepipe.cli.logs import print_status
from tradepipe.trade.dead_letter import DeadLetter

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="Write to this file, whole or not at all, instead of stdout.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")]


@with_dlq_options()
def export(
    *, asked: DlqArguments, limit: Limit = None, every: All = False, output: Output = None, overwrite: Overwrite = False
) -> None:
    """
    Write refused records as lines of JSON.

    Each has all its bytes, as base64. Where a registry is named, what can be decoded is there as fields too.
    """
    if output is not None and output.exists() and not overwrite:
        raise typer.BadParameter(
            f"{output} is there already: name another file, or add --overwrite", param_hint="'--output'"
        )
    with RecordDecoder(asked.registry, asked.subject) as reading, _open_output(output) as file:
        place = open_store(asked, reading)
        found = islice(place.each(asked.selection._replace(replayed=every)), limit)
        number = _write_all(file, (document(kept, reading) for kept in found))
    print_status(
        f"{number:,} dead letter{'' if number == 1 else 's'} of {place.name} written{f' to {output}' if output else ''}"
    )


def document(kept: DeadLetter, reading: RecordDecoder) -> dict[str, Any]:
    """A refused record with all that is known of it."""
    record, trade = kept.record, reading(kept.record).trade
    return {
        "topic": record.topic,
        "topic_id": kept.topic_id,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _base64(record.key),
        "value": _base64(record.value),
        "headers": [[name, _base64(value)] for name, value in record.headers],
        "violations": [violation._asdict() for violation in kept.refusal.violations],
        "schema_id": kept.refusal.schema_id,
        "group": kept.group,
        "refused_at": _text(kept.refused_at),
        "replays": kept.replay_count,
        "replayed_at": _text(kept.replayed_at),
        "letter": kept.topic_record
        and [kept.topic_record.topic, kept.topic_record.partition, kept.topic_record.offset],
        "foreign": kept.is_foreign,
        "trade": trade and {name: _text(value) for name, value in trade._asdict().items()},
    }


@contextmanager
def _open_output(path: Path | None) -> Iterator[TextIO]:
    """Stdout, or a file that takes the place of another only when it is complete."""
    if path is None:
        yield sys.stdout
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="'--output'") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _write_all(file: TextIO, documents: Iterable[dict[str, Any]]) -> int:
    number = 0
    for number, each in enumerate(documents, 1):  # noqa: B007 - the last number is what was written
        file.write(f"{json.dumps(each)}\n")
    file.flush()
    return number


def _base64(given: bytes | None) -> str | None:
    return None if given is None else base64.b64encode(given).decode()


def _text(value: object) -> object:
    """Times in UTC; numbers that JSON has as they are, all else as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or type(value) is int else str(value)
