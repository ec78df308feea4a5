"""TLS to a registry: whom we trust, and by which certificate we are known."""

import os
import ssl
from pathlib import Path

import httpx

from tradepipe.errors import Misconfigured

Location = str | os.PathLike[str]
"""A file of PEM."""


def context(
    *,
    ca_location: Location | None = None,
    client_cert: Location | None = None,
    client_key: Location | None = None,
    key_password: str | None = None,
) -> ssl.SSLContext:
    """
    What is needed to open a connection; files are read now and not again.

    Raises:
        Misconfigured: a file cannot be read or is not what it should be, or an
            option lacks the one it belongs to.
    """
    for option, given in (("client_key", client_key), ("key_password", key_password)):
        if given is not None and client_cert is None:
            raise Misconfigured(f"{option} is given, but no client_cert that it belongs to")
    made = _trusting(ca_location)
    if client_cert is not None:
        _present(made, client_cert, client_key, key_password)
    return made


def _trusting(ca_location: Location | None) -> ssl.SSLContext:
    if ca_location is None:
        try:
            return httpx.create_ssl_context()
        except OSError as error:  # SSL's own errors among them
            raise Misconfigured(
                f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be used: {_told(error)}"
            ) from error
    path = _readable("ca_location", ca_location)
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise Misconfigured(f"ca_location='{path}' holds no certificates as PEM: {_told(error)}") from error


def _present(
    made: ssl.SSLContext, client_cert: Location, client_key: Location | None, key_password: str | None
) -> None:
    cert = _readable("client_cert", client_cert)
    key = None if client_key is None else _readable("client_key", client_key)
    given = f"client_cert='{cert}'" + (f" with client_key='{key}'" if key else "")
    try:
        # Never None: OpenSSL would ask for the password of a locked key on the terminal.
        made.load_cert_chain(cert, key, key_password or "")
    except ssl.SSLError as error:
        raise Misconfigured(
            f"{given} cannot be used: {_told(error)}; both are PEM, the key belongs to the certificate, "
            f"and a locked one needs its key_password"
        ) from error


def _readable(option: str, location: Location) -> Path:
    path = Path(location)
    try:
        if not path.is_dir():
            path.open("rb").close()
        elif option != "ca_location":
            raise IsADirectoryError(21, "it is a folder")
    except OSError as error:
        raise Misconfigured(f"{option}='{path}' cannot be read: {error.strerror}") from error
    return path


def _told(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or type(error).__name__
