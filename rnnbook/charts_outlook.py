"""Figures of the last chapter: one Axes in, labelled Axes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from rnnbook.charts_optimization import Curves, plot_growth
from rnnbook.plot import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, YELLOW

# A look says the family: recurrence blue, linear recurrence green, convolution orange, attention purple.
FAMILIES = {
    "RNN": (SKY, "-", "v"),
    "LSTM": (BLUE, "-", "o"),
    "GRU": (BLUE, "--", "s"),
    "minGRU, one layer": (GREEN, ":", "^"),
    "minGRU, two layers": (GREEN, "-", "P"),
    "minGRU, gates from -1 to 1": (YELLOW, "--", "*"),
    "convolution (TCN)": (ORANGE, "-.", "D"),
    "causal attention": (PURPLE, (0, (5, 1)), "X"),
}


def draw_reach(ways: Mapping[str, Sequence[tuple[tuple[int, int], tuple[int, int]]]]) -> Axes:
    """Draw, a panel for each way, how the first input comes to the last output.

    A way is a list of links ((t, level), (t, level)) from a place to one above or beside it; inputs stand
    on level 0. Places that the path from the first input to the last place goes through are orange.
    """
    axes = plt.subplots(1, len(ways), figsize=(6.4, 2.7), sharey=True)[1]
    top = max(level for links in ways.values() for _, (_, level) in links)
    for ax, (name, links) in zip(axes, ways.items(), strict=True):
        last = max((end for _, end in links), key=lambda place: (place[1], place[0]))
        path = shortest(links, (1, 0), last)
        on_path = list(pairwise(path))
        for start, end in links:
            colour, width = (ORANGE, 2.2) if (start, end) in on_path else (GREY, 0.7)
            arrow = {"arrowstyle": "-", "color": colour, "linewidth": width}
            ax.annotate("", end, start, arrowprops=arrow, zorder=1)
        for t, level in sorted({place for link in links for place in link}):
            colour = ORANGE if (t, level) in path else "white"
            ax.plot(t, level, marker="s" if level == 0 else "o", color=colour, markeredgecolor=GREY, zorder=2)
        ax.set(
            xlabel=f"{name}\n{len(on_path)} link{'s' * (len(on_path) > 1)}",
            xticks=[],
            yticks=[],
            ylim=(-0.4, top + 0.4),
        )
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.grid(visible=False)
    first: Axes = axes[0]
    return first


def shortest(
    links: Sequence[tuple[tuple[int, int], tuple[int, int]]], start: tuple[int, int], end: tuple[int, int]
) -> list[tuple[int, int]]:
    """List the places of the shortest path along the links (``ValueError`` if there is none)."""
    paths = [[start]]
    seen = {start}
    while paths:
        path = paths.pop(0)
        if path[-1] == end:
            return path
        for here, there in links:
            if here == path[-1] and there not in seen:
                seen.add(there)
                paths.append([*path, there])
    raise ValueError(f"expected links from {start} to {end}, got none that lead there")


def plot_tracking(
    curves: Mapping[str, Mapping[int, Sequence[float]]], *, trained: int, ax: Axes | None = None
) -> Axes:
    """Draw the accuracy of the answer at step T, mean over seeds, with whiskers to the extremes.

    A grey line stands at chance, one half, and a band over the lengths met in training. Names of
    ``FAMILIES`` have their look; raises ``ValueError`` for another.
    """
    ax = plt.gca() if ax is None else ax
    if unknown := sorted(set(curves) - set(FAMILIES)):
        raise ValueError(f"unknown models {', '.join(unknown)}; known: {', '.join(FAMILIES)}")
    lengths = sorted({length for curve in curves.values() for length in curve})
    ax.axvspan(lengths[0] / 1.3, trained, color=GREY, alpha=0.15, linewidth=0)
    ax.axhline(0.5, color=GREY, linestyle="-", linewidth=1)
    for name, curve in curves.items():
        colour, dash, marker = FAMILIES[name]
        means = [sum(values) / len(values) for values in curve.values()]
        ax.plot(list(curve), means, color=colour, linestyle=dash, marker=marker, label=name)
        low, high = ([end(values) for values in curve.values()] for end in (min, max))
        ax.vlines(list(curve), low, high, color=colour, linewidth=1)
    ax.set_xscale("log", base=2)
    ax.set_xticks(lengths, [str(length) for length in lengths])
    ax.set(xlabel="time step $T$ of the answer", ylabel="accuracy (share)", ylim=(0.4, 1.04))
    ax.set_xlim(lengths[0] / 1.3, lengths[-1] * 1.3)
    ax.figure.legend(loc="outside upper center", ncols=2)
    return ax


def plot_costs(panels: Mapping[str, Curves], *, xlabel: str) -> Axes:
    """Draw :func:`plot_growth` with the look that each model of ``FAMILIES`` has in this chapter."""
    first = plot_growth(panels, xlabel=xlabel)
    figure, named = first.figure, {}
    for ax, curves in zip(figure.axes, panels.values(), strict=True):
        for name, line, whiskers in zip(curves, ax.lines, ax.collections, strict=True):
            colour, dash, marker = FAMILIES[name]
            line.set(color=colour, linestyle=dash, marker=marker)
            whiskers.set(color=colour)
            named[name] = line
    for old in list(figure.legends):
        old.remove()
    figure.legend(named.values(), named, loc="outside upper center", ncols=2)
    return first
