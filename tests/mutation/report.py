"""What a run says, and what it keeps for the next one."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.mutation.examination import KILLED, STUCK, SURVIVED, Result

_NAMED: Final = 8


def score(results: Sequence[Result]) -> float:
    """How many of a hundred mutants were noticed."""
    return 100 * sum(result.verdict != SURVIVED for result in results) / len(results) if results else 0.0


def format_result(result: Result) -> str:
    """One line for a mutant that was noticed, and all about one that was not."""
    mutant = result.mutant
    place = f"{mutant.path}:{mutant.line}"
    if result.verdict != SURVIVED:
        return f"{result.verdict:9}  {place}  by {result.noticed_by}"
    lines = [f"SURVIVED   {place}  {mutant.key}", *(f"    {line}" for line in mutant.diff.splitlines())]
    if not result.found:
        return "\n".join([*lines, "    no test executes this"])
    lines.append(f"    asked {len(result.asked)} of {result.found} tests that execute this:")
    lines += [f"      {test}" for test in result.asked[:_NAMED]]
    if len(result.asked) > _NAMED:
        lines.append(f"      and {len(result.asked) - _NAMED} more")
    return "\n".join(lines)


def summary(results: Sequence[Result], seconds: float) -> str:
    """The counts, and where the survivors are."""
    counts = Counter(result.verdict for result in results)
    survivors = sorted((each for each in results if each.verdict == SURVIVED), key=_place)
    return "\n".join(
        [
            f"{len(results)} mutants in {seconds / 60:.1f} min: {counts[KILLED]} killed, {counts[STUCK]} timed out, "
            f"{counts[SURVIVED]} survived; {score(results):.1f} % noticed",
            *(f"  {each.mutant.path}:{each.mutant.line}  {each.mutant.key}" for each in survivors),
        ]
    )


def keep(path: Path, results: Sequence[Result]) -> None:
    """Write every result to a file, for `--survivors` and for counts."""
    entries = [
        {
            "path": result.mutant.path,
            "line": result.mutant.line,
            "key": result.mutant.key,
            "diff": result.mutant.diff,
            "verdict": result.verdict,
            "noticed_by": result.noticed_by,
            "asked": result.asked,
            "found": result.found,
        }
        for result in sorted(results, key=_place)
    ]
    path.write_text(json.dumps(entries, indent=1))


def survivors(path: Path) -> set[tuple[str, str]]:
    """The files and keys of the mutants that survived the last run."""
    return {(each["path"], each["key"]) for each in json.loads(path.read_text()) if each["verdict"] == SURVIVED}


def _place(result: Result) -> tuple[str, int, str]:
    return result.mutant.path, result.mutant.line, result.mutant.key
