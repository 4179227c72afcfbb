"""kafka-python, a client of its own in pure Python, against a broker. See common.py."""

import threading

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import MessageSizeTooLargeError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

from common import (
    ANSWER_SECONDS,
    BOOTSTRAP,
    big,
    case,
    check,
    each,
    equal,
    main,
    payloads,
    records,
    until,
    without_null_headers,
)

ADMIN = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def create(topic, partitions=1, **configs):
    configs = {key.replace("_", "."): value for key, value in configs.items()}
    options = {"num_partitions": partitions, "replication_factor": 1, "configs": configs}
    ADMIN.create_topics({topic: options}, wait_for_metadata=True)
    return topic


def produce(topic, rows, **settings):
    """Sends (timestamp, key, value, headers) to partition 0 and returns the offsets the broker gave."""
    settings = {"acks": "all", "enable_idempotence": False, "linger_ms": 5, **settings}
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, **settings)
    sent = [
        producer.send(topic, value=value, key=key, headers=headers, partition=0, timestamp_ms=timestamp)
        for timestamp, key, value, headers in rows
    ]
    producer.flush(ANSWER_SECONDS)
    offsets = [future.get(ANSWER_SECONDS).offset for future in sent]
    producer.close()
    return offsets


def plain(values):
    return [(1_600_000_000_000 + number, None, value, []) for number, value in enumerate(values)]


def consumer(group=None, **settings):
    base = {"bootstrap_servers": BOOTSTRAP, "group_id": group, "enable_auto_commit": False,
            "auto_offset_reset": "earliest", "heartbeat_interval_ms": 300}
    return KafkaConsumer(**{**base, **settings})


def poll(reader, **limits):
    return [record for batch in reader.poll(200, **limits).values() for record in batch]


def take(reader, count):
    found = []

    def enough():
        found.extend(poll(reader, max_records=count - len(found)))
        return len(found) >= count

    until(f"{count} records", enough)
    return found


def read(topic, count, **settings):
    reader = consumer(**settings)
    reader.assign([TopicPartition(topic, 0)])
    reader.seek_to_beginning()
    found = take(reader, count)
    reader.close()
    return [(record.timestamp, record.key, record.value, list(record.headers)) for record in found]


def compressed(codec):
    topic = create(f"compressed-{codec}")
    rows = plain(payloads(300))
    equal(produce(topic, rows, compression_type=None if codec == "none" else codec), list(range(300)), "offsets")
    equal(read(topic, 300), rows)


each(["none", "gzip", "snappy", "lz4", "zstd"], compressed)


def acks(level):
    topic = create(f"acks-{level}")
    rows = plain(payloads(50))
    produce(topic, rows, acks=level if level == "all" else int(level))
    equal(read(topic, 50), rows)


each(["0", "1", "all"], acks)


@case
def record_shapes():
    topic = create("record-shapes", retention_ms="-1")
    rows = without_null_headers(records())
    produce(topic, rows)
    equal(read(topic, len(rows)), rows)


@case
def write_for_grpc():
    produce("kafka-to-grpc", without_null_headers(records()))


@case
def read_from_grpc():
    equal(read("grpc-to-kafka", len(records())), records())


@case
def large_message():
    topic = create("large-message", max_message_bytes="11000000")
    rows = [(1_600_000_000_000, b"big", big(), [])]
    produce(topic, rows, max_request_size=10_500_000)
    equal(read(topic, 1, max_partition_fetch_bytes=1_000_000), rows)


@case
def too_large_message():
    topic = create("too-large-message")
    try:
        produce(topic, [(0, b"big", big(2_000_000), [])], max_request_size=10_500_000)
    except MessageSizeTooLargeError:
        return
    raise AssertionError("it was accepted")


@case
def idempotent():
    topic = create("idempotent")
    rows = plain(payloads(2000))
    equal(produce(topic, rows, enable_idempotence=True), list(range(2000)), "offsets")
    equal(read(topic, 2000), rows)


@case
def automatic_topic():
    produce("automatic-topic", plain([b"first"]))
    equal(read("automatic-topic", 1), plain([b"first"]))


