"""All embedded services together, as `tradepipe embedded` runs them."""

import signal
from pathlib import Path

import httpx
import psycopg2
import pytest
from confluent_kafka.admin import AdminClient

from tests.embedded.programs import ask, program
from tests.eventually import eventually
from tradepipe.embedded.stack import LocalStack

pytestmark = pytest.mark.slow

RUN = "import runpy; runpy.run_module('tradepipe.embedded', run_name='__main__', alter_sys=True)"


def test_the_stack_is_three_services_with_addresses():
    with LocalStack() as stack:
        stack.create_topic("trades", partitions=6)

        topics = AdminClient({"bootstrap.servers": stack.bootstrap_servers}).list_topics(timeout=60).topics
        assert 6 == len(topics["trades"].partitions)
        assert [] == httpx.get(f"{stack.registry_url}/subjects", trust_env=False).json()
        assert [(1,)] == ask(stack.database_url, "SELECT 1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_addresses_and_leaves_nothing_when_stopped(number):
    with program(RUN, lines=5) as (command, printed):
        addresses = dict(line.removeprefix("export ").split("=", 1) for line in printed)
        ((folder,),) = ask(addresses["DATABASE_URL"], "SHOW data_directory")

        command.send_signal(number)

        assert 0 == command.wait(200)
    assert not Path(folder).parent.exists()


@pytest.mark.parametrize(
    "sign", ["tradepipe-*", "*/data/base", "*/data/PG_VERSION", "*/postgres.log"], ids=lambda sign: sign.strip("*/")
)
def test_a_command_stopped_while_it_starts_leaves_nothing(temporary, sign):
    """At any moment: the sign is the file that shows how far the start has come."""
    with program(RUN, lines=0) as (command, _):
        eventually(lambda: list(temporary.glob(sign)), every=0.002)

        command.terminate()

        assert 0 == command.wait(200)
    assert [] == list(temporary.iterdir())


def test_the_services_end_with_the_stack():
    with LocalStack() as stack:
        url = stack.database_url

    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url)
