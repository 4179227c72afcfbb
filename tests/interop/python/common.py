"""What the Python programs share: the case table, its runner and the records every client must carry unharmed.

A program is called `program BOOTSTRAP [CASE...]`, runs the named cases (all without names) and prints one JSON
line for each: {"case": "gzip", "ok": true} or {"case": "gzip", "ok": false, "error": "..."}.
"""

import base64
import json
import pathlib
import signal
import sys
import time
import traceback

# Generous, for a loaded machine: what goes well ends long before.
CASE_SECONDS = 180
WAIT_SECONDS = 150
# For one request.
ANSWER_SECONDS = 60
CASES = {}
BOOTSTRAP = sys.argv[1]


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


def each(names, function):
    """One case for each name: a codec, an acks setting."""
    for name in names:
        CASES[f"{function.__name__.replace('_', '-')}-{name}"] = lambda name=name: function(name)


def check(condition, *what):
    if not condition:
        raise AssertionError(" ".join(str(part) for part in what))


def equal(found, wanted, *what):
    check(found == wanted, *what, "found", repr(found)[:2000], "but wanted", repr(wanted)[:2000])


def until(what, condition, pause=0):
    """Asks `condition` until it answers something; one that does not wait by itself is asked after a `pause`."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(pause)
    raise AssertionError(f"waited {WAIT_SECONDS} s in vain: {what}")


def records():
    """The records as (timestamp, key, value, headers)."""
    decode = lambda text: None if text is None else base64.b64decode(text)
    rows = json.loads((pathlib.Path(__file__).parent.parent / "records.json").read_text())
    return [
        (row["timestamp"], decode(row["key"]), decode(row["value"]), [(k, decode(v)) for k, v in row["headers"]])
        for row in rows
    ]


def without_null_headers(rows):
    """For clients whose producer refuses a header without a value."""
    return [row for row in rows if all(value is not None for _, value in row[3])]


def payloads(count):
    """Values that compress, but not to nothing."""
    return [f"{number}: ".encode() + bytes((number * 7 + i * i) % 64 for i in range(300)) for number in range(count)]


def big(size=10_000_000):
    """A value that does not compress well."""
    import random

    return random.Random(7).randbytes(size)


def timed_out(*_):
    raise TimeoutError(f"the case took more than {CASE_SECONDS} s")


def main():
    signal.signal(signal.SIGALRM, timed_out)
    for name in sys.argv[2:] or CASES:
        start = time.monotonic()
        line = {"case": name, "ok": True}
        signal.alarm(CASE_SECONDS)
        try:
            CASES[name]()
        except BaseException as error:
            traceback.print_exc()
            line = {"case": name, "ok": False, "error": f"{type(error).__name__}: {error}"[:3000]}
        signal.alarm(0)
        line["ms"] = round((time.monotonic() - start) * 1000)
        print(json.dumps(line), flush=True)