@case
def seek_and_times():
    topic = create("seek-and-times", retention_ms="-1")
    produce(topic, plain(payloads(100)), batch_size=2000)
    reader, part = consumer(), TopicPartition(topic, 0)
    reader.assign([part])
    at = lambda time: (found := reader.offsets_for_times({part: time})[part]) and found.offset
    equal([at(1_600_000_000_000), at(1_600_000_000_042), at(1_600_000_000_100)], [0, 42, None])
    equal((reader.beginning_offsets([part])[part], reader.end_offsets([part])[part]), (0, 100))
    reader.seek(part, 42)
    equal([record.offset for record in take(reader, 3)], [42, 43, 44])
    reader.close()


def fill(topic, partitions=4, each_partition=25):
    create(topic, partitions)
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP)
    for number in range(partitions * each_partition):
        producer.send(topic, str(number).encode(), partition=number % partitions)
    producer.close()


def values(found):
    return sorted(int(record.value) for record in found)


class Member(ConsumerRebalanceListener):
    """A member of the group that has its topic's name, polled by a thread of its own until it is closed.

    kafka-python drops a rebalance that ends between two polls and joins once more, which for the group's leader
    begins another one. Members that take turns in one thread can so go on for ever: the leader's rebalance ends while
    the other is polled.
    """

    def __init__(self, topic, **settings):
        self.owned = frozenset()
        self._error = None
        self._closing = threading.Event()
        self._reader = consumer(topic, **settings)
        self._reader.subscribe([topic], listener=self)
        # A member that a failed case has left behind does not keep the program.
        self._thread = threading.Thread(target=self._keep_polling, daemon=True)
        self._thread.start()

    def _keep_polling(self):
        try:
            while not self._closing.is_set():
                poll(self._reader)
        except BaseException as error:
            self._error = error

    def on_partitions_assigned(self, assigned):
        self.owned |= {part.partition for part in assigned}

    def on_partitions_revoked(self, revoked):
        self.owned -= {part.partition for part in revoked}

    def assigned(self):
        """The partitions that it owns at this moment, none while it waits for a rebalance that takes them all."""
        if self._error is not None:
            raise self._error
        return self.owned

    def close(self):
        self._closing.set()
        self._thread.join()
        check(self._error is None, self._error)
        self._reader.close()


def owns_all(member):
    until("the member has all partitions", lambda: member.assigned() == {0, 1, 2, 3}, pause=0.02)


def shared(*members):
    """Whether all four partitions are owned, each by one member, and every member has some."""
    parts = [member.assigned() for member in members]
    return all(parts) and sorted(sum(map(sorted, parts), [])) == [0, 1, 2, 3]


@case
def group_commit():
    topic = "group-commit"
    fill(topic)
    first = consumer(topic)
    first.subscribe([topic])
    seen = values(take(first, 40))
    first.commit()
    first.close()
    second = consumer(topic)
    second.subscribe([topic])
    seen = sorted(seen + values(take(second, 60)))
    equal(seen, list(range(100)))
    second.commit({TopicPartition(topic, part): OffsetAndMetadata(25, f"note {part}", -1) for part in range(4)})
    for part in range(4):
        committed = second.committed(TopicPartition(topic, part), metadata=True)
        equal((committed.offset, committed.metadata), (25, f"note {part}"))
    second.close()


def join_and_leave(topic, **settings):
    fill(topic)
    first = Member(topic, **settings)
    owns_all(first)
    second = Member(topic, **settings)
    until("two members share them", lambda: shared(first, second), pause=0.02)
    first.close()
    owns_all(second)
    second.close()


@case
def group_members():
    join_and_leave("group-members")


@case
def group_roundrobin():
    join_and_leave("group-roundrobin", partition_assignment_strategy=[RoundRobinPartitionAssignor])


@case
def group_cooperative():
    join_and_leave("group-cooperative", partition_assignment_strategy=[CooperativeStickyAssignor])


