"""A member of a group, librdkafka's, that reads until it is killed: `member.py BOOTSTRAP TOPIC PROTOCOL LIMIT`.

The group has the topic's name. What is read below the offset LIMIT of a partition is committed. Prints one JSON line
for each record, {"read": [PARTITION, OFFSET, "VALUE"]}, and one for each change of its partitions, {"assigned": [0, 1]}.
"""

import json
import sys

from confluent_kafka import Consumer, KafkaException

bootstrap, topic, protocol, limit = sys.argv[1:]
settings = {"bootstrap.servers": bootstrap, "group.id": topic, "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "group.protocol": protocol}
if protocol == "classic":
    settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}

reader = Consumer(settings)
reader.subscribe([topic])
assigned = None
while True:
    message = reader.poll(0.1)
    now = sorted(partition.partition for partition in reader.assignment())
    if now != assigned:
        assigned = now
        print(json.dumps({"assigned": now}), flush=True)
    if message is None:
        continue
    if message.error() is not None:
        raise KafkaException(message.error())
    read = [message.partition(), message.offset(), message.value().decode()]
    print(json.dumps({"read": read}), flush=True)
    if message.offset() < int(limit):
        reader.commit(message=message, asynchronous=False)
