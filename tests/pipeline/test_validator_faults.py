"""Validators that die, freeze and return: each record is in exactly one topic, once."""

import random
import signal
from itertools import islice

import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import FAULTS, Running, disturb, done, how_many_are_sorted, mixture, running
from tests.proxy import Proxy, port_of

pytestmark = pytest.mark.usefixtures("targets")


@pytest.mark.real
def test_validators_that_are_killed_repeatedly_write_each_record_once(pipeline, start_validator, written):
    """Most kills hit a transaction; what it wrote stays invisible, and is written again by the next one."""
    # For so long an open transaction of a killed one holds up who reads what is committed.
    pipeline.kafka |= {"transaction.timeout.ms": 5_000, "socket.timeout.ms": 4_000}
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    moments = random.Random(seed)
    records = mixture(pipeline, 5_000)
    pipeline.publish_bytes(records)
    for _ in range(3):
        validator, target = start_validator("--batch-records", "50"), written() + moments.randrange(1, 600)
        eventually(lambda target=target: written() >= target, every=0.005)
        validator.kill()

    pipeline.validate()

    eventually(lambda: len(records) == how_many_are_sorted(pipeline), every=0.2)
    pipeline.sorted().check()


@pytest.mark.real
def test_a_killed_validator_is_replaced_with_the_new_group_protocol(pipeline, start_validator, written):
    del pipeline.kafka["session.timeout.ms"]  # by the new protocol it is the broker's
    pipeline.kafka |= {"group.protocol": "consumer", "transaction.timeout.ms": 5_000, "socket.timeout.ms": 4_000}
    killed, other = (start_validator("--batch-records", "50") for _ in range(2))
    for validator in (killed, other):
        validator.says("reading")
    records = mixture(pipeline, 2_000)
    pipeline.publish_bytes(records)
    eventually(lambda: written() > 200, every=0.005)
    killed.kill()

    eventually(lambda: len(records) == how_many_are_sorted(pipeline), every=0.2)
    other.signal(signal.SIGTERM)
    assert 0 == other.wait(200)
    pipeline.sorted().check()


@pytest.mark.real
def test_a_frozen_validator_writes_nothing_when_it_wakes_and_rejoins(pipeline, start_validator):
    first, second = mixture(pipeline, 400), mixture(pipeline, 400, seed=6)
    frozen = start_validator()
    frozen.says("reading")
    pipeline.publish_bytes(first)
    eventually(lambda: how_many_are_sorted(pipeline) > 0, every=0.005)
    frozen.freeze()
    other = start_validator()
    pipeline.publish_bytes(second)
    eventually(lambda: how_many_are_sorted(pipeline) == len(first + second), every=0.2)

    frozen.signal(signal.SIGCONT)

    frozen.says("revoked")
    eventually(lambda: frozen.log.read_text().count("assigned") > 1)
    for validator in (frozen, other):
        validator.signal(signal.SIGTERM)
        assert 0 == validator.wait(200)
    pipeline.sorted().check()


@pytest.mark.real
@pytest.mark.timeout(400)
def test_broker_crashes_restarts_and_freezes_never_end_the_validator(pipeline, own_kafka):
    records = mixture(pipeline, 3_000)
    share = -(-len(records) // FAULTS)
    with running(pipeline.validator(batch_records=20)) as validator:
        disturb(
            own_kafka,
            lambda: done(validator),
            lambda number: pipeline.publish_bytes(records[number * share : (number + 1) * share]),
        )
        eventually(lambda: len(records) == how_many_are_sorted(pipeline), every=0.5)

    pipeline.sorted().check()


@pytest.mark.embedded
def test_no_record_is_refused_while_the_registry_is_unavailable(pipeline):
    records = mixture(pipeline, 200)
    pipeline.publish_bytes(records)
    with Proxy(port_of(pipeline.registry_url)) as proxy:
        validator = pipeline.validator(registry=proxy.instead_of(pipeline.registry_url), delivery="at_least_once")
        proxy.blackhole()
        with running(validator):
            eventually(lambda: validator.waiting_for == "the registry")
            assert (0, {}) == (validator.counts.passed, validator.counts.refused)
            proxy.heal()
            eventually(lambda: done(validator) == len(records))

    pipeline.sorted().check()


@pytest.mark.real
def test_two_validators_with_one_transactional_id_do_not_fence_each_other_forever(pipeline):
    """Kafka lets each take the id from the other; one of them ends with an error that names it."""
    threads = [Running(pipeline.validator(transactional_id=f"{pipeline.topic}-id")) for _ in range(2)]
    records = iter(mixture(pipeline, 20_000))
    for thread in threads:
        thread.start()

    def one_has_ended() -> bool:
        pipeline.publish_bytes(islice(records, 40))
        return any(not thread.is_alive() for thread in threads)

    eventually(one_has_ended)
    for thread in threads:
        thread.end()

    message = [str(thread.raised) for thread in threads if thread.raised]
    assert any(f"transactional.id {pipeline.topic}-id was taken from this process 3 times" in text for text in message)
    pipeline.validate()
    pipeline.sorted().check()
