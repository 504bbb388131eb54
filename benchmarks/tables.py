"""What is measured: the contenders, the workloads, and what the ratios should be."""

from dataclasses import dataclass, field

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class Contender:
    label: str
    program: str
    environment: tuple = ()
    backend: str = ""  # how the program's own report of its backend must begin


def ours(backend, speculate=True):
    label = f"aiofile {backend}" + ("" if speculate else ", no speculation")
    environment = (("CAIO_IMPL", backend), ("CAIO_STRICT", "1"), ("BENCH_SPECULATE", str(int(speculate))))
    return Contender(label, "bench_aiofile", environment, backend)


POSIX = Contender("system calls", "bench_posix")
LIBURING = Contender("liburing", "bench_liburing", backend="io_uring")
LIBAIO = Contender("libaio", "bench_libaio", backend="libaio")
POOL = Contender("thread pool", "bench_pool")
ASIO = Contender("Asio, io_uring only", "bench_asio_uring")
ASIO_DEFAULT = Contender("Asio, epoll and io_uring", "bench_asio_default")
LIBUV = Contender("libuv", "bench_libuv")
PEERS = (ASIO, ASIO_DEFAULT, LIBUV, POOL)
OURS = tuple(ours(backend, speculate) for backend in ("uring", "linux", "thread", "blocking") for speculate in (True, False))
URING = OURS[0]


@dataclass
class Target:
    """What the ratio of our rate to that of `to` should be: `must`, and `great`, which is the aim."""

    to: Contender
    must: float
    great: float
    of: Contender = URING
    workload: str = ""       # where ours runs another workload than the reference
    reference: str = ""      # the reference's workload


@dataclass
class Table:
    name: str
    title: str
    entries: list            # (contender, workload)
    arguments: dict
    unit: str = "operations"  # or a number of bytes per operation, as "bytes"
    targets: list = field(default_factory=list)
    cold: str = ""           # a file to be dropped from the page cache before each run
    half_cold: str = ""      # the same of every other 256 KiB of a file
    warm: str = ""           # a file to be read into it before each round
    quick: dict = field(default_factory=dict)
    traced: bool = True
    writes: bool = False


def everybody(workload, *more):
    return [(contender, workload) for contender in (POSIX, LIBURING, LIBAIO, *PEERS, *OURS)] + [*more]


