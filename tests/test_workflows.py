"""Workflows of the hosted CI: valid, with pinned actions, and running the same script as a local run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_valid(workflow):
    checker = Path(sys.executable).parent / "check-jsonschema"
    run = subprocess.run(
        [checker, "--builtin-schema", "vendor.github-workflows", workflow], capture_output=True, text=True, check=False
    )

    assert 0 == run.returncode, run.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(workflow):
    used = re.findall(r"uses: (\S+)", workflow.read_text())

    assert [] == [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)]


def test_one_workflow_runs_the_ci_script():
    assert any("run: .ci/run\n" in workflow.read_text() for workflow in WORKFLOWS)
