"""Figures of the chapters on optimization: one Axes in, labelled Axes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from textwrap import fill

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from rnnbook.charts_text import DARK, LOOKS
from rnnbook.plot import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY
from rnnbook.results import Row


def draw_scan(num_steps: int = 8, *, ax: Axes | None = None) -> Axes:
    """Draw a scan of 2, 4, 8 … steps: pairs are joined, pairs of pairs …, then the gaps are filled.

    A box says which steps it has joined: what comes down the grey line and what comes along the orange
    one. Blue boxes begin with the first step, so they hold a state.
    """
    if ax is None:
        ax = plt.figure(figsize=(6.0, 4.2)).add_subplot()
    ax.set_axis_off()
    begins, at, spans = list(range(num_steps + 1)), [0] * (num_steps + 1), [num_steps]
    while spans[0] > 2:
        spans = [spans[0] // 2, *spans]
    rounds: list[tuple[str, Sequence[int]]] = [("steps", [])]
    rounds += [("join", range(span, num_steps + 1, span)) for span in spans]
    rounds += [("fill", range(3 * span // 2, num_steps, span)) for span in spans[-2::-1]]
    halves = [0] + [span // 2 for span in spans + spans[-2::-1]]
    for row, ((name, columns), back) in enumerate(zip(rounds, halves, strict=True)):
        ax.text(0.3, -row, name, ha="right", va="center", fontsize=11)
        for t in columns:
            ax.plot([t, t], [at[t], -row], color=GREY, linestyle="-", linewidth=1, zorder=1)
            ax.plot([t - back, t], [at[t - back], -row], color=ORANGE, linestyle="-", zorder=2)
            begins[t], at[t] = begins[t - back], -row
        for t in columns or range(1, num_steps + 1):
            face, edge = ("#DCEBF5", BLUE) if begins[t] == 1 else ("white", GREY)
            text = f"{t}" if begins[t] == t else f"{begins[t]}–{t}"
            box = {"boxstyle": "round,pad=0.32", "fc": face, "ec": edge}
            ax.text(t, -row, text, ha="center", va="center", fontsize=11, bbox=box, zorder=3)
    ax.set(xlim=(-0.9, num_steps + 0.5), ylim=(0.6 - len(rounds), 0.4))
    return ax


Curves = Mapping[str, Mapping[float, Sequence[float]]]  # a name, x, and the values there


def plot_growth(
    panels: Mapping[str, Curves], *, xlabel: str, marks: bool = True, axes: Sequence[Axes] | None = None
) -> Axes:
    """Draw curves on logarithmic axes, a panel for each ylabel: medians, with whiskers to the extremes.

    Without ``marks`` there are lines alone, as for a formula. One name has one look in all panels.
    """
    if axes is None:
        axes = plt.subplots(1, len(panels), squeeze=False)[1][0]
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colours, dashes = (
        (BLUE, ORANGE, GREEN, PURPLE, GREY, SKY),
        ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1))),
    )
    looks = dict(zip(names, zip(colours, dashes, "oDs^vP", strict=True), strict=False))
    handles = {}
    for ax, (ylabel, curves) in zip(axes, panels.items(), strict=True):
        for name, curve in curves.items():
            colour, dash, marker = looks[name]
            x, middle = list(curve), [median(values) for values in curve.values()]
            (handles[name],) = ax.plot(
                x, middle, color=colour, linestyle=dash, marker=marker if marks else ""
            )
            if marks:
                low, high = ([end(values) for values in curve.values()] for end in (min, max))
                ax.vlines(x, low, high, color=colour, linewidth=1)
        ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
        ticks = sorted({x for curve in curves.values() for x in curve})
        if len(ticks) < 10:
            ax.set_xticks(ticks[:: 1 + len(ticks) // 5], [f"{x:,g}" for x in ticks[:: 1 + len(ticks) // 5]])
            ax.minorticks_off()
        else:
            ax.xaxis.set_major_formatter("{x:,g}")
        ax.yaxis.set_major_formatter("{x:,g}")
    axes[0].figure.legend(handles.values(), handles, loc="outside upper center", ncols=2)
    return axes[0]


def draw_profile(calls: Sequence[tuple[str, int, float, float]], *, ax: Axes | None = None) -> Axes:
    """Draw calls (name, depth, start, length) over time, a call below its caller: "total / self" in each bar.

    A bar is as long as the call's total time; dark is its self time, which no call below it covers.
    """
    ax = plt.gca() if ax is None else ax
    for name, depth, start, length in calls:
        inner = [(s, n) for _, d, s, n in calls if d == depth + 1 and start <= s < start + length]
        ax.barh(-depth, length, left=start, height=0.8, color=BLUE, alpha=0.6, edgecolor="white")
        for begin, part in inner:
            ax.barh(-depth, part, left=begin, height=0.8, color="#DCEBF5", edgecolor="white")
        text = f"{name}\n{length:g} / {length - sum(part for _, part in inner):g}"
        ax.text(start + length / 2, -depth, text, ha="center", va="center", fontsize=11)
    ax.set(xlabel="time →", xticks=[], yticks=[], xlim=(0, max(s + n for _, _, s, n in calls)))
    ax.spines["left"].set_visible(False)
    return ax


def _reaches(rows: Sequence[Row]) -> list[list[float]]:
    sides = ((row.mean - row.low, row.high - row.mean) for row in rows)
    return [[max(0.0, side) for side in part] for part in zip(*sides, strict=True)]  # Wilson at 0 is -1e-17


def plot_roof(lines: Mapping[str, Mapping[float, Row]], slope: float, *, ax: Axes | None = None) -> Axes:
    """Draw shares of the limit of operations over FLOP per byte, with their 95 % intervals, under two roofs.

    The grey roofs (Williams et al., 2009): 1, and ``slope`` times x, where reading the weights is the limit.
    """
    ax = plt.gca() if ax is None else ax
    ticks = sorted({x for line in lines.values() for x in line})
    left, right = ticks[0] / 1.5, ticks[-1] * 1.5
    ax.plot([left, 1 / slope, right], [slope * left, 1, 1], color=GREY, linestyle="-", linewidth=2.5)
    turned = {"rotation": math.degrees(math.atan(slope)), "transform_rotates_text": True}
    ax.text(1, 1.25 * slope, "limit: reading", color=DARK, rotation_mode="anchor", **turned)  # type: ignore[arg-type]
    ax.text(right, 1.08, "limit: arithmetic", ha="right", color=DARK)
    for (name, line), (colour, marker), dash in zip(lines.items(), LOOKS, ("-", "--", "-."), strict=False):
        look = {"color": colour, "linestyle": dash, "marker": marker, "capsize": 3, "label": name}
        ax.errorbar(list(line), [row.mean for row in line.values()], _reaches([*line.values()]), **look)  # type: ignore[arg-type]
    ax.set(xscale="log", yscale="log", ylim=(slope * left / 2, 1.6))
    ax.set(xlabel="FLOP for each byte of weights", ylabel="share of the limit of FLOP")
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    ax.set_yticks([0.1, 0.2, 0.5, 1], ["0.1", "0.2", "0.5", "1"])
    ax.minorticks_off()
    ax.legend(loc="lower right")
    return ax


def plot_intervals(
    series: Mapping[str, Sequence[Row]], *, xlabel: str, ratios: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw the means of rows with their 95 % intervals: a line of marks a model, a look a series (up to four).

    Ratios have a logarithmic axis and a grey line at 1, "as before"; other numbers an axis from 0.
    """
    ax = plt.gca() if ax is None else ax
    models = list(dict.fromkeys(row.model for rows in series.values() for row in rows))
    ax.axvline(1.0 if ratios else 0.0, color=GREY, linestyle="-", linewidth=1)
    for k, ((name, rows), (colour, marker)) in enumerate(
        zip(series.items(), (*LOOKS, (PURPLE, "^")), strict=False)
    ):
        y = [models.index(row.model) + 0.2 * (k - (len(series) - 1) / 2) for row in rows]
        look = {"color": colour, "linestyle": "none", "marker": marker, "label": name}
        ax.errorbar([row.mean for row in rows], y, xerr=_reaches(rows), **look)  # type: ignore[arg-type]
    if ratios:
        ax.set_xscale("log")
        ax.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["¼", "½", "1", "2", "4", "8"])
        ax.minorticks_off()
    ax.set_yticks(range(len(models)), [fill(model, 26) for model in models])
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel=xlabel, ylim=(len(models) - 0.5, -0.5))
    if len(series) > 1:
        ax.figure.legend(loc="outside upper center", ncols=len(series), handlelength=1, columnspacing=1.2)
    return ax


