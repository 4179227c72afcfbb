"""aiokafka, the asyncio client, against a broker. See common.py."""

import asyncio
import functools

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import MessageSizeTooLargeError

import common
from common import BOOTSTRAP, WAIT_SECONDS, big, check, equal, main, payloads, records


def case(function):
    """As common.case, for a coroutine."""

    @functools.wraps(function)
    def run():
        asyncio.run(function())

    return common.case(run)


def each(names, function):
    for name in names:
        common.CASES[f"{function.__name__}-{name}"] = lambda name=name: asyncio.run(function(name))


async def until(what, condition):
    """As common.until, for a condition that is a coroutine."""
    end = asyncio.get_running_loop().time() + WAIT_SECONDS
    while asyncio.get_running_loop().time() < end:
        if result := await condition():
            return result
    raise AssertionError(f"waited {WAIT_SECONDS} s in vain: {what}")


async def with_admin(use):
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        return await use(admin)
    finally:
        await admin.close()


async def create(topic, partitions=1, **configs):
    configs = {key.replace("_", "."): value for key, value in configs.items()}

    async def make(admin):
        answer = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
        equal([error[1] for error in answer.topic_errors], [0], answer)

        async def listed():
            return topic in await admin.list_topics()

        await until("the new topic is listed", listed)

    await with_admin(make)
    return topic


async def produce(topic, rows, **settings):
    """Sends (timestamp, key, value, headers) to partition 0 and returns the offsets the broker gave."""
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=5, **{"acks": "all", **settings})
    await producer.start()
    try:
        sent = []
        for timestamp, key, value, headers in rows:
            sent.append(await producer.send(topic, value, key, 0, timestamp, headers))
        await producer.flush()
        return [record and record.offset for record in await asyncio.gather(*sent)]
    finally:
        await producer.stop()


def plain(values):
    return [(1_600_000_000_000 + number, None, value, []) for number, value in enumerate(values)]


async def consumer(*topics, group=None, **settings):
    base = {"bootstrap_servers": BOOTSTRAP, "group_id": group, "enable_auto_commit": False,
            "auto_offset_reset": "earliest", "heartbeat_interval_ms": 300}
    reader = AIOKafkaConsumer(*topics, **{**base, **settings})
    await reader.start()
    return reader


async def take(reader, count):
    found = []

    async def enough():
        batches = await reader.getmany(timeout_ms=200, max_records=count - len(found))
        found.extend(record for batch in batches.values() for record in batch)
        return len(found) >= count

    await until(f"{count} records", enough)
    return found


async def read(topic, count, **settings):
    reader = await consumer(**settings)
    reader.assign([TopicPartition(topic, 0)])
    await reader.seek_to_beginning()
    found = await take(reader, count)
    await reader.stop()
    return [(record.timestamp, record.key, record.value, list(record.headers)) for record in found]


async def compressed(codec):
    topic = await create(f"compressed-{codec}")
    rows = plain(payloads(300))
    sent = await produce(topic, rows, compression_type=None if codec == "none" else codec)
    equal(sent, list(range(300)), "offsets")
    equal(await read(topic, 300), rows)


each(["none", "gzip", "snappy", "lz4", "zstd"], compressed)


async def acks(level):
    topic = await create(f"acks-{level}")
    rows = plain(payloads(50))
    await produce(topic, rows, acks=level if level == "all" else int(level))
    equal(await read(topic, 50), rows)


each(["0", "1", "all"], acks)


@case
async def record_shapes():
    topic = await create("record-shapes", retention_ms="-1")
    await produce(topic, records())
    equal(await read(topic, len(records())), records())


@case
async def write_for_grpc():
    await produce("kafka-to-grpc", records())


@case
async def read_from_grpc():
    equal(await read("grpc-to-kafka", len(records())), records())


@case
async def large_message():
    topic = await create("large-message", max_message_bytes="11000000")
    rows = [(1_600_000_000_000, b"big", big(), [])]
    await produce(topic, rows, max_request_size=10_500_000)
    equal(await read(topic, 1, max_partition_fetch_bytes=1_000_000), rows)


@case
async def too_large_message():
    topic = await create("too-large-message")
    try:
        await produce(topic, [(0, b"big", big(2_000_000), [])], max_request_size=10_500_000)
    except MessageSizeTooLargeError:
        return
    raise AssertionError("it was accepted")


@case
async def idempotent():
    topic = await create("idempotent")
    rows = plain(payloads(2000))
    equal(await produce(topic, rows, enable_idempotence=True), list(range(2000)), "offsets")
    equal(await read(topic, 2000), rows)


@case
async def automatic_topic():
    await produce("automatic-topic", plain([b"first"]))
    equal(await read("automatic-topic", 1), plain([b"first"]))


@case
async def seek_and_times():
    topic = await create("seek-and-times", retention_ms="-1")
    await produce(topic, plain(payloads(100)), max_batch_size=2000)
    reader, part = await consumer(), TopicPartition(topic, 0)
    reader.assign([part])
    found = []
    for time in [1_600_000_000_000, 1_600_000_000_042, 1_600_000_000_100]:
        at = (await reader.offsets_for_times({part: time}))[part]
        found.append(at and at.offset)
    equal(found, [0, 42, None])
    ends = (await reader.beginning_offsets([part]))[part], (await reader.end_offsets([part]))[part]
    equal(ends, (0, 100))
    reader.seek(part, 42)
    equal([record.offset for record in await take(reader, 3)], [42, 43, 44])
    await reader.stop()


