"""The page, the picture beside it, and the picture of the README, from results of `benchmarks.compare`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from matplotlib import pyplot as plt

from benchmarks.compare import SINK, Comparison, ratios
from benchmarks.contender import Result

DOCS: Final = Path(__file__).parent.parent / "docs"

_INTRODUCTION: Final = """# Comparison

`make bench ARGS=--write` measures and writes this page: all contenders in one run and in turn, each in a process of its
own, on real Kafka, a real registry and a real PostgreSQL with their default settings. Rates count from the first COMMIT
to the last. Read the ratios: rates are those of one machine, on which the services and the contender share the cores.

- Machine: {machine}
- {trades:,} trades on 4 partitions, each figure the median of {runs} runs, with the lowest and the highest

![Rates of all contenders](comparison.png)
"""

_OURS: Final = ("sink", "validator", "Producer")


def write(comparisons: Sequence[Comparison], machine: str, trades: int) -> None:
    """Write the page and the pictures."""
    runs = len(next(iter(comparisons[0].results.values())))
    sections = [_INTRODUCTION.format(machine=machine, trades=trades, runs=runs)]
    sections += ["\n".join(_section(comparison)) + "\n" for comparison in comparisons]
    (DOCS / "comparison.md").write_text("\n".join(sections))
    rates = [comparison for comparison in comparisons if not comparison.has_latencies]
    _draw(rates, DOCS / "comparison.png")
    _draw([comparison for comparison in rates if SINK in comparison.results], DOCS / "comparison.svg")


def _section(comparison: Comparison) -> Iterator[str]:
    yield f"## {comparison.title}\n"
    if comparison.has_latencies:
        yield "| | p50 | p99 |"
        yield "|---|---|---|"
        for name, found in comparison.results.items():
            cells = (_spread([each.latency(share) for each in found], 1) for share in (0.5, 0.99))
            yield f"| {name} | {' | '.join(cells)} |"
        return
    yield f"| | records/s | {' | '.join(f'of {name}' for name in comparison.references)} | CPU, µs a record | MiB |"
    yield "|---|---|" + "---|" * len(comparison.references) + "---|---|"
    for name, found in comparison.results.items():
        shares = [_spread(ratios(comparison.results, name, each), 2) for each in comparison.references]
        cpu = _spread([each.cpu for each in found], 1)
        cells = (name, _spread([each.rate for each in found], 0), *shares, cpu, _memory(found))
        yield f"| {' | '.join(cells)} |"


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
    for place, value in enumerate(middle):
        axis.text(value, place, f"  {value:,.1f}", va="bottom", fontsize=7)
    axis.set_title(comparison.title.replace("records/s", "thousand records/s"), fontsize=10)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
