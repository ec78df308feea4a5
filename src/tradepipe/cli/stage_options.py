"""The options that the stages share, and how they are read."""

from typing import Annotated

import typer

from tradepipe.codec.admission import UnknownFields
from tradepipe.pipeline.validation import RecordKey
from tradepipe.postgres.stale import Stale

UntilEnd = Annotated[
    bool,
    typer.Option("--until-end", envvar="TRADEPIPE_UNTIL_END", help="End when all is done that the topic holds now."),
]
StartOption = Annotated[
    str,
    typer.Option(
        "--start",
        envvar="TRADEPIPE_START",
        metavar="WHERE",
        help="Where a group that is new begins: earliest, latest, or a time such as 2025-06-01T08:00:00Z.",
    ),
]
MaxRefused = Annotated[
    str,
    typer.Option(
        "--max-refused",
        envvar="TRADEPIPE_MAX_REFUSED",
        metavar="SHARE|off",
        help="Stop when more of a partition's last 1000 records than this would be refused.",
    ),
]
UnknownFieldsOption = Annotated[
    UnknownFields,
    typer.Option(
        "--unknown-fields",
        envvar="TRADEPIPE_UNKNOWN_FIELDS",
        metavar="stop|drop",
        help="At a newer schema whose fields this build cannot hold: stop, or drop them for ever.",
    ),
]
RulesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rules",
        envvar="TRADEPIPE_RULES",
        metavar="MODULE:FUNCTION",
        help="A rule of your own beside ours: from a Trade to its violations; may be repeated "
        "(in the variable: separated by blanks).",
        show_default=False,
    ),
]
RecordKeyOption = Annotated[
    RecordKey,
    typer.Option(
        "--record-key",
        envvar="TRADEPIPE_RECORD_KEY",
        metavar="refuse|accept",
        help="A record whose Kafka key is not its trade_id, so that it may be out of order with other versions.",
    ),
]
StaleOption = Annotated[
    Stale,
    typer.Option(
        "--stale",
        envvar="TRADEPIPE_STALE",
        metavar="accept|refuse",
        help="A version that comes after a newer one of its trade was stored.",
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        envvar="TRADEPIPE_METRICS_PORT",
        metavar="PORT",
        min=0,
        max=65535,
        help="Serve /metrics for Prometheus, /livez and /readyz; 0 takes a free port and tells it.",
        show_default=False,
    ),
]
MetricsHost = Annotated[
    str,
    typer.Option(
        "--metrics-host",
        envvar="TRADEPIPE_METRICS_HOST",
        metavar="ADDRESS",
        help="On which address to serve them; 0.0.0.0 for all of this machine's.",
    ),
]
