"""Writes the golden batches of this directory with kafka-python, an independent implementation.

    python3 -m venv /tmp/golden && . /tmp/golden/bin/activate
    pip install kafka-python==3.0.12 crc32c==2.9.post0 python-snappy==0.7.3 lz4==4.4.5 zstandard==0.25.0
    python make.py

The records are those of `records()` in ../golden.rs: change both or neither.
"""

import pathlib

import kafka.codec
import kafka.record.default_records as default_records

HERE = pathlib.Path(__file__).parent
START = 1_700_000_000_000
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


def records():
    """Timestamp, key, value, headers of every record."""
    yield START, None, None, []
    yield START + 5, b"", b"", [("", None)]
    yield START - 3, b"key", b"value", [("h", b"1"), ("h", None), ("\u00e9", b"\x00\xff")]
    for number in range(200):
        yield START + number, b"aircraft-%d" % (number % 7), b"x" * number, []


def batch(codec, producer=(-1, -1, -1), transactional=False, of=records):
    builder = default_records.DefaultRecordBatchBuilder(2, codec, transactional, *producer, 1 << 30)
    for offset, (timestamp, key, value, headers) in enumerate(of()):
        builder.append(offset, timestamp, key, value, headers)
    return bytes(builder.build())


def extremes():
    """Timestamps whose deltas take the most bytes."""
    yield 0, None, b"", []
    yield 2**62, None, b"", []
    yield -1, None, b"", []


def main():
    golden = {
        "none": batch(NONE),
        "gzip": batch(GZIP),
        "snappy": batch(SNAPPY),
        "lz4": batch(LZ4),
        "zstd": batch(ZSTD),
        "idempotent": batch(NONE, producer=(4711, 3, 100)),
        "transactional": batch(NONE, producer=(4711, 3, 100), transactional=True),
        "extremes": batch(NONE, of=extremes),
    }
    # librdkafka writes one raw snappy block, without the framing of the Java library.
    framed = default_records.snappy_encode
    default_records.snappy_encode = lambda data: kafka.codec.snappy_encode(data, xerial_compatible=False)
    golden["snappy-raw"] = batch(SNAPPY)
    default_records.snappy_encode = framed
    for name, data in golden.items():
        (HERE / f"{name}.bin").write_bytes(data)


if __name__ == "__main__":
    main()
