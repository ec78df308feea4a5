"""What real parts are made of, fetched by Maven once and kept in `.cache/parts`, which git ignores."""

import fcntl
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

KAFKA_VERSION: Final = "4.1.0"
REGISTRY_VERSION: Final = "3.3.3"

CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "parts"

_POM: Final = f"""
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tradepipe</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


def kafka() -> Path:
    """The folder of Apache Kafka's jars."""
    return _kept(f"kafka-{KAFKA_VERSION}", _fetch_kafka)


def registry() -> Path:
    """The folder of Apicurio Registry, with its `quarkus-run.jar`."""
    return _kept(f"registry-{REGISTRY_VERSION}", _fetch_registry)


def _kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """A folder of the cache, filled if it is not there; whole or absent, also when two runs want it at once."""
    target = CACHE / name
    if target.is_dir():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{name}-") as partial:
                fetch(Path(partial))
                shutil.move(Path(partial, "whole"), target)
    return target


def _fetch_kafka(folder: Path) -> None:
    (folder / "pom.xml").write_text(_POM)
    _maven(folder, "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'whole'}")


def _fetch_registry(folder: Path) -> None:
    artifact = f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all"
    _maven(folder, "dependency:get", f"-Dartifact={artifact}", "-Dtransitive=false")
    _maven(folder, "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "whole", filter="data")


def _maven(folder: Path, *arguments: str) -> None:
    if shutil.which("mvn") is None:
        raise FileNotFoundError("real parts are fetched with Maven, which is not installed: apt-get install maven")
    ran = subprocess.run(["mvn", "-B", "-q", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"mvn {' '.join(arguments)} failed: {ran.stdout[-2000:]}")
