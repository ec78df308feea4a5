"""The owner's day: one line in the declaration, the steps of docs/schema.md as written, a demo with the new field."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest

from tests.markdown import Document

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGE = Document(ROOT / "docs" / "schema.md")
STEPS = re.search(r"## Create a version\n(.*?)\*\*6\. Roll it out", PAGE.path.read_text(), re.DOTALL)
LAST_IMPORT = "from tradepipe.trade.declaration import declare\n"
LAST_LINE = re.compile(r"^    currency: .*\n", re.MULTILINE)


class Edit(NamedTuple):
    """
    One line of the declaration.

    Attributes:
        line: the line; it replaces `place`, or follows the last field.

        code: violation code that the demo must show; empty if a value only has to be of the type.

        names: imports and a class that the line refers to.
    """

    line: str
    code: str = ""
    place: str = ""
    names: str = ""


AVRO = "from tradepipe.trade.types import Avro\n"
LEG = """
class Leg(NamedTuple):
    rate: Annotated[Decimal, Digits(9, 6)]
    pays_on: date
    venue: str | None = None
"""

EDITS = {
    "str": (Edit('    venue: Annotated[str, Identifier()] = "OTC"\n', "VENUE"),),
    "key": (Edit('    venue: Annotated[str, Key(), Identifier()] = "OTC"\n', "VENUE"),),
    "symbol": (Edit('    SELL = "SELL"\n    CROSS = "CROSS"\n', place='    SELL = "SELL"\n'),),
    "every other type": (
        Edit("    lots: Annotated[int | None, Ge(1)] = None\n", "LOTS"),
        Edit('    units: Annotated[int, Avro("long"), Ge(0)] = 0\n', "UNITS", names=AVRO),
        Edit("    fee: Annotated[Decimal, Digits(9, 2), Ge(0)] = Decimal(0)\n", "FEE"),
        Edit("    price: Annotated[float | None, Gt(0)] = None\n", "PRICE"),
        Edit("    cleared: bool = False\n"),
        Edit("    other_side: Side = Side.UNKNOWN\n"),
        Edit('    signature: bytes = b""\n'),
        Edit('    digest: Annotated[bytes | None, Avro("fixed", 4)] = None\n'),
        Edit("    order_id: UUID | None = None\n", names="from uuid import UUID\n"),
        Edit("    pays_on: date | None = None\n"),
        Edit("    cut_off: time | None = None\n", names="from datetime import time\n"),
        Edit("    confirmed_at: datetime | None = None\n"),
        Edit("    tags: list[str] | None = None\n"),
        Edit("    limits: dict[str, int] | None = None\n"),
        Edit("    legs: list[Leg] | None = None\n", names=LEG),
    ),
}
FEW = ("str", "key")
"""Those that run on embedded services too."""


class Clone:
    """A copy of what git knows of the repository, in which commands run as in a clone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        # As an installation with `pip install -e` maps them.
        for name in ("schemas", "migrations"):
            (folder / "src" / "tradepipe" / name).symlink_to(folder / name)
        path = os.pathsep.join([str(folder / "src"), str(folder)])
        self.environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "80", "NO_COLOR": "1"}

    def run(self, command: str) -> str:
        """Run a command of the page, and return its output."""
        program, *arguments = command.split()
        python = [sys.executable, "-m", "tradepipe"] if program == "tradepipe" else [sys.executable]
        done = subprocess.run(
            [*python, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def edit(self, edits: tuple[Edit, ...]) -> int:
        """Edit the declaration; return the number of its lines that differ, without the names they refer to."""
        model = self.folder / "src" / "tradepipe" / "trade" / "model.py"
        before = after = model.read_text()
        for edit in reversed(edits):
            after = after.replace(edit.place, edit.line) if edit.place else LAST_LINE.sub(rf"\g<0>{edit.line}", after)
        model.write_text(after.replace(LAST_IMPORT, LAST_IMPORT + "".join(edit.names for edit in edits)))
        return len(after.splitlines()) - len(before.splitlines())

    def demo(self) -> Iterator[tuple[str, str]]:
        """Run the demo, and yield its output with the URL of its database."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tradepipe.demo", "--keep"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        printed = ""
        try:
            for line in process.stdout:
                printed += line
                if found := re.search(r"DATABASE_URL='?(postgresql://[^'\s]+)", line):
                    yield printed, found[1]
                    break
            else:
                pytest.fail(f"the demo ended: {printed}")
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=200)


def steps() -> list[str]:
    """The commands of the page, in order."""
    assert STEPS is not None
    blocks = re.findall(r"```text\n(.*?)```", STEPS[1], re.DOTALL)
    lines = [block.splitlines()[0].removeprefix("$ ") for block in blocks]
    return [line for line in lines if line.startswith(("tradepipe ", "python "))]


@pytest.mark.timeout(1_200)  # a busy machine starts all these programs in minutes
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in FEW else pytest.mark.real) for kind in EDITS], ids=EDITS.keys()
)
def test_one_line_in_the_declaration_and_the_steps_of_the_page_make_a_field_everywhere(kind, tmp_path, capsys):
    edits, clone = EDITS[kind], Clone(tmp_path)
    fields = ["side" if edit.place else edit.line.strip().partition(":")[0] for edit in edits]
    codes = {edit.code for edit in edits if edit.code}

    lines = clone.edit(edits)
    for command in steps():
        if kind == "symbol" and command == "tradepipe migrate draft":
            assert clone.run(command).startswith("nothing to draft")
        else:
            clone.run(command)

    for printed, url in clone.demo():
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(f'count(DISTINCT {field})' for field in fields)} FROM trades")
            assert all(count > 1 for count in cursor.fetchone())
            cursor.execute("SELECT conname FROM pg_constraint WHERE conrelid = 'trades'::regclass")
            constraints = {name for (name,) in cursor.fetchall()}
        assert set() == codes - constraints
        assert set() == codes - set(re.findall(r"\b[A-Z_]+\b", printed))
        clone.environment["DATABASE_URL"] = url
        clone.run("python -m alembic downgrade -1")
        clone.run("python -m alembic upgrade head")
    sample = clone.run("python -m tests.sample_csv trades.csv")
    assert set() == {*fields} - {*next(csv.reader([sample.splitlines()[0]]))}
    clone.run("tradepipe produce --input trades.csv --dry-run")
    with capsys.disabled():
        print(f"\n{kind}: fields or symbols: {len(edits)}, hand-edited lines: {lines}")
    assert len(edits) == lines
