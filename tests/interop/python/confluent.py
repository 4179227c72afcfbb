"""confluent-kafka-python, which is librdkafka, against a broker. See common.py."""

import os
import subprocess

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from common import ANSWER_SECONDS, BOOTSTRAP, big, case, check, each, equal, main, payloads, records, until

ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})


def create(topic, partitions=1, **configs):
    configs = {key.replace("_", "."): value for key, value in configs.items()}
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=configs)
    ADMIN.create_topics([new])[topic].result(ANSWER_SECONDS)
    until("the new topic is listed", lambda: topic in ADMIN.list_topics(timeout=ANSWER_SECONDS).topics)
    return topic


def produce(topic, rows, **settings):
    """Sends (timestamp, key, value, headers) to partition 0 and returns the offsets the broker gave."""
    settings = {key.replace("_", "."): value for key, value in settings.items()}
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, **settings})
    offsets = []

    def delivered(error, message):
        offsets.append(error or message.offset())

    for timestamp, key, value, headers in rows:
        producer.produce(topic, value, key, 0, on_delivery=delivered, timestamp=timestamp, headers=headers)
        producer.poll(0)
    equal(producer.flush(ANSWER_SECONDS), 0, "records still queued")
    errors = [offset for offset in offsets if isinstance(offset, KafkaError)]
    check(not errors, "not delivered:", errors[:3])
    return offsets


def plain(values):
    return [(1_600_000_000_000 + number, None, value, []) for number, value in enumerate(values)]


def consumer(group="unused", **settings):
    settings = {key.replace("_", "."): value for key, value in settings.items()}
    base = {"bootstrap.servers": BOOTSTRAP, "group.id": group, "enable.auto.commit": False,
            "auto.offset.reset": "earliest"}
    # Members learn of a rebalance with their next heartbeat; with the new protocol the broker says when.
    if settings.get("group.protocol") != "consumer":
        base["heartbeat.interval.ms"] = 300
    return Consumer({**base, **settings})


def take(reader, count):
    found = []

    def enough():
        message = reader.poll(0.5)
        if message is not None:
            check(message.error() is None, message.error())
            found.append(message)
        return len(found) >= count

    until(f"{count} records", enough)
    return found


def read(topic, count, **settings):
    reader = consumer(**settings)
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    messages = take(reader, count)
    reader.close()
    return [(m.timestamp()[1], m.key(), m.value(), m.headers() or []) for m in messages]


def compressed(codec):
    topic = create(f"compressed-{codec}")
    rows = plain(payloads(300))
    equal(produce(topic, rows, compression_type=codec), list(range(300)), "offsets")
    equal(read(topic, 300), rows)


each(["none", "gzip", "snappy", "lz4", "zstd"], compressed)


def acks(level):
    topic = create(f"acks-{level}")
    rows = plain(payloads(50))
    produce(topic, rows, acks=level)
    equal(read(topic, 50), rows)


each(["0", "1", "all"], acks)


@case
def record_shapes():
    topic = create("record-shapes", retention_ms=-1)
    produce(topic, records())
    equal(read(topic, len(records())), records())


@case
def write_for_grpc():
    produce("kafka-to-grpc", records())


@case
def read_from_grpc():
    equal(read("grpc-to-kafka", len(records())), records())


@case
def large_message():
    topic = create("large-message", max_message_bytes=11_000_000)
    rows = [(1_600_000_000_000, b"big", big(), [])]
    produce(topic, rows, message_max_bytes=10_500_000)
    equal(read(topic, 1, max_partition_fetch_bytes=1_000_000), rows)


@case
def too_large_message():
    topic = create("too-large-message")
    try:
        produce(topic, [(0, b"big", big(2_000_000), [])], message_max_bytes=10_500_000)
    except AssertionError as error:
        check("MSG_SIZE_TOO_LARGE" in str(error), error)
    else:
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
    topic = create("seek-and-times", retention_ms=-1)
    produce(topic, plain(payloads(100)), batch_num_messages=7)
    reader = consumer()
    at = lambda time: reader.offsets_for_times([TopicPartition(topic, 0, time)], timeout=ANSWER_SECONDS)[0].offset
    equal([at(1_600_000_000_000), at(1_600_000_000_042), at(1_600_000_000_100)], [0, 42, -1])
    equal(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=ANSWER_SECONDS), (0, 100))
    reader.assign([TopicPartition(topic, 0, 90)])
    equal(take(reader, 1)[0].offset(), 90)
    reader.seek(TopicPartition(topic, 0, 42))
    equal([message.offset() for message in take(reader, 3)], [42, 43, 44])
    reader.close()


def fill(topic, partitions=4, each_partition=25):
    create(topic, partitions)
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for number in range(partitions * each_partition):
        producer.produce(topic, str(number), partition=number % partitions)
    equal(producer.flush(ANSWER_SECONDS), 0)


def values(messages):
    return sorted(int(message.value()) for message in messages)


def assigned(reader):
    """What it owns after a poll. librdkafka joins and syncs by itself: members may take turns in one thread."""
    reader.poll(0.05)
    return {partition.partition for partition in reader.assignment()}


