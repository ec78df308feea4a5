"""How a consumer leaves its group."""

import subprocess
import sys

import pytest

MEMBERS = 100

LEAVE_WITHOUT_A_POLL = """
import sys
import time
from tradepipe.kafka.consumer import Consumer

servers, topic, members = sys.argv[1:]
for number in range(int(members)):
    config = {"bootstrap.servers": servers, "group.protocol": "consumer"}
    consumer = Consumer(config, topic=topic, group=f"{topic}-{number}")
    consumer.open()
    time.sleep(0.1)
    consumer.close()
    print(number + 1)
"""


@pytest.mark.slow
def test_a_member_leaves_although_no_poll_has_handed_over_its_assignment(kafka, topic):
    """In a process of its own, since one member in fifty used to hold the interpreter's lock for ever."""
    command = [sys.executable, "-c", LEAVE_WITHOUT_A_POLL, kafka["bootstrap.servers"], topic, str(MEMBERS)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=True)

    assert [str(number + 1) for number in range(MEMBERS)] == ended.stdout.split()
