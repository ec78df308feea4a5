"""The page, the picture beside it, and the picture of the README, from results of `benchmarks.compare`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from matplotlib import pyplot as plt

from benchmarks.comparison import LIMITS, SINK, Comparison, ratios
from benchmarks.contender import Result
from benchmarks.growth import TRADES_BY_PROCESSES, Growth
from benchmarks.quixstreams_environment import QUIXSTREAMS_VERSION
from tests.services import downloads

DOCS: Final = Path(__file__).parent.parent / "docs"

PAGE: Final = DOCS / "comparison.md"

_INTRODUCTION: Final = """# Comparison

`make bench ARGS="--connect --write"` measures and writes this page: all contenders in one run and in turn, each in a
process of its own, on real Kafka, a real registry and a real PostgreSQL with their default settings. Rates count from
the first COMMIT to the last, or from the start of the process. Read the ratios: rates are those of one machine, on
which the services and the contender share the cores. Before the first run the topic is read twenty times, because
Kafka's first thousands of requests take several times as much CPU as later ones. After each run the table is compared
with the trades that were sent, and each output of the validator with its source.

- Machine: {machine}
- {trades:,} trades on 4 partitions, each figure the median of {runs} runs, with the lowest and the highest

![Rates of all contenders](comparison.png)
"""

_STORING: Final = """
What has no guarantees consumes records, has the compiled core encode them as rows, and copies these into the table in a
thread. It stores no offsets, and ends at the first record that is bad or stored already.

quixstreams ({quixstreams}, in a virtual environment with its own confluent-kafka) decodes with its deserializer for a
registry. Kafka Connect ({kafka}, only with `--connect`) runs Debezium's JDBC sink ({debezium}) with Apicurio's
converter ({converter}), upserts and `reWriteBatchedInserts`. Both commit 10,000 records at a time, as the others do,
into the same table with its primary key and CHECKs, without the columns that say where a trade came from; Connect's
`created_at` is a bigint. quixstreams takes the columns of a batch from its first record, and leaves the others out.
"""

_GROWTH: Final = """## Growth

`make bench ARGS="--growth --write"` measures the sink and PostgreSQL alone in turn, as above. A backlog of records is
stored into an empty table; {table:,} records into a table that has rows already, whose keys are between those of the
new ones; {processes:,} records by processes of one group, counted while all of them store.

- Machine: {machine}
- Medians of {runs} runs, with the lowest and the highest
"""

_OURS: Final = ("sink", "validator", "Producer")


def write(comparisons: Sequence[Comparison], machine: str, trades: int) -> None:
    """Write the page and the pictures; the section about growth stays."""
    runs = len(next(iter(comparisons[0].results.values())))
    sections = [_INTRODUCTION.format(machine=machine, trades=trades, runs=runs)]
    sections += ["\n".join(_section(comparison)) + "\n" for comparison in comparisons]
    _, growth = _parts()
    PAGE.write_text("\n".join(sections) + growth)
    rates = [comparison for comparison in comparisons if not comparison.has_latencies]
    _draw(rates, DOCS / "comparison.png")
    _draw([comparison for comparison in rates if SINK in comparison.results], DOCS / "comparison.svg")


def write_growth(sizes: Sequence[Growth], machine: str, trades: int, runs: int) -> None:
    """Write the section about growth; the rest of the page stays."""
    introduction = _GROWTH.format(table=trades, processes=TRADES_BY_PROCESSES * trades, machine=machine, runs=runs)
    rows = [
        introduction,
        "| | sink, records/s | of straight COPY | of staging | straight COPY | staging | CPU, µs a record | MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in sizes:
        shares = [_spread(size.shares(limit), 2) for limit in size.limits]
        rates = [f"{median(found):,.0f}" for found in size.limits.values()]
        cells = [size.case, _spread(size.rates, 0), *(shares + rates or [""] * 4), _spread(size.cpu, 1)]
        rows.append(f"| {' | '.join(cells)} | {size.mebibytes:.0f} |")
    rest, _ = _parts()
    PAGE.write_text(rest + "\n" + "\n".join(rows) + "\n")


def _parts() -> tuple[str, str]:
    """Return the page up to the section about growth, and that section with the empty line before it."""
    before, heading, growth = PAGE.read_text().partition("\n## Growth\n")
    return before, heading + growth


def _section(comparison: Comparison) -> Iterator[str]:
    yield f"## {comparison.title}\n"
    if comparison.has_latencies:
        yield "| | p50 | p99 |"
        yield "|---|---|---|"
        for name, found in comparison.results.items():
            cells = (_spread([each.latency(share) for each in found], 1) for share in (0.5, 0.99))
            yield f"| {name} | {' | '.join(cells)} |"
        return
    is_storing = SINK in comparison.results
    columns = ["records/s", *(f"of {name}" for name in comparison.references)]
    columns += [
        *(["the sink's rate to it", "records/s from the start"] if is_storing else []),
        "CPU, µs a record",
        "MiB",
    ]
    yield f"| | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for name, found in comparison.results.items():
        cells = [name, _spread([each.rate for each in found], 0)]
        cells += [_spread(ratios(comparison.results, name, each), 2) for each in comparison.references]
        if is_storing:
            cells.append(_spread(ratios(comparison.results, SINK, name), 1))
            cells.append("" if name in LIMITS else _spread([each.rate_from_start for each in found], 0))
        cells += [_spread([each.cpu for each in found], 1), _memory(found)]
        yield f"| {' | '.join(cells)} |"
    if is_storing:
        yield _STORING.format(
            quixstreams=QUIXSTREAMS_VERSION,
            kafka=downloads.KAFKA_VERSION,
            debezium=downloads.DEBEZIUM_VERSION,
            converter=downloads.SERDES_VERSION,
        ).rstrip()
    for note in comparison.notes:
        yield f"\n{note}"


def _spread(values: Sequence[float], digits: int) -> str:
    middle, least, most = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def _memory(found: Sequence[Result]) -> str:
    return f"{max(each.mebibytes for each in found):.0f}"


def _draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw a bar for the median of each contender; a line shows lowest and highest."""
    heights = [len(comparison.results) for comparison in comparisons]
    figure, axes = plt.subplots(
        len(comparisons),
        figsize=(8, 0.9 + 0.36 * sum(heights) + 0.7 * len(heights)),
        height_ratios=heights,
        squeeze=False,
    )
    for (axis,), comparison in zip(axes, comparisons, strict=True):
        _draw_rates(axis, comparison)
    figure.tight_layout()
    # Without a date, so that the file changes with the figures alone.
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(path, dpi=120, metadata=metadata)
    plt.close(figure)


def _draw_rates(axis: Any, comparison: Comparison) -> None:
    names = list(comparison.results)[::-1]
    rates = [[each.rate / 1_000 for each in comparison.results[name]] for name in names]
    middle = [median(each) for each in rates]
    errors = [
        [value - min(each) for value, each in zip(middle, rates, strict=True)],
        [max(each) - value for value, each in zip(middle, rates, strict=True)],
    ]
    colours = ["#1f77b4" if name.startswith(_OURS) else "#b0b0b0" for name in names]
    axis.barh(names, middle, xerr=errors, color=colours, error_kw={"linewidth": 1})
    for place, (value, each) in enumerate(zip(middle, rates, strict=True)):
        axis.text(max(each), place, f"  {value:,.1f}", va="center", fontsize=7)
    axis.margins(x=0.08)
    axis.set_title(comparison.title.replace("records/s", "thousand records/s"), fontsize=10)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
