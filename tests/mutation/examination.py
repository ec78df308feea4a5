"""How a mutant is examined: its tests are run on it, and a test that fails must pass on the code as it is."""

from typing import NamedTuple

from tests.mutation.forks import Examination, Job
from tests.mutation.mutants import Mutant
from tests.mutation.selection import Selection

SURVIVED, KILLED, STUCK = "survived", "killed", "timed out"


class Result(NamedTuple):
    """
    What became of a mutant.

    Attributes:
        noticed_by: the test that failed.

        asked: the tests that ran.

        found: how many tests execute the changed lines.
    """

    mutant: Mutant
    verdict: str
    noticed_by: str | None
    asked: tuple[str, ...]
    found: int


class Witnesses:
    """
    Which tests are to be believed: a failure counts if the test has passed in this run.

    If it has not passed on any other mutant, it is run on the code as it is.
    """

    def __init__(self) -> None:
        self.sound: set[str] = set()
        self.unsound: dict[str, str] = {}

    def examine(self, mutant: Mutant, selection: Selection) -> Examination:
        """Run the chosen tests until one fails for no other reason than the mutant."""
        while tests := tuple(trace for trace in selection.tests if trace.test not in self.unsound):
            outcome = yield Job(mutant, tests)
            # A test that passed in spite of a mutant passes without one.
            self.sound.update(test for test in outcome.begun if test != outcome.test)
            if outcome.verdict == "passed":
                return Result(mutant, SURVIVED, None, outcome.begun, selection.found)
            culprit = next((trace for trace in tests if trace.test == outcome.test), tests[0])
            if culprit.test not in self.sound:
                check = yield Job(None, (culprit,))
                if check.verdict != "passed":
                    self.unsound[culprit.test] = check.output
                    continue
                self.sound.add(culprit.test)
            verdict = STUCK if outcome.verdict == "stuck" else KILLED
            return Result(mutant, verdict, culprit.test, outcome.begun, selection.found)
        return Result(mutant, SURVIVED, None, (), selection.found)