def shared(*readers):
    """Whether all four partitions are owned, each by one reader, and every reader has some."""
    parts = [assigned(reader) for reader in readers]
    return all(parts) and sorted(sum(map(sorted, parts), [])) == [0, 1, 2, 3] and parts


def commit_and_restart(**settings):
    topic = settings.pop("topic")
    fill(topic)
    first = consumer(topic, **settings)
    first.subscribe([topic])
    seen = values(take(first, 40))
    first.commit(asynchronous=False)
    # What librdkafka had fetched beyond the 40 was neither returned nor committed.
    first.close()
    second = consumer(topic, **settings)
    second.subscribe([topic])
    seen = sorted(seen + values(take(second, 100 - len(seen))))
    equal(seen, list(range(100)))
    second.commit(asynchronous=False)
    committed = second.committed([TopicPartition(topic, part) for part in range(4)], timeout=ANSWER_SECONDS)
    equal([part.offset for part in committed], [25] * 4)
    second.close()


def join_and_leave(**settings):
    topic = settings.pop("topic")
    fill(topic)
    first, second = consumer(topic, **settings), consumer(topic, **settings)
    first.subscribe([topic])
    until("one member has all partitions", lambda: assigned(first) == {0, 1, 2, 3})
    second.subscribe([topic])
    until("two members share them", lambda: shared(first, second))
    first.close()
    until("the other has all of them", lambda: assigned(second) == {0, 1, 2, 3})
    second.close()


@case
def group_commit():
    commit_and_restart(topic="group-commit")


@case
def group_members():
    join_and_leave(topic="group-members")


@case
def group_roundrobin():
    join_and_leave(topic="group-roundrobin", partition_assignment_strategy="roundrobin")


@case
def group_cooperative():
    join_and_leave(topic="group-cooperative", partition_assignment_strategy="cooperative-sticky")


@case
def group_consumer_commit():
    commit_and_restart(topic="group-consumer-commit", group_protocol="consumer")


@case
def group_consumer_members():
    join_and_leave(topic="group-consumer-members", group_protocol="consumer")


@case
def group_consumer_range():
    join_and_leave(topic="group-consumer-range", group_protocol="consumer", group_remote_assignor="range")


def static_member(**settings):
    """A static member that comes back within its session has its partitions again, and nobody else moved."""
    topic = settings.pop("topic")
    fill(topic)
    one = consumer(topic, group_instance_id="one", **settings)
    two = consumer(topic, group_instance_id="two", **settings)
    one.subscribe([topic])
    two.subscribe([topic])
    before, kept = until("both have some", lambda: shared(one, two))
    one.close()
    again = consumer(topic, group_instance_id="one", **settings)
    again.subscribe([topic])
    until("it has its own again", lambda: assigned(two) == kept and assigned(again) == before)
    again.close()
    two.close()


@case
def group_static():
    static_member(topic="group-static")


@case
def group_consumer_static():
    static_member(topic="group-consumer-static", group_protocol="consumer")


