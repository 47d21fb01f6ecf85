"""Figures of the book: one Axes in, labelled Axes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from rnnbook.evaluate import Row

BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#808080"


def use_style() -> None:
    """Set the look of the book; inside a notebook, figures become sharp PNGs of the same bytes each run."""
    plt.style.use("rnnbook.book")
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("retina", metadata={"Software": None})


def _axes(ax: Axes | None) -> Axes:
    return plt.gca() if ax is None else ax


def plot_influence(norms: Tensor, *, floor: float = 1e-5, ax: Axes | None = None) -> Axes:
    """Draw norms (T, T) of ∂h_t/∂x_s, row t, column s, on a logarithmic scale; exact zeros stay white."""
    ax = _axes(ax)
    values = np.ma.masked_equal(norms.detach().numpy(), 0.0)
    edge = len(values) + 0.5
    image = ax.imshow(
        values,
        norm=LogNorm(floor, max(1.0, float(values.max()))),
        extent=(0.5, edge, edge, 0.5),
        cmap="viridis",
    )
    ax.grid(visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="time step $s$ of the input", ylabel="time step $t$ of the state")
    ax.figure.colorbar(image, ax=ax, label=r"$\|\partial h_t/\partial x_s\|$ (log scale)", extend="min")
    return ax


def plot_lines(
    series: Mapping[str, Sequence[float]],
    *,
    x: Sequence[float],
    xlabel: str,
    ylabel: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw named lines over the same x, told apart by dash as well as by colour."""
    ax = _axes(ax)
    for name, values in series.items():
        ax.plot(x, values, marker="o", label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return ax


def plot_scores(
    rows: Sequence[Row], *, highlight: Sequence[str] = ("RNN", "LSTM", "GRU"), ax: Axes | None = None
) -> Axes:
    """Draw each row as a dot at its mean, a bar for its 95 % interval, and every seed as a small mark.

    Models with one of the words ``highlight`` in their name get another colour and another mark.
    """
    ax = _axes(ax)
    for y, row in enumerate(reversed(rows)):
        colour, marker = (BLUE, "o") if any(word in row.model for word in highlight) else (ORANGE, "D")
        if len(row.values) > 1:
            ax.plot(row.values, [y] * len(row.values), linestyle="none", marker="|", color=GREY, markersize=9)
        ax.plot(
            [row.low, row.high],
            [y, y],
            color=colour,
            linestyle="-",
            linewidth=3,
            solid_capstyle="butt",
            alpha=0.55,
        )
        ax.plot([row.mean], [y], linestyle="none", marker=marker, color=colour, markersize=7)
    ax.set_yticks(range(len(rows)), [fill(row.model, 34) for row in reversed(rows)])
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set(xlabel=f"{rows[0].metric} on the test texts (share)", ylim=(-0.6, len(rows) - 0.4))
    ax.grid(visible=False, axis="y")
    return ax


def plot_reading(words: Sequence[str], probability: Sequence[float], *, ax: Axes | None = None) -> Axes:
    """Draw the probability of "positive" after each word, one word a row, read from top to bottom."""
    ax = _axes(ax)
    y, p = np.arange(len(words)), np.asarray(probability)
    ax.barh(y, p - 0.5, left=0.5, height=0.74, color=np.where(p >= 0.5, BLUE, ORANGE).tolist())
    ax.axvline(0.5, color=GREY, linestyle="-", linewidth=0.8)
    ax.set_yticks(y, words)
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(0, 1), ylim=(len(words) - 0.4, -0.6), xlabel="probability of “positive” after this word")
    ax.grid(visible=False, axis="y")
    return ax
