"""Batches that librdkafka cannot unpack: nothing before or after them is lost, and each is delivered as one record."""

import pytest
from confluent_kafka import KafkaError, Producer

from tests.eventually import eventually
from tests.kafka.group_member import shared
from tradepipe import limited_log
from tradepipe.kafka import unreadable
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.malformed import MalformedRecords
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.kafka.unreadable import BatchSearch, UnreadableBatches
from tradepipe.trade.record import UnreadableBatch

LIMITS = {"receive_message_max_bytes": 2_000_000, "fetch_max_bytes": 1_000_000}
"""Small, so that a small bomb exceeds them."""

TOO_LARGE = b"\0" * 3_000_000
AT = 1_750_000_000_000


@pytest.fixture
def send_batch(kafka, topic):
    """Send values to a partition as one compressed batch."""

    def send_batch(*values, partition=0, codec="zstd"):
        settings = {"compression.type": codec, "linger.ms": 1_000, "batch.size": 2**31 - 1}
        limits = {"message.max.bytes": 1_000_000_000, "queue.buffering.max.kbytes": 2_000_000}
        producer = Producer({"bootstrap.servers": kafka["bootstrap.servers"], **settings, **limits})
        for value in values:
            producer.produce(topic, value, b"key", partition=partition)
        assert 0 == producer.flush(120)

    return send_batch


def offsets(member):
    return [(record.offset, getattr(record, "last_offset", record.offset)) for record in member.records]


