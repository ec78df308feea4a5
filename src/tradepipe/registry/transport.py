"""Requests to one registry, by whichever of its URLs answers: retries, time limits, what went wrong on the way."""

import json
import ssl
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httpx

from tradepipe.backoff import Backoff
from tradepipe.errors import ConfigurationError, RegistryUnavailable
from tradepipe.registry.auth import Credentials

MAX_RESPONSE: Final = 4_194_304
"""Bytes of an answer that are read."""

MAX_SUMMARY: Final = 10_000
"""Characters of what a registry says that are looked at, to show some of them."""

_CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_UNAVAILABLE: Final = frozenset({408, 425, 429})
_FIRST_DELAY_SECONDS: Final = 0.25
_MAX_DELAY_SECONDS: Final = 5.0

Problem = RegistryUnavailable | ConfigurationError


class Response(NamedTuple):
    """What a registry answered, and at which of its URLs."""

    base: str
    status: int
    body: Any

    @property
    def is_not_found(self) -> bool:
        """Whether a 404 comes from the registry and means what was asked for, not the path it was asked at."""
        code = self.body.get("error_code") if isinstance(self.body, dict) else None
        return isinstance(code, int) and 40_400 <= code < 40_500

    @property
    def summary(self) -> str:
        """Status and message, as one line; it may hold what we sent, so show `Transport.told` instead."""
        message = self.body.get("message") if isinstance(self.body, dict) else self.body
        if not isinstance(message, str):
            return str(self.status)
        # A line break would begin another line of a log, and an escape would colour a terminal.
        shown = "".join(each if each.isprintable() else " " for each in message[:MAX_SUMMARY])
        return f"{self.status} {shown}".strip()


class Transport:
    """
    Ask at one URL after the other until one answers.

    The URL that answered last is asked first the next time. Of several, each
    gets an even share of the time that is left, so that one which is silent
    leaves some for the others.
    """

    def __init__(
        self,
        bases: tuple[str, ...],
        *,
        credentials: Credentials,
        context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
        timeout: float,
        retries: int,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self._bases = bases
        self._first = 0
        self._answered: set[str] = set()
        self._credentials = credentials
        self._timeout = timeout
        self._retries = retries
        self._client = httpx.Client(
            verify=context,
            proxy=proxy,
            transport=transport,
            follow_redirects=False,
            headers={"Accept": f"{_CONTENT_TYPE}, application/json", "Content-Type": _CONTENT_TYPE},
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(self, method: str, path: str, content: bytes | None = None) -> Response:
        """
        The first answer that is not about an outage.

        Raises:
            RegistryUnavailable: the last try that the time allows failed too.

            ConfigurationError: no URL can be spoken to until somebody changes something.
        """
        deadline = time.monotonic() + self._timeout
        backoff = Backoff(first=_FIRST_DELAY_SECONDS, longest=_MAX_DELAY_SECONDS)
        for retry in range(self._retries + 1):
            outcome = self._try_all_urls(method, path, content, deadline)
            if isinstance(outcome, Response):
                return outcome
            delay = backoff.next_delay()
            if not outcome.retriable or retry == self._retries or time.monotonic() + delay >= deadline:
                raise outcome
            time.sleep(delay)
        raise AssertionError("the last try returns or raises")

    def redact(self, text: str) -> str:
        """A text without our secrets."""
        return self._credentials.redact(text)

    def summarize(self, answer: Response) -> str:
        """What an answer says, without our secrets; cut behind the masking, which knows them whole only."""
        return self.redact(answer.summary)[:500]

    def _try_all_urls(self, method: str, path: str, content: bytes | None, deadline: float) -> Response | Problem:
        """The answer of the first URL that has one, or why none has."""
        problems: list[Problem] = []
        for place, until in self._deadlines(deadline):
            base = self._bases[place]
            outcome = self._try_url(base, method, path, content, until)
            if isinstance(outcome, Response):
                self._first = place
                self._answered.add(base)
                return outcome
            problems.append(outcome)
        return _combine(problems)

    def _deadlines(self, deadline: float) -> Iterator[tuple[int, float]]:
        """Whose turn it is, and until when."""
        count = len(self._bases)
        for turn in range(count):
            now = time.monotonic()
            yield (self._first + turn) % count, now + (deadline - now) / (count - turn)

    def _try_url(self, base: str, method: str, path: str, content: bytes | None, until: float) -> Response | Problem:
        try:
            answer = self._send(base, method, path, content, until)
            if answer.status == 401 and self._credentials.can_renew:
                # The token may have run out since it was given.
                answer = self._send(base, method, path, content, until)
        except httpx.HTTPError as error:
            problem = self._problem(base, error)
            problem.__cause__ = error
            return problem
        except RegistryUnavailable as error:
            return error
        if answer.status < 500 and answer.status not in _UNAVAILABLE:
            return answer
        return RegistryUnavailable(f"the registry at {base} answered {method} {path} with {self.summarize(answer)}")

    def _send(self, base: str, method: str, path: str, content: bytes | None, until: float) -> Response:
        headers = self._credentials.headers()
        left = max(until - time.monotonic(), 0.001)
        with self._client.stream(method, base + path, content=content, headers=headers, timeout=left) as response:
            read = bytearray()
            for piece in response.iter_bytes():
                read += piece
                if len(read) > MAX_RESPONSE:
                    raise httpx.ReadError(f"the answer has more than {MAX_RESPONSE} bytes")
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the answer came too slowly")
        return Response(base, response.status_code, _json(bytes(read)))

    def _problem(self, base: str, error: httpx.HTTPError) -> Problem:
        told = self.redact(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        if isinstance(error, httpx.ProxyError) and _is_refusal(str(error)):
            return ConfigurationError(
                f"the proxy lets nobody through to {base}: {told}; check user and password in proxy"
            )
        refusal = _tls_refusal(error)
        if refusal is not None and base not in self._answered:
            # A certificate that nobody trusts stays so. Where there was an answer before, it is being renewed.
            return ConfigurationError(f"the registry at {base} cannot be spoken to by TLS: {told}{_advice(refusal)}")
        return RegistryUnavailable(f"the registry at {base} is away: {told}")


def _combine(problems: list[Problem]) -> Problem:
    """All that went wrong as one; it may heal if any of it may."""
    if len(problems) == 1:
        return problems[0]
    kind = RegistryUnavailable if any(problem.retriable for problem in problems) else ConfigurationError
    summed_up = kind("; ".join(str(problem) for problem in problems))
    summed_up.__cause__ = problems[-1]
    return summed_up


def _is_refusal(told: str) -> bool:
    """Whether a proxy's word about a tunnel, such as `407 Proxy Authentication Required`, is a refusal of us."""
    status = told.partition(" ")[0]
    return status.isdigit() and 400 <= int(status) < 500 and int(status) not in _UNAVAILABLE


def _tls_refusal(error: BaseException) -> ssl.SSLError | None:
    """What OpenSSL found wrong with a peer, or the peer with us; None for a connection that merely ended."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return None
    return None if cause is None or "INTERNAL_ERROR" in (cause.reason or "") else cause


def _advice(refusal: ssl.SSLError) -> str:
    if isinstance(refusal, ssl.SSLCertVerificationError):
        return "; check ca_location, and the host's name in the registry's URL"
    if "ALERT" in (refusal.reason or "") or "CERTIFICATE" in (refusal.reason or ""):
        return "; check client_cert and client_key"
    return "; check that the registry speaks https at this port"


def _json(content: bytes) -> Any:
    """The content as JSON, or as text if it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content[:MAX_SUMMARY].decode(errors="replace")
