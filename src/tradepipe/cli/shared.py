"""What the options that every command has say, for those who act on them."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from tradepipe.wire.registry import SchemaRegistry

TIMEOUT: Final = 10.0


class Settings(NamedTuple):
    """
    The shared options of the command that runs.

    Attributes:
        log_format: "text" or "json".

        registry: arguments of `SchemaRegistry`.

        warnings: what to tell as soon as there is a log.
    """

    log_format: str = "text"
    registry: Mapping[str, Any] = {}
    warnings: tuple[str, ...] = ()


_settings: ContextVar[Settings] = ContextVar("tradepipe-settings", default=Settings())  # noqa: B039 - it is never changed


def settings() -> Settings:
    """Those of the command that runs; the usual ones outside of one."""
    return _settings.get()


def settle(chosen: Settings) -> None:
    """Let these hold from now on."""
    _settings.set(chosen)


def registry_at(url: str, *, timeout: float = TIMEOUT) -> "SchemaRegistry":
    """
    The registry at a URL, as the options say who we are to it; `timeout` is in seconds for a whole call.

    Raises:
        Misconfigured: an option cannot be.
    """
    from tradepipe.wire.registry import SchemaRegistry  # noqa: PLC0415 - loaded where it is used

    return SchemaRegistry(url, timeout=timeout, **settings().registry)
