"""How a consumer leaves its group."""

from contextlib import suppress
from functools import partial

import confluent_kafka
from confluent_kafka import KafkaException

from tradepipe.background import run_in_thread
from tradepipe.kafka.config import Config


def leave_group(client: confluent_kafka.Consumer, config: Config, timeout: float) -> None:
    """
    Close a subscribed client, whose callbacks run meanwhile.

    Other members take over its partitions at once, or those of a static member when its session ends.

    Args:
        config: the client's configuration.

        timeout: seconds after which this continues in the background: a coordinator that does not answer would
            hold the process. The group then waits for the session's end.
    """
    with suppress(TimeoutError, KafkaException):
        run_in_thread(partial(_close, client, config), "tradepipe-close").result(timeout)


def _close(client: confluent_kafka.Consumer, config: Config) -> None:
    # Rebalances come first. If `close` finds an incremental assignment that no poll has handed over, librdkafka ends
    # the group between the callbacks of this one and of its revocation. It never answers the latter's unassign, for
    # which confluent_kafka holds the interpreter's lock (https://github.com/confluentinc/librdkafka/issues/4884).
    try:
        if may_unsubscribe := _may_unsubscribe(config):
            client.unsubscribe()
        else:
            client.pause(client.assignment())
        while client.poll(0) is not None or (may_unsubscribe and client.assignment()):
            pass
    finally:
        client.close()


def _may_unsubscribe(config: Config) -> bool:
    """Return False for static members of the classic protocol, which `unsubscribe` removes from the group."""
    return not config.get("group.instance.id") or config.get("group.protocol") == "consumer"
