"""A plot of ratios as SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot  # noqa: E402


def write_plot(
    file: Path,
    rows: Mapping[str, Sequence[float]],
    targets: Mapping[str, float],
    names: Sequence[str],
    scale: str = "linear",
) -> None:
    """Write `file`: for each row a bar per name, and a mark where its target is.

    `scale` is linear or log.
    """
    matplotlib.rcParams["svg.hashsalt"] = "scim"
    figure, axes = pyplot.subplots(figsize=(9, 0.55 * len(rows) + 1.2))
    height = 0.8 / len(names)
    for position, name in enumerate(names):
        places = [index + (position - (len(names) - 1) / 2) * height for index in range(len(rows))]
        axes.barh(places, [row[position] for row in rows.values()], height * 0.9, label=name)
    for index, title in enumerate(rows):
        axes.plot([targets[title]] * 2, [index - 0.45, index + 0.45], color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xscale(scale)
    axes.set_xlabel("times; the black line is the target")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
