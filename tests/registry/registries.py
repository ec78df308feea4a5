"""Registries that answer what a test tells them to."""

from collections.abc import Callable
from typing import Any

import httpx

from tradepipe.evolution.history import current
from tradepipe.registry.client import SchemaRegistry

ABSENT = {"error_code": 40403, "message": "Schema not found"}

Answer = tuple[int, Any] | Exception


class Script:
    """Answers in the order given, the last one for ever; keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        return httpx.Response(status, **({"content": body} if isinstance(body, bytes) else {"json": body}))


class Shelf:
    """A registry's shelf: schemas by id, each with the subjects it is a version of."""

    def __init__(self) -> None:
        self.schemas: dict[int, tuple[str, tuple[str, ...]]] = {}
        self.asked: list[str] = []
        self.outage: Answer | None = None

    def put(self, schema_id: int, schema: str | None = None, subject: str = "trades-value") -> None:
        self.schemas[schema_id] = (schema or current().text, (subject,))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.outage is not None:
            return Script(self.outage)(request)
        schema_id = int(request.url.path.split("/")[3])
        if schema_id not in self.schemas:
            return httpx.Response(404, json=ABSENT)
        schema, subjects = self.schemas[schema_id]
        if request.url.path.endswith("/versions"):
            return httpx.Response(200, json=[{"subject": subject, "version": 1} for subject in subjects])
        return httpx.Response(200, json={"schema": schema})


def registry(answers: Callable[[httpx.Request], httpx.Response], **knobs: Any) -> SchemaRegistry:
    """A client of a registry that is a function."""
    return SchemaRegistry("http://registry:8081", transport=httpx.MockTransport(answers), **knobs)
