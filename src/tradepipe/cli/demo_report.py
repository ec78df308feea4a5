"""What the demo shows in the end."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table

from tradepipe.cli.columns import columns
from tradepipe.cli.sending import Tally
from tradepipe.contract.refusal import Refusal
from tradepipe.embedded.binaries import Binaries
from tradepipe.embedded.stack import Stack
from tradepipe.pipeline.sink_books import Counts
from tradepipe.postgres.batch import Stored
from tradepipe.postgres.engine import engine
from tradepipe.postgres.failures import translated

QUICK: Final = {"fetch.wait.max.ms": "10", "group.protocol": "consumer"}
"""By the classic group protocol the embedded broker forgets a member that left only after its session timeout."""

_VERSIONS: Final = """
SELECT count(DISTINCT trade_id), count(*) FROM trades
"""
_NEWEST: Final = """
SELECT trade_id, version, book_id, maturity_date, CASE WHEN expired THEN 'yes' ELSE 'no' END, side,
       coalesce(trim_scale(notional)::text, ''), coalesce(currency, '')
FROM current_trades ORDER BY version DESC, trade_id LIMIT 3
"""


class Findings:
    """What was sent, what was stored, and one refusal for each code."""

    def __init__(self) -> None:
        self.sent = Tally()
        self.stored = Counts()
        self.examples: dict[str, Refusal] = {}

    def note(self, stored: Stored) -> None:
        """Keep the first refusal of each code."""
        for refusal in stored.refusals:
            self.examples.setdefault(refusal.codes[0], refusal)


def heading() -> None:
    """Say what is to come."""
    typer.echo("tradepipe: trades from Kafka to PostgreSQL, each version of each trade once\n")


def summary(findings: Findings, database: str) -> None:
    """Say what became of everything."""
    counts, console = findings.stored, Console()
    lines = (
        ("Produced", findings.sent.sent, "records, as bytes in Kafka"),
        ("Stored", counts.stored, "versions of trades, in the table trades"),
        ("Replayed", counts.replayed, "trades that were sent again: nothing was written twice"),
        ("Refused", counts.refused.total(), "records, kept in trade_refusals with bytes and reasons"),
    )
    typer.echo()
    for verb, number, what in lines:
        console.print(f"[bold]{verb:<8}[/] {number:>7,} {what}", highlight=False)
    typer.echo()
    typer.echo(_refused(findings, console.width))
    typer.echo()
    ((trades, versions),) = _ask(database, _VERSIONS)
    typer.echo(f"{trades:,} trades have {versions:,} versions; current_trades shows the newest of each:\n")
    _show(console, _newest(_ask(database, _NEWEST)))


def _refused(findings: Findings, width: int) -> str:
    refused = sorted(findings.stored.refused.items(), key=lambda item: (-item[1], item[0]))
    rows = [(code, f"{number:,}", findings.examples[code].details[0]) for code, number in refused]
    table = columns(("Refused as", "", "For example"), rows, left={0, 2})
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in table.splitlines())


def _newest(rows: list[tuple[Any, ...]]) -> Table:
    table = _table("trade_id", "version", "book_id", "maturity_date", "expired", "side", "notional", "currency")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    return table


def _table(*headings: str) -> Table:
    table = Table(*headings, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    return table


def _show(console: Console, table: Table) -> None:
    """The table without the blanks rich fills the lines up with."""
    with console.capture() as captured:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _ask(database: str, query: str) -> list[tuple[Any, ...]]:
    with translated(), engine(database, application_name="tradepipe-demo").connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def what_next(stack: Stack, *, keep: bool) -> None:
    """Say what to do with the parts, if they stay up, or how to make them."""
    if not keep:
        typer.echo("\nThe parts are gone now; with --keep they stay up to look around in.")
        return
    python, psql = _shown("python", Path(sys.executable)), _psql()
    exports = "\n".join(f"  export {variable}={value}" for variable, value in stack.environment.items())
    typer.echo(f"""
The parts stay up until Ctrl-C. In another terminal:

{exports}
  export TRADEPIPE_KAFKA_PROPERTIES=group.protocol={QUICK["group.protocol"]}

  {python} -m tradepipe.sink -v
  {python} -m tradepipe.produce --rate 2

  {psql} $DATABASE_URL -c 'SELECT * FROM current_trades LIMIT 5'
  {python} -m tradepipe.dlq ls --limit 5
""")


def _psql() -> str:
    """A psql that is there: on the path, or beside the server's programs."""
    ours = Binaries.find().folder / "psql"
    return "psql" if shutil.which("psql") or not ours.exists() else str(ours)


def _shown(name: str, path: Path) -> str:
    """How to call a program from here, as short as can be."""
    on_path = shutil.which(name)
    if on_path is not None and Path(on_path) == path:
        return name
    below = Path(os.path.relpath(path))
    return str(path if below.parts[0] == ".." else below)
