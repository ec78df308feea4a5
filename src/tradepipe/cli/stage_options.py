"""Options that the sink and the validator share."""

from typing import Annotated

from tradepipe.cli.options import option
from tradepipe.codec.admission import UnknownFields
from tradepipe.pipeline.validation import RecordKey
from tradepipe.postgres.stale import Stale

UntilEnd = Annotated[bool, option("--until-end", "Exit when everything currently in the topic has been processed.")]
StartOption = Annotated[
    str,
    option(
        "--start POSITION",
        "Start position of a new consumer group: earliest, latest, or a timestamp such as 2025-06-01T08:00:00Z.",
    ),
]
MaxRefused = Annotated[
    str,
    option(
        "--max-refused SHARE|off", "Stop if more than this share of a partition's last 1000 records would be refused."
    ),
]
UnknownFieldsOption = Annotated[
    UnknownFields,
    option(
        "--unknown-fields stop|drop",
        "When records have fields that this build does not know: stop, or drop these fields for good.",
    ),
]
RulesOption = Annotated[
    list[str] | None,
    option(
        "--rules MODULE:FUNCTION",
        "Additional validation rule, a function from Trade to violations. Repeatable "
        "(space-separated in the variable).",
    ),
]
RecordKeyOption = Annotated[
    RecordKey,
    option(
        "--record-key refuse|accept",
        "What to do with a record whose Kafka key is not its trade_id; its versions may be out of order.",
    ),
]
StaleOption = Annotated[
    Stale, option("--stale accept|refuse", "What to do with a version older than one already stored.")
]
MetricsPort = Annotated[
    int | None,
    option(
        "--metrics-port PORT",
        "Serve /metrics for Prometheus, /livez and /readyz; 0 picks a free port and prints it.",
        min=0,
        max=65535,
    ),
]
MetricsHost = Annotated[
    str, option("--metrics-host ADDRESS", "Address to serve metrics on; 0.0.0.0 for all interfaces.")
]
