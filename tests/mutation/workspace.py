"""Copies of the work tree to mutate, one for each process, which are removed when the run ends."""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final, Self

_INITDB: Final = """#!/bin/sh
# initdb -D FOLDER OPTIONS: a copy of the result of the first call with these options and this password, in a tenth of
# the time.
folder=$2
shift 2
password=$(echo "$@" | sed 's/.*--pwfile \\([^ ]*\\).*/\\1/')
made={store}/$( (echo "$@" | sed 's/--pwfile [^ ]*//'; cat "$password") | cksum | cut -d' ' -f1)
[ -d "$made" ] || {{ {programs}/initdb -D "$made.$$" "$@" && mv -T "$made.$$" "$made"; }}
cp -r "$made/." "$folder"
"""
_POSTGRES: Final = '#!/bin/sh\nexec {programs}/postgres "$@"\n'
_FIND_PROGRAMS: Final = """
from tradepipe.embedded.postgres import Binaries
found = Binaries.find()
print(found.folder if found.are_readable_by_all else "")
"""


class Workspace:
    """
    A temporary folder with copies of a work tree, `copies` of them; leaving the block removes it.

    Attributes:
        temporary: where whatever runs in here puts its temporary files.
    """

    def __init__(self, root: Path, copies: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        # PostgreSQL runs as another user where root starts it, and must get through.
        self.folder.chmod(0o711)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.temporary.chmod(0o1777)
        self.copies = [self.folder / str(number) for number in range(copies)]
        self._root = root

    def fill(self) -> None:
        """Make the first copy: all files that git knows or does not ignore."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self._root,
            capture_output=True,
            check=True,
        )
        for name in listed.stdout.decode().split("\0"):
            if (self._root / name).is_file():
                (self.copies[0] / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._root / name, self.copies[0] / name)
        if (self._root / ".cache").exists() and not (self.copies[0] / ".cache").exists():
            (self.copies[0] / ".cache").symlink_to((self._root / ".cache").resolve())
        self._join_packages()

    def multiply(self) -> None:
        """Make the other copies, with what has been compiled in the first."""
        for copy in self.copies[1:]:
            shutil.copytree(self.copies[0], copy, symlinks=True)

    def quicken_postgres(self) -> dict[str, str]:
        """Return variables that make embedded PostgreSQLs initialise their data by a copy."""
        found = subprocess.run([sys.executable, "-c", _FIND_PROGRAMS], capture_output=True, text=True, check=False)
        if not (programs := found.stdout.strip()):
            return {}
        store, wrappers = self.folder / "initdb", self.folder / "bin"
        store.mkdir()
        store.chmod(0o777)
        wrappers.mkdir()
        for name, script in (("initdb", _INITDB), ("postgres", _POSTGRES)):
            (wrappers / name).write_text(script.format(store=store, programs=programs))
            (wrappers / name).chmod(0o755)
        return {"PG_BIN": str(wrappers)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _join_packages(self) -> None:
        """Link the packages that lie elsewhere into the one they belong to: the editable install has the originals."""
        pyproject = self.copies[0] / "pyproject.toml"
        if not pyproject.exists():
            return
        setuptools = tomllib.loads(pyproject.read_text()).get("tool", {}).get("setuptools", {})
        folders = setuptools.get("package-dir", {})
        for package, folder in folders.items():
            parent, _, name = package.rpartition(".")
            if parent in folders:
                link = self.copies[0] / folders[parent] / name
                link.symlink_to(os.path.relpath(self.copies[0] / folder, link.parent))
