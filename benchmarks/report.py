"""Output of figures."""

import os
import platform
from collections.abc import Sequence
from statistics import median

import confluent_kafka

from tests.services import Services


def machine(services: Services) -> str:
    """Return a description of the machine, without its name."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    client = f"confluent-kafka {confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}"
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {gib:.0f} GiB, load {load:.1f} at the start; {platform.system()} "
        f"{platform.machine()}; Python {platform.python_version()}, {client}; {services.versions()}"
    )


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Format the median, followed by minimum and maximum."""
    middle, least, most = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle}  ({least} to {most}, {len(values)} runs)"


def line(name: str, value: str) -> None:
    """Print one figure and flush."""
    print(f"{name:<46} {value}", flush=True)
