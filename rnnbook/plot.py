"""Figures of the book: one Axes in, labelled Axes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]
from torch import Tensor

from rnnbook.results import Row

BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#808080"
CHINESE = Path(__file__).parent / "fonts" / "RnnbookHei.otf"  # its licence lies beside it


def use_style() -> None:
    """Set the look of the book; inside a notebook, figures become sharp PNGs of the same bytes each run.

    What DejaVu Sans lacks comes from the package's own font: the common Chinese characters and their
    punctuation. matplotlib warns of a glyph that neither has, and no chapter is stored with a warning.
    """
    if not any(font.fname == str(CHINESE) for font in fontManager.ttflist):
        fontManager.addfont(CHINESE)
        # The same file stands for bold: matplotlib would complain, even of text that needs no Chinese.
        fontManager.ttflist.append(replace(fontManager.ttflist[-1], weight=700))
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
    ax.set(xlabel=f"{rows[0].metric} on the test examples (share)", ylim=(-0.6, len(rows) - 0.4))
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


def plot_gradient_through_time(norms: Mapping[str, Tensor], *, ax: Axes | None = None) -> Axes:
    """Draw norms of ∂h_T/∂h_t, for each name a tensor (runs, T + 1), against the distance T - t.

    Every run is a thin line, the median of a name's runs a thick one; the axis is logarithmic.
    """
    ax = _axes(ax)
    for name, runs in norms.items():
        back = runs.detach().flip(1)
        (line,) = ax.plot(np.median(back.numpy(), axis=0), linewidth=2.2, label=name)
        ax.plot(back.T.numpy(), color=line.get_color(), linestyle="-", linewidth=0.7, alpha=0.35)
    ax.axhline(1.0, color=GREY, linestyle="-", linewidth=0.8)
    ax.set(xlabel="distance $T - t$ (time steps)", ylabel=r"$\|\partial h_T/\partial h_t\|$", yscale="log")
    ax.legend()
    return ax


def plot_eigenvalues(before: Tensor, after: Tensor, *, ax: Axes | None = None) -> Axes:
    """Draw the eigenvalues of two matrices, before and after training, with the unit circle."""
    ax = _axes(ax)
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(angle), np.sin(angle), color=GREY, linestyle="-", linewidth=1)
    for name, matrix, marker, colour, face in (
        ("before training", before, "o", BLUE, "none"),
        ("after", after, "D", ORANGE, ORANGE),
    ):
        values = torch.linalg.eigvals(matrix.detach())
        ax.plot(values.real, values.imag, marker, color=colour, mfc=face, linestyle="none", label=name)
    ax.set(xlabel="real part", ylabel="imaginary part", aspect="equal")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handlelength=1)
    return ax


def plot_error_surface(
    w: Tensor, b: Tensor, cost: Tensor, paths: Mapping[str, Tensor], *, ax: Axes3D | None = None
) -> Axes3D:
    """Draw cost over w and b, all (rows, columns), as a surface, and two paths of rows (w, b, cost).

    The first path has a line, and a dashed one where it leaves the surface; the second only dots.
    """
    if ax is None:
        ax = plt.figure(figsize=(5.0, 4.0)).add_subplot(projection="3d", computed_zorder=False)
    colours = plt.get_cmap("viridis", 16)  # bands, which read like contours and weigh half as much
    ax.plot_surface(
        w, b, cost, cmap=colours, rstride=1, cstride=1, linewidth=0, antialiased=False, shade=False
    )
    (line_name, line), (dots_name, dots) = ((name, path.numpy()) for name, path in paths.items())
    ends = np.array([[float(side.min()), float(side.max())] for side in (w, b)])
    outside = ((line[:, :2] < ends[:, 0]) | (line[:, :2] > ends[:, 1])).any(axis=1)
    last = int(outside.argmax()) if outside.any() else len(line)
    ax.plot(*dots.T, "o", color="white", markersize=3.5, markeredgecolor="black", markeredgewidth=0.4)
    ax.lines[-1].set(label=dots_name, linestyle="none")
    ax.plot(*line[:last].T, color=ORANGE, linestyle="-", linewidth=2.5, label=line_name)
    if last < len(line):
        start, step = line[last - 1, :2], line[last, :2] - line[last - 1, :2]
        edge = np.where(step > 0, ends[:, 1], ends[:, 0])
        stop = start + step * ((edge - start) / step).min()
        ax.plot(*np.stack([start, stop]).T, line[last - 1, 2], color=ORANGE, linestyle="--", linewidth=2.5)
    ax.view_init(elev=30, azim=8)
    ax.set(xlabel="$w$", ylabel="$b$", zlabel="cost")
    ax.legend(loc="upper right")
    return ax


def plot_solved(
    accuracy: Mapping[str, Sequence[Sequence[float]]], columns: Sequence[str], *, ax: Axes | None = None
) -> Axes:
    """Draw mean accuracies as a grid, a row for each name; a box says how many seeds got above 0.95."""
    ax = _axes(ax)
    values = np.array(list(accuracy.values()))  # (names, columns, seeds)
    ax.imshow(values.mean(axis=2), cmap="Blues", vmin=0.45, vmax=1.1, aspect="auto")
    for row, column in np.ndindex(values.shape[:2]):
        solved, mean = (values[row, column] > 0.95).sum(), values[row, column].mean()
        text = f"{solved} of {values.shape[2]}"
        ax.text(column, row, text, ha="center", va="center", color="white" if mean > 0.8 else "black")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(values)), list(accuracy))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    return ax


def plot_errors(
    series: Mapping[str, Sequence[float]],
    *,
    x: Sequence[float],
    xlabel: str,
    notes: Mapping[str, tuple[float, float]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw relative errors over x, both on logarithmic scales; ``notes`` puts words at places (x, error)."""
    ax = plot_lines(series, x=x, xlabel=xlabel, ylabel="relative error (log scale)", ax=ax)
    for line, marker in zip(ax.lines, "os^Dv<", strict=False):
        line.set_marker(marker)
    for text, place in (notes or {}).items():
        ax.annotate(text, place, ha="center", color="#404040")
    ax.legend()  # once more, with the new markers
    ax.set(xscale="log", yscale="log")
    if len(x) < 10:
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.minorticks_off()
    return ax