def tables(data):
    cached, target, small, hot, tree = (str(data / name)
                                        for name in ("cached.bin", "target.bin", "small", "hot.bin", "tree"))
    logs = {80: str(data / "log80.txt"), 12: str(data / "log12.txt")}
    result = []
    for depth in (1, 8, 32, 128):
        great = 1.15 if depth == 1 else 1.0
        targets = [Target(LIBURING, 0.95, great), Target(ASIO, 0.95, 1.4 if depth == 1 else 1.6),
                   Target(ASIO_DEFAULT, 0.95, 2.3 if depth == 1 else 2.5),
                   Target(LIBUV, 1, 7 if depth == 1 else 2.5), Target(POOL, 1, 7 if depth == 1 else 2.5)]
        if depth == 1:
            targets.insert(1, Target(POSIX, 0.9, 0.95))
        result.append(Table(f"w1-d{depth}", f"W1: random 4 KiB reads of a cached 512 MiB file, depth {depth}",
                            everybody("random-read", (POSIX, "random-read-nowait")),
                            {"file": cached, "depth": depth, "block": 4096, "operations": 200_000},
                            targets=targets, warm=cached, quick={"operations": 30_000}))
    for block, great in ((4096, 1.15), (512, 1.3)):
        result.append(Table(f"w1-hot-{block}", f"W1: random reads of {block} bytes of a cached 8 MiB file, depth 1",
                            everybody("random-read", (POSIX, "random-read-nowait")),
                            {"file": hot, "depth": 1, "block": block, "operations": 100_000}, warm=hot,
                            targets=[Target(LIBURING, 1.0, great), Target(POSIX, 0.9, 0.92)], quick={"operations": 30_000}))
    result.append(Table("w2-mixed", "W2: random 4 KiB reads of a file that is cached by half, depth 32",
                        everybody("random-read"), {"file": cached, "depth": 32, "block": 4096, "operations": 30_000},
                        targets=[Target(LIBURING, 1.0, 1.2), Target(ASIO, 1, 1.2)], warm=cached, half_cold=cached,
                        quick={"operations": 3_000}, traced=False))
    for depth in (1, 8, 32, 128):
        targets = [Target(LIBURING, 0.95, 1.2 if depth in (8, 32) else 0.95)]
        if depth >= 8:
            targets += [Target(ASIO, 1, 2.2 if depth == 8 else 3), Target(POOL, 1, 1.4), Target(LIBUV, 1, 1.8)]
        result.append(Table(f"w2-d{depth}", f"W2: random 4 KiB reads, O_DIRECT, one file object, depth {depth}",
                            everybody("random-read"),
                            {"file": cached, "depth": depth, "block": 4096,
                             "operations": 20_000 if depth == 1 else 40_000, "direct": True},
                            targets=targets, cold=cached, quick={"operations": 2_000}))
    for depth in (1, 32):
        targets = ([Target(LIBURING, 1.0, 2.5), Target(POSIX, 0.7, 0.8), Target(ASIO, 1, 3), Target(LIBUV, 1, 5)]
                   if depth == 1 else [Target(LIBURING, 0.9, 1.2), Target(POSIX, 0.9, 0.95), Target(ASIO, 1, 5)])
        result.append(Table(f"w3-d{depth}", f"W3: random 4 KiB writes, buffered, depth {depth}", everybody("random-write"),
                            {"file": cached, "depth": depth, "block": 4096, "operations": 60_000},
                            targets=targets, warm=cached, quick={"operations": 6_000}, writes=True))
    result.append(Table("w3-direct", "W3: random 4 KiB writes, O_DIRECT, depth 32", everybody("random-write"),
                        {"file": cached, "depth": 32, "block": 4096, "operations": 40_000, "direct": True},
                        targets=[Target(LIBURING, 0.95, 1.2), Target(ASIO, 1, 2.5), Target(POOL, 1, 1.2)],
                        quick={"operations": 2_000}, writes=True))
    for block in (64 * 1024, MIB):
        size = "64 KiB" if block < MIB else "1 MiB"
        result.append(Table(f"w4-read-{block}", f"W4: 1 GiB cached, read from the beginning to the end in {size}",
                            everybody("sequential-read") + [(URING, "sequential-read-reader")],
                            {"file": logs[80], "block": block}, unit="bytes", warm=logs[80],
                            targets=[Target(POSIX, 0.95, 1.0), Target(LIBUV, 1, 2)]))
        result.append(Table(f"w4-write-{block}", f"W4: 1 GiB written to a new file in {size}", everybody("sequential-write"),
                            {"target": target, "block": block, "operations": GIB // block}, unit="bytes",
                            targets=[Target(POSIX, 0.85, 1.0), Target(ASIO, 1, 1.8)], quick={"operations": 64 * MIB // block},
                            writes=True))
    for direct in (False, True):
        result.append(Table(f"w4-cold{'-direct' * direct}",
                            f"W4: 1 GiB that is not cached, read from the beginning to the end in 1 MiB{', O_DIRECT' * direct}",
                            [(contender, "sequential-read") for contender in (POSIX, LIBURING, LIBUV, ASIO, *OURS[::2])],
                            {"file": logs[80], "block": MIB, "direct": direct}, unit="bytes", cold=logs[80],
                            targets=[Target(POSIX, 0.95, 1.0), Target(ASIO, 1, 1.3)], traced=False))
    result.append(Table("w4-write-one", "W4: 1 GiB written to a new file by one write",
                        [(contender, "sequential-write") for contender in (POSIX, *OURS)],
                        {"target": target, "block": GIB, "operations": 1}, unit="bytes", targets=[Target(POSIX, 0.85, 1.0)],
                        quick={"block": 64 * MIB}, traced=False, writes=True))
    standard = [(POSIX, f"lines-{how}") for how in ("simd", "memchr", "ifstream", "getline", "fgets")]
    for length in (80, 12):
        mine = [(URING, f"lines-{how}") for how in ("next", "batch", "readline", "next-text", "batch-text")]
        must, great = (0.75, 0.85) if length == 80 else (0.45, 0.55)
        result.append(Table(f"w5-{length}", f"W5: lines of {length} bytes, cached", standard + mine,
                            {"file": logs[length]}, warm=logs[length],
                            targets=[Target(POSIX, must, great, workload="lines-next", reference="lines-simd"),
                                     Target(POSIX, must, 0.95 if length == 80 else 1, workload="lines-batch",
                                            reference="lines-simd"),
                                     Target(POSIX, 1, 2, workload="lines-next", reference="lines-ifstream"),
                                     Target(POSIX, 1, 2, workload="lines-next", reference="lines-getline"),
                                     Target(POSIX, 0.7, 1, workload="lines-readline", reference="lines-ifstream")],
                            traced=False))
    result.append(Table("w6", "W6: 1 GiB copied to a new file, in 128 KiB, depth 8",
                        everybody("copy") + [(POSIX, "copy-file-range"), (POSIX, "copy-sendfile")],
                        {"file": logs[80], "target": target, "block": 128 * 1024, "depth": 8}, unit="bytes", warm=logs[80],
                        writes=True,
                        targets=[Target(POSIX, 1, 1.3, workload="copy", reference="copy-file-range"),
                                 Target(ASIO, 1, 1.5), Target(LIBUV, 1, 1.5)]))
    for depth in (1, 64):
        result.append(Table(f"w7-d{depth}", f"W7: 10 000 small files opened, read and closed, {depth} at a time",
                            everybody("small-files"),
                            {"target": small, "depth": depth, "block": 16384, "operations": 10_000},
                            targets=[Target(POSIX, 0.9 if depth == 1 else 0.95, 1.0 if depth == 1 else 1.1),
                                     Target(LIBUV, 1, 8 if depth == 1 else 2)], quick={"operations": 1_000}))
    result.append(Table("w9", "W9: 64 bytes at a time to a new file",
                        [(POSIX, f"small-writes-{how}") for how in ("gather", "fwrite", "ofstream", "write")] +
                        [(contender, f"small-writes-{how}") for contender in OURS[::2] for how in ("writer", "stream")],
                        {"target": target, "block": 64, "operations": 4_000_000},
                        targets=[Target(POSIX, 0.8, 1, workload="small-writes-writer", reference="small-writes-fwrite"),
                                 Target(POSIX, 4, 8, workload="small-writes-writer", reference="small-writes-write")],
                        quick={"operations": 100_000}, traced=False, writes=True))
    result.append(Table("w13", "W13: the names in 1000 directories of 100 files each",
                        [(POSIX, f"walk-{how}") for how in ("iterator", "nftw", "find")] +
                        [(contender, "walk") for contender in OURS[::2]] + [(URING, "walk-paths")],
                        {"target": tree, "operations": 101_000},
                        targets=[Target(POSIX, 1, 1.5, workload="walk", reference="walk-find"),
                                 Target(POSIX, 1.5, 2, workload="walk", reference="walk-iterator"),
                                 Target(POSIX, 1, 1.5, workload="walk-paths", reference="walk-iterator")], traced=False))
    result.append(Table("w14", "W14: 1 GiB copied to a new file by one call",
                        [(POSIX, f"copy-{how}") for how in ("cp", "cp-no-reflink", "file-range")] +
                        [(contender, "copy-file") for contender in OURS[::2]],
                        {"file": logs[80], "target": target, "block": MIB}, unit="bytes", warm=logs[80],
                        targets=[Target(POSIX, 1, 1.5, workload="copy-file", reference="copy-cp")],
                        traced=False, writes=True))
    # 840 bytes apart on average, or 52 KiB: what is near is read together, what is not at the same time.
    for where, file in (("near", hot), ("far", cached)):
        for cold in (False, True):
            result.append(Table(f"w15-{where}{'-cold' * cold}",
                                f"W15: 10 000 random extents of 512 bytes of a file of {8 if where == 'near' else 512} MiB, "
                                f"{'not ' * cold}cached",
                                [(POSIX, "random-read")] + [(contender, workload) for contender in OURS[::2]
                                                            for workload in ("random-read-one", "random-read", "read-many")],
                                {"file": file, "depth": 64, "block": 512, "operations": 10_000},
                                targets=[Target(URING, 1, 1.5, workload="read-many", reference=reference)
                                         for reference in ("random-read-one", "random-read")],
                                traced=False, **({"cold": file} if cold else {"warm": file})))
    for depth in (1, 32):
        result.append(Table(f"w16-stat-d{depth}", f"W16: stat of 10 000 small files, cached, {depth} at a time",
                            [(contender, "stat") for contender in (POSIX, LIBURING, *OURS)],
                            {"target": small, "depth": depth, "operations": 10_000},
                            targets=[Target(LIBURING, 1, 2)], quick={"operations": 1_000}))
    result.append(Table("w16-rename", "W16: a file renamed, one after the other",
                        [(contender, "rename") for contender in (POSIX, LIBURING, *OURS[::2])],
                        {"target": target, "operations": 20_000}, targets=[Target(LIBURING, 0.65, 1)],
                        quick={"operations": 1_000}, writes=True))
    return result
