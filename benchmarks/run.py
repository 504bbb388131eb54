#!/usr/bin/env python3
"""Runs the contenders of the benchmarks against each other and writes the tables and plots of docs/performance.md.

Each contender is a program of its own. In a round every one runs once, in an order that changes; what is reported is the
median over the rounds, and ratios within a round's company. Latency, system calls and times come from separate runs: the
first two would slow the short operations down.
"""

import argparse
import importlib.util
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from report import judged, number, plot, plot_growth, render, render_rows
from tables import GIB, MIB, OURS, tables

# ---- running


class Runner:
    def __init__(self, programs, data, rounds):
        self.programs, self.data, self.rounds = programs, data, rounds

    def available(self, contender):
        return (self.programs / contender.program).exists()

    def command(self, contender, workload, arguments):
        line = [str(self.programs / contender.program), workload]
        for name, value in arguments.items():
            if value is True:
                line.append(f"--{name}")
            elif value is not False:
                line += [f"--{name}", str(value)]
        return line

    def run(self, contender, workload, arguments, prefix=()):
        environment = os.environ | dict(contender.environment)
        done = subprocess.run([*prefix, *self.command(contender, workload, arguments)], env=environment, text=True,
                              capture_output=True, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(f"{contender.label}, {workload}: {done.stderr.strip()[-300:]}")
        result = json.loads(done.stdout)
        if not result["backend"].startswith(contender.backend):
            raise RuntimeError(f"{contender.label} was served by {result['backend']}")
        return result

    @staticmethod
    def read_once(path):
        """Into the page cache."""
        if path:
            with open(path, "rb", buffering=0) as file:
                while file.read(MIB):
                    pass

    @staticmethod
    def drop(path, every_other=0):
        """Out of the page cache: all of it, or every other so many bytes."""
        if path:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                starts = range(0, os.stat(path).st_size, 2 * every_other) if every_other else [0]
                for start in starts:
                    os.posix_fadvise(file.fileno(), start, every_other, os.POSIX_FADV_DONTNEED)

    def prepare(self, table):
        """Before each run: what the one before has left to be written would slow this one down."""
        if table.writes:
            os.sync()
        self.drop(table.cold)
        self.drop(table.half_cold, every_other=256 * 1024)

    def clean(self):
        (self.data / "target.bin").unlink(missing_ok=True)

    def system_calls(self, contender, workload, arguments):
        """Per operation: the difference between two runs, so that beginning and end do not count."""
        if not shutil.which("strace") or "operations" not in arguments:
            return None
        counts = []
        for operations in (500, 2500):
            with tempfile.NamedTemporaryFile("r") as log:
                self.run(contender, workload, arguments | {"operations": operations},
                         ("strace", "-f", "-qq", "-c", "-U", "calls,name", "-o", log.name))
                counts.append(sum(int(line.split()[0]) for line in log if re.match(r"\s*\d+ (?!total)\w", line)))
        return (counts[1] - counts[0]) / 2000

    def measure(self, table, quick):
        arguments = table.arguments | (table.quick if quick else {})
        entries = [entry for entry in table.entries if self.available(entry[0])]
        results = {entry: [] for entry in entries}
        for _ in range(self.rounds):
            order = entries[:]
            random.shuffle(order)
            for number_in_round, (contender, workload) in enumerate(order):
                if number_in_round == 0 or table.half_cold:
                    self.read_once(table.warm)
                self.prepare(table)
                results[contender, workload].append(self.run(contender, workload, arguments))
                self.clean()
        rows = []
        for (contender, workload), runs in results.items():
            row = {"label": contender.label, "workload": workload, "backend": runs[0]["backend"],
                   "rings": runs[0]["rings"], "threads": runs[0]["threads"], "operations": runs[0]["operations"]}
            work = runs[0]["operations"] * (runs[0]["block"] if table.unit == "bytes" else 1)
            row["rates"] = [work / run["seconds"] for run in runs]
            row["rate"] = statistics.median(row["rates"])
            for key in ("cpu_us", "allocations", "switches", "line_bytes"):
                if key in runs[0]:
                    row[key] = statistics.median(run[key] for run in runs)
            self.read_once(table.warm)
            self.prepare(table)
            if table.traced:
                timed = self.run(contender, workload, arguments | {"latency": True})
                row |= {key: timed[key] for key in ("p50_us", "p99_us", "max_us") if key in timed}
                row["system_calls"] = self.system_calls(contender, workload, arguments)
            self.clean()
            rows.append(row)
        checks = {row.get("line_bytes") for row in rows} - {None}
        if len(checks) > 1:
            raise RuntimeError(f"{table.name}: not everybody has seen the same lines: {checks}")
        return rows


# ---- what is no rate


def median_run(runner, contender, workload, arguments, key):
    runs = [runner.run(contender, workload, arguments) for _ in range(runner.rounds)]
    runner.clean()
    return sorted(runs, key=lambda run: run[key])[len(runs) // 2]


def memory(runner, data, quick):
    """W10: bytes for each open stream, and for each waiting operation."""
    streams, waiting = (1_000, 1_000) if quick else (10_000, 100_000)
    rows = []
    for contender in OURS[::2]:
        opened = median_run(runner, contender, "memory-streams", {"file": data / "small" / "0", "operations": streams}, "bytes_each")
        waits = median_run(runner, contender, "memory-waiting", {"operations": waiting}, "bytes_each")
        rows.append([contender.label, number(opened["bytes_each"], 0), number(opened["bytes_each_read"], 0), number(waits["bytes_each"], 0)])
    columns = ["context", f"bytes for one of {streams} open streams", "after each has read", f"bytes for one of {waiting} waiting reads"]
    return render_rows("W10: memory", columns, rows)


def responsiveness(runner, data, quick):
    """W11: how late a ticker of 1 ms gets beside other work on its context."""
    big, cached, target = data / "log80.txt", data / "cached.bin", data / "target.bin"
    loads = [("4 GiB of writes of 1 MiB", "ticker-writes", {"target": target, "block": MIB, "operations": 64 if quick else 4096}, None, None),
             ("cold read() of 1 GiB", "ticker-read", {"file": big}, None, big),
             ("cached read() of 1 GiB", "ticker-read", {"file": big}, big, None),
             ("64 readers of a cached 512 MiB, 64 KiB each", "ticker-readers", {"file": cached, "block": 65536, "depth": 64}, cached, None)]
    rows = []
    for title, workload, arguments, warm, cold in loads:
        for contender in OURS[::2]:
            runs = []
            for _ in range(min(runner.rounds, 3)):
                runner.read_once(warm)
                runner.drop(cold)
                runs.append(runner.run(contender, workload, arguments))
                runner.clean()
            rows.append([title, contender.label,
                         *(number(statistics.median(run[key] for run in runs), 0) for key in ("p50_us", "p99_us", "max_us"))])
    return render_rows("W11: how late a ticker of 1 ms gets", ["beside", "context", "p50 µs", "p99 µs", "max µs"], rows)


def coroutines(runner):
    """W8, by Google Benchmark."""
    program = runner.programs / "bench_coroutines"
    if not program.exists():
        return ""
    done = subprocess.run([program, "--benchmark_format=json", f"--benchmark_repetitions={runner.rounds}", "--benchmark_min_time=0.1"],
                          capture_output=True, text=True, check=True)
    medians = [each for each in json.loads(done.stdout)["benchmarks"] if each.get("aggregate_name") == "median"]
    rows = []
    for each in medians:
        items = each.get("items_per_second")
        rows.append([each["run_name"], number(each["real_time"], 1), number(each["cpu_time"], 1), number(1e9 / items, 1) if items else ""])
    return render_rows("W8: what coroutines cost", ["what", "ns", "CPU ns", "ns for each item"], rows)


def compilation(runner, include):
    """W12: one include alone, and with a coroutine that reads a file."""
    ours = [f"-I{include}", "-DCAIO_WITH_LIBURING=1", "-DCAIO_WITH_LIBAIO=1"]
    asio = ["-DBOOST_ASIO_HAS_IO_URING", "-DBOOST_ASIO_DISABLE_EPOLL"]
    nothing = "int main() {}\n"
    read_by_ours = """caio::Task<> read() {
  aiofile::AIOFile file = co_await aiofile::AIOFile("x");
  co_await file.read(4096);
}
int main() { caio::run(read()); }
"""
    read_by_asio = """namespace asio = boost::asio;
asio::awaitable<void> read() {
  asio::random_access_file file(co_await asio::this_coro::executor, "x", asio::random_access_file::read_only);
  std::string text(4096, ' ');
  co_await asio::async_read_at(file, 0, asio::buffer(text), asio::use_awaitable);
}
int main() {
  asio::io_context context(1);
  asio::co_spawn(context, read(), asio::detached);
  context.run();
}
"""
    programs = [("aiofile/aiofile.hpp", "", nothing, ours), ("aiofile/aiofile.hpp", " and a read", read_by_ours, ours),
                ("aiofile/file.hpp", "", nothing, ours), ("aiofile/file.hpp", " and a read", read_by_ours, ours),
                ("boost/asio.hpp", "", nothing, asio), ("boost/asio.hpp", " and a read", read_by_asio, asio),
                ("fstream", "", nothing, [])]
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        source, binary = Path(directory) / "one.cpp", Path(directory) / "one"
        for header, more, body, flags in programs:
            source.write_text(f"#include <{header}>\n{body}")
            times = []
            for _ in range(runner.rounds):
                before = os.times().children_user
                done = subprocess.run(["g++", "-std=c++20", "-O2", *flags, source, "-o", binary, "-s", "-luring", "-laio", "-pthread"])
                if done.returncode != 0:
                    break
                times.append(os.times().children_user - before)
            if times:
                rows.append([f"`#include <{header}>`{more}", number(statistics.median(times)), number(binary.stat().st_size / 1024, 0)])
    return render_rows("W12: compiling one include (g++ -O2)", ["", "CPU s", "KiB, stripped"], rows)


def growth(runner, data, quick, out):
    """What grows: operations under way, gathered records, waiting operations."""
    counts = [1, 10, 100, 1_000, 10_000] + ([] if quick else [100_000])
    cached, target = data / "cached.bin", data / "target.bin"
    curves = []
    def curve(label, contender, workload, arguments, many):
        points = []
        for count in counts:
            runs = [runner.run(contender, workload, arguments(count)) for _ in range(min(runner.rounds, 3))]
            points.append((many(count), statistics.median(run["seconds"] for run in runs)))
            runner.clean()
        curves.append((label, points))
    for contender in (OURS[0], OURS[1], OURS[5]):
        curve(f"reads at that depth, {contender.label}", contender, "random-read",
              lambda count: {"file": cached, "depth": count, "block": 512, "operations": max(count * 4, 20_000)}, lambda count: max(count * 4, 20_000))
    curve("waiting for a pipe", OURS[0], "memory-waiting", lambda count: {"operations": count}, lambda count: count)
    curve("records through Writer", OURS[0], "small-writes-writer", lambda count: {"target": target, "block": 64, "operations": count * 10}, lambda count: count * 10)
    if out:
        plot_growth(curves, out / "growth.svg")
    rows = [[label, *(number(seconds * 1e6 / count, 3) for count, seconds in points)] for label, points in curves]
    return render_rows("Growth: microseconds for each", ["", *(number(count, 0) for count in counts)], rows)


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) // MIB
    return f"{os.cpu_count()} processors ({model[1] if model else platform.machine()}), {memory} GiB, Linux {platform.release()}"


def file_system(path):
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True)
    return done.stdout.strip()


