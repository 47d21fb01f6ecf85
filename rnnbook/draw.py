"""Diagrams of the book: networks drawn as boxes and arrows, in the colours of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from rnnbook.plot import BLUE, GREEN, GREY, ORANGE, PURPLE


def _box(ax: Axes, x: float, y: float, text: str, colour: str, width: float = 0.48) -> None:
    """Draw a round box of height 0.4 with its middle at (x, y)."""
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - 0.2),
            width,
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
        ax.text(x + 0.06, -0.49, "$W_{ih}$", fontsize=11, va="center", color=GREEN)
    ax.text(-0.9, 0.0, "=", fontsize=17, ha="center", va="center", color=GREY)
    _arrow(ax, (-1.51, 0.12), (-1.51, -0.12), BLUE, bend=-2.2)
    ax.text(-1.2, 0.2, "$W_{hh}$", fontsize=11, ha="center", color=BLUE)
    _arrow(ax, (-0.6, 0.0), (-0.24, 0.0), BLUE)
    ax.text(-0.62, 0.08, "$h_0$", fontsize=11, ha="center", color=BLUE)
    for step in range(num_steps - 1):
        _arrow(ax, (step + 0.24, 0.0), (step + 0.76, 0.0), BLUE)
        ax.text(step + 0.5, 0.07, "$W_{hh}$", fontsize=11, ha="center", color=BLUE)
    return ax


def draw_backward(num_steps: int = 3, *, ax: Axes | None = None) -> Axes:
    """Draw the way of the gradient: from the loss down to the states, back in time, and into one weight.

    The forward pass is in the background. On each arrow stands what it multiplies by, or adds.
    """
    ax = plt.gca() if ax is None else ax
    gap, faint = 1.95, GREY + "66"
    right = gap * (num_steps - 1)
    ax.set_axis_off()
    ax.set(xlim=(-1.3, right + 0.95), ylim=(-1.65, 1.6), aspect="equal")

    _box(ax, right / 2, 1.35, "loss $L$", ORANGE, width=right + 0.6)
    terms = "+".join(rf"\,\delta_{t}\,h_{t - 1}^\top" for t in range(1, num_steps + 1))
    _box(ax, right / 2, -1.4, rf"$\partial L/\partial W_{{hh}}={terms}$", PURPLE, width=right + 0.6)
    ax.text(-1.05, 0.1, "$h_0$", fontsize=13, ha="center", va="center", color=GREY)
    for t in range(1, num_steps + 1):
        x = gap * (t - 1)
        _arrow(ax, (x - (gap if t > 1 else 1.1) + 0.24, 0.1), (x - 0.24, 0.1), faint)
        _arrow(ax, (x + 0.12, 0.2), (x + 0.12, 1.15), faint)
        _box(ax, x, 0.0, f"$h_{t}$", BLUE)
        _arrow(ax, (x - 0.08, 1.15), (x - 0.08, 0.2), ORANGE)
        ax.text(x - 0.14, 0.7, rf"$W_{{hy}}^\top e_{t}$", fontsize=13, ha="right", va="center", color=ORANGE)
        _arrow(ax, (x, -0.2), (x, -1.2), PURPLE)
        ax.text(x + 0.07, -0.8, rf"$\delta_{t}\,h_{t - 1}^\top$", fontsize=13, va="center")
        if t > 1:
            _arrow(ax, (x - 0.24, -0.08), (x - gap + 0.24, -0.08), BLUE)
            factor = rf"$W_{{hh}}^\top\,\mathrm{{diag}}(1-h_{t}^2)$"
            ax.text(x - gap / 2, -0.33, factor, fontsize=13, ha="center", va="center", color=BLUE)
    return ax


def _valve(ax: Axes, x: float, y: float, name: str, *, upright: bool = False) -> None:
    """Draw a gate as a valve with its middle at (x, y): a bow tie along the pipe, and what it decides."""
    tie = [(-0.2, -0.15), (0.2, 0.15), (0.2, -0.15), (-0.2, 0.15)]
    corners = [(x + b, y + a) if upright else (x + a, y + b) for a, b in tie]
    ax.add_patch(Polygon(corners, facecolor="white", edgecolor=PURPLE, linewidth=1.8, zorder=4))
    place = (x + 0.3, y) if upright else (x, y + 0.3)
    ax.text(*place, name, fontsize=11, ha="left" if upright else "center", va="center")


def draw_lstm_cell(*, ax: Axes | None = None) -> Axes:
    """Draw one step of an LSTM: the road of the cell state on top, its gates as valves."""
    ax = plt.gca() if ax is None else ax
    ax.set_axis_off()
    ax.set(xlim=(-0.35, 6.75), ylim=(-0.8, 3.5), aspect="equal")

    def pipe(*points: tuple[float, float], colour: str, width: float = 1.6) -> None:
        ax.plot(*zip(*points, strict=True), color=colour, linestyle="-", linewidth=width, zorder=1)

    pipe((0.35, 2.8), (6.0, 2.8), colour=ORANGE, width=5)  # the road
    ax.add_patch(Polygon([(5.95, 2.65), (5.95, 2.95), (6.25, 2.8)], color=ORANGE))
    pipe((0.35, 0.1), (4.6, 0.1), colour=BLUE)  # h and x, to all gates
    pipe((0.75, -0.3), (0.75, 0.1), colour=GREEN)
    for x, name, colour in ((1.3, "f", PURPLE), (2.3, "i", PURPLE), (3.3, "g", ORANGE), (4.6, "o", PURPLE)):
        _arrow(ax, (x, 0.1), (x, 0.7), BLUE)
        _box(ax, x, 0.9, f"${name}_t$", colour)
    pipe((1.3, 1.1), (1.3, 2.8), colour=PURPLE)  # stems of the valves
    pipe((2.3, 1.1), (2.3, 1.9), (3.3, 1.9), colour=PURPLE)
    pipe((4.6, 1.1), (4.6, 1.3), (5.4, 1.3), colour=PURPLE)
    pipe((3.3, 1.1), (3.3, 2.6), colour=ORANGE)
    pipe((5.4, 2.8), (5.4, 2.3), colour=BLUE)
    pipe((5.4, 1.9), (5.4, 0.1), colour=BLUE)
    _arrow(ax, (5.4, 0.1), (6.25, 0.1), BLUE)
    _valve(ax, 1.3, 2.8, "keep")
    _valve(ax, 3.3, 1.9, "write", upright=True)
    _valve(ax, 5.4, 1.3, "show", upright=True)
    ax.add_patch(Circle((3.3, 2.8), 0.17, facecolor="white", edgecolor=ORANGE, linewidth=1.8, zorder=4))
    ax.text(3.3, 2.785, "+", fontsize=15, ha="center", va="center", zorder=5)
    _box(ax, 5.4, 2.1, "tanh", BLUE, width=0.62)
    for place, name in (
        ((0.0, 2.8), "$c_{t-1}$"),
        ((6.5, 2.8), "$c_t$"),
        ((0.0, 0.1), "$h_{t-1}$"),
        ((6.5, 0.1), "$h_t$"),
        ((0.75, -0.55), "$x_t$"),
    ):
        ax.text(*place, name, fontsize=13, ha="center", va="center")
    return ax


def draw_core_modules(*, ax: Axes | None = None) -> Axes:
    """Draw three networks for text from the tokens up: described and listed by an article, and needed."""
    ax = plt.gca() if ax is None else ax
    ax.set_axis_off()
    ax.set(xlim=(-1.25, 6.75), ylim=(-0.8, 5.05), aspect="equal")
    networks: dict[str, tuple[str, ...]] = {
        "described": ("embedding 1", "T numbers?", "embedding 2", "a scalar?", "dense", "answer"),
        "listed": (
            *("embedding", "(B, T, 32)", "embedding", "(B, T, 32, 16)", "LSTM", "(B, T, 32)"),
            *("dense", "T answers"),
        ),
        "needed": ("embedding", "(B, T, E)", "recurrent", "(B, H)", "read-out", "1 answer"),
    }
    colours = {"embedding": GREEN, "LSTM": BLUE, "recurrent": BLUE, "dense": ORANGE, "read-out": ORANGE}
    for x, (name, parts) in zip((0.0, 2.6, 5.2), networks.items(), strict=True):
        ax.text(x, -0.6, name, fontsize=12, ha="center", va="center", weight="bold")
        ax.text(x, 0.0, "tokens (B, T)", fontsize=11, ha="center", va="center")
        for y, (layer, result) in enumerate(zip(parts[::2], parts[1::2], strict=True), start=1):
            second = layer == "embedding 2" or (layer == "embedding" and y == 2)
            colour = PURPLE if second else colours[layer.split()[0]]
            _arrow(ax, (x, y - 0.8), (x, y - 0.2), GREY)
            _box(ax, x, y, layer, colour, width=1.95)
            if colour == BLUE:
                _arrow(ax, (x + 0.97, y + 0.12), (x + 0.97, y - 0.12), BLUE, bend=-2.2)
            if y < len(parts) // 2:
                ax.text(x + 0.1, y + 0.48, result, fontsize=10, va="center", color="#404040")
        _arrow(ax, (x, y + 0.2), (x, y + 0.7), ORANGE)
        ax.text(x, y + 0.85, result, fontsize=11, ha="center", va="center", color=ORANGE)
    return ax


def draw_packed(sequences: Sequence[Sequence[object]], *, ax: Axes | None = None) -> Axes:
    """Draw a padded batch, the same rows sorted by length, and the rows of the packed form below.

    A sequence has one colour in all three; padding is hatched.
    """
    ax = plt.gca() if ax is None else ax
    ax.set_axis_off()
    lengths, longest = [len(sequence) for sequence in sequences], max(map(len, sequences))
    order = sorted(range(len(sequences)), key=lambda row: -lengths[row])
    ax.set(xlim=(-1.3, 2 * longest + 3.3), ylim=(-2.6, len(sequences) + 0.6), aspect="equal")

    def cell(x: float, y: float, row: int, t: int) -> None:
        real = t < lengths[row]
        colour = (BLUE, ORANGE, GREEN, PURPLE)[row % 4] if real else GREY
        patch = Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, linewidth=1.2, hatch="" if real else "///")
        patch.set(facecolor=colour + ("40" if real else "10"), edgecolor=colour)
        ax.add_patch(patch)
        if real:
            ax.text(x + 0.5, y + 0.47, str(sequences[row][t]), fontsize=14, ha="center", va="center")

    right = longest + 2.6
    for x, rows, name in ((0.0, range(len(sequences)), "padded"), (right, order, "sorted")):
        ax.text(x + longest / 2, len(sequences) + 0.35, name, fontsize=12, ha="center", va="center")
        for place, row in enumerate(rows):
            y = len(sequences) - 1.0 - place
            ax.text(x - 0.2, y + 0.47, f"row {row}", fontsize=11, ha="right", va="center")
            for t in range(longest if name == "padded" else lengths[row]):
                cell(x + t, y, row, t)
    x = 0.0
    for t in range(longest):
        going = [row for row in order if t < lengths[row]]
        for row in going:
            cell(x + going.index(row), -1.7, row, t)
        ax.plot([x + 0.1, x + len(going) - 0.1], [-1.9, -1.9], color=GREY, linestyle="-", linewidth=1.5)
        ax.text(x + len(going) / 2, -2.3, str(len(going)), fontsize=12, ha="center", va="center")
        x += len(going) + 0.35
    ax.text(-0.2, -1.23, "packed", fontsize=12, ha="right", va="center")
    ax.text(-0.2, -2.3, "batch_sizes", fontsize=11, ha="right", va="center")
    return ax


def draw_failures(
    statements: Sequence[str], failures: Sequence[tuple[int, str, bool]], *, ax: Axes | None = None
) -> Axes:
    """Draw a program as a column of short statements, and beside it where it fails: (line, what, loud).

    Lines count from 0. The run goes down a wire: a loud failure cuts it, since the program stops there;
    after a silent one it goes on, dashed, and is wrong. Raise ``ValueError`` for a line that is not there.
    """
    if bad := [line for line, _, _ in failures if not 0 <= line < len(statements)]:
        raise ValueError(f"expected lines from 0 to {len(statements) - 1}, got {bad}")
    beside = [[one for one in failures if one[0] == line] for line in range(len(statements))]
    total, wire = sum(max(1, len(found)) for found in beside), 0.017 * max(map(len, statements)) + 0.075
    if ax is None:
        ax = plt.figure(figsize=(5.0, 0.41 * total + 0.6)).add_subplot()
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(total - 0.4, -1.75))
    y, silent = 0, False
    for line, (statement, found) in enumerate(zip(statements, beside, strict=True)):
        rows = max(1, len(found))
        if line % 2 == 0:
            ax.add_patch(Rectangle((0, y - 0.5), wire - 0.045, rows, facecolor="#F2F2F2"))
        font = ["DejaVu Sans Mono", "Rnnbook Hei"]
        ax.text(0.012, y + (rows - 1) / 2, statement, fontfamily=font, va="center")
        for _, what, loud in found or [(line, "", False)]:
            _wire(ax, wire, (y - 0.5, y), silent)
            if what:
                _mark(ax, wire, y, what, loud=loud)
                silent |= not loud
            if not loud:
                _wire(ax, wire, (y, y + 0.5), silent)
            y += 1
    _mark(ax, 0.03, -1.3, "loud: stops", loud=True)
    _mark(ax, 0.42, -1.3, "silent: goes on, wrong", loud=False)
    return ax


def _wire(ax: Axes, x: float, y: tuple[float, float], silent: bool) -> None:
    look = {"color": BLUE, "dashes": (1.2, 0.8)} if silent else {"color": GREY, "linestyle": "-"}
    ax.plot([x, x], y, linewidth=2.2, zorder=1, **look)


def _mark(ax: Axes, x: float, y: float, what: str, *, loud: bool) -> None:
    """Draw a stop sign for a failure that is loud, a hollow ring for a silent one, and what it is."""
    look = (
        {"marker": (8, 0, 22.5), "ms": 17, "mfc": ORANGE} if loud else {"marker": "o", "ms": 15, "mfc": "w"}
    )
    colour, sign, ink = (ORANGE, "!", "white") if loud else (BLUE, "⋯", BLUE)
    ax.plot([x], [y], color=colour, mew=2, **look)  # type: ignore[arg-type]
    ax.text(x, y, sign, ha="center", va="center", weight="bold", color=ink)
    ax.text(x + 0.042, y, fill(what, int(60 * (0.96 - x))), va="center", color=colour, linespacing=1.05)
