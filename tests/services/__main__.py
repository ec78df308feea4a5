"""`python -m tests.services`: real services, until interrupted."""

import argparse
import threading
from contextlib import ExitStack

from tests.services.kafka import Kafka
from tests.services.postgres import Postgres
from tests.services.registry import Registry
from tradepipe.cli.signals import StopOnSignal

SERVICES = {
    "kafka": (Kafka, "KAFKA_BOOTSTRAP_SERVERS", "bootstrap_servers"),
    "registry": (Registry, "SCHEMA_REGISTRY_URL", "url"),
    "postgres": (Postgres, "DATABASE_URL", "url"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    parser.add_argument("service", nargs="*", choices=[*SERVICES, []], help="which to start; all by default")
    stopped = threading.Event()
    with StopOnSignal(stopped.set, "stopping the services", grace=30.0), ExitStack() as running:
        for name in parser.parse_args().service or SERVICES:
            service, variable, address = SERVICES[name]
            server = running.enter_context(service())
            print(f"export {variable}={getattr(server, address)}", flush=True)
        stopped.wait()
