"""The revisions packaged in this build, read without SQLAlchemy: a validator reports the newest one as a metric."""

import re
from importlib import resources
from typing import Final

REVISION_ID: Final = re.compile(r"(\d{4})_\w+")


def revisions() -> tuple[str, ...]:
    """Return the revisions packaged in this build, oldest first."""
    versions = resources.files("tradepipe.migrations.versions")
    stems = (file.name.removesuffix(".py") for file in versions.iterdir() if file.name.endswith(".py"))
    return tuple(sorted(stem for stem in stems if REVISION_ID.fullmatch(stem)))


def required_revision() -> str:
    """Return the revision this build needs."""
    return revisions()[-1]
