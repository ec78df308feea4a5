"""The options of `tradepipe schema`."""

from pathlib import Path
from typing import Annotated

import typer

from tradepipe.cli.schema.report import Format
from tradepipe.evolution.compatibility import Level

HistoryFolder = Annotated[
    Path | None,
    typer.Option(
        "--history",
        envvar="TRADEPIPE_HISTORY",
        metavar="DIR",
        help="The folder of the frozen versions, v001.avsc and so on with history.json; "
        "that of the trade schema if not given.",
        show_default=False,
    ),
]
LevelIfOther = Annotated[
    Level | None,
    typer.Option(
        "--level",
        envvar="TRADEPIPE_LEVEL",
        metavar="LEVEL",
        help="The compatibility level; that of the history if not given.",
        show_default=False,
    ),
]
ReportFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        envvar="TRADEPIPE_SCHEMA_FORMAT",
        metavar="text|json|junit|github",
        help="How to print what was found: for a person, a program, a CI server, or as GitHub's annotations.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", envvar="TRADEPIPE_STRICT", help="End with 1 for warnings as well.")]
AlembicRevision = Annotated[
    str | None,
    typer.Option(
        "--alembic-revision",
        envvar="TRADEPIPE_ALEMBIC_REVISION",
        metavar="REVISION",
        help="The database revision that records of the new version need.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", envvar="TRADEPIPE_DRY_RUN", help="Check all, and change nothing.")]
Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        envvar="TRADEPIPE_ALSO",
        metavar="SUBJECT",
        help="A further subject to register under, for other people's consumers; may be repeated.",
        show_default=False,
    ),
]
