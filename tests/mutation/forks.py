"""
Processes that run tests on a mutant, forked from one that has imported all but the code under test.

The parent has a single thread, starts no service and never imports what is
mutated, so a fork is safe. Each fork starts the services its tests ask for, and
they end with it.
"""

import ctypes
import importlib
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.traces import Trace
from tests.mutation.verdict import Verdict
from tests.mutation.workspace import Workspace

_SET_DEATH_SIGNAL: Final = 1
_SET_SUBREAPER: Final = 36

FAREWELL_SECONDS: Final = 5.0
"""So long a service has to shut down when the fork that started it has ended."""

COLLECTION_SECONDS: Final = 120.0
"""So long a fork may take to import and collect, and to start the real services."""


class Job(NamedTuple):
    """Tests to run, in this order, on a mutant or on the code as it is."""

    mutant: Mutant | None
    tests: tuple[Trace, ...]


class Outcome(NamedTuple):
    """
    What came of a job.

    Attributes:
        verdict: `passed`, or `failed`, or `stuck` when a test took far longer than it should.

        test: the test that failed or was stuck; nothing if no test could begin.

        begun: the tests that ran.
    """

    verdict: str
    test: str | None
    begun: tuple[str, ...]
    seconds: float
    output: str


Examination = Generator[Job, Outcome, Any]