@pytest.mark.real
@pytest.mark.parametrize("size", [1, 2, 5, 37])
def test_an_unreadable_batch_hides_no_record_before_or_after_it(join, produce, send_batch, size):
    produce(b"a", b"b")
    send_batch(*[TOO_LARGE[: 2_500_000 // size]] * size)
    produce(b"c", b"d")
    member = join(**LIMITS)
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    member.until(lambda: len(member.records) == 5)

    assert [(0, 0), (1, 1), (2, 1 + size), (2 + size, 2 + size), (3 + size, 3 + size)] == offsets(member)
    assert [b"a", b"b", None, b"c", b"d"] == member.values
    assert isinstance(member.records[2], UnreadableBatch)


@pytest.mark.real
def test_unreadable_batches_in_a_row_are_delivered_one_by_one_up_to_the_end_of_the_log(join, send_batch):
    for size in (1, 3, 1, 1):
        send_batch(*[TOO_LARGE] * size)
    member = join(**LIMITS)
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    member.until(lambda: member.position(0) == 6)

    assert [(0, 0), (1, 3), (4, 4), (5, 5)] == offsets(member)


def test_records_beside_an_unreadable_batch_keep_their_timestamps_and_headers(join, kafka, topic, send_batch):
    """A dead letter or a record of the clean topic would lack them for ever."""
    sent = [(AT + number, (("number", b"%d" % number),)) for number in range(4)]
    writer = Producer({"bootstrap.servers": kafka["bootstrap.servers"]})
    for number, (timestamp, headers) in enumerate(sent):
        writer.produce(topic, b"v", partition=0, timestamp=timestamp, headers=list(headers))
        assert 0 == writer.flush(120)
        if number == 1:
            send_batch(TOO_LARGE)
    member = join(with_headers=True, **LIMITS)
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    member.until(lambda: len(member.records) == 5)

    kept = [(each.timestamp, each.headers) for each in member.records if not isinstance(each, UnreadableBatch)]
    assert sent == kept


def test_a_poll_that_returns_an_unreadable_batch_alone_has_no_first_timestamp(join, produce, send_batch):
    """That of an earlier poll would make the batch look as late as the topic was idle."""
    produce(b"a", timestamp=1_000)
    member = join(**LIMITS)
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    member.until(lambda: member.records)
    before = member.consumer.first_timestamp
    send_batch(TOO_LARGE)

    member.until(lambda: len(member.records) == 2)

    assert (1.0, None) == (before, member.consumer.first_timestamp)


def test_reports_that_wait_for_a_poll_are_all_about_the_same_batch(join, produce, send_batch):
    """Each fetch reports it again, also while nobody polls; taken for answers of a search, they would skip records."""
    produce(b"0")
    send_batch(TOO_LARGE)
    member = join(**LIMITS)
    member.assigned(0, 1, 2, 3)
    for partition in (1, 0):
        member.start(partition, 0)
    for end in range(1, 10):
        for partition, first in ((0, 2), (1, 0)):
            produce(b"a value", partition=partition)
            eventually(lambda place=partition, end=first + end: member.consumer.high_watermark(place) == end)

    member.until(lambda: (11, 9) == (member.position(0), member.position(1)))

    records = {number: [each for each in member.records if each.partition == number] for number in (0, 1)}
    assert {0: [*range(11)], 1: [*range(9)]} == {number: [each.offset for each in records[number]] for number in (0, 1)}
    assert [1] == [each.offset for each in member.records if isinstance(each, UnreadableBatch)]
    # The ends of the partitions were among the reports.
    assert "end of partition" not in str(member.consumer.errors.last_outage)


def test_an_unreadable_batch_of_a_revoked_partition_is_dropped(join, send_batch, monkeypatch):
    """Its search may end without an answer in the poll that revokes it; the next owner searches again."""
    monkeypatch.setattr(unreadable, "STEP_TIMEOUT", 0.0)
    for partition in range(4):
        for _ in range(20):
            send_batch(TOO_LARGE, partition=partition)
    first = join(**LIMITS)
    first.assigned(0, 1, 2, 3)
    for partition in range(4):
        first.start(partition, 0)
    first.until(lambda: first.records)
    second = join(**LIMITS)

    strays = []
    while not shared(first, second):
        strays += [record for record in first.poll() if record.partition not in first.partitions]
        second.poll()

    assert [] == strays


@pytest.mark.real
def test_an_unreadable_batch_does_not_delay_other_partitions_or_follow_a_partition_to_its_next_start(
    join, produce, send_batch
):
    send_batch(*[TOO_LARGE] * 20)
    produce(b"a", partition=1)
    member = join(**LIMITS)
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    member.start(1, 0)
    member.until(lambda: b"a" in member.values)
    member.consumer.stop_delivery(0)
    member.records.clear()
    member.start(0, 10)

    member.until(lambda: member.position(0) == 20)

    assert [(10, 19)] == offsets(member)


@pytest.mark.real
def test_an_unreadable_batch_before_an_open_transaction_is_skipped_alone(join, kafka, topic, send_batch, monkeypatch):
    monkeypatch.setattr(unreadable, "STEP_TIMEOUT", 0.5)
    send_batch(*[TOO_LARGE] * 3)
    writer = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "transactional.id": topic})
    writer.init_transactions(120)
    writer.begin_transaction()
    for _ in range(10):
        writer.produce(topic, b"open", partition=0)
    writer.flush(120)
    member = join(**LIMITS)
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    member.until(lambda: member.position(0) == 3)
    writer.commit_transaction(30)
    member.until(lambda: b"open" in member.values)

    assert (0, 3) == (member.records[0].offset, next(each.offset for each in member.records if each.value))
    assert all(isinstance(each, UnreadableBatch) for each in member.records if each.value is None)


@pytest.mark.real
def test_a_reader_of_a_whole_topic_skips_an_unreadable_batch(kafka, topic, produce, send_batch):
    """Otherwise one in a dead-letter topic would stop each validator at its start."""
    produce(b"a")
    send_batch(*[TOO_LARGE] * 3)
    produce(b"b")
    send_batch(TOO_LARGE)
    limits = {name.replace("_", "."): value for name, value in LIMITS.items()}

    with TopicReader({**kafka, **limits}, topic=topic, timeout=10) as reader:
        records = list(reader.read(TopicAdmin(kafka).watermarks(topic, range(4))))

    assert [b"a", b"b"] == [record.value for record in records]


def test_a_reader_of_a_whole_topic_logs_a_few_of_many_unreadable_batches_and_the_number_of_the_others(
    kafka, topic, produce, send_batch, caplog
):
    for _ in range(limited_log.MAX_LINES + 2):
        send_batch(TOO_LARGE)
    produce(b"a")
    limits = {name.replace("_", "."): value for name, value in LIMITS.items()}

    with TopicReader({**kafka, **limits}, topic=topic, timeout=10) as reader:
        assert [b"a"] == [record.value for record in reader.read(TopicAdmin(kafka).watermarks(topic, range(4)))]

    lines = [each for each in caplog.messages if "unreadable record" in each]
    assert limited_log.MAX_LINES + 1 == len(lines)
    assert f"skipped 2 more unreadable records of {topic} within " in lines[-1]


def searches(seek, high_watermark):
    return UnreadableBatches("trades", MalformedRecords({}, "trades"), seek, high_watermark)


def no_position(_):
    return None


def failed(text="CRC of batch 7", code=KafkaError._BAD_MSG):
    return KafkaError(code, text)


def test_a_wrong_checksum_is_not_believed_before_it_has_failed_often_and_for_long(monkeypatch):
    monkeypatch.setattr(unreadable, "CHECKSUM_SECONDS", 0.0)
    search = BatchSearch(7)
    for _ in range(unreadable.CHECKSUM_FAILURES - 1):
        search.record_error(failed())

    assert (7, 6) == (search.offset, search.last)
    search.record_error(failed())

    assert (8, 7) == (search.offset, search.last)


def test_a_checksum_that_fails_differently_each_time_is_never_believed(monkeypatch):
    """As on a damaged connection, where the calculated checksum changes."""
    monkeypatch.setattr(unreadable, "CHECKSUM_SECONDS", 0.0)
    search = BatchSearch(7)

    for number in range(100):
        search.record_error(failed(f"CRC of batch 7 is {number}"))

    assert (7, 6) == (search.offset, search.last)


def test_a_batch_that_can_be_read_after_all_is_delivered_as_usual():
    moves = []
    batches = searches(lambda *move: moves.append(move) or True, lambda _: None)

    assert (None, False) == batches.handle(0, 7, failed())
    assert (None, True) == batches.handle(0, 7, None)
    assert [(0, 7)] == moves
    assert not batches.concerns(0, None)


def test_nothing_is_delivered_until_a_partition_has_been_moved():
    moves = []
    batches = searches(lambda *move: moves.append(move) or len(moves) > 1, lambda _: None)

    assert (None, False) == batches.handle(0, 7, failed())
    assert batches.concerns(0, None)
    assert (None, False) == batches.handle(0, 7, None)
    batches.step(no_position)

    assert (None, True) == batches.handle(0, 7, None)


@pytest.mark.parametrize("size", range(1, 40))
def test_a_search_finds_the_end_of_a_batch_in_a_few_steps(size):
    search, steps = BatchSearch(7), 0
    while not search.is_done:
        steps += 1
        if search.offset < 7 + size:
            search.record_error(failed(code=KafkaError._BAD_COMPRESSION))
        else:
            search.record_readable()

    assert 6 + size == search.last
    assert steps <= 12


class Log:
    """One partition; each of its batches is a number of records, negative if it does not unpack."""

    def __init__(self, *batches, failing_seeks=0):
        self.errors = []
        for size in batches:
            error = failed(f"batch {len(self.errors)}", KafkaError._BAD_COMPRESSION) if size < 0 else None
            self.errors += [error] * abs(size)
        self.end = len(self.errors)
        self._at = 0
        self._failing_seeks = failing_seeks

    def seek(self, _, offset):
        assert offset <= self.end, "after the end of the log, fetching would end with an error"
        if self._failing_seeks:
            self._failing_seeks -= 1
            return False
        self._at = offset
        return True

    def read(self):
        """Read as a consumer does; return the first and the last offset of each record and each unreadable batch."""
        batches = searches(self.seek, lambda _: self.end)
        assert not batches.is_searching
        position, found = 0, []
        for _ in range(1_000):
            assert [] == (batches.step(no_position) if batches.is_searching else [])
            error = self.errors[self._at] if self._at < self.end else KafkaError(KafkaError._PARTITION_EOF)
            as_usual = True
            if (batches.is_searching or error is not None) and batches.concerns(0, error):
                batch, as_usual = batches.handle(0, position, error)
                if batch is not None:
                    found.append((batch.offset, batch.last_offset))
                    position = batch.last_offset + 1
            if as_usual and error is None:
                found.append((self._at, self._at))
                position = self._at = self._at + 1
            if position == self.end and not batches.is_searching:
                return found
        raise AssertionError(f"stuck at {self._at}, after {found}")


@pytest.mark.parametrize("failing_seeks", [0, 1, 3])
@pytest.mark.parametrize(
    "batches",
    [(2, -1, 2), (2, -5, 2), (1, -37, 1), (-3,), (4, -8), (-1, -3, -1, -1), (1, -2, -9, 40), (-6, 1, -7, 2, -20, -1)],
    ids=str,
)
def test_every_offset_is_delivered_once_as_a_record_or_within_its_unreadable_batch(batches, failing_seeks):
    expected, first = [], 0
    for size in batches:
        end = first + abs(size)
        expected += [(first, end - 1)] if size < 0 else [(offset, offset) for offset in range(first, end)]
        first = end

    assert expected == Log(*batches, failing_seeks=failing_seeks).read()


def test_a_step_without_an_answer_ends_the_search_with_what_is_proven(monkeypatch):
    """As before an open transaction, which hides the offset; the rest of the batch is found as another one."""
    monkeypatch.setattr(unreadable, "STEP_TIMEOUT", 0.0)
    moves = []
    batches = searches(lambda *move: moves.append(move) or True, lambda _: 20)
    batches.handle(0, 7, failed("batch 7", KafkaError._BAD_COMPRESSION))

    (batch,) = batches.step(no_position)

    assert (7, 7) == (batch.offset, batch.last_offset)
    assert [(0, 8), (0, 8)] == moves
    assert not batches.is_searching


def find_batches(batches, offsets):
    """Find unreadable batches of two records each."""
    for offset in offsets:
        for error in (failed(f"batch {offset}", KafkaError._BAD_COMPRESSION),) * 2:
            assert (None, False) == batches.handle(0, offset, error)
        batch, _ = batches.handle(0, offset, None)
        batch = batch or batches.handle(0, offset, None)[0]
        assert (offset, offset + 1) == (batch.offset, batch.last_offset)


def test_a_flood_of_unreadable_batches_is_a_few_lines_in_the_log_and_the_number_of_the_others(caplog, monkeypatch):
    """One line for each would let any writer fill the disk of the log."""
    batches = searches(lambda *_: True, lambda _: None)
    find_batches(batches, range(0, 200, 2))

    assert limited_log.MAX_LINES == len(caplog.messages)
    assert caplog.messages[0].startswith("skipping unreadable records of trades[0]: offsets 0 to 1 cannot be read")
    assert [] == batches.step(no_position)
    assert batches.is_active
    assert limited_log.MAX_LINES == len(caplog.messages)
    monkeypatch.setattr(limited_log, "LIMIT_SECONDS", 0.0)
    batches.step(no_position)

    assert "skipped 180 more unreadable records of trades within " in caplog.messages[limited_log.MAX_LINES]
    assert not batches.is_active
    find_batches(batches, [200])
    assert "offsets 200 to 201 cannot be read" in caplog.messages[-1]


def test_unreadable_records_that_are_not_logged_are_counted_in_the_log_at_the_latest_when_reading_ends(caplog):
    batches = searches(lambda *_: True, lambda _: None)
    find_batches(batches, range(0, 22, 2))
    for _ in range(2):
        batches.clear()

    assert "skipped 2 more unreadable records of trades within 0 s" in caplog.messages[limited_log.MAX_LINES]
    assert limited_log.MAX_LINES + 1 == len(caplog.messages)


def test_the_number_of_unlogged_unreadable_records_comes_before_the_next_one_that_is_logged(caplog, monkeypatch):
    batches = searches(lambda *_: True, lambda _: None)
    find_batches(batches, range(0, 22, 2))
    monkeypatch.setattr(limited_log, "LIMIT_SECONDS", 0.0)
    find_batches(batches, [22])

    number, following = caplog.messages[limited_log.MAX_LINES :]
    assert number.startswith("skipped 2 more unreadable records of trades within ")
    assert "offsets 22 to 23 cannot be read" in following
