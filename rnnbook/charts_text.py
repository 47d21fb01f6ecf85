"""Figures of the chapters on text classification: one Axes in, labelled Axes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby, pairwise, product
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from rnnbook.plot import BLUE, GREEN, GREY, ORANGE, PURPLE, YELLOW, _axes
from rnnbook.results import Row

DARK = "#404040"
HALO: list[AbstractPathEffect] = [
    withStroke(linewidth=3, foreground="white")
]  # a line behind a word stays behind it
LOOKS = ((BLUE, "o"), (ORANGE, "D"), (GREEN, "s"))


def _reach(row: Row, scale: float = 1.0) -> list[list[float]]:
    """Return what ``errorbar`` wants of a row: how far the interval goes down, and up."""
    return [[scale * (row.mean - row.low)], [scale * (row.high - row.mean)]]


def _place(ax: Axes, labels: Sequence[Annotation], taken: list[Bbox]) -> None:
    """Move each label around its point to where it meets no other one, nor the boxes ``taken`` (pixels)."""
    inside = ax.get_window_extent()
    sides = [(1, 0), (1, -1), (0, 1), (0, -1), (-1, 1), (-1, 0), (1, 1), (-1, -1)]
    for label in labels:
        found: list[tuple[int, tuple[int, int], str, str, Bbox]] = []
        for far, (x, y) in product((8, 14, 22, 32), sides):
            look = ({1: "left", 0: "center", -1: "right"}[x], {1: "bottom", 0: "center", -1: "top"}[y])
            place = (far * x, far * y)
            label.set(position=place, ha=look[0], va=look[1])
            box = label.get_window_extent()
            within = Bbox.intersection(inside, box)
            out = within is None or not np.allclose(within.extents, box.extents)
            found.append((sum(map(box.overlaps, taken)) + 5 * out, place, *look, box))
            if not found[-1][0]:
                break
        best = min(found, key=lambda one: one[0])  # the nearest of those that meet least
        label.set(position=best[1], ha=best[2], va=best[3])
        taken.append(best[4])


def plot_budget(
    rows: Sequence[Row],
    names: Mapping[str, str] | None = None,
    *,
    recurrent: Sequence[str] = ("RNN", "LSTM", "GRU"),
    ax: Axes | None = None,
) -> Axes:
    """Draw what a minute of CPU buys: accuracy (per cent) over mean CPU seconds of training, a mark a row.

    Bars are 95 % intervals, the grey steps are the best so far. ``names`` gives models short labels; one
    with a word of ``recurrent`` in its full name is recurrent. The axes should have its final size before.
    Raise ``ValueError`` where a row took no training: a logarithmic axis has no place for it.
    """
    ax = _axes(ax)
    if free := [row.model for row in rows if sum(row.train_cpu_seconds) <= 0]:
        raise ValueError(f"expected CPU seconds of training in each row, got none for {', '.join(free)}")
    found = sorted((float(np.mean(row.train_cpu_seconds)), i) for i, row in enumerate(rows))
    x, order = [x for x, _ in found], [rows[i] for _, i in found]
    best = list(accumulate((100 * row.mean for row in order), max))
    ends = ([*x, 9 * x[-1]], [*best, best[-1]])
    ax.step(*ends, where="post", color="#B0B0B0", linestyle="-", linewidth=1.2, zorder=1)
    labels = []
    for seconds, row in zip(x, order, strict=True):
        kind = any(word in row.model for word in recurrent)
        (colour, marker), y = LOOKS[not kind], 100 * row.mean
        look = {"color": colour, "marker": marker, "markersize": 7, "linestyle": "none"}
        ax.errorbar(seconds, y, _reach(row, 100), **look)  # type: ignore[arg-type]
        name = (names or {}).get(row.model, row.model)
        labels.append(ax.annotate(name, (seconds, y), (8, 0), textcoords="offset points", color=colour))
        labels[-1].set_path_effects(HALO)
    ax.set(xscale="log", xlim=(x[0] / 2.5, 4 * x[-1]))
    ax.margins(y=0.12)
    _finish_budget(ax, labels)
    return ax


def _finish_budget(ax: Axes, labels: Sequence[Annotation]) -> None:
    """Name the axes, mark what people count in, and find places for the labels."""
    for seconds, name in ((1, "1 s"), (60, "1 min"), (3600, "1 h")):
        if ax.get_xlim()[0] < seconds < ax.get_xlim()[1]:
            ax.axvline(seconds, color="#C8C8C8", linestyle=":", linewidth=1.2, zorder=0)
            where = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "bottom", "color": DARK}
            ax.text(seconds, 1.01, name, **where)  # type: ignore[arg-type]
    ax.grid(visible=False, axis="x")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="CPU time of training (seconds, log scale)", ylabel="accuracy (%)")
    marks = [
        ax.plot([], [], color=colour, marker=marker, linestyle="none")[0] for colour, marker in LOOKS[:2]
    ]
    legend = ax.legend(marks, ("recurrent", "linear"), loc="lower right", handlelength=1, frameon=True)
    legend.get_frame().set(facecolor="white", edgecolor="none", alpha=1)
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # lays the axes out: before it, no place in pixels is known
    bars = [bar.lines for bar in ax.containers]  # type: ignore[attr-defined]
    taken = [legend.get_window_extent()]
    taken += [part.get_window_extent() for mark, _, (bar,) in bars for part in (mark, bar)]
    x, y = (np.repeat(np.asarray(values), 2) for values in ax.lines[0].get_data())
    corners = ax.transData.transform(np.stack([x[1:], y[:-1]], axis=1))  # of the steps
    taken += [Bbox([one, other]) for one, other in pairwise(corners)]
    _place(ax, labels, [box.padded(3) for box in taken])


def plot_challenge(rows: Sequence[Row], *, chance: float = 0.5, ax: Axes | None = None) -> Axes:
    """Draw accuracy by phenomenon: a line of marks for each task, a colour and a mark for each model.

    Bars are the 95 % intervals of the rows; tasks and models come in the order of the rows. Raise
    ``ValueError`` for more than three models.
    """
    ax = _axes(ax)
    tasks, models = (
        list(dict.fromkeys(names)) for names in zip(*((r.task, r.model) for r in rows), strict=True)
    )
    if len(models) > len(LOOKS):
        raise ValueError(f"expected up to {len(LOOKS)} models, got {', '.join(models)}")
    ax.axvline(chance, color=GREY, linestyle="--", linewidth=1)
    ax.text(chance, -0.62, "chance", ha="center", va="bottom", color=DARK)
    for k, (model, (colour, marker)) in enumerate(zip(models, LOOKS[: len(models)], strict=True)):
        shift = 0.22 * (k - (len(models) - 1) / 2)
        for row in (row for row in rows if row.model == model):
            y, label = tasks.index(row.task) + shift, model if row.task == tasks[0] else None
            ax.errorbar(
                row.mean, y, xerr=_reach(row), color=colour, marker=marker, linestyle="none", label=label
            )
    for y in range(1, len(tasks), 2):
        ax.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", zorder=0)
    ax.set_yticks(range(len(tasks)), [fill(task, 22) for task in tasks])
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="accuracy (share)", ylim=(len(tasks) - 0.5, -0.6))
    ax.grid(visible=False, axis="y")
    ax.figure.legend(loc="outside upper center", ncols=len(models), handlelength=1, columnspacing=1.5)
    return ax


def plot_attribution(
    tokens: Sequence[str], scores: Mapping[str, Sequence[float]], *, axes: Sequence[Axes] | None = None
) -> Axes:
    """Draw what each token adds to "positive", read from top to bottom, one column of bars a method.

    Methods have units of their own: the longest bar of a column is as long as the column allows.
    """
    if axes is None:
        axes = plt.subplots(1, len(scores), sharey=True, squeeze=False)[1][0]
    y = range(len(tokens))
    for ax, (name, values) in zip(axes, scores.items(), strict=True):
        v = np.asarray(values, dtype=float)
        ax.barh(y, v, height=0.74, color=np.where(v >= 0, BLUE, ORANGE).tolist())
        ax.axvline(0, color=GREY, linestyle="-", linewidth=0.8)
        ax.set_yticks(y, tokens)
        ax.tick_params(axis="y", length=0, labelsize=11)
        limit = 1.05 * float(np.abs(v).max()) or 1.0
        ax.set(xlim=(-limit, limit), xticks=[-limit / 2, 0, limit / 2], xlabel=name)
        ax.set_xticklabels(["−", "0", "+"])
        ax.tick_params(axis="x", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(visible=False)
    axes[0].set_ylim(len(tokens) - 0.4, -0.6)
    return axes[0]


def plot_effects(rows: Sequence[Row], *, base: str = "the base model", ax: Axes | None = None) -> Axes:
    """Draw an ablation: differences of accuracy from the base model (points) with their 95 % intervals.

    A row's task is its group, such as "pooling", and becomes a heading; its model is what was changed;
    mean, low and high are differences of shares. A mark is hollow where the interval holds zero.
    """
    ax = _axes(ax)
    ax.axvline(0, color=GREY, linestyle="-", linewidth=1)
    names: list[str] = []
    heads: list[int] = []
    for group, members in groupby(rows, key=lambda row: row.task):
        heads.append(len(names))
        names.append(group)
        for row in members:
            open_ = row.low <= 0 <= row.high
            colour, marker = (GREY, "o") if open_ else LOOKS[row.mean < 0]
            bar = ax.errorbar(100 * row.mean, len(names), xerr=_reach(row, 100), color=colour, marker=marker)
            bar.lines[0].set(markersize=6.5, markerfacecolor="white" if open_ else colour, linestyle="none")
            names.append(row.model)
    ax.set_yticks(range(len(names)), [fill(name, 30) for name in names])
    for y in heads:
        ax.get_yticklabels()[y].set(weight="bold", color="black")
        ax.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", zorder=0)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel=f"accuracy against {base} (points)", ylim=(len(names) - 0.4, -0.6))
    ax.grid(visible=False, axis="y")
    return ax


def plot_unit(
    tokens: Sequence[str],
    values: Sequence[float],
    *,
    signal: Sequence[bool] = (),
    name: str = "signal",
    ax: Axes | None = None,
) -> Axes:
    """Draw one component of h_t after each token; the tokens where ``signal`` holds are shaded and named.

    Raise ``ValueError`` where there is not one value, and one truth of a signal, for each token.
    """
    ax = _axes(ax)
    if not len(tokens) == len(values) == len(signal or tokens):
        found = f"{len(values)} values and {len(signal)} of the signal"
        raise ValueError(f"expected one of each for {len(tokens)} tokens, got {found}")
    shaded = [t for t, here in enumerate(signal) if here]
    for k, t in enumerate(shaded):
        ax.axvspan(t - 0.5, t + 0.5, color=YELLOW, alpha=0.28, linewidth=0, label=None if k else name)
    ax.axhline(0, color=GREY, linestyle="-", linewidth=0.8)
    ax.plot(range(len(values)), values, color=BLUE, linestyle="-", marker="o")
    wide = max(map(len, tokens)) > 2
    turn = {"rotation": 50, "ha": "right", "rotation_mode": "anchor"} if wide else {}
    ax.set_xticks(range(len(tokens)), tokens, **turn)  # type: ignore[arg-type]
    ax.tick_params(axis="x", length=0, labelsize=10 if wide else 12)
    ax.set(ylabel="value of the unit in $h_t$", xlim=(-0.6, len(tokens) - 0.4))
    ax.grid(visible=False, axis="x")
    if shaded:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0, handlelength=1.2)
    return ax


def plot_ladder(
    steps: Sequence[Row], baselines: Sequence[Row] = (), control: Row | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw repairs as a staircase: a rung each at its accuracy, boxed by its 95 % interval.

    Dashed lines are ``baselines``; ``control`` stands apart at the right, with a mark of another kind.
    """
    ax = _axes(ax)
    for row in baselines:
        ax.axhline(row.mean, color=DARK, linestyle="--", linewidth=1, zorder=1)
        where = {"transform": ax.get_yaxis_transform(), "va": "center", "color": DARK}
        ax.text(1.01, row.mean, fill(row.model, 12), **where)  # type: ignore[arg-type]
    for x, row in enumerate(steps):
        colour = BLUE if x else GREY
        ax.fill_between([x - 0.5, x + 0.5], row.low, row.high, color=colour, alpha=0.25, linewidth=0)
        ax.plot([x - 0.5, x + 0.5], [row.mean] * 2, color=colour, linestyle="-", linewidth=3.5)
        if x:
            way = [steps[x - 1].mean, row.mean]
            ax.plot(
                [x - 0.5] * 2, way, color=BLUE if way[0] <= way[1] else ORANGE, linestyle="-", linewidth=1.4
            )
    names, places = [row.model for row in steps], [float(x) for x in range(len(steps))]
    if control is not None:
        names, places = [*names, control.model], [*places, len(steps) + 0.3]
        ax.axvspan(len(steps) - 0.25, len(steps) + 0.85, color="#F4F4F4", zorder=0)
        ax.errorbar(
            places[-1],
            control.mean,
            _reach(control),
            color=PURPLE,
            marker="X",
            markersize=9,
            linestyle="none",
        )
    above = {"textcoords": "offset points", "ha": "center", "path_effects": HALO}
    for place, shown in zip(places, [*steps, control], strict=False):
        if shown is not None:
            ax.annotate(f"{shown.mean:.3f}", (place, shown.high), (0, 3), **above)  # type: ignore[arg-type]
    ax.set_xticks(places, [fill(name, 18) for name in names], rotation=40, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", length=0)
    ax.set(ylabel="accuracy (share)", xlim=(-0.55, places[-1] + 0.55))
    ax.grid(visible=False, axis="x")
    return ax