@case
def group_static():
    topic = "group-static"
    fill(topic)
    first = Member(topic, group_instance_id="one")
    owns_all(first)
    members = lambda: ADMIN.describe_groups([topic])[topic]["members"]
    equal([member["group_instance_id"] for member in members()], ["one"])
    first.close()
    again = Member(topic, group_instance_id="one")
    owns_all(again)
    equal([member["group_instance_id"] for member in members()], ["one"])
    again.close()


@case
def admin_topics():
    create("admin-topics", 3, retention_ms="123000")
    found = ADMIN.describe_topics(["admin-topics"])[0]
    equal((found["name"], len(found["partitions"]), found["is_internal"]), ("admin-topics", 3, False))
    try:
        create("admin-topics", 3)
    except TopicAlreadyExistsError:
        pass
    else:
        raise AssertionError("created twice")
    ADMIN.delete_topics(["admin-topics"])
    until("it is gone", lambda: "admin-topics" not in ADMIN.list_topics())


@case
def admin_partitions():
    create("admin-partitions", 2)
    ADMIN.create_partitions({"admin-partitions": 5})
    until("five partitions", lambda: len(ADMIN.describe_topics(["admin-partitions"])[0]["partitions"]) == 5)


def configs(name):
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    return ADMIN.describe_configs([resource], config_filter="all")["topic"][name]


@case
def admin_configs():
    create("admin-configs", retention_ms="123000")
    equal(configs("admin-configs")["retention.ms"]["value"], "123000")
    change = {"retention.ms": "456000", "cleanup.policy": ("APPEND", "compact")}
    ADMIN.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "admin-configs", change)])
    found = configs("admin-configs")
    equal((found["retention.ms"]["value"], found["cleanup.policy"]["value"]), ("456000", "delete,compact"))
    ADMIN.reset_configs([ConfigResource(ConfigResourceType.TOPIC, "admin-configs", {"retention.ms": None})])
    equal(configs("admin-configs")["retention.ms"]["value"], "604800000")
    change = {"retention.ms": "789000"}
    resource = ConfigResource(ConfigResourceType.TOPIC, "admin-configs", change)
    ADMIN.alter_configs([resource], incremental=False)
    equal(configs("admin-configs")["retention.ms"]["value"], "789000")


@case
def admin_delete_records():
    topic = create("admin-delete-records")
    produce(topic, plain(payloads(20)))
    part = TopicPartition(topic, 0)
    ADMIN.delete_records({part: 15})
    reader = consumer()
    equal((reader.beginning_offsets([part])[part], reader.end_offsets([part])[part]), (15, 20))
    reader.close()


@case
def admin_list_offsets():
    topic = create("admin-list-offsets", retention_ms="-1")
    produce(topic, plain(payloads(20)))
    part = TopicPartition(topic, 0)
    ask = lambda spec: ADMIN.list_partition_offsets({part: spec})[part].offset
    specs = [OffsetSpec.EARLIEST, OffsetSpec.LATEST, OffsetSpec.MAX_TIMESTAMP, 1_600_000_000_007]
    equal([ask(spec) for spec in specs], [0, 20, 19, 7])


@case
def admin_groups():
    group = "admin-groups"
    fill(group)
    reader = consumer(group)
    reader.subscribe([group])
    take(reader, 100)
    reader.commit()
    described = ADMIN.describe_groups([group])[group]
    equal((described["group_state"], len(described["members"])), ("Stable", 1), described)
    reader.close()
    listed = lambda: [found["group_id"] for found in ADMIN.list_groups()]
    check(group in listed(), listed())
    offsets = lambda: {part.partition: at.offset for part, at in ADMIN.list_group_offsets(group)[group].items()}
    equal(offsets(), {part: 25 for part in range(4)})
    ADMIN.alter_group_offsets(group, {TopicPartition(group, 2): OffsetAndMetadata(7, "", -1)})
    equal(offsets()[2], 7)
    ADMIN.delete_group_offsets(group, [TopicPartition(group, 2)])
    check(offsets().get(2, -1) == -1, offsets())
    ADMIN.delete_groups([group])
    check(group not in listed(), listed())


main()