def sought(code=0, **settings):
    """A group is sought back while two members read: each record comes once more. Or it is refused."""
    topic = create(settings.pop("topic"), 4)
    readers = [consumer(topic, **settings) for _ in range(2)]
    for reader in readers:
        reader.subscribe([topic])
    until("two members share them", lambda: shared(*readers))
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for number in range(100):
        producer.produce(topic, str(number), partition=number % 4)
    equal(producer.flush(ANSWER_SECONDS), 0)
    seen = []

    def poll():
        for reader in readers:
            message = reader.poll(0.05)
            if message is not None:
                check(message.error() is None, message.error())
                seen.append(int(message.value()))
        return len(seen)

    until("all is read", lambda: poll() == 100)
    for reader in readers:
        reader.commit(asynchronous=False)
    words = ["group", "seek", topic, "--to", "start", "--active", "--yes"]
    seek = subprocess.Popen([os.environ["TIDELOG_CLI"], *words, "--output", "json"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until("the seek ends", lambda: (poll(), seek.poll() is not None)[1])
    equal(seek.returncode, code, seek.stderr.read())
    if code == 0:
        until("all is read again", lambda: poll() == 200)
        for reader in readers:
            reader.commit(asynchronous=False)
    equal(sorted(seen), sorted(list(range(100)) * (2 if code == 0 else 1)))
    committed = readers[0].committed([TopicPartition(topic, part) for part in range(4)], timeout=ANSWER_SECONDS)
    equal([part.offset for part in committed], [25] * 4)
    for reader in readers:
        reader.close()


@case
def group_sought():
    sought(topic="group-sought")


@case
def group_cooperative_sought():
    """Its members would go on where they are."""
    sought(topic="group-cooperative-sought", partition_assignment_strategy="cooperative-sticky", code=6)


@case
def group_consumer_sought():
    sought(topic="group-consumer-sought", group_protocol="consumer")


@case
def admin_topics():
    create("admin-topics", 3, retention_ms=123_000)
    found = ADMIN.list_topics("admin-topics", timeout=ANSWER_SECONDS).topics["admin-topics"]
    equal(sorted(found.partitions), [0, 1, 2])
    try:
        create("admin-topics", 3)
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS)
    else:
        raise AssertionError("created twice")
    described = ADMIN.describe_topics(TopicCollection(["admin-topics"]))["admin-topics"].result(ANSWER_SECONDS)
    equal((described.name, len(described.partitions), described.is_internal), ("admin-topics", 3, False))
    ADMIN.delete_topics(["admin-topics"])["admin-topics"].result(ANSWER_SECONDS)
    gone = lambda: "admin-topics" not in ADMIN.list_topics(timeout=ANSWER_SECONDS).topics
    until("it is gone", gone)


@case
def admin_partitions():
    create("admin-partitions", 2)
    ADMIN.create_partitions([NewPartitions("admin-partitions", 5)])["admin-partitions"].result(ANSWER_SECONDS)
    topics = lambda: ADMIN.list_topics("admin-partitions", timeout=ANSWER_SECONDS).topics
    until("five partitions", lambda: len(topics()["admin-partitions"].partitions) == 5)


def configs(kind, name):
    resource = ConfigResource(kind, name)
    return ADMIN.describe_configs([resource])[resource].result(ANSWER_SECONDS)


@case
def admin_configs():
    create("admin-configs", retention_ms=123_000)
    kind = ResourceType.TOPIC
    found = configs(kind, "admin-configs")
    equal((found["retention.ms"].value, found["retention.ms"].is_default), ("123000", False))
    equal(found["cleanup.policy"].value, "delete")
    change = [ConfigEntry("retention.ms", "456000", incremental_operation=AlterConfigOpType.SET)]
    change.append(ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND))
    resource = ConfigResource(kind, "admin-configs", incremental_configs=change)
    ADMIN.incremental_alter_configs([resource])[resource].result(ANSWER_SECONDS)
    found = configs(kind, "admin-configs")
    equal((found["retention.ms"].value, found["cleanup.policy"].value), ("456000", "delete,compact"))
    change = [ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE)]
    resource = ConfigResource(kind, "admin-configs", incremental_configs=change)
    ADMIN.incremental_alter_configs([resource])[resource].result(ANSWER_SECONDS)
    equal(configs(kind, "admin-configs")["retention.ms"].value, "604800000")


@case
def admin_broker_configs():
    node = ADMIN.describe_cluster().result(ANSWER_SECONDS).nodes[0].id
    check("log.retention.ms" in configs(ResourceType.BROKER, str(node)), "log.retention.ms is missing")


@case
def admin_delete_records():
    topic = create("admin-delete-records")
    produce(topic, plain(payloads(20)))
    before = TopicPartition(topic, 0, 15)
    equal(ADMIN.delete_records([before])[before].result(ANSWER_SECONDS).low_watermark, 15)
    equal(consumer().get_watermark_offsets(TopicPartition(topic, 0), timeout=ANSWER_SECONDS), (15, 20))


@case
def admin_list_offsets():
    topic = create("admin-list-offsets", retention_ms=-1)
    produce(topic, plain(payloads(20)))
    part = TopicPartition(topic, 0)
    ask = lambda spec: ADMIN.list_offsets({part: spec})[part].result(ANSWER_SECONDS).offset
    specs = [OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.max_timestamp()]
    equal([ask(spec) for spec in specs + [OffsetSpec.for_timestamp(1_600_000_000_007)]], [0, 20, 19, 7])


@case
def admin_groups():
    fill("admin-groups")
    reader = consumer("admin-groups")
    reader.subscribe(["admin-groups"])
    take(reader, 100)
    reader.commit(asynchronous=False)
    described = ADMIN.describe_consumer_groups(["admin-groups"])["admin-groups"].result(ANSWER_SECONDS)
    equal((described.state.name, len(described.members)), ("STABLE", 1))
    equal(len(described.members[0].assignment.topic_partitions), 4)
    reader.close()
    listed = lambda: [group.group_id for group in ADMIN.list_consumer_groups().result(ANSWER_SECONDS).valid]
    check("admin-groups" in listed(), listed())
    asked = ConsumerGroupTopicPartitions("admin-groups")
    offsets = ADMIN.list_consumer_group_offsets([asked])["admin-groups"].result(ANSWER_SECONDS).topic_partitions
    equal(sorted((part.partition, part.offset) for part in offsets), [(part, 25) for part in range(4)])
    parts = [TopicPartition("admin-groups", 2, 7)]
    asked = ConsumerGroupTopicPartitions("admin-groups", parts)
    ADMIN.alter_consumer_group_offsets([asked])["admin-groups"].result(ANSWER_SECONDS)
    asked = ConsumerGroupTopicPartitions("admin-groups", [TopicPartition("admin-groups", 2)])
    offsets = ADMIN.list_consumer_group_offsets([asked])["admin-groups"].result(ANSWER_SECONDS).topic_partitions
    equal(offsets[0].offset, 7)
    ADMIN.delete_consumer_groups(["admin-groups"])["admin-groups"].result(ANSWER_SECONDS)
    check("admin-groups" not in listed(), listed())


main()
