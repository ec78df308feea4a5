"""The tool on a tiny separate work tree, and what counts as a mutant."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.mutation.targets import NEVER_ASKED, TARGETS

ROOT = Path(__file__).parents[2]

SUMS = '''
LIMIT = 9


def larger(left, right):
    """The larger one."""
    return left if left > right else right


def is_allowed(number):
    return number < LIMIT
'''

TESTS = """
from sample.sums import is_allowed, larger


def test_the_larger_one_is_found():
    assert 5 == larger(5, 3) == larger(3, 5)


def test_a_small_number_is_allowed():
    assert is_allowed(3)
"""


def changes(text: str) -> Iterator[Any]:
    """Yield the changes of a text."""
    from tests.mutation import mutants  # noqa: PLC0415 - libcst takes half a second to import, in each worker

    return mutants.changes(text)


class Run(NamedTuple):
    """The command on a work tree, and what it left."""

    tree: Path
    code: int
    output: str
    verdicts: dict[str, str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All mutants of a module that is tested in part."""
    tree = tmp_path_factory.mktemp("tree")
    for name, text in {"src/sample/__init__.py": "", "src/sample/sums.py": SUMS, "tests/test_sums.py": TESTS}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    subprocess.run(["git", "init", "-q", tree], check=True)
    command = [sys.executable, "-m", "tests.mutation", "src/sample/sums.py", "--traced", "src/sample"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(tree / "src")])
    done = subprocess.run(
        [*command, "--sample", "0", "--processes", "1"],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    kept = json.loads((tree / ".cache/mutation/last.json").read_text())
    return Run(tree, done.returncode, done.stdout, {each["key"]: each["verdict"] for each in kept})


@pytest.mark.slow
def test_a_change_that_a_test_notices_is_killed(run):
    assert (
        "killed"
        == run.verdicts["larger: left if left > right else right -> left if (left > right) and False else right #1"]
    )
    assert "killed" == run.verdicts[": LIMIT = 9 -> LIMIT = None #1"]


@pytest.mark.slow
def test_a_change_that_no_test_notices_survives_and_is_reported_with_the_tests_that_were_run(run):
    assert "survived" == run.verdicts["is_allowed: < LIMIT -> <= LIMIT #1"]
    assert "SURVIVED   src/sample/sums.py:11" in run.output
    assert "+    return number <= LIMIT" in run.output
    assert "tests/test_sums.py::test_a_small_number_is_allowed" in run.output


@pytest.mark.slow
def test_too_many_survivors_are_exit_code_1(run):
    assert 1 == run.code


@pytest.mark.slow
def test_the_work_tree_stays_as_it_was(run):
    assert SUMS == (run.tree / "src/sample/sums.py").read_text()


def test_code_that_runs_only_at_import_is_tested_by_the_tests_of_the_importing_module():
    from tests.mutation.mutants import Mutant  # noqa: PLC0415 - libcst takes half a second to import, in each worker
    from tests.mutation.selection import Selector  # noqa: PLC0415 - the same
    from tests.mutation.traces import Trace  # noqa: PLC0415 - the same

    sources = {
        "src/a/generator.py": "def generate():\n    return 7\n",
        "src/a/user.py": "import a.generator\ndef use():\n    ...\n",
        "src/a/other.py": "def do():\n    ...\n",
    }
    traces = [Trace(path, 0.1, {path: frozenset({3})}) for path in sources if "generator" not in path]
    mutant = Mutant("src/a/generator.py", "7 -> 8", 2, (2,), "", "")

    assert ["src/a/user.py"] == [trace.test for trace in Selector(sources, traces).select(mutant, 10).tests]


def test_texts_types_log_lines_and_names_of_threads_are_left_alone():
    text = '''
        import logging
        __all__ = ["f"]
        logger = logging.getLogger("sums")
        def f(number: int) -> "int":
            """Two more."""
            logger.info("adding to %d", number)
            assert number is not None
            threading.Thread(target, name="tradepipe-sums")
            return number
    '''

    assert ['f: threading.Thread(target, name="tradepipe-sums") -> pass #1'] == [
        change.key for change in changes(_dedented(text))
    ]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("raise ValueError('no')", "pass"),
        ("x = sorted(y)", "x = list(y)"),
        ("x = {'acks': 'all'}", "x = {}"),
        ("x = query.order_by(a)", "x = query"),
        ("x = [y for y in z if y]", "x = [y for y in z if True]"),
        ("x = a and b", "x = (a)"),
        ("if a > 1: f()", "if False: f()"),
        ("f(x, wait=5)", "f(x, )"),
    ],
)
def test_a_part_is_removed(statement, expected):
    mutants = [change.mutant("sums.py") for change in changes(f"def g():\n    {statement}\n")]

    assert f"def g():\n    {expected}\n" in [mutant.text for mutant in mutants]


def test_false_becomes_true_and_not_none():
    assert ["f: False -> True #1"] == [change.key for change in changes("def f():\n    x: bool = False\n")]


def test_the_modules_and_the_tests_that_are_named_exist():
    assert [] == [path for path in (*TARGETS, *NEVER_ASKED) if not (ROOT / path).exists()]


def _dedented(text: str) -> str:
    return "\n".join(line.removeprefix("        ") for line in text.splitlines())
