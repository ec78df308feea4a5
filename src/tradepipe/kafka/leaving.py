"""How a consumer leaves its group."""

from contextlib import suppress
from functools import partial

import confluent_kafka
from confluent_kafka import KafkaException

from tradepipe.background import run_in_thread


def leave_group(client: confluent_kafka.Consumer, timeout: float) -> None:
    """
    Close a subscribed client, whose callbacks run meanwhile; other members take over its partitions.

    After `timeout` seconds it goes on in the background: a coordinator that does not answer
    would hold the process. The group then waits for the session's end.
    """
    with suppress(TimeoutError, KafkaException):
        run_in_thread(partial(_unsubscribe_and_close, client), "tradepipe-close").result(timeout)


def _unsubscribe_and_close(client: confluent_kafka.Consumer) -> None:
    # Rebalances are handled first. If `close` finds an assignment that no poll has handed over, librdkafka ends the
    # group between its two callbacks, never answers the second one's unassign(), and confluent_kafka holds the
    # interpreter's lock for ever (https://github.com/confluentinc/librdkafka/issues/4884).
    try:
        client.unsubscribe()
        while client.poll(0) is not None or client.assignment():
            pass
    finally:
        client.close()
