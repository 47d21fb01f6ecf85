"""Figures of the chapters on implementation: one Axes in, labelled Axes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from rnnbook.evaluate import Calibration
from rnnbook.plot import BLUE, GREEN, GREY, ORANGE, _axes
from rnnbook.results import Row


def plot_reliability(models: Mapping[str, Calibration], *, ax: Axes | None = None) -> Axes:
    """Draw for each model the share of right answers against its confidence, a mark a bin that is not empty.

    The area of a mark grows with the number of texts in its bin; on the grey diagonal a model keeps its word.
    """
    ax = _axes(ax)
    ax.axline((0.5, 0.5), (1, 1), color=GREY, linestyle="-", linewidth=0.8)
    for (name, found), colour, marker in zip(models.items(), (BLUE, ORANGE, GREEN), "oDs", strict=False):
        held = found.count > 0
        x, y, size = (part[held].numpy() for part in (found.confidence, found.accuracy, found.count))
        (line,) = ax.plot(x, y, color=colour, marker=marker, markersize=4, label=name)
        ax.scatter(x, y, s=20 + 600 * size / size.sum(), color=line.get_color(), marker=marker, alpha=0.35)
    ax.set(xlabel="confidence (mean probability of the answer)", ylabel="share of right answers")
    ax.set(xlim=(0.48, 1.02), ylim=(0.38, 1.02))
    ax.legend(loc="upper left")
    return ax


def plot_splits(
    networks: Sequence[Row], baselines: Sequence[Row], item_deviation: float, *, ax: Axes | None = None
) -> Axes:
    """Draw scores over splits, a row of each kind a split: a dot a seed, and a diamond for the baseline.

    At the right, two deviations of chance in the test items to both sides of the grand mean.
    """
    ax = _axes(ax)
    names = ("one seed of the network", "mean of its seeds", "baseline, same split")
    for k, (row, other) in enumerate(zip(networks, baselines, strict=True)):
        labels = names if k == 0 else (None,) * 3
        ax.plot([k + 1] * len(row.values), row.values, "o", color=BLUE, mfc="none", ms=4, label=labels[0])
        ax.plot([k + 0.75, k + 1.25], [row.mean] * 2, color=BLUE, linestyle="-", label=labels[1])
        ax.plot([k + 1.3], [other.mean], "D", color=ORANGE, label=labels[2])
    grand = sum(row.mean for row in networks) / len(networks)
    end = len(networks) + 1.2
    ax.errorbar([end], [grand], yerr=2 * item_deviation, color=GREY, marker="s", capsize=5, linestyle="none")
    ticks = [*range(1, len(networks) + 1), end]
    ax.set_xticks(ticks, [*map(str, ticks[:-1]), "items"])
    ax.set(xlabel="split", ylabel="accuracy (share)")
    ax.grid(visible=False, axis="x")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handlelength=1, columnspacing=1)
    return ax


def plot_calls(calls: Mapping[str, Mapping[str, float]], *, ax: Axes | None = None) -> Axes:
    """Draw how often each form calls PyTorch in a time step: a bar for each form, a piece for each kind."""
    ax = _axes(ax)
    names = list(calls)
    ends = [0.0] * len(names)
    for kind, colour in zip(calls[names[0]], (BLUE, ORANGE, "#C8C8C8"), strict=True):
        widths = [calls[name][kind] for name in names]
        ax.barh(names, widths, left=ends, height=0.62, color=colour, label=kind)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for y, end in enumerate(ends):
        ax.text(end + max(ends) / 60, y, f"{end:.0f}", va="center")
    ax.set(xlabel="calls per time step, forward and backward", xlim=(0, 1.08 * max(ends)))
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower right")
    return ax


def plot_speed(rows: Sequence[Row], *, axes: Sequence[Axes] | None = None) -> Axes:
    """Draw speed ratios over H, a panel for each layer of tasks "LSTM, H=64": medians, whiskers to the extremes."""
    kinds = list(dict.fromkeys(row.task.partition(",")[0] for row in rows))
    if axes is None:
        axes = plt.subplots(1, len(kinds), sharey=True, squeeze=False)[1][0]
    for ax, kind in zip(axes, kinds, strict=True):
        own = [row for row in rows if row.task.partition(",")[0] == kind]
        ax.axhline(1.0, color=GREY, linestyle="-", linewidth=1)
        for model, marker in zip(dict.fromkeys(row.model for row in own), "os^D", strict=False):
            points = [(int(row.task.rpartition("=")[2]), row.values) for row in own if row.model == model]
            sizes = [size for size, _ in points]
            (line,) = ax.plot(sizes, [median(values) for _, values in points], marker=marker, label=model)
            for size, values in points:
                ax.vlines(size, min(values), max(values), color=line.get_color(), linewidth=1)
        ax.set(xscale="log", xlabel=f"H of the {kind}", ylim=(0, None))
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.margins(x=0.15)
    axes[0].set(ylabel="speed, torch.nn = 1")
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return axes[0]


def plot_rectangles(
    kinds: Mapping[str, Sequence[Sequence[int]]], *, axes: Sequence[Axes] | None = None
) -> Axes:
    """Draw batches, given by the lengths of their rows, as bars in a panel for each kind: tokens, then padding."""
    if axes is None:
        axes = plt.subplots(1, len(kinds), sharex=True, sharey=True)[1]
    for ax, (name, batches) in zip(axes, kinds.items(), strict=True):
        y = 0.0
        for lengths in batches:
            rows, width = [y + k for k in range(len(lengths))], max(lengths)
            ax.barh(rows, lengths, height=1.0, color=BLUE, label=None if y else "tokens")
            rest = [width - length for length in lengths]
            ax.barh(rows, rest, left=lengths, height=1.0, color="#F2B48A", label=None if y else "padding")
            y += len(lengths) + 3
        ax.set(xlabel=f"time step, {name}")
        ax.set_yticks([])
        ax.grid(visible=False)
    axes[0].set(ylabel="rows of the batches")
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return axes[0]


def plot_parting(
    distances: Mapping[str, Sequence[Sequence[float]]],
    steps: Sequence[int],
    *,
    floor: float = 1e-10,
    ax: Axes | None = None,
) -> Axes:
    """Draw relative distances of two runs over steps: for each name a list of runs, one distance a step.

    The thick line is the median of a name's runs. Exactly equal weights lie on the axis below, marked 0.
    """
    ax = _axes(ax)
    for (name, runs), marker in zip(distances.items(), "os^Dv<", strict=False):
        drawn = [[max(value, floor) for value in run] for run in runs]
        middle = [median(column) for column in zip(*drawn, strict=True)]
        (line,) = ax.plot(steps, middle, linewidth=2, marker=marker, markersize=4, label=name)
        for run in drawn:
            ax.plot(steps, run, color=line.get_color(), linestyle="-", marker="", linewidth=0.6, alpha=0.35)
    ax.set(xlabel="steps (log scale)", ylabel="relative difference of the weights (log scale)")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = [10.0**power for power in (-8, -6, -4, -2, 0)]
    ax.set_yticks([floor, *ticks], ["0", *(f"$10^{{{round(math.log10(tick))}}}$" for tick in ticks)])
    ax.minorticks_off()
    ax.set_ylim(floor / 3, 5)
    return ax
