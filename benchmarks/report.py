"""Tables and plots of what was measured."""

import statistics

from tables import MIB


def judged(table, rows):
    found = {(row["label"], row["workload"]): row for row in rows}
    default = {contender.label: workload for contender, workload in reversed(table.entries)}
    verdicts = []
    for target in table.targets:
        mine = found.get((target.of.label, target.workload or default[target.of.label]))
        other = found.get((target.to.label, target.reference or target.workload or default.get(target.to.label)))
        if not mine or not other:
            continue
        ratio = round(statistics.median(a / b for a, b in zip(mine["rates"], other["rates"])), 2)
        verdict = "great" if ratio >= target.great else "must" if ratio >= target.must else "MISSED"
        against = other["label"] + (f" ({other['workload']})" if target.reference else "")
        what = mine["label"] + (f" ({mine['workload']})" if target.workload else "")
        verdicts.append({"table": table.name, "title": table.title, "what": what, "against": against, "ratio": ratio,
                         "must": target.must, "great": target.great, "verdict": verdict})
    return verdicts


def number(value, digits=2):
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.{digits}f}"


def render(table, rows, verdicts):
    best = max(row["rate"] for row in rows)
    unit, scale = ("MiB/s", MIB) if table.unit == "bytes" else ("thousand/s", 1000)
    several = len({row["workload"] for row in rows}) > 1
    lines = [f"### {table.title}", "",
             f"| contender | {unit} | of the best | CPU µs/op | p50 µs | p99 µs | system calls/op | allocations/op | rings, threads |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row in sorted(rows, key=lambda row: -row["rate"]):
        label = row["label"] + (f": {row['workload']}" if several else "")
        cells = [label, number(row["rate"] / scale, 1), number(row["rate"] / best), number(row.get("cpu_us")),
                 number(row.get("p50_us"), 1), number(row.get("p99_us"), 1), number(row.get("system_calls")),
                 number(row.get("allocations")), f"{row['rings']}, {row['threads']}"]
        lines.append("| " + " | ".join(cells) + " |")
    if verdicts:
        lines += ["", "| ours | against | ratio | must | aim | |", "|---|---|--:|--:|--:|---|"]
        lines += [f"| {v['what']} | {v['against']} | **{v['ratio']:.2f}** | {v['must']} | {v['great']} | {v['verdict']} |"
                  for v in verdicts]
    return "\n".join([*lines, ""])


def pyplot():
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "aiofile"
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: a fifth of the size
    import matplotlib.pyplot

    return matplotlib.pyplot


def plot(table, rows, path):
    plt = pyplot()
    rows = sorted(rows, key=lambda row: row["rate"])
    scale = MIB if table.unit == "bytes" else 1000
    several = len({row["workload"] for row in rows}) > 1
    labels = [row["label"] + (f": {row['workload']}" if several else "") for row in rows]
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(rows) + 1))
    axes.barh(labels, [row["rate"] / scale for row in rows],
              color=["#1f77b4" if row["label"].startswith("aiofile") else "#bbbbbb" for row in rows])
    spread = [[(row["rate"] - min(row["rates"])) / scale for row in rows], [(max(row["rates"]) - row["rate"]) / scale for row in rows]]
    axes.errorbar([row["rate"] / scale for row in rows], labels, xerr=spread, fmt="none", ecolor="#333333", linewidth=0.8)
    axes.set_title(table.title, fontsize=10)
    axes.set_xlabel("MiB/s" if table.unit == "bytes" else "thousand operations/s")
    axes.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def plot_growth(curves, path):
    """`curves`: (label, [(count, seconds)]). Straight in both logarithms means that the cost of one stays."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 4))
    for label, points in curves:
        axes.loglog([count for count, _ in points], [seconds * 1e6 / count for count, seconds in points], marker="o", label=label)
    axes.set_xlabel("how many")
    axes.set_ylabel("microseconds for each")
    axes.grid(True, which="major", linewidth=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def render_rows(title, columns, rows):
    lines = [f"### {title}", "", "| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, ""])