def plot_gates(gates: Tensor, words: Sequence[str], *, ylabel: str, ax: Axes | None = None) -> Axes:
    """Draw one gate (T, H) while it reads ``words``: a column for each word, a row for each unit."""
    ax = _axes(ax)
    values = gates.detach().T.numpy()
    image = ax.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest")
    ax.set_xticks(range(len(words)), words, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.set(ylabel=ylabel)
    ax.figure.colorbar(image, ax=ax, label="gate: 0 shut, 1 open", ticks=[0, 0.5, 1])
    return ax


def plot_mixing(
    weights: Mapping[str, Tensor], *, limit: float = 1.0, axes: Sequence[Axes] | None = None
) -> Axes:
    """Draw matrices (T, T) side by side: how much of input s, column, is in output t, row. Zeros stay white."""
    if axes is None:
        axes = plt.subplots(1, len(weights), sharey=True)[1]
    for ax, (name, matrix) in zip(axes, weights.items(), strict=True):
        edge = len(matrix) + 0.5
        values = np.ma.masked_equal(matrix.detach().numpy(), 0.0)
        image = ax.imshow(values, vmin=0, vmax=limit, extent=(0.5, edge, edge, 0.5), cmap="viridis_r")
        ax.grid(visible=False)
        ax.text(0.97, 0.95, name, ha="right", va="top", transform=ax.transAxes)
        ax.set(xlabel="input $s$")
    axes[0].set(ylabel="output $t$")
    axes[0].figure.colorbar(image, ax=list(axes), label="weight", shrink=0.8)
    return axes[0]
