"""The cases that `tradepipe schema` checks without a registry."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tradepipe.cli.schema.files import Candidate, frozen_file
from tradepipe.cli.schema.report import Case
from tradepipe.contract.compatibility import Level
from tradepipe.contract.evolution import Numbered, findings
from tradepipe.contract.finding import errors
from tradepipe.contract.frozen import level_of, numbered, unfrozen
from tradepipe.contract.history import RECORD, History, SchemaVersion, fingerprint
from tradepipe.contract.lint import lint


def linted(candidate: Candidate) -> Case:
    """Whether a file is a sound schema."""
    return Case(f"{candidate.file} is a sound schema", lint(candidate.text), candidate.file, candidate.text)


def unchanged(folder: Path, history: History) -> Iterator[Case]:
    """Whether each frozen version is as it was frozen."""
    found = unfrozen(history)
    for number in sorted(history.numbers):
        file, version = frozen_file(folder, number), history.version(number)
        here = tuple(each for each in found if each.against == number)
        yield Case(f"v{number:03} is as it was frozen", here, file if version else frozen_record(folder), "")


def frozen_record(folder: Path) -> str:
    """The path of the folder's record, as it is shown."""
    return frozen_file(folder, 0).rpartition("v000.avsc")[0] + RECORD


def against(candidate: Candidate, name: str, history: Sequence[Numbered], level: Level) -> Iterator[Case]:
    """Whether a sound schema may follow a history at a level, a case for each version and direction."""
    found = findings(candidate.text, history, level)
    versions = history if level.is_transitive else history[-1:]
    for version in reversed(versions):
        for direction in level.directions:
            here = tuple(each for each in found if (each.against, each.direction) == (version.number, direction))
            told = f"{name} may follow v{version.number:03}: {direction}"
            yield Case(told, here, candidate.file, candidate.text)


def of_versions(folder: Path, versions: Sequence[SchemaVersion]) -> Iterator[Case]:
    """Whether each frozen version is a sound schema."""
    return (linted(Candidate(frozen_file(folder, each.number), each.text)) for each in versions)


def of_candidate(folder: Path, candidate: Candidate, history: History, level: Level) -> Iterator[Case]:
    """Whether a file is sound, and may follow the history; one that is frozen already, what came before it."""
    case = linted(candidate)
    yield case
    if is_sound(case):
        own = [each.number for each in history.versions if each.sha256 == fingerprint(candidate.text)]
        before = [each for each in history.versions if not own or each.number < own[0]]
        yield from (each for each in of_versions(folder, before) if not is_sound(each))
        yield from against(candidate, candidate.file, _sound(before), level)


def of_history(folder: Path, history: History, level: Level | None) -> Iterator[Case]:
    """Whether each version is sound, and may follow those before it at the level it was frozen at."""
    for index, version in enumerate(history.versions):
        at = level or level_of(history, version.number)
        candidate = Candidate(frozen_file(folder, version.number), version.text)
        case = linted(candidate)
        yield case
        if is_sound(case):
            yield from against(candidate, f"v{version.number:03}", _sound(history.versions[:index]), at)


def is_sound(case: Case) -> bool:
    """Whether there is no error among its findings."""
    return not errors(case.findings)


def _sound(versions: Sequence[SchemaVersion]) -> tuple[Numbered, ...]:
    """Those that can be compared with: the others have findings of their own."""
    return numbered([version for version in versions if not errors(lint(version.text))])
