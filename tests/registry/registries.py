"""Registries whose answers a test sets."""

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
    """A registry's schemas by id, each with its subject; id 1 is a version of the trades' subject."""

    def __init__(self) -> None:
        self.schemas: dict[int, tuple[dict[str, Any], str]] = {}
        self.asked: list[str] = []
        self.hidden: set[int] = set()
        """Ids of listed versions whose schemas are not returned, as by a replica that lags behind."""
        self.outage: Answer | None = None
        self.put(1)

    def put(self, schema_id: int, schema: str | None = None, subject: str = "trades-value", **fields: Any) -> None:
        """Add a schema as the next version of a subject."""
        self.schemas[schema_id] = ({"schema": schema or current().text, **fields}, subject)

    def ids(self, subject: str) -> list[int]:
        """Return the ids of a subject's versions, oldest first."""
        return [schema_id for schema_id, (_, each) in self.schemas.items() if each == subject]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        if self.outage is not None:
            return Script(self.outage)(request)
        _, kind, *rest = path.split("/")
        answer = self._answer_subject(*rest) if kind == "subjects" else self._answer_id(int(rest[1]), path)
        return httpx.Response(404, json=ABSENT) if answer is None else httpx.Response(200, json=answer)

    def _answer_subject(self, subject: str, _versions: str, number: str = "") -> Any:
        ids = self.ids(subject)
        if not number:
            return [*range(1, len(ids) + 1)] or None
        schema_id = ids[int(number) - 1]
        return {"subject": subject, "version": int(number), "id": schema_id, **self.schemas[schema_id][0]}

    def _answer_id(self, schema_id: int, path: str) -> Any:
        if schema_id not in self.schemas or schema_id in self.hidden:
            return None
        body, subject = self.schemas[schema_id]
        if path.endswith("/versions"):
            return [{"subject": subject, "version": self.ids(subject).index(schema_id) + 1}]
        return body


def registry(answers: Callable[[httpx.Request], httpx.Response], **knobs: Any) -> SchemaRegistry:
    """A client of a registry that is a function."""
    return SchemaRegistry("http://registry:8081", transport=httpx.MockTransport(answers), **knobs)
