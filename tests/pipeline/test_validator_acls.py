"""A running validator that loses its permission to write."""

from collections.abc import Iterator

import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import done, how_many_are_sorted, mixture, running
from tests.services.certificates import Authority
from tests.services.secured import LockedKafka
from tradepipe.metrics import TRANSACTIONS

pytestmark = pytest.mark.real

PASSWORD = "of-the-validator"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    """Create the certificate authority of the broker and the validators."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(authority) -> Iterator[LockedKafka]:
    """Run a Kafka that authenticates clients; the tests use its listener without authentication."""
    with LockedKafka(authority, users={"validator": PASSWORD}) as broker:
        yield broker


@pytest.fixture
def kafka(broker, services) -> dict[str, object]:
    """Return the settings of the listener without authentication."""
    return {"bootstrap.servers": broker.bootstrap_servers, **services.client_settings}


@pytest.fixture
def topic(broker, request) -> str:
    """Create the topic to read on this broker."""
    name = request.node.name.replace("_", "-")[:40]
    broker.create_topic(name)
    return name


@pytest.fixture
def targets(broker, pipeline) -> None:
    """Create the output topics on this broker, and grant the rights that docs/operating.md lists."""
    broker.create_topic(pipeline.clean)
    broker.create_topic(pipeline.dead_letters, config={"max.message.bytes": "2000000"})
    rights = {
        "READ": [("TOPIC", pipeline.topic), ("GROUP", "*"), ("TOPIC", pipeline.dead_letters)],
        "WRITE": [("TOPIC", pipeline.clean), ("TOPIC", pipeline.dead_letters), ("TRANSACTIONAL_ID", "*")],
        "DESCRIBE_CONFIGS": [("TOPIC", name) for name in (pipeline.topic, pipeline.clean, pipeline.dead_letters)],
    }
    for operation, resources in rights.items():
        for kind, name in resources:
            broker.allow("validator", operation, kind, name)


@pytest.fixture
def restricted_settings(broker, authority, targets) -> dict[str, object]:
    """Return the settings of a validator that has these rights only."""
    return {
        "bootstrap.servers": broker.sasl,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "validator",
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(authority.file),
    }


def test_a_restored_permission_lets_the_validator_resume(pipeline, broker, restricted_settings):
    first, second = mixture(pipeline, 100), mixture(pipeline, 100, seed=6)
    validator = pipeline.validator(kafka=restricted_settings)
    with running(validator):
        pipeline.publish_bytes(first)
        eventually(lambda: done(validator) == len(first))
        broker.forbid("validator", "WRITE", "TOPIC", pipeline.clean)
        pipeline.publish_bytes(second)
        eventually(lambda: validator.meter.values(TRANSACTIONS)[pipeline.topic, "interrupted"] > 1)
        assert done(validator) == len(first)
        broker.allow("validator", "WRITE", "TOPIC", pipeline.clean)
        eventually(lambda: done(validator) == len(first + second))

    pipeline.sorted().check()


@pytest.mark.timeout(400)
def test_a_validator_without_permission_names_it_and_the_next_one_finishes(
    pipeline, broker, restricted_settings, start_validator
):
    first, second = mixture(pipeline, 100), mixture(pipeline, 100, seed=6)
    validator = start_validator(kafka=restricted_settings)
    pipeline.publish_bytes(first)
    eventually(lambda: how_many_are_sorted(pipeline) == len(first))
    broker.forbid("validator", "WRITE", "TOPIC", pipeline.clean)
    pipeline.publish_bytes(second)

    assert 78 == validator.wait(130)  # the denial is confirmed for a minute first
    text = validator.log.read_text()
    assert pipeline.clean in text
    assert "needs READ (to consume) or WRITE (to produce) on the topic" in text
    broker.allow("validator", "WRITE", "TOPIC", pipeline.clean)
    pipeline.validate(kafka=restricted_settings)
    pipeline.sorted().check()