# ---- data


def make_data(data, quick):
    (data / "small").mkdir(parents=True, exist_ok=True)
    scale = 16 if quick else 1

    def make(path, size, block):
        if path.exists() and path.stat().st_size == size:
            return
        with open(path, "wb") as file:
            while file.tell() < size:
                file.write(block[: size - file.tell()])

    generator = random.Random(1)
    make(data / "cached.bin", 512 * MIB // scale, generator.randbytes(MIB))
    make(data / "hot.bin", 8 * MIB, generator.randbytes(MIB))
    for length in (80, 12):
        # Lengths vary around the mean, so that branch predictors have something to do.
        block = b"".join(b"x" * generator.randint(length // 2, length * 3 // 2 - 2) + b"\n" for _ in range(20_000))
        make(data / f"log{length}.txt", GIB // (1 if length == 80 else 4) // scale, block)
    for index in range(10_000):
        path = data / "small" / str(index)
        if not path.exists():
            path.write_bytes(generator.randbytes(generator.randint(1000, 8000)))
    if not (data / "tree").exists():
        growing = data / "tree.growing"
        for directory in range(1000):
            path = growing / f"directory{directory:04}"
            path.mkdir(parents=True, exist_ok=True)
            for file in range(100):
                (path / f"file_number_{file:03}.txt").touch()
        growing.rename(data / "tree")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path, help="where the contenders are")
    parser.add_argument("--data", type=Path, required=True, help="a directory on the file system to be measured (about 3 GiB)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small files and few operations: to see that all of it works")
    parser.add_argument("--only", default="", help="tables whose name matches this regular expression")
    parser.add_argument("--out", type=Path, help="a directory for tables.md, results.json and the plots")
    options = parser.parse_args()

    options.data.mkdir(parents=True, exist_ok=True)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    make_data(options.data, options.quick)
    runner = Runner(options.programs, options.data, options.rounds)
    plots = options.out and importlib.util.find_spec("matplotlib")
    whole = {"w8": lambda: coroutines(runner), "w10": lambda: memory(runner, options.data, options.quick),
             "w11": lambda: responsiveness(runner, options.data, options.quick),
             "w12": lambda: compilation(runner, Path(__file__).parent.parent / "include"),
             "growth": lambda: growth(runner, options.data, options.quick, options.out if plots else None)}
    sections = {}
    for table in tables(options.data):
        sections[table.name] = None
        if re.search(options.only, table.name):
            rows = runner.measure(table, options.quick)
            judgement = judged(table, rows)
            text = render(table, rows, judgement)
            print(text, flush=True)
            if plots:
                plot(table, rows, options.out / f"{table.name}.svg")
                text += f"\n![{table.title}]({table.name}.svg)\n"
            sections[table.name] = {"text": text, "rows": rows, "targets": judgement}
    for name, measure in whole.items():
        sections[name] = None
        if re.search(options.only, name):
            text = measure()
            print(text, flush=True)
            if plots and name == "growth":
                text += "\n![growth](growth.svg)\n"
            sections[name] = {"text": text, "rows": [], "targets": []}
    conditions = f"{machine()}, {file_system(options.data)}; {options.rounds} rounds, medians."
    if options.out:
        publish(sections, conditions, options.out)
    print("\n".join([conditions, *summary(sections)]))
    return 0


def summary(sections):
    lines = ["| workload | ours | against | ratio | must | aim | |", "|---|---|---|--:|--:|--:|---|"]
    for section in filter(None, sections.values()):
        lines += [f"| {v['title']} | {v['what']} | {v['against']} | {v['ratio']:.2f} | {v['must']} | {v['great']} | {v['verdict']} |"
                  for v in section["targets"]]
    return lines


def publish(sections, conditions, out):
    """Writes results.json and tables.md. What was not measured this time stays as it was."""
    path = out / "results.json"
    before = json.loads(path.read_text())["sections"] if path.exists() else {}
    sections = {name: section or before.get(name) for name, section in sections.items()}
    path.write_text(json.dumps({"conditions": conditions, "sections": sections}, indent=1))
    texts = [section["text"] for section in filter(None, sections.values())]
    (out / "tables.md").write_text("\n".join([conditions, "", "## Targets", "", *summary(sections), "", "## Tables", "", *texts]))


if __name__ == "__main__":
    sys.exit(main())
