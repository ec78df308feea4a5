"""Files that are no files: each command says so at once."""

import os
from pathlib import Path

import pytest

from tests.cli.test_wrong_starts import message, start

HTTPS = "https://127.0.0.1:1"
TLS = ["-X", "security.protocol=ssl"]
DATABASE = "postgresql://127.0.0.1:1/trades"

READ_BY_US = {
    "device": "it is larger than",
    "pipe": "it is a pipe that nothing writes to",
    "directory": "s a directory",
}
READ_BY_A_LIBRARY = {"device": "a named pipe or a device", "pipe": "a named pipe or a device"}
READ_BY_LIBPQ = {**READ_BY_A_LIBRARY, "image": "a file that is larger than 16,777,216 bytes"}
"""What is said of each; certificates may be in a directory, and libpq ignores one without a service."""

CASES = [
    (["schema", "validate", "{}"], None, READ_BY_US),
    (["schema", "check", "{}"], None, READ_BY_US),
    (["schema", "diff", "{}", "v1"], None, READ_BY_US),
    (["schema", "freeze", "{}", "--dry-run"], None, READ_BY_US),
    (["produce", "--dry-run", "--input", __file__, "--input-format", "csv", "--mapping", "{}"], None, READ_BY_US),
    (["sink", "--kafka-config", "{}"], None, READ_BY_US),
    (["migrate", "current"], "DATABASE_URL_FILE", READ_BY_US),
    (["schema", "drift"], "SCHEMA_REGISTRY_TOKEN_FILE", READ_BY_US),
    (["schema", "drift"], "SCHEMA_REGISTRY_HEADERS_FILE", READ_BY_US),
    (["topics", "create"], "KAFKA_SASL_PASSWORD_FILE", READ_BY_US),
    (["schema", "drift", "--registry", HTTPS, "--registry-ca", "{}"], None, READ_BY_A_LIBRARY),
    (["schema", "drift", "--registry", HTTPS, "--registry-cert", "{}"], None, READ_BY_A_LIBRARY),
    (["schema", "drift", "--registry", HTTPS], "SSL_CERT_FILE", READ_BY_A_LIBRARY),
    (["topics", "create", *TLS, "-X", "ssl.ca.location={}"], None, READ_BY_A_LIBRARY),
    (["topics", "create", *TLS, "-X", "ssl.key.location={}"], None, READ_BY_A_LIBRARY),
    (["migrate", "current", "--database", f"{DATABASE}?sslrootcert={{}}"], None, READ_BY_LIBPQ),
    (["migrate", "current", "--database", f"{DATABASE}?service=x"], "PGSERVICEFILE", READ_BY_LIBPQ),
    (["sink", "--database", DATABASE], "PGPASSFILE", READ_BY_LIBPQ),
]


def test_a_file_whose_lines_end_with_cr_alone_is_refused(tmp_path):
    file = tmp_path / "trades.csv"
    file.write_bytes(b"trade_id,version\rT1,1\r")

    done = start("produce", "--dry-run", "--input", str(file))

    assert (2, True) == (done.code, "its lines end with CR alone" in message(done))


def test_a_loop_of_symbolic_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    done = start("schema", "validate", str(tmp_path / "a"))

    assert (2, True) == (done.code, "Too many levels of symbolic links" in message(done))


@pytest.mark.parametrize("arguments", [["sink", "--rules", "desk:rule"], ["schema", "validate", "trade.avsc"]])
def test_a_current_directory_that_was_removed_is_no_bug(tmp_path, monkeypatch, arguments):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    done = start(*arguments)

    assert (2, True) == (done.code, "No such file or directory" in message(done))


def make(kind: str, folder: Path) -> str:
    """Return the path of something that has no end, nearly no end, no writer or no content."""
    if kind == "device":
        return "/dev/zero"
    path = folder / kind
    if kind == "image":
        with path.open("wb") as file:
            file.truncate(1 << 31)
        return str(path)
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "variable", "kind", "problem"),
    [(arguments, variable, *each) for arguments, variable, problems in CASES for each in problems.items()],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else None,
)
def test_what_is_no_file_is_reported_at_once(tmp_path, arguments, variable, kind, problem):
    path = make(kind, tmp_path)
    # A variable and that of its file exclude each other; an empty one is not set.
    env = {variable.removesuffix("_FILE"): "", variable: path} if variable else {}

    done = start(*(each.format(path) for each in arguments), env=env)

    assert done.code in (2, 78)
    assert problem in message(done)


@pytest.mark.parametrize("name", [".pg_service.conf", ".pgpass", ".postgresql/root.crt"])
def test_a_file_of_libpq_in_the_home_directory_is_reported_too(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)

    done = start("migrate", "current", env={"HOME": str(tmp_path)})

    assert (78, True) == (done.code, f"{tmp_path / name}, which libpq reads, is a named pipe" in message(done))


def test_a_service_file_of_the_system_is_reported_too(tmp_path):
    os.mkfifo(tmp_path / "pg_service.conf")

    done = start("migrate", "current", env={"PGSYSCONFDIR": str(tmp_path)})

    assert (78, True) == (
        done.code,
        f"PGSYSCONFDIR names a named pipe or a device, not a file: {tmp_path}" in message(done),
    )
