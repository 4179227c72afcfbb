"""Reads segment files with kafka-python's record reader and prints each record as one JSON line.

Usage: read_segments.py FILE...    Exits non-zero at the first byte that reader does not accept.
"""

import base64
import json
import sys

from kafka.record import MemoryRecords


def text(data):
    return None if data is None else base64.b64encode(bytes(data)).decode()


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    records = MemoryRecords(data)
    while records.has_next():
        batch = records.next_batch()
        if not batch.validate_crc():
            sys.exit(f"{path}: batch at offset {batch.base_offset}: wrong CRC")
        for record in batch:
            headers = [[key, text(value)] for key, value in record.headers]
            yield {
                "offset": record.offset,
                "timestamp": record.timestamp,
                "key": text(record.key),
                "value": text(record.value),
                "headers": headers,
                "codec": batch.compression_type,
            }
    left = len(data) - records.valid_bytes()
    if left:
        sys.exit(f"{path}: {left} bytes after the last batch")


for path in sys.argv[1:]:
    for record in read(path):
        print(json.dumps(record))
