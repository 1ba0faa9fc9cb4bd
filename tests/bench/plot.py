"""Plot the warm results for docs/benchmarks.md: `plot.py RESULTS.json OUT.svg`.

Runs in the benchmark's own environment, which has matplotlib.
"""

import json
import sys
from pathlib import Path
from statistics import median


def main() -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "pypi-mirror"
    from matplotlib import pyplot

    runs = json.loads(Path(sys.argv[1]).read_text())["warm"]
    servers = list(dict.fromkeys(run["server"] for run in runs))
    clients = list(dict.fromkeys(run["clients"] for run in runs))
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4), sharey=True)
    titles = {"json": "146 pages, JSON", "html": "146 pages, HTML", "files": "146 files, 158 MB"}
    for axis, (kind, title) in zip(axes, titles.items(), strict=True):
        for server in servers:
            seconds = {
                count: [
                    run["seconds"]
                    for run in runs
                    if (run["server"], run["kind"], run["clients"]) == (server, kind, count)
                ]
                for count in clients
            }
            points = [(count, median(values)) for count, values in seconds.items() if values]
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