async def fill(topic, partitions=4, each_partition=25):
    await create(topic, partitions)
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    await producer.start()
    for number in range(partitions * each_partition):
        await producer.send(topic, str(number).encode(), partition=number % partitions)
    await producer.stop()


def values(found):
    return sorted(int(record.value) for record in found)


async def assigned(reader):
    await reader.getmany(timeout_ms=20)
    return {part.partition for part in reader.assignment()}


@case
async def group_commit():
    topic = "group-commit"
    await fill(topic)
    first = await consumer(topic, group=topic)
    seen = values(await take(first, 40))
    await first.commit()
    await first.stop()
    second = await consumer(topic, group=topic)
    seen = sorted(seen + values(await take(second, 60)))
    equal(seen, list(range(100)))
    await second.commit()
    equal([await second.committed(TopicPartition(topic, part)) for part in range(4)], [25] * 4)
    await second.stop()


async def owns_all(reader):
    async def condition():
        return await assigned(reader) == {0, 1, 2, 3}

    await until("the member has all partitions", condition)


async def join_and_leave(topic, assignor):
    """aiokafka joins and syncs in a task of its own: members may take turns."""
    await fill(topic)
    settings = {"group": topic, "partition_assignment_strategy": [assignor]}
    first = await consumer(topic, **settings)

    async def shared():
        parts = [await assigned(first), await assigned(second)]
        return all(parts) and sorted(sum(map(sorted, parts), [])) == [0, 1, 2, 3]

    await owns_all(first)
    second = await consumer(topic, **settings)
    await until("two members share them", shared)
    await first.stop()
    await owns_all(second)
    await second.stop()


@case
async def group_members():
    await join_and_leave("group-members", RoundRobinPartitionAssignor)


@case
async def group_sticky():
    await join_and_leave("group-sticky", StickyPartitionAssignor)


@case
async def group_static():
    topic = "group-static"
    await fill(topic)
    settings = {"group": topic, "group_instance_id": "one"}
    first = await consumer(topic, **settings)
    await take(first, 100)
    await first.commit()
    await first.stop()
    again = await consumer(topic, **settings)
    await owns_all(again)
    equal([await again.committed(TopicPartition(topic, part)) for part in range(4)], [25] * 4)
    await again.stop()


@case
async def admin_topics():
    await create("admin-topics", 3, retention_ms="123000")

    async def steps(admin):
        found = (await admin.describe_topics(["admin-topics"]))[0]
        equal((found["topic"], len(found["partitions"]), found["is_internal"]), ("admin-topics", 3, False))
        again = await admin.create_topics([NewTopic("admin-topics", 3, 1)])
        equal(again.topic_errors[0][1], 36, "creating it twice")
        await admin.delete_topics(["admin-topics"])

        async def gone():
            return "admin-topics" not in await admin.list_topics()

        await until("it is gone", gone)

    await with_admin(steps)


@case
async def admin_partitions():
    await create("admin-partitions", 2)

    async def steps(admin):
        await admin.create_partitions({"admin-partitions": NewPartitions(5)})

        async def grown():
            return len((await admin.describe_topics(["admin-partitions"]))[0]["partitions"]) == 5

        await until("five partitions", grown)

    await with_admin(steps)


@case
async def admin_configs():
    await create("admin-configs", retention_ms="123000")

    async def steps(admin):
        async def value(name):
            resource = ConfigResource(ConfigResourceType.TOPIC, "admin-configs")
            answer = (await admin.describe_configs([resource]))[0]
            return {entry[0]: entry[1] for entry in answer.resources[0][4]}[name]

        equal((await value("retention.ms"), await value("cleanup.policy")), ("123000", "delete"))
        resource = ConfigResource(ConfigResourceType.TOPIC, "admin-configs", {"retention.ms": "456000"})
        await admin.alter_configs([resource])
        equal(await value("retention.ms"), "456000")

    await with_admin(steps)


@case
async def admin_delete_records():
    topic = await create("admin-delete-records")
    await produce(topic, plain(payloads(20)))
    part = TopicPartition(topic, 0)
    await with_admin(lambda admin: admin.delete_records({part: RecordsToDelete(before_offset=15)}))
    reader = await consumer()
    ends = (await reader.beginning_offsets([part]))[part], (await reader.end_offsets([part]))[part]
    equal(ends, (15, 20))
    await reader.stop()


@case
async def admin_groups():
    group = "admin-groups"
    await fill(group)
    reader = await consumer(group, group=group)
    await take(reader, 100)
    await reader.commit()

    async def steps(admin):
        described = (await admin.describe_consumer_groups([group]))[0].groups[0]
        equal((described[2], len(described[5])), ("Stable", 1), described)
        check((group, "consumer") in await admin.list_consumer_groups(), "it is not listed")
        offsets = await admin.list_consumer_group_offsets(group)
        equal({part.partition: at.offset for part, at in offsets.items()}, {part: 25 for part in range(4)})
        await reader.stop()
        described = (await admin.describe_consumer_groups([group]))[0].groups[0]
        equal((described[2], len(described[5])), ("Empty", 0), described)

    await with_admin(steps)


main()
