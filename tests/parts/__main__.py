"""`python -m tests.parts`: real parts, until interrupted."""

import argparse
from contextlib import ExitStack

from tests.parts.kafka import Kafka
from tests.parts.postgres import Postgres
from tests.parts.registry import Registry
from tradepipe.embedded.stack import Stopped

PARTS = {
    "kafka": (Kafka, "KAFKA_BOOTSTRAP_SERVERS", "bootstrap_servers"),
    "registry": (Registry, "SCHEMA_REGISTRY_URL", "url"),
    "postgres": (Postgres, "DATABASE_URL", "url"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.parts", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="which to start; all by default")
    with Stopped() as stopped, ExitStack() as running:
        for name in parser.parse_args().part or PARTS:
            part, variable, address = PARTS[name]
            server = running.enter_context(part())
            print(f"export {variable}={getattr(server, address)}", flush=True)
        stopped.wait()
