"""Creation of Kafka's clients, and what is checked before."""

import re
import shutil
from functools import partial
from pathlib import Path

import certifi
import pytest

from tests.kafka.test_config import BROKERS, consuming, transactional
from tradepipe.errors import ConfigurationError
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import admin_config, producer_config
from tradepipe.kafka.consumer import Consumer

OIDC = {
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.client.id": "id",
    "sasl.oauthbearer.client.secret": "secret",
    "sasl.oauthbearer.token.endpoint.url": "http://127.0.0.1:1/token",
}


@pytest.mark.parametrize("complete", [producer_config, consuming, transactional, admin_config])
@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"security.protocol": "ssl", "debug": "all"},
        {"security.protocol": "sasl_ssl", "sasl.mechanisms": "PLAIN", "oauth_cb": print},
        {"security.protocol": "sasl_plaintext", **OIDC},
    ],
    ids=["plaintext", "TLS", "SASL", "OIDC"],
)
def test_a_configuration_is_checked_without_a_client(complete, properties, capfd):
    """A client has threads, and may request a token."""
    before = set(Path("/proc/self/task").iterdir())

    complete({**BROKERS, **properties})

    assert set(Path("/proc/self/task").iterdir()) <= before
    assert ("", "") == capfd.readouterr()


@pytest.mark.parametrize("complete", [producer_config, consuming, transactional, admin_config])
@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("ssl.ca.location", "; /no/such/file does not exist or cannot be read"),
        ("ssl.key.location", "; /no/such/file does not exist or cannot be read"),
        ("ssl.cipher.suites", ""),
    ],
)
@pytest.mark.parametrize("properties", [{"security.protocol": "SSL"}, {"security.protocol": "sasl_ssl", **OIDC}])
def test_what_is_wrong_with_tls_is_reported_before_a_client_is_created(complete, key, reason, properties, capfd):
    """With OIDC, librdkafka aborts the process if it cannot create a client."""
    message = rf"invalid Kafka client configuration: .*{re.escape(key)} failed: .* \(_INVALID_ARG\){reason}$"
    with pytest.raises(ConfigurationError, match=message):
        complete({**BROKERS, **properties, key: "/no/such/file"})

    assert ("", "") == capfd.readouterr()


@pytest.mark.parametrize(
    "prepare",
    [
        lambda config: Consumer(config, topic="trades", group="g").open,
        lambda config: partial(TopicAdmin(config).describe, "trades"),
    ],
    ids=["consumer", "admin client"],
)
def test_a_certificate_that_is_missing_just_then_is_a_wrong_configuration(tmp_path, prepare):
    """As when a consumer joins its group again; librdkafka would abort the process."""
    authorities = tmp_path / "authorities.pem"
    shutil.copy(certifi.where(), authorities)
    connect = prepare({**BROKERS, **OIDC, "security.protocol": "sasl_ssl", "ssl.ca.location": str(authorities)})
    authorities.unlink()

    with pytest.raises(ConfigurationError, match=r"ssl\.ca\.location failed: "):
        connect()