class Forks:
    """
    Runs examinations, one in each copy of the work tree at a time.

    An examination is a generator: it yields jobs, is sent their outcomes, and returns a result.

    Args:
        slack: how many seconds a test may take beside a multiple of what it took before.
    """

    def __init__(self, workspace: Workspace, *, services: str, slack: float) -> None:
        self._workspace = workspace
        self._services = services
        self._slack = slack
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, _Fork] = {}
        ctypes.CDLL(None).prctl(_SET_SUBREAPER, 1)

    def warm(self, files: list[str]) -> None:
        """Collect these files in the first copy, which compiles them, and import here what that imported."""
        names = self._workspace.folder / "imported"
        pid = os.fork()
        if not pid:
            _become(self._workspace.copies[0], self._workspace.temporary, self._workspace.folder / "warm.log")
            with suppress(BaseException):
                pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *self._options(), *files])
                names.write_text("\n".join(sys.modules))
            os._exit(0)
        os.waitpid(pid, 0)
        packages: dict[str, list[str]] = defaultdict(list)
        for name in names.read_text().splitlines():
            if not _is_under_test(self._workspace.copies[0], name):
                packages[name.partition(".")[0]].append(name)
        for modules in packages.values():
            # A process with threads must not fork, so each child that needs such a package imports it itself.
            if not _starts_threads(modules):
                _import_all(modules)

    def run(self, examinations: Iterable[Examination]) -> Iterator[Any]:
        """The results, as they come."""
        waiting = iter(examinations)
        free = list(self._workspace.copies)
        while True:
            while free and (examination := next(waiting, None)) is not None:
                yield from self._go_on(examination, None, free.pop(), free)
            if not self._running:
                return
            self._selector.select(timeout=1.0)
            for pid, fork in list(self._running.items()):
                if (outcome := fork.outcome(self._slack)) is not None:
                    self._selector.unregister(fork.stream)
                    self._selector.unregister(fork.handle)
                    fork.close()
                    del self._running[pid]
                    self._reap_orphans()
                    yield from self._go_on(fork.examination, outcome, fork.copy, free)

    def close(self) -> None:
        """End whatever runs, and whatever it has started."""
        for fork in self._running.values():
            fork.close()
        self._running.clear()
        self._reap_orphans()

    def _go_on(self, examination: Examination, outcome: Outcome | None, copy: Path, free: list[Path]) -> Iterator[Any]:
        try:
            job = next(examination) if outcome is None else examination.send(outcome)
        except StopIteration as end:
            free.append(copy)
            yield end.value
            return
        fork = _Fork(examination, job, copy, self._workspace.temporary, self._options())
        self._running[fork.pid] = fork
        self._selector.register(fork.stream, selectors.EVENT_READ)
        self._selector.register(fork.handle, selectors.EVENT_READ)

    def _options(self) -> list[str]:
        # The fork's own folder is the one that pytest names tests by. What is imported already is not rewritten:
        # it is not a test.
        options = ["--rootdir=.", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        return options if self._services == "embedded" else [*options, f"--services={self._services}"]

    def _reap_orphans(self) -> None:
        """End what has outlived the fork that started it."""
        for pid in _children(os.getpid()) - self._running.keys():
            _end(pid)


class _Fork:
    """A process that does one job in one copy."""

    def __init__(self, examination: Examination, job: Job, copy: Path, temporary: Path, options: list[str]) -> None:
        self.examination = examination
        self.copy = copy
        self._job = job
        self._limits = {trace.test: trace.seconds for trace in job.tests}
        self._begun: list[str] = []
        self._failed: str | None = None
        self._unread = b""
        self._log = copy.with_suffix(".log")
        self._original = _mutate(copy, job.mutant)
        self._since = self._start = time.monotonic()
        self.stream, theirs = os.pipe()
        os.set_blocking(self.stream, False)
        self.pid = os.fork()
        if not self.pid:
            _become(copy, temporary, self._log)
            _run_tests(Verdict([trace.test for trace in job.tests], theirs), options)
        os.close(theirs)
        self.handle = os.pidfd_open(self.pid)

    def outcome(self, slack: float) -> Outcome | None:
        """What came of it, once something has."""
        self._read()
        ended = os.waitid(os.P_PIDFD, self.handle, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        now = time.monotonic()
        if ended is None and now - self._since <= self._limit(slack):
            return None
        self._read()
        if ended is None:
            verdict, test = "stuck", self._begun[-1] if self._begun else None
        elif ended.si_code == os.CLD_EXITED and ended.si_status == pytest.ExitCode.OK:
            verdict, test = "passed", None
        else:
            verdict, test = "failed", self._failed or (self._begun[-1] if self._begun else None)
        output = self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""
        return Outcome(verdict, test, tuple(self._begun), now - self._start, output)

    def close(self) -> None:
        """End it with all it has started, and undo the mutation."""
        _end(self.pid)
        os.close(self.handle)
        os.close(self.stream)
        if self._original is not None:
            path, kept = self._original
            kept.replace(path)

    def _limit(self, slack: float) -> float:
        if not self._begun:
            return COLLECTION_SECONDS
        return slack + 5 * self._limits.get(self._begun[-1], 0.0)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while piece := os.read(self.stream, 65536):
                self._unread += piece
        *lines, self._unread = self._unread.split(b"\n")
        for line in map(json.loads, lines):
            if "begins" in line:
                self._begun.append(line["begins"])
                self._since = time.monotonic()
            self._failed = self._failed or line.get("failed")


def _mutate(copy: Path, mutant: Mutant | None) -> tuple[Path, Path] | None:
    """Write the mutant; returns its file, and what to put back. Its time differs, so nothing compiled passes for it."""
    if mutant is None:
        return None
    path = copy / mutant.path
    kept = path.with_suffix(".original")
    shutil.copy2(path, kept)
    path.write_text(mutant.text)
    return path, kept


def _run_tests(verdict: Verdict, options: list[str]) -> NoReturn:
    code: int = pytest.ExitCode.INTERNAL_ERROR
    try:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        # Properties draw the same examples in every run.
        quiet = ["-q", "-x", "--tb=short", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0"]
        code = pytest.main([*quiet, *options, *verdict.files], plugins=[verdict])
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become(copy: Path, temporary: Path, log: Path) -> None:
    """Turn a fork into a process that was started in a copy and dies with its parent."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for standard, given in ((0, nothing), (1, written), (2, written)):
        os.dup2(given, standard)
    root = os.getcwd()
    os.chdir(copy)
    for name in [name for name in sys.modules if _is_under_test(copy, name)]:
        del sys.modules[name]
    paths = [str(copy / "src"), str(copy)]
    sys.path[:] = [*paths, *(path for path in sys.path if path not in ("", root, f"{root}/src"))]
    os.environ |= {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(temporary)}
    tempfile.tempdir = None
    importlib.invalidate_caches()


def _starts_threads(modules: list[str]) -> bool:
    """Return whether the import of modules starts threads, as of numpy and pyarrow; a fork tries it."""
    if all(name in sys.modules for name in modules):
        return False
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            _import_all(modules)
            os._exit(len(os.listdir("/proc/self/task")) > 1)
        os._exit(1)
    return os.waitpid(pid, 0)[1] != 0


def _import_all(modules: list[str]) -> None:
    for name in modules:
        with suppress(Exception):
            importlib.import_module(name)


def _is_under_test(copy: Path, name: str) -> bool:
    """Whether a module is one of the copy's, and so to be imported by each fork."""
    first = name.partition(".")[0]
    return first in ("__main__", "conftest") or any(
        (copy / place / first).exists() or (copy / place / f"{first}.py").exists() for place in ("", "src", "tests")
    )


def _children(pid: int) -> set[int]:
    with suppress(OSError):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return {int(child) for task in tasks for child in (task / "children").read_text().split()}
    return set()


def _end(pid: int) -> None:
    """Kill a child of ours, and wait for the end of all it has started: a service ends itself, others are killed."""
    family = [pid]
    for each in family:
        family += _children(each)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + FAREWELL_SECONDS
    while family := [each for each in family if not _is_gone(each)]:
        if time.monotonic() > deadline:
            for each in family:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        time.sleep(0.02)


def _is_gone(pid: int) -> bool:
    """Whether a descendant has ended; it is our child as soon as its own parent has."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not Path(f"/proc/{pid}").exists()
