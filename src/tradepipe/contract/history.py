"""The frozen versions of the trade schema; the highest is the current one."""

import hashlib
import json
import re
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

PACKAGE: Final = "tradepipe.schemas.trade"
"""Where the versions lie, as `v001.avsc`, `v002.avsc` and so on."""

_version_of = re.compile(r"v(\d{3})\.avsc").fullmatch


class SchemaVersion(NamedTuple):
    """
    One frozen version.

    Attributes:
        number: counts from 1, without gaps.

        text: the file as it is shipped and registered.

        schema: the text as JSON; not to be changed.

        sha256: the `fingerprint` of the text.
    """

    number: int
    text: str
    schema: dict[str, Any]
    sha256: str


@cache
def versions() -> tuple[SchemaVersion, ...]:
    """All frozen versions, the oldest first."""
    files = {
        file.name: file.read_text("utf-8") for file in resources.files(PACKAGE).iterdir() if _version_of(file.name)
    }
    return tuple(
        SchemaVersion(int(name[1:4]), files[name], json.loads(files[name]), fingerprint(files[name]))
        for name in sorted(files)
    )


def current() -> SchemaVersion:
    """The version this build writes, and decodes every other one into."""
    return versions()[-1]


def fingerprint(text: str) -> str:
    """
    The SHA-256 of a schema, whatever its layout.

    Everything counts but white space and the order of JSON's keys: Avro's own
    parsing canonical form drops logical types, defaults and docs, so two
    schemas that differ in the meaning of their bytes would share it.

    Raises:
        ValueError: the text is not JSON.
    """
    normalised = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(normalised.encode()).hexdigest()
