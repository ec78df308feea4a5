"""An authority, and the one password of all these tests, which no output may show."""

import base64
import logging
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.services.certificates import Authority
from tradepipe import Trade
from tradepipe.trade import samples

CANARY = "canary/Tw33t?&%"
"""The password of everybody here; it has characters that a URL needs as %XX."""

USER = "alice"

SECRETS = ("Tw33t", base64.b64encode(f"{USER}:{CANARY}".encode()).decode())
"""What shows the canary, as it is, as part of a URL, and as basic authentication."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom the servers and clients of a module trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that is not trusted."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def seen() -> list[object]:
    """What a test wants looked through for the canary: errors and whatever else has a repr."""
    return []


@pytest.fixture(autouse=True)
def canary_is_never_shown(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], seen: list[object]
) -> Iterator[None]:
    """The canary is in no log record of any level, in no output, and in nothing a test has seen."""
    caplog.set_level(logging.DEBUG)
    yield
    records = [f"{record.getMessage()} {record.exc_text or ''}" for record in caplog.get_records("call")]
    message = [*records, *capfd.readouterr(), *(text for each in seen for text in _shown(each))]
    assert [] == [text for text in message for secret in SECRETS if secret in text]


def _shown(message: object) -> Iterator[str]:
    """What can be seen of an object, and of what caused it."""
    while message is not None:
        yield f"{message} {message!r} {getattr(message, '__notes__', '')}"
        message = getattr(message, "__cause__", None)


@pytest.fixture
def trades() -> list[Trade]:
    """A few trades."""
    return list(islice(samples.trades(7), 20))
