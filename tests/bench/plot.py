"""The plot of docs/benchmarks.md: `plot.py RESULTS.json OUT.svg`, run where matplotlib is."""

import json
import sys
from pathlib import Path
from statistics import median


def main() -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "pypi-mirror"
    from matplotlib import pyplot

    told = json.loads(Path(sys.argv[1]).read_text())
    servers = list(dict.fromkeys(one["server"] for one in told["warm"]))
    clients = list(dict.fromkeys(one["clients"] for one in told["warm"]))
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4), sharey=True)
    titles = {"json": "146 pages, JSON", "html": "146 pages, HTML", "files": "146 files, 158 MB"}
    for axis, (kind, title) in zip(axes, titles.items(), strict=True):
        for server in servers:
            took = {
                count: [
                    one["seconds"]
                    for one in told["warm"]
                    if (one["server"], one["kind"], one["clients"]) == (server, kind, count)
                ]
                for count in clients
            }
            points = [(count, median(seconds)) for count, seconds in took.items() if seconds]
            axis.plot(*zip(*points, strict=True), marker="o", label=server)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(clients, [str(count) for count in clients])
        axis.minorticks_off()
        axis.set_title(title)
        axis.set_xlabel("clients at once")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds, warm")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


main()
