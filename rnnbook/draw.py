"""Diagrams of the book: networks drawn as boxes and arrows, in the colours of the figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from rnnbook.plot import BLUE, GREEN, GREY, ORANGE


def _box(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Draw a round box of 0.48 x 0.4 with its middle at (x, y)."""
    ax.add_patch(
        FancyBboxPatch(
            (x - 0.24, y - 0.2),
            0.48,
            0.4,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=colour + "26",
            edgecolor=colour,
            linewidth=1.4,
        )
    )
    ax.text(x, y, text, ha="center", va="center", fontsize=11)


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, bend: float = 0.0
) -> None:
    style = {"arrowstyle": "-|>", "connectionstyle": f"arc3,rad={bend}"}
    patch = FancyArrowPatch(start, end, color=colour, shrinkA=0, shrinkB=0, **style)  # type: ignore[arg-type]
    patch.set(mutation_scale=11, linewidth=1.4)
    ax.add_patch(patch)


def draw_unrolled(num_steps: int = 4, *, ax: Axes | None = None) -> Axes:
    """Draw a recurrent layer twice: as a loop on the left, unrolled over time steps on the right."""
    ax = plt.gca() if ax is None else ax
    ax.set_axis_off()
    ax.set(xlim=(-2.15, num_steps - 0.35), ylim=(-1.35, 1.4), aspect="equal")

    columns: list[tuple[float, str]] = [(-1.75, "t"), *((float(t), str(t + 1)) for t in range(num_steps))]
    for x, name in columns:
        _box(ax, x, -0.95, f"$x_{{{name}}}$", GREEN)
        _box(ax, x, 0.0, f"$h_{{{name}}}$", BLUE)
        _box(ax, x, 0.95, f"$\\hat{{y}}_{{{name}}}$", ORANGE)
        _arrow(ax, (x, -0.75), (x, -0.2), GREEN)
        _arrow(ax, (x, 0.2), (x, 0.75), ORANGE)
        ax.text(x + 0.06, -0.49, "$W_{ih}$", fontsize=9, va="center", color=GREEN)
    ax.text(-0.9, 0.0, "=", fontsize=17, ha="center", va="center", color=GREY)
    _arrow(ax, (-1.51, 0.12), (-1.51, -0.12), BLUE, bend=-2.2)
    ax.text(-1.2, 0.2, "$W_{hh}$", fontsize=9, ha="center", color=BLUE)
    _arrow(ax, (-0.6, 0.0), (-0.24, 0.0), BLUE)
    ax.text(-0.62, 0.08, "$h_0$", fontsize=9, ha="center", color=BLUE)
    for step in range(num_steps - 1):
        _arrow(ax, (step + 0.24, 0.0), (step + 0.76, 0.0), BLUE)
        ax.text(step + 0.5, 0.07, "$W_{hh}$", fontsize=9, ha="center", color=BLUE)
    return ax
