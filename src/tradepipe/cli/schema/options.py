"""Options of `tradepipe schema`."""

from pathlib import Path
from typing import Annotated

from tradepipe.cli.options import option
from tradepipe.cli.schema.report import Format
from tradepipe.evolution.compatibility import Level

HistoryFolder = Annotated[
    Path | None,
    option(
        "--history DIR",
        "Directory of the released versions: v001.avsc etc. and history.json. Default: the trade schema.",
    ),
]
LevelIfOther = Annotated[Level | None, option("--level LEVEL", "Compatibility level; that of the history if omitted.")]
ReportFormat = Annotated[
    Format,
    option(
        "--format text|json|junit|github",
        "Output format: text, JSON, JUnit XML, or GitHub annotations.",
        variable="TRADEPIPE_SCHEMA_FORMAT",
    ),
]
Strict = Annotated[bool, option("--strict", "Also exit with 1 on warnings.")]
AlembicRevision = Annotated[
    str | None, option("--alembic-revision REVISION", "Database revision that records of the new version need.")
]
DryRun = Annotated[bool, option("--dry-run", "Run all checks without changing anything.")]
Also = Annotated[
    list[str] | None, option("--also SUBJECT", "Further subject, for consumers of another topic. Repeatable.")
]
