"""Each test runs in CI, on each kind of services about which it proves something."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests.selection import LONGEST, Traits, is_quick, is_slow, longest_first, runs_on_real

ROOT = Path(__file__).parents[1]

ALL = [Traits(*each) for each in product((False, True), repeat=len(Traits._fields))]
TESTS = [test for test in ALL if not (test.real and (test.embedded or test.output))]
"""A test that is marked for both kinds of services is an error of collection."""


def test_every_test_runs_in_one_of_the_three_runs():
    assert [] == [test for test in TESTS if not (is_quick(test) or is_slow(test) or runs_on_real(test))]


def test_a_test_that_needs_embedded_services_runs_on_them():
    assert [] == [test for test in TESTS if test.embedded and not (is_quick(test) or is_slow(test))]


def test_a_test_of_what_a_command_prints_runs_on_embedded_services_alone():
    found = [test for test in TESTS if test.output]

    assert [] == [test for test in found if runs_on_real(test) or not (is_quick(test) or is_slow(test))]


def test_a_test_that_needs_real_services_runs_on_them_alone():
    assert [] == [test for test in TESTS if test.real and (not runs_on_real(test) or is_quick(test) or is_slow(test))]


def test_only_slow_tests_are_excluded_from_make_test():
    assert [] == [test for test in TESTS if not (test.slow or test.real or is_quick(test))]


def test_each_worker_begins_with_its_share_of_the_longest_files():
    files = ["short"] * 40 + [LONGEST[2], LONGEST[0], LONGEST[1]] + ["short"] * 57

    assert [LONGEST[0], LONGEST[1], LONGEST[2], "short"] == [
        files[longest_first(files, 4)[part]] for part in (0, 25, 50, 75)
    ]


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_an_order_has_each_test_once(workers):
    files = [*LONGEST * 5, "short", "other", "short"]

    assert list(range(len(files))) == sorted(longest_first(files, workers))


def test_the_longest_files_exist():
    assert [] == [file for file in LONGEST if not (ROOT / file).is_file()]


def test_ci_runs_all_three_and_those_without_the_compiled_core():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()

    assert {"test", "test-slow", "test-real"} == {line[10:] for line in lines if line.startswith("run_tests ")}
    assert {"begin run_tests test-python", "finish run_tests test-python"} <= set(lines)


def test_what_ci_begins_it_finishes():
    """Otherwise a failure of it would not be noticed."""
    lines = [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    begun = [line.removeprefix("begin ") for line in lines if line.startswith("begin ")]

    assert 4 == len(begun)
    assert sorted(begun) == sorted(line.removeprefix("finish ") for line in lines if line.startswith("finish "))


SLOW = "import pytest\n\n@pytest.mark.slow\ndef test_it():\n    pass\n\ndef test_other():\n    pass\n"


def collect(folder: Path, part: str) -> subprocess.CompletedProcess[str]:
    """Collect the tests of a folder for a part of them."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.selection", "--collect-only", "-q", "--part", part, folder]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_run_of_slow_tests_imports_only_files_that_have_some(tmp_path):
    (tmp_path / "test_quick.py").write_text("import nothing_of_this_name")
    (tmp_path / "test_slow.py").write_text(SLOW)

    done = collect(tmp_path, "slow")

    assert (0, "test_slow.py::test_it") == (done.returncode, done.stdout.splitlines()[0]), done.stdout


@pytest.mark.slow
def test_a_slow_test_whose_file_does_not_say_so_is_an_error(tmp_path):
    """A run of the slow tests would leave it out."""
    (tmp_path / "marks.py").write_text("import pytest\n\nslow = getattr(pytest.mark, 'slow')")
    (tmp_path / "test_hidden.py").write_text("from marks import slow\n\n@slow\ndef test_it():\n    pass")

    done = collect(tmp_path, "quick")

    assert done.returncode
    assert "test_hidden.py::test_it is marked slow, but not in its file" in done.stderr
