"""Creation of Kafka's clients, and what librdkafka checks only then."""

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaException

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.failures import unwrap

T = TypeVar("T")

_MISSING: Final = "/dev/null/tradepipe"
_UNCHECKED: Final = ("sasl.", "debug", "logger")


def create_client(create: Callable[[dict[str, Any]], T], config: dict[str, Any]) -> T:
    """
    Create a client.

    Raises:
        ConfigurationError: librdkafka rejects the configuration, whatever the code of its error.
    """
    # Again, though the configuration was checked at construction: certificates may be replaced meanwhile.
    check_client(create, config)
    try:
        return create(config)
    except KafkaException as error:
        raise _invalid_client(error, config) from error


def check_client(create: Callable[[dict[str, Any]], object], config: dict[str, Any]) -> dict[str, Any]:
    """
    Return a complete configuration; raise a ConfigurationError if librdkafka would not create a client with it.

    Only when it creates one does librdkafka check whether properties fit together, and read certificates. None is
    created: a SASL mechanism does not exist, then a key store, and librdkafka looks for them last, before it starts
    threads. A client with `sasl.oauthbearer.method=oidc` must not fail: librdkafka would abort the process.
    """
    given = {key: value for key, value in config.items() if not callable(value) and not key.startswith(_UNCHECKED)}
    missing = [{"security.protocol": "sasl_plaintext", "sasl.mechanism": _MISSING}]
    if "ssl" in str(config.get("security.protocol")).lower() and "ssl.keystore.location" not in config:
        store = {"ssl.keystore.location": _MISSING, "ssl.keystore.password": "none"}
        missing.append({"security.protocol": "ssl", **store})
    for properties in missing:
        try:
            create({**given, "log_level": 0, **properties})
        except KafkaException as error:
            if _MISSING not in unwrap(error).str():
                raise _invalid_client(error, config) from error
    return config


def _invalid_client(error: KafkaException, config: dict[str, Any]) -> ConfigurationError:
    cause = unwrap(error)
    reason = f"{cause.str()} ({cause.name()})"
    for key, value in config.items():
        # librdkafka says "BIO lib" or "system lib" instead.
        if key.endswith(".location") and f"{key} failed" in reason and not os.access(str(value), os.R_OK):
            reason += f"; {value} does not exist or cannot be read"
    return ConfigurationError(f"invalid Kafka client configuration: {reason}")
