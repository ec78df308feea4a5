"""Command `tradepipe produce`: trades from a file, or sample trades, to a topic."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.logs import print_status
from tradepipe.cli.options import (
    DEADLINE,
    INPUT,
    SUBJECT,
    TOPIC,
    DeadlineSeconds,
    Format,
    MissingOptions,
    Subject,
    Topic,
    check_finite,
    declare,
    option,
    refuse_lines_in_json,
)
from tradepipe.cli.produce_run import Destination, ProduceRun
from tradepipe.cli.settings import Kafka, Logs, Registry
from tradepipe.cli.terminal import echo
from tradepipe.files.drafts import write_file
from tradepipe.files.fields import FIELDS, OPTIONAL
from tradepipe.files.file_kinds import Form
from tradepipe.files.mapping import read_mapping
from tradepipe.files.suggest import suggest_mapping
from tradepipe.files.trade_file import FileSource, TradeFile
from tradepipe.trade.samples import random_seed

# Without a variable unless one is named: what a file needs is kept in a mapping file.
_declare = partial(declare, heading=INPUT, variable=None)


@dataclass(frozen=True)
class InputFile:
    """A file of trades, and what to do with it: load it, or write a suggested mapping to `suggest_mapping`."""

    source: FileSource
    suggest_mapping: str | None
    dry_run: bool

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "path": _declare(
            str | None,
            "--input FILE|-",
            "Send trades from this file instead of sample trades: CSV with headers, JSON lines or a JSON array, "
            "optionally in a gzip or zip archive, a workbook (.xlsx) or a Parquet file; - reads stdin. "
            f"Headers and keys are {', '.join(FIELDS)}; {', '.join(OPTIONAL)} may be missing or empty.",
            variable="TRADEPIPE_INPUT",
        ),
        "form": _declare(
            Form | None,
            "--input-format csv|jsonl|json|xlsx|parquet",
            "Format of the file, if its name does not show it.",
            variable="TRADEPIPE_INPUT_FORMAT",
        ),
        "mapping": _declare(
            Path | None,
            "--mapping FILE.toml",
            "File with the columns and formats of the input; the options below override it.",
            variable="TRADEPIPE_MAPPING",
        ),
        "suggest_mapping": _declare(
            str | None,
            "--suggest-mapping FILE|-",
            "Write a mapping file for the input, "
            "from its headers and first rows, to a new file or stdout; send nothing.",
        ),
        "column": _declare(
            list[str] | None,
            "--column FIELD=HEADER",
            "Header of a field, if it differs from the field's name. Repeatable.",
            variable="TRADEPIPE_COLUMNS",
        ),
        "default": _declare(
            list[str] | None,
            "--default FIELD=VALUE",
            "Value for a field that the file lacks, and for its empty cells. Repeatable.",
            variable="TRADEPIPE_DEFAULTS",
        ),
        "value": _declare(
            list[str] | None, "--value FIELD:TEXT=VALUE", "Value for a text in the file, as side:Buy=BUY. Repeatable."
        ),
        "delimiter": _declare(
            str | None, "--delimiter CHAR|tab", "Delimiter of CSV; if omitted, the header line shows it."
        ),
        "encoding": _declare(
            str | None, "--encoding NAME", "Encoding of a text file, such as cp1252. [default: utf-8]"
        ),
        "date_format": _declare(
            str | None, "--date-format FORMAT", "Format of maturity_date, such as DD/MM/YYYY or DD-MMM-YY."
        ),
        "time_format": _declare(
            str | None, "--time-format FORMAT", "Format of created_at, such as 'DD/MM/YYYY hh:mm:ss'."
        ),
        "timezone": _declare(str | None, "--timezone NAME", "Zone of times without an offset, such as Europe/London."),
        "decimal": _declare(str | None, "--decimal CHAR", "Decimal sign of numbers. [default: .]"),
        "thousands": _declare(
            str | None, "--thousands CHAR", "Sign that groups digits of numbers, as the commas in 1,250,000.50."
        ),
        "sheet": _declare(str | None, "--sheet NAME", "Sheet of a workbook that has several."),
        "trim": _declare(bool, "--trim", "Remove blanks around values."),
        "on_error": _declare(
            Literal["stop", "skip"],
            "--on-error stop|skip",
            "What to do at an invalid record: stop, or write it to --rejects and continue.",
            variable="TRADEPIPE_ON_ERROR",
        ),
        "rejects": _declare(
            Path | None,
            "--rejects FILE",
            "File for skipped records with the reasons, in the format of the input. "
            "Default: the input's name with .rejects and the format's ending.",
            variable="TRADEPIPE_REJECTS",
        ),
        "overwrite": _declare(bool, "--overwrite", "Replace the file of --rejects if it exists."),
        "dry_run": _declare(
            bool,
            "--dry-run",
            "Check the file without sending anything; needs neither Kafka nor a registry.",
            variable="TRADEPIPE_DRY_RUN",
        ),
    }
    KEY: ClassVar[str | None] = "path"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"trim": False, "on_error": "stop", "overwrite": False, "dry_run": False}

    @classmethod
    def resolve(cls, _context: typer.Context, given: Mapping[str, Any], _default: Self | None) -> Self | None:
        """Read the mapping file, and apply the options over it; what is invalid is a usage error."""
        if given["path"] is None:
            _require_defaults(given, cls.OPTIONS, "only valid with --input FILE")
            return None
        if given["on_error"] == "stop":
            _require_defaults(given, ("rejects", "overwrite"), "only valid with --on-error skip")
        texts = ("delimiter", "encoding", "date_format", "time_format", "timezone", "decimal", "thousands", "sheet")
        settings = {name.replace("_", "-"): given[name] for name in texts} | {"trim": given["trim"] or None}
        mapping = read_mapping(
            given["mapping"], settings, given["column"] or (), given["default"] or (), given["value"] or ()
        )
        skips = given["on_error"] == "skip"
        source = FileSource(
            given["path"], given["form"], mapping, given["mapping"], skips, given["rejects"], given["overwrite"]
        )
        return cls(source, given["suggest_mapping"], given["dry_run"])


def _require_defaults(given: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    for name in names:
        if given[name] not in (InputFile.DEFAULTS.get(name), []):
            option_name = {"form": "input-format"}.get(name, name).replace("_", "-")
            raise typer.BadParameter(why, param_hint=f"'--{option_name}'")


app = command_line()

Count = Annotated[
    int | None,
    option("--count N", "Maximum number of records; of a file, the first ones. Unlimited if omitted.", min=1),
]
Rate = Annotated[
    float | None,
    option("--rate N", "Maximum records per second; unlimited if omitted.", min=0.001, callback=check_finite),
]
Seed = Annotated[int | None, option("--seed N", "Seed of the sample trades; random if omitted.", min=0)]
Bad = Annotated[
    float, option("--bad SHARE", "Share of invalid records, of each kind in turn.", min=0, max=1, callback=check_finite)
]
Resend = Annotated[
    float,
    option("--resend SHARE", "Share of trades to send again, as exact copies.", min=0, max=1, callback=check_finite),
]
Verbose = Annotated[
    bool, option("-v --verbose", "Print each trade that is sent.", variable="TRADEPIPE_PRODUCE_VERBOSE")
]


@app.command()
def produce(
    *,
    kafka: Kafka | None = None,
    registry: Registry | None = None,
    topic: Topic = TOPIC,
    subject: Subject = SUBJECT,
    count: Count = None,
    rate: Rate = None,
    seed: Seed = None,
    bad: Bad = 0.0,
    resend: Resend = 0.0,
    file: InputFile | None = None,
    deadline: DeadlineSeconds = DEADLINE,
    verbose: Verbose = False,
    output: Format = "text",
    logs: Logs,
) -> None:
    """
    Send trades from a file, or generated sample trades, to a topic.

    If Kafka is unavailable the command waits; at the end it waits up to --deadline for the acknowledgements. Sending
    trades again is safe: each version of a trade is stored once.
    """
    refuse_lines_in_json(output, verbose=verbose)
    status = logs.configure(progress=True)
    if file is None:
        if bad + resend > 1:
            raise typer.BadParameter("the two shares must add up to at most 1", param_hint="'--bad', '--resend'")
    elif seed is not None or bad or resend:
        raise typer.BadParameter(
            "only valid for sample trades, without --input", param_hint="'--seed', '--bad', '--resend'"
        )
    elif file.suggest_mapping is not None:
        _write_suggestion(file.source, file.suggest_mapping)
        return
    destination = None
    if not file or not file.dry_run:
        if kafka is None or registry is None:
            raise MissingOptions(*([Kafka] if kafka is None else []), *([Registry] if registry is None else []))
        destination = Destination(kafka.config, registry, topic, subject)
    run = ProduceRun(
        destination, status=status, count=count, rate=rate, deadline=deadline, verbose=verbose, output=output
    )
    if file is None:
        run.send_samples(random_seed() if seed is None else seed, bad=bad, resend=resend)
        return
    with TradeFile(file.source, stopped=run.stopped, notify=print_status) as trades:
        run.send_file(trades)


def _write_suggestion(file: FileSource, target: str) -> None:
    text = suggest_mapping(file.path, file.form, file.mapping)
    if target == "-":
        echo(text.rstrip())
        return
    with write_file(Path(target), overwrite=None, private=False, option="--suggest-mapping") as suggestion:
        suggestion.write(text)
    command = shlex.join(["tradepipe", "produce", "--input", file.path, "--mapping", target, "--dry-run"])
    print_status(f"wrote {target}: edit it, then run: {command}")
