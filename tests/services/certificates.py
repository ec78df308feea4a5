"""Certificates of an authority of the test's own."""

from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


class Certificate(NamedTuple):
    """A certificate and its key as files, each by itself and both in one."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """
    Who signs the certificates of one test.

    Keys are written as PKCS #8: Kafka reads no other PEM.
    """

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "ca.pem"
        """What clients and servers trust."""
        self._authority.cert_pem.write_to_path(str(self.file))

    def server(self, *hosts: str) -> Certificate:
        """A certificate for a server on these hosts, 127.0.0.1 by default."""
        return self._written("server", self._authority.issue_cert(*(hosts or ("127.0.0.1",)), common_name="server"))

    def client(self, name: str, *, password: str | None = None) -> Certificate:
        """A certificate for a client of a name, its key locked if there is a password."""
        return self._written(name, self._authority.issue_cert(f"{name}@tradepipe.test", common_name=name), password)

    def _written(self, name: str, leaf: trustme.LeafCert, password: str | None = None) -> Certificate:
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        lock = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        key = load_pem_private_key(leaf.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, lock
        )
        files = Certificate(*(self._folder / f"{name}.{kind}.pem" for kind in ("certificate", "key", "both")))
        for file, content in zip(files, (chain, key, key + chain), strict=True):
            file.write_bytes(content)
        files.key.chmod(0o600)
        return files
