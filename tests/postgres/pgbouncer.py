"""PgBouncer in front of a database, from Debian's package."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from urllib.parse import unquote, urlsplit

import psycopg2

from tests.eventually import eventually
from tradepipe.embedded.process import ChildProcess, free_port

_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/userlist.txt
pool_mode = {pool_mode}
default_pool_size = {pool_size}
"""


@contextmanager
def pooled(database: str, folder: Path, *, pool_mode: str, pool_size: int = 10) -> Iterator[str]:
    """Run a pooler inside the block, and yield the URL of a database through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "there is no pgbouncer: install Debian's package pgbouncer"
    server, port = urlsplit(database), free_port()
    (folder / "userlist.txt").write_text(f'"{server.username}" "{unquote(server.password or "")}"\n')
    settings = _CONFIGURATION.format(server=server, port=port, folder=folder, pool_mode=pool_mode, pool_size=pool_size)
    # PgBouncer does not run as root. It changes its user after it has read its files.
    settings += "user = nobody\n" if os.geteuid() == 0 else ""
    (folder / "pgbouncer.ini").write_text(settings)
    for file in folder.iterdir():
        file.chmod(0o644)
    pooler = ChildProcess([program, folder / "pgbouncer.ini"], log=folder / "pgbouncer.log")
    url = server._replace(netloc=f"{server.netloc.rpartition(':')[0]}:{port}").geturl()
    try:
        eventually(lambda: _accepts_connections(url))
        yield url
    finally:
        pooler.stop(SIGTERM)


def _accepts_connections(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True
