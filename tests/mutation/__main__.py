"""The command line."""

import argparse
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Final

from tests.mutation import report
from tests.mutation.examination import Result, Witnesses
from tests.mutation.forks import Examination, Forks, Job
from tests.mutation.mutants import Change, changes
from tests.mutation.selection import Selector
from tests.mutation.targets import TARGETS, TRACED
from tests.mutation.traces import Trace, gather
from tests.mutation.workspace import Workspace

_SLACK: Final = {"embedded": 15.0, "real": 60.0}
_UNSOUND_SHOWN: Final = 5


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation",
        description="Break the code that carries the guarantees, one change at a time, and see which tests notice.",
        epilog="Exit code: 0 if enough were noticed, 1 if not, 2 if there is nothing to run, 130 if interrupted.",
    )
    parser.add_argument(
        "module", nargs="*", default=TARGETS, help="which files; by default those that carry guarantees"
    )
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="number of mutants; 0 for all (300)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (0)")
    parser.add_argument("--survivors", action="store_true", help="those that survived the last run, and no sample")
    parser.add_argument("--services", choices=("embedded", "real"), default="embedded", help="what the tests run on")
    parser.add_argument("--seconds", type=float, default=20.0, help="what a mutant's tests may take together (20)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N", help="mutants at a time")
    parser.add_argument("--at-least", type=float, default=90.0, metavar="PERCENT", help="how many are enough (90)")
    parser.add_argument("--tests", nargs="+", default=["tests"], metavar="PATH", help="where to look for tests")
    parser.add_argument("--traced", default=TRACED, metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--fresh", action="store_true", help="trace all tests again")
    return parser.parse_args()


def _chosen(given: argparse.Namespace, root: Path, last: Path) -> list[tuple[str, Change]]:
    every = [(path, change) for path in given.module for change in changes((root / path).read_text())]
    if given.survivors:
        wanted = report.survivors(last)
        return [(path, change) for path, change in every if (path, change.key) in wanted]
    size = min(given.sample or len(every), len(every))
    print(f"{size} of {len(every)} mutants of {len(given.module)} modules, by the seed {given.seed}", flush=True)
    # The first 60 of a seed are among its first 300.
    random.Random(given.seed).shuffle(every)
    return every[:size]


def _first(trace: Trace) -> Examination:
    """One test on the code as it is: whether forks work at all."""
    return (yield Job(None, (trace,)))


def main() -> int:
    """Run, report, and return the exit code."""
    given = _arguments()
    root = Path.cwd()
    # SIGTERM ends a run as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The copies of the work tree lack the compiled core; with it, the traces would lack the code it replaces.
    os.environ["TRADEPIPE_NATIVE"] = "0"
    kept = root / ".cache" / "mutation"
    last = kept / "last.json"
    if missing := [path for path in given.module if not (root / path).is_file()]:
        print(f"there is no {', '.join(missing)}: see tests/mutation/targets.py", file=sys.stderr)
        return 2
    traces = gather(
        root,
        kept / f"traces-{given.services}.json",
        traced=given.traced,
        services=given.services,
        tests=given.tests,
        processes=given.processes,
        fresh=given.fresh,
    )
    sources = {str(path.relative_to(root)): path.read_text() for path in sorted((root / given.traced).rglob("*.py"))}
    chosen = _chosen(given, root, last)
    if not traces or not chosen:
        print("there are no tests" if not traces else "there are no mutants", file=sys.stderr)
        return 2
    selector = Selector(sources, traces)
    begun = time.monotonic()
    results: list[Result] = []
    witnesses = Witnesses()
    with Workspace(root, given.processes) as workspace:
        workspace.fill()
        os.environ |= workspace.quicken_postgres()
        forks = Forks(workspace, services=given.services, slack=_SLACK[given.services])
        try:
            forks.warm(sorted({trace.test.split("::", 1)[0] for trace in traces}))
            workspace.multiply()
            if (first := next(forks.run([_first(min(traces, key=lambda trace: trace.size))]))).verdict != "passed":
                print(f"the tests do not pass on the code as it is:\n{first.output}", file=sys.stderr)
                return 2
            mutants = (change.mutant(path) for path, change in chosen)
            examinations = (witnesses.examine(each, selector.select(each, given.seconds)) for each in mutants)
            for result in forks.run(examinations):
                results.append(result)
                print(f"[{len(results)}/{len(chosen)}] {report.format_result(result)}", flush=True)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            forks.close()
            if results:
                report.keep(last, results)
                print(f"\n{report.summary(results, time.monotonic() - begun)}")
            for test, output in list(witnesses.unsound.items())[:_UNSOUND_SHOWN]:
                print(f"\nnot believed, because it failed on the code as it is: {test}\n{output}")
    return 0 if report.score(results) >= given.at_least else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
