"""What each test executes: gathered once, kept in .cache, and gathered again for the tests that have changed."""

import difflib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import coverage
import pytest

from tests.mutation import tracing
from tests.mutation.targets import NEVER_ASKED

_VERSION: Final = 1
_BASELINE_TIMEOUT: Final = 7_200
_PORTION: Final = 24  # files


class Trace(NamedTuple):
    """
    One test that passes.

    Attributes:
        lines: what it executes, by file.
    """

    test: str
    seconds: float
    lines: dict[str, frozenset[int]]

    @property
    def size(self) -> int:
        """How many lines it executes in all."""
        return sum(len(executed) for executed in self.lines.values())


def gather(
    root: Path, kept: Path, *, traced: str, services: str, tests: list[str], processes: int, fresh: bool
) -> list[Trace]:
    """
    The traces of all tests, of which only those in new or changed files are run.

    On the embedded services these are all but the slow ones. On the real services they are those marked `real`: the
    others run on the embedded ones.

    Args:
        kept: the file that keeps them; line numbers in it are those of the sources kept with them.

        traced: the folder of the sources whose lines count.

        tests: files and folders to look for tests in.
    """
    memory = {} if fresh or not kept.exists() else json.loads(kept.read_text())
    if memory.get("version") != _VERSION:
        memory = {"version": _VERSION, "sources": {}, "files": {}}
    sources = {str(path.relative_to(root)): path.read_text() for path in sorted((root / traced).rglob("*.py"))}
    moved = _Moved(memory["sources"], sources)
    found = _test_files(root, tests)
    if services == "real":
        found = [path for path in found if "mark.real" in (root / path).read_text()]
    # Tests that executed a source that was deleted or renamed are traced again.
    gone = memory["sources"].keys() - sources.keys()
    files = {
        path: entry
        for path, entry in memory["files"].items()
        if (root / path).exists() and not any(gone & trace["lines"].keys() for trace in entry["tests"].values())
    }
    for entry in files.values():
        for trace in entry["tests"].values():
            trace["lines"] = moved(trace["lines"])
    kept.parent.mkdir(parents=True, exist_ok=True)
    digests = {path: _digest(root / path) for path in found}
    stale = [path for path in found if files.get(path, {}).get("digest") != digests[path]]
    if stale:
        print(f"tracing the tests of {len(stale)} files, each of which is new or has changed ...", flush=True)
    # In portions, so that an interruption loses little.
    for begin in range(0, len(stale), _PORTION):
        print(f"  files {begin + 1} to {min(begin + _PORTION, len(stale))}: ", end="", flush=True)
        for path, traces in _run(root, stale[begin : begin + _PORTION], traced, services, processes).items():
            files[path] = {"digest": digests[path], "tests": traces}
        scratch = kept.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps({"version": _VERSION, "sources": sources, "files": files}))
        scratch.replace(kept)
    return [
        Trace(test, entry["seconds"], {name: frozenset(lines) for name, lines in entry["lines"].items()})
        for path in found
        for test, entry in files.get(path, {"tests": {}})["tests"].items()
        if entry["passed"]
    ]


def _test_files(root: Path, tests: list[str]) -> list[str]:
    files: set[Path] = set()
    for each in tests:
        files |= {root / each} if each.endswith(".py") else set((root / each).rglob("test_*.py"))
    named = sorted(str(path.relative_to(root)) for path in files)
    return [path for path in named if not any(path == each or path.startswith(f"{each}/") for each in NEVER_ASKED)]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _run(root: Path, files: list[str], traced: str, services: str, processes: int) -> dict[str, dict[str, Any]]:
    """The traces of these files' tests, by file."""
    # The plugin is this repository's, whatever is traced.
    plugins = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={root}", "-p", "tests.mutation.tracing"]
        # With "=": a folder by itself is taken for a place to look for pytest's settings.
        command += [f"--trace-into={folder}", f"--traced={traced}", "-n", "auto" if processes > 1 else "0"]
        command += ["-p", "no:cacheprovider", "-p", "no:randomly"]
        # A slow test starts programs: the time of one mutant seldom suffices for it.
        chosen = ["-m", "not slow"] if services == "embedded" else [f"--services={services}", "-m", "real"]
        with (Path(folder) / "log").open("w+") as log:
            done = subprocess.run(
                [*command, *chosen, *files],
                cwd=root,
                env={**os.environ, "PYTHONPATH": plugins},
                stdout=log,
                stderr=log,
                timeout=_BASELINE_TIMEOUT,
                check=False,
            )
            log.seek(0)
            print((log.read().strip().splitlines() or ["pytest printed nothing"])[-1].strip("= "), flush=True)
        traces = _merged(Path(folder), root)
    by_file: dict[str, dict[str, Any]] = {path: {} for path in files}
    was_run = done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    for test, trace in traces.items():
        by_file[test.split("::", 1)[0]][test] = trace
        if not trace["passed"]:
            print(f"  not asked, because it does not pass: {test}", flush=True)
    return {path: traces for path, traces in by_file.items() if traces or was_run}


def _merged(folder: Path, root: Path) -> dict[str, Any]:
    """What pytest's processes wrote down, and what the processes left that their tests started."""
    traces: dict[str, Any] = {}
    for written in folder.glob("*.json"):
        traces |= json.loads(written.read_text())
    for left in folder.glob("*.coverage"):
        data = coverage.CoverageData(str(left))
        data.read()
        for test, lines in tracing.lines_by_test(data, root).items():
            known = traces.get(test, {"lines": {}})["lines"]
            for path, executed in lines.items():
                known[path] = sorted(executed.union(known.get(path, ())))
    return traces


class _Moved:
    """Turns line numbers of earlier sources into those of the present ones; lines that are gone are forgotten."""

    def __init__(self, before: dict[str, str], after: dict[str, str]) -> None:
        self._maps: dict[str, dict[int, list[int]]] = {}
        for path, text in before.items():
            if after.get(path) != text:
                self._maps[path] = _line_map(text.splitlines(), after.get(path, "").splitlines())

    def __call__(self, lines: dict[str, list[int]]) -> dict[str, list[int]]:
        return {path: self._moved(path, executed) for path, executed in lines.items()}

    def _moved(self, path: str, executed: list[int]) -> list[int]:
        if path not in self._maps:
            return executed
        lines = self._maps[path]
        return sorted({new for old in executed for new in lines.get(old, [])})


def _line_map(before: list[str], after: list[str]) -> dict[int, list[int]]:
    """Map each line of a changed block to all lines that replace the block."""
    lines: dict[int, list[int]] = defaultdict(list)
    for kind, begin, end, new_begin, new_end in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
        for old in range(begin, end):
            new = [new_begin + old - begin] if kind == "equal" else range(new_begin, new_end)
            lines[old + 1] += [each + 1 for each in new]
    return lines
