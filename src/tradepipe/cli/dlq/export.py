"""Command `tradepipe dlq export`: dead letters as JSON lines."""

import base64
import sys
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO

from tradepipe.cli.dlq.options import All, DlqArguments, Limit
from tradepipe.cli.dlq.render import RecordDecoder
from tradepipe.cli.dlq.stores import open_store
from tradepipe.cli.logs import print_status
from tradepipe.cli.options import option
from tradepipe.cli.terminal import to_json
from tradepipe.files.drafts import write_file
from tradepipe.files.json_text import json_value
from tradepipe.plural import format_count
from tradepipe.trade.dead_letter import DeadLetter

Output = Annotated[
    Path | None,
    option("--output FILE", "Write to this file instead of stdout, readable by you alone.", variable=None),
]
Overwrite = Annotated[bool, option("--overwrite", "Replace the file if it exists.", variable=None)]


def export(
    *,
    arguments: DlqArguments,
    limit: Limit = None,
    include_replayed: All = False,
    output: Output = None,
    overwrite: Overwrite = False,
) -> None:
    """
    Write dead letters as JSON lines.

    Each line has the record's bytes, as base64, and, with a registry, the fields of a decodable value.
    """
    target: AbstractContextManager[TextIO] = nullcontext(sys.stdout)
    if output is not None:
        target = write_file(output, overwrite=overwrite, private=True, option="--output")
    with RecordDecoder(arguments.registry, arguments.subject) as decoder, target as file:
        store = open_store(arguments, decoder)
        found = islice(store.each(arguments.selection._replace(replayed=include_replayed)), limit)
        number = 0
        for number, each in enumerate(found, 1):  # noqa: B007 - the last number is the count
            file.write(f"{to_json(document(each, decoder), indent=None)}\n")
        file.flush()
    place = f" to {output}" if output else ""
    print_status(f"exported {format_count(number, 'dead letter')} from {store.name}{place}")


def document(dead_letter: DeadLetter, decoder: RecordDecoder) -> dict[str, Any]:
    """Return the JSON document of a dead letter."""
    record, trade = dead_letter.record, decoder(dead_letter.record).trade
    return {
        "topic": record.topic,
        "topic_id": dead_letter.topic_id,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _base64(record.key),
        "value": _base64(record.value),
        "omitted": {
            name: {"bytes": digest.size, "sha256": digest.sha256.hex()}
            for name, digest in dead_letter.refusal.omitted._asdict().items()
            if digest is not None
        },
        "headers": [[name, _base64(value)] for name, value in record.headers],
        "violations": [violation._asdict() for violation in dead_letter.refusal.violations],
        "schema_id": dead_letter.refusal.schema_id,
        "group": dead_letter.group,
        "refused_at": json_value(dead_letter.refused_at),
        "replays": dead_letter.replay_count,
        "replayed_at": json_value(dead_letter.replayed_at),
        "letter": dead_letter.topic_record
        and [dead_letter.topic_record.topic, dead_letter.topic_record.partition, dead_letter.topic_record.offset],
        "foreign": dead_letter.is_foreign,
        "trade": trade and {name: json_value(value) for name, value in trade._asdict().items()},
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
