"""How a consumer leaves its group."""

import json
import subprocess
import sys

import pytest
from confluent_kafka.admin import AdminClient

from tests.kafka.group_member import COOPERATIVE, EAGER, NEW

MEMBERS = 60

LEAVE_WITHOUT_A_POLL = """
import json
import sys
import time
from tradepipe.kafka.consumer import Consumer

config, topic, members = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(members):
    consumer = Consumer(config, topic=topic, group=f"{topic}-{number}")
    consumer.open()
    time.sleep(0.1)
    consumer.close()
    print(number + 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("static", [{}, {"group.instance.id": "one"}], ids=["dynamic", "static"])
@pytest.mark.parametrize("settings", [COOPERATIVE, NEW], ids=["cooperative", "KIP-848"])
def test_a_member_leaves_although_no_poll_has_handed_over_its_assignment(kafka, topic, settings, static):
    """In a process of its own, since one member in fifty used to hold the interpreter's lock for ever."""
    config = {"bootstrap.servers": kafka["bootstrap.servers"], **settings, **static}
    command = [sys.executable, "-c", LEAVE_WITHOUT_A_POLL, json.dumps(config), topic, str(MEMBERS)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=True)

    assert [str(number + 1) for number in range(MEMBERS)] == ended.stdout.split()


@pytest.mark.real
@pytest.mark.parametrize("static", [{}, {"group.instance.id": "one"}], ids=["dynamic", "static"])
@pytest.mark.parametrize("settings", [EAGER, COOPERATIVE, NEW], ids=["eager", "cooperative", "KIP-848"])
def test_only_a_static_member_keeps_its_place_in_the_group(join_with, kafka, settings, static):
    member = join_with(settings | static)
    member.assigned(0, 1, 2, 3)

    member.consumer.close()

    admin, group = AdminClient({"bootstrap.servers": kafka["bootstrap.servers"]}), member.consumer.group
    members = admin.describe_consumer_groups([group])[group].result(120).members
    assert list(static.values()) == [each.group_instance_id for each in members]
