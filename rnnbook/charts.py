"""Figures of the chapters on implementation: one Axes in, labelled Axes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from rnnbook.checkpoint import History
from rnnbook.evaluate import Calibration
from rnnbook.plot import BLUE, GREEN, GREY, ORANGE, PURPLE, _axes
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
    """Draw speed ratios over H, a panel for each layer of tasks "LSTM, H=64": medians, whiskers to the extremes.

    Forms come in the order of the rows; the last one is drawn strongest. The grey line is ``torch.nn``.
    """
    kinds, models = (
        list(dict.fromkeys(names))
        for names in ((row.task.partition(",")[0] for row in rows), (row.model for row in rows))
    )
    if axes is None:
        axes = plt.subplots(1, len(kinds), sharey=True, squeeze=False)[1][0]
    looks = [(ORANGE, "-.", "o"), (PURPLE, ":", "s"), (GREEN, "--", "^"), (BLUE, "-", "D")][-len(models) :]
    for ax, kind in zip(axes, kinds, strict=True):
        ticks: dict[int, None] = {}
        ax.axhline(1.0, color=GREY, linestyle="-", linewidth=1)
        for k, (model, (colour, dash, marker)) in enumerate(zip(models, looks, strict=True)):
            own = [row for row in rows if row.model == model and row.task.partition(",")[0] == kind]
            sizes = [int(row.task.rpartition("=")[2]) for row in own]
            ticks |= dict.fromkeys(sizes)
            x = [size * 1.06 ** (k - (len(models) - 1) / 2) for size in sizes]
            middle = [median(row.values) for row in own]
            ax.plot(x, middle, color=colour, linestyle=dash, marker=marker, label=model)
            low, high = ([end(row.values) for row in own] for end in (min, max))
            ax.vlines(x, low, high, color=colour, linewidth=1)
        ax.set(xscale="log", xlabel=f"H of the {kind}")
        ax.set_xticks(list(ticks), [str(size) for size in ticks])
        ax.minorticks_off()
        ax.grid(visible=False, axis="x")
    top = max(max(row.values) for row in rows)
    axes[0].set(ylabel="speed, torch.nn = 1", ylim=(0, 1.05 * max(1.0, top)))
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
    ax.set(xlabel="steps (log scale)", ylabel="relative difference (log scale)")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yscale("log")
    ticks = [10.0**power for power in (-8, -6, -4, -2, 0)]
    ax.set_yticks([floor, *ticks], ["0", *(f"$10^{{{round(math.log10(tick))}}}$" for tick in ticks)])
    ax.minorticks_off()
    ax.set_ylim(floor / 3, 5)
    return ax


def plot_steps(
    series: Mapping[str, Sequence[float]], *, ylabel: str, window: int = 10, ax: Axes | None = None
) -> Axes:
    """Draw a number for each step: thin as it is, thick the median of ``window`` steps; NaN leaves a gap."""
    ax = _axes(ax)
    looks = ((BLUE, "-"), (ORANGE, "--"), (GREEN, ":"))
    for (name, values), (colour, dash) in zip(series.items(), looks, strict=False):
        ax.plot(values, color=colour, linestyle="-", linewidth=0.6, alpha=0.4)
        x = range(window - 1, len(values))
        parts = [values[i + 1 - window : i + 1] for i in x]
        middle = [math.nan if any(map(math.isnan, part)) else median(part) for part in parts]
        ax.plot(x, middle, color=colour, linestyle=dash, label=name)
    ax.set(xlabel="step", ylabel=ylabel)
    ax.legend()
    return ax


def plot_range_test(
    rates: Sequence[float], losses: Sequence[float], chosen: float, *, window: int = 5, ax: Axes | None = None
) -> Axes:
    """Draw the losses of a range test over its rates, thick their mean over ``window``, and the chosen rate."""
    ax = _axes(ax)
    half = window // 2
    mean = [sum(losses[i - half : i + half + 1]) / window for i in range(half, len(losses) - half)]
    ax.plot(rates, losses, color=BLUE, linestyle="-", linewidth=0.6, alpha=0.5)
    ax.plot(rates[half : len(rates) - half], mean, color=BLUE, linestyle="-")
    ax.axvline(chosen, color=ORANGE, linestyle="--")
    ax.annotate(" chosen", (chosen, max(mean)), color=ORANGE, ha="left", va="top")
    ax.set(xscale="log", xlabel="learning rate (log scale)", ylabel="loss before the step (nats)")
    ax.set_ylim(min(losses) - 0.05, max(mean) + 0.05)
    return ax


def plot_epochs(history: History, *, ax: Axes | None = None) -> Axes:
    """Draw training and validation loss over epochs, counted from 1, and mark the best epoch."""
    ax = _axes(ax)
    x, best = range(1, len(history.val_loss) + 1), history.best_epoch
    ax.plot(x, history.train_loss, color=BLUE, linestyle="-", marker="o", label="training")
    ax.plot(x, history.val_loss, color=ORANGE, linestyle="--", marker="D", label="validation")
    ax.plot([best + 1], [history.val_loss[best]], "o", mfc="none", mec="black", ms=14, label="best epoch")
    ax.set(xlabel="epoch", ylabel="loss (nats)")
    ax.set_xticks(x)
    ax.legend()
    return ax


def plot_symptoms(
    runs: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, floor: float, columns: int = 2
) -> Axes:
    """Draw runs (training, validation), a loss for each epoch, a panel each; the first one in grey in all.

    Losses above 1.2 nats get an axis of their own. The thin line is ``floor``, which no honest model passes.
    """
    (_, correct), *rest = runs.items()
    rows = math.ceil(len(rest) / columns)
    _, axes = plt.subplots(rows, columns, sharex=True, squeeze=False, figsize=(3.2 * columns, 1.9 * rows))
    for ax, (name, run) in zip(axes.flat, rest, strict=False):
        for pair, colours, width in ((correct, (GREY, GREY), 1.2), (run, (BLUE, ORANGE), 2.2)):
            for losses, colour, dash in zip(pair, colours, ("-", "--"), strict=True):
                ax.plot(range(1, len(losses) + 1), losses, color=colour, linestyle=dash, linewidth=width)
        top = max(map(max, run))
        ax.set_ylim(0, 1.2 if top < 1.2 else 1.25 * top)
        ax.axhline(floor, color="black", linestyle=":", linewidth=0.8)
        ax.text(0.97, 0.95, name, ha="right", va="top", transform=ax.transAxes)
    for ax in axes[-1]:
        ax.set(xlabel="epoch", xticks=range(0, len(correct[0]) + 1, 3))
    for ax in axes[:, 0]:
        ax.set(ylabel="loss (nats)")
    first: Axes = axes[0, 0]
    first.figure.legend(first.lines[2:4], ("training", "validation"), loc="outside upper center", ncols=2)
    return first