def plot_knobs(
    search: Sequence[Mapping[str, float]], alone: Mapping[str, Sequence[Mapping[str, float]]]
) -> Axes:
    """Draw accuracies of a random search over each knob, a panel each, and a line where it is turned alone."""
    axes = plt.subplots(2, 2, sharey=True, figsize=(6.4, 5.2))[1].flat
    for ax, (knob, runs) in zip(axes, alone.items(), strict=True):
        for found, colour, dash, marker in ((search, BLUE, "none", "o"), (runs, ORANGE, "-", "D")):
            x, y = ([run[name] for run in found] for name in (knob, "accuracy"))
            ax.plot(x, y, color=colour, linestyle=dash, marker=marker, markerfacecolor="none")
        if max(x) > 4 * min(x) > 0:
            ax.set_xscale("log")
            ax.minorticks_off()
        ax.set_xticks(x[:: 1 + len(x) // 5], [f"{value:g}" for value in x[:: 1 + len(x) // 5]])
        ax.set(xlabel=knob.replace("num_layers", "number of layers").replace("_", " "))
    first: Axes = axes[0]
    names = ("random search", "this knob alone")
    first.figure.legend(first.lines, names, loc="outside upper center", ncols=2)
    first.figure.supylabel("accuracy (share)", fontsize="medium")
    return first


def draw_threats(places: Sequence[tuple[str, str, str]], *, ax: Axes | None = None) -> Axes:
    """Draw the way of a text through a classifier, from top to bottom: (place, what is done to it, the guard).

    An attack comes from the left, orange; its guard stands on the right, blue; a place may lack both.
    """
    if ax is None:
        ax = plt.figure(figsize=(6.4, 0.85 * len(places))).add_subplot()
    ax.set_axis_off()
    arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "linewidth": 1.6}
    for y, (place, attack, guard) in enumerate(places):
        if y:
            ax.annotate("", (0, y - 0.27), (0, y - 0.73), arrowprops={**arrow, "color": GREY})
        box = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": GREY, "linewidth": 1.4}
        ax.text(0, y, place, ha="center", va="center", bbox=box, zorder=3)
        if attack:
            ax.annotate("", (-0.62, y), (-1.15, y), arrowprops={**arrow, "color": ORANGE})
            ax.text(-1.22, y, fill(attack, 22), ha="right", va="center", color=ORANGE)
        if guard:
            ax.plot([0.66, 0.66], [y - 0.3, y + 0.3], color=BLUE, linestyle="-", linewidth=4)
            ax.text(0.8, y, fill(guard, 23), ha="left", va="center", color=BLUE)
    ax.set(xlim=(-3.5, 3.4), ylim=(len(places) - 0.5, -0.5))
    return ax


def plot_under_attack(
    curves: Mapping[str, Sequence[Row]],
    x: Sequence[float],
    *,
    xlabel: str,
    chance: float = 0.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy over the size of an attack, with 95 % intervals; a name with "random" is a control.

    Controls are hollow and dashed, in the colour of the attack whose place in the order is the same.
    """
    ax = plt.gca() if ax is None else ax
    for control in (False, True):
        named = [(name, rows) for name, rows in curves.items() if ("random" in name) == control]
        for (name, rows), colour, marker in zip(named, (ORANGE, BLUE, GREEN, PURPLE), "oDs^", strict=False):
            look = {"color": colour, "marker": marker, "capsize": 3, "label": name}
            look |= {"linestyle": "--", "markerfacecolor": "white"} if control else {"linestyle": "-"}
            ax.errorbar(x, [row.mean for row in rows], _reaches(rows), **look)  # type: ignore[arg-type]
    ax.axhline(chance, color=GREY, linestyle=":", linewidth=1.2)
    ax.text(1, chance, " chance", transform=ax.get_yaxis_transform(), va="center", color=GREY)
    ax.set(xlabel=xlabel, ylabel="accuracy (share)", ylim=(-0.03, 0.88))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1.2)
    return ax
