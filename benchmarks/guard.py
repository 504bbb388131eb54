#!/usr/bin/env python3
"""Holds the cost of operations to a committed baseline: instructions by callgrind, system calls by strace.

Times would mean nothing on a machine that others use, too; these counts are the same everywhere but for the compiler.
Each is the difference between a run of N and one of 2 N operations, so that beginning and end do not count.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TOLERANCE = {"instructions": 1.05, "system calls": 1.02}

#        name, what is counted, CAIO_IMPL, speculation, workload, arguments, operations
CASES = [
    ("cached read in place", "instructions", "blocking", 1, "random-read", {"file": "data", "block": 512}, 5_000),
    ("cached read, 32 at a time", "instructions", "blocking", 0, "random-read", {"file": "data", "block": 512, "depth": 32}, 5_000),
    ("line by next()", "instructions", "blocking", 1, "lines-next", {"file": "lines"}, 0),
    ("line of a batch", "instructions", "blocking", 1, "lines-batch", {"file": "lines"}, 0),
    ("line by readline()", "instructions", "blocking", 1, "lines-readline", {"file": "lines"}, 0),
    ("record through Writer", "instructions", "blocking", 1, "small-writes-writer", {"target": "target", "block": 64}, 20_000),
    ("record through FileStream", "instructions", "blocking", 1, "small-writes-stream", {"target": "target", "block": 64}, 20_000),
    ("small file", "instructions", "blocking", 1, "small-files", {"target": "small", "block": 16384}, 500),
    ("cached read in place", "system calls", "uring", 1, "random-read", {"file": "data"}, 2_000),
    ("cached read by the ring, 32 at a time", "system calls", "uring", 0, "random-read", {"file": "data", "depth": 32}, 6_400),
    ("cached read by the ring, one at a time", "system calls", "uring", 0, "random-read", {"file": "data"}, 2_000),
    ("small write in place", "system calls", "uring", 1, "random-write", {"file": "data"}, 2_000),
    ("line by next()", "system calls", "uring", 1, "lines-next", {"file": "lines"}, 0),
    ("record through Writer", "system calls", "uring", 1, "small-writes-writer", {"target": "target", "block": 64}, 20_000),
    ("small file", "system calls", "uring", 1, "small-files", {"target": "small", "block": 16384}, 500),
    ("small file", "system calls", "blocking", 1, "small-files", {"target": "small", "block": 16384}, 500),
]


def counted(command, what, environment):
    if what == "instructions":
        done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
                              env=environment, capture_output=True, text=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
    else:
        with tempfile.NamedTemporaryFile("r") as log:
            done = subprocess.run(["strace", "-f", "-qq", "-c", "-U", "calls,name", "-o", log.name, *command],
                                  env=environment, capture_output=True, text=True)
            found = re.search(r"(\d+) total", log.read())
    if done.returncode != 0 or not found:
        sys.exit(f"guard: {' '.join(map(str, command))}: {done.stderr[-300:]}")
    return int(found[1]), json.loads(done.stdout)


def make_data(directory):
    (directory / "small").mkdir()
    (directory / "data").write_bytes(bytes(range(256)) * 4096)
    for scale in (1, 2):
        (directory / f"lines{scale}").write_bytes(b"".join(b"x" * (40 + i * 37 % 80) + b"\n" for i in range(20_000)) * scale)
    for index in range(1_000):
        (directory / "small" / str(index)).write_bytes(b"x" * (1_000 + index * 7))


def cost(program, directory, case):
    _, what, backend, speculate, workload, arguments, operations = case
    environment = os.environ | {"CAIO_IMPL": backend, "CAIO_STRICT": "1", "BENCH_SPECULATE": str(speculate)}
    counts = []
    for scale in (1, 2):
        command = [program, workload, "--operations", str(operations * scale)]
        for name, value in arguments.items():
            if isinstance(value, str):
                value = directory / (value + str(scale) if value == "lines" else value)
            command += [f"--{name}", str(value)]
        count, report = counted(command, what, environment)
        assert report["backend"].startswith(backend), report["backend"]
        counts.append((count, report["operations"]))
    (less, few), (more, many) = counts
    return (more - less) / (many - few)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, help="bench_aiofile")
    parser.add_argument("--update", action="store_true", help="writes the baseline anew")
    options = parser.parse_args()
    path = Path(__file__).with_name("baseline.json")
    baseline = json.loads(path.read_text()) if path.exists() else {}
    found, worse = {}, []
    with tempfile.TemporaryDirectory(dir=options.program.parent) as name:
        directory = Path(name)
        make_data(directory)
        for case in CASES:
            title = f"{case[0]}: {case[1]} ({case[2]}{'' if case[3] else ', no speculation'})"
            before = baseline.get(title)
            most = None if before is None else before * TOLERANCE[case[1]] + 0.01
            found[title] = round(cost(options.program, directory, case), 3)
            for _ in range(2):  # a page that the kernel has taken back costs calls: the least counts
                if most is not None and found[title] > most:
                    found[title] = min(found[title], round(cost(options.program, directory, case), 3))
            print(f"{title:75} {found[title]:10.3f}  baseline {before}", flush=True)
            if most is None or found[title] > most:
                worse.append(title)
    if options.update:
        path.write_text(json.dumps(found, indent=1) + "\n")
    elif worse:
        sys.exit("guard: costs more than the baseline: " + "; ".join(worse))
    return 0


if __name__ == "__main__":
    sys.exit(main())
