"""What a running sink serves over HTTP."""

import re
from http.client import HTTPConnection

from prometheus_client.parser import text_string_to_metric_families

from tests.cli.commands import Running
from tests.eventually import eventually


def port_of(process: Running) -> int:
    """The port it has chosen."""
    return int(eventually(lambda: re.search(r"metrics at http://127\.0\.0\.1:(\d+)/metrics", process.err))[1])


def get(port: int, path: str) -> tuple[int, str]:
    """Status and text of an answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def total(port: int, name: str, **labels: str) -> float | None:
    """The sum of a metric over all series with these labels; None if it is not reported."""
    families = text_string_to_metric_families(get(port, "/metrics")[1])
    found = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found) if found else None
