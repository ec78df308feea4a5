"""A virtual environment for quixstreams, which needs an older confluent-kafka than tradepipe."""

import subprocess
import sys
import venv
from typing import Final

from tests.services.downloads import CACHE

QUIXSTREAMS_VERSION: Final = "3.28.1"


def python() -> str:
    """Return the path of an interpreter that can import quixstreams; the first call installs it."""
    folder = CACHE.parent / f"quixstreams-{QUIXSTREAMS_VERSION}"
    interpreter = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        venv.create(folder, clear=True, with_pip=True)
        package = f"quixstreams[avro,postgresql]=={QUIXSTREAMS_VERSION}"
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", package], check=True, stdout=sys.stderr)
        complete.touch()
    return str(interpreter)
