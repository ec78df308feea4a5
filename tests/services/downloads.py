"""
What real parts are made of, fetched by Maven once and kept in `.cache/parts`, which git ignores.

`python -m tests.services.downloads` fetches all that `make test-real` uses.
"""

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
AVRO_VERSION: Final = "1.12.1"
SERDES_VERSION: Final = "2.6.13.Final"
COMPILER_VERSION: Final = "3.44.0"

PEER: Final = (
    f"org.apache.avro:avro:{AVRO_VERSION}",
    f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",
    f"io.apicurio:apicurio-registry-serdes-avro-serde:{SERDES_VERSION}",
    # Eclipse's compiler: the Java that runs the services may be one without a compiler.
    f"org.eclipse.jdt:ecj:{COMPILER_VERSION}",
)
"""What other people's Java programs on the same topic are made of."""

DEBEZIUM_VERSION: Final = "3.6.0.Final"

CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "parts"

_POM: Final = """
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tradepipe</groupId>
  <artifactId>parts</artifactId>
  <version>1</version>
  <dependencies>{}</dependencies>
</project>
"""
_DEPENDENCY: Final = """
    <dependency>
      <groupId>{}</groupId>
      <artifactId>{}</artifactId>
      <version>{}</version>
    </dependency>
"""


def kafka() -> Path:
    """The folder of Apache Kafka's jars."""
    return kept(
        f"kafka-{KAFKA_VERSION}", lambda folder: _fetch_jars(folder, f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}")
    )


def kafka_tools() -> Path:
    """The folder of the jars of Kafka's own commands."""
    return kept(
        f"kafka-tools-{KAFKA_VERSION}",
        lambda folder: _fetch_jars(folder, f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}"),
    )


def registry() -> Path:
    """The folder of Apicurio Registry, with its `quarkus-run.jar`."""
    return kept(f"registry-{REGISTRY_VERSION}", _fetch_registry)


def peer() -> Path:
    """The folder of the jars of `PEER`."""
    return kept(
        f"peer-{AVRO_VERSION}-{KAFKA_VERSION}-{SERDES_VERSION}-{COMPILER_VERSION}",
        lambda folder: _fetch_jars(folder, *PEER),
    )


def connect_plugins() -> Path:
    """The folder of Kafka Connect's plugins: Debezium's JDBC sink connector and Apicurio's converter."""
    return kept(f"connect-{DEBEZIUM_VERSION}-{SERDES_VERSION}", _fetch_connect_plugins)


def kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """
    A folder of the cache, filled if it is not there; whole or absent, also when two runs want it at once.

    Args:
        fetch: called with a temporary folder, in which it makes the folder `whole`.
    """
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


def _fetch_jars(folder: Path, *artifacts: str) -> None:
    """The jars of Maven artifacts, and all these need: one version of each."""
    (folder / "pom.xml").write_text(_POM.format("".join(_DEPENDENCY.format(*each.split(":")) for each in artifacts)))
    _maven(folder, "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'whole'}")


def _fetch_registry(folder: Path) -> None:
    _fetch_archive(folder, f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all")


def _fetch_archive(folder: Path, artifact: str) -> None:
    """The content of an archive, without what it depends on."""
    _maven(folder, "dependency:get", f"-Dartifact={artifact}", "-Dtransitive=false")
    _maven(folder, "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "whole", filter="data")


def _fetch_connect_plugins(folder: Path) -> None:
    _fetch_jars(folder, f"io.apicurio:apicurio-registry-utils-converter:{SERDES_VERSION}")
    # Each plugin is a folder of the whole.
    jars = (folder / "whole").rename(folder / "apicurio-converter")
    (folder / "whole").mkdir()
    shutil.move(jars, folder / "whole")
    _fetch_archive(folder, f"io.debezium:debezium-connector-jdbc:{DEBEZIUM_VERSION}:tar.gz:plugin")


def _maven(folder: Path, *arguments: str) -> None:
    if shutil.which("mvn") is None:
        raise FileNotFoundError("real services are fetched with Maven, which is not installed: apt-get install maven")
    ran = subprocess.run(["mvn", "-B", "-q", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"mvn {' '.join(arguments)} failed: {ran.stdout[-2000:]}")


if __name__ == "__main__":
    for fetched in (kafka, registry, kafka_tools, peer):
        fetched()
