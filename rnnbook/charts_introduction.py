"""Figures of the introduction: two experiments, what a sequence can be, and forty years on one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rnnbook.plot import BLUE, GREEN, GREY, ORANGE, PURPLE

Array = npt.NDArray[np.float64]
DARK = "#404040"


@dataclass(frozen=True)
class Event:
    """A step in the history of recurrent networks: its year, its kind, and its paper in references.bib."""

    year: int
    kind: str
    text: str
    key: str


KINDS = {"learning": (GREEN, "s"), "cell": (BLUE, "o"), "use": (ORANGE, "D"), "attention": (PURPLE, "^")}
HISTORY = tuple(
    Event(*row)
    for row in (
        (1986, "learning", "backpropagation", "rumelhart1986"),
        (1986, "cell", "output fed back to the input", "jordan1986"),
        (1990, "cell", "state fed back: the simple RNN", "elman1990"),
        (1990, "learning", "backpropagation through time", "werbos1990"),
        (1991, "learning", "why gradients vanish", "hochreiter1991"),
        (1994, "learning", "the same as a theorem", "bengio1994"),
        (1997, "cell", "LSTM", "hochreiter1997"),
        (1997, "cell", "two directions", "schuster1997"),
        (2000, "cell", "forget gate", "gers2000"),
        (2006, "learning", "labels without alignment (CTC)", "graves2006ctc"),
        (2010, "use", "language model", "mikolov2010"),
        (2013, "learning", "gradients clipped", "pascanu2013"),
        (2013, "use", "speech, deep LSTM", "graves2013speech"),
        (2014, "cell", "GRU", "cho2014"),
        (2014, "use", "translation, from end to end", "sutskever2014"),
        (2015, "attention", "attention on top of an RNN", "bahdanau2015"),
        (2015, "use", "text classification, pre-trained", "dai2015"),
        (2016, "use", "translation as a product", "wu2016gnmt"),
        (2017, "attention", "attention alone: Transformer", "vaswani2017"),
        (2022, "cell", "linear state space (S4)", "gu2022s4"),
        (2023, "cell", "linear recurrent unit (LRU)", "orvieto2023lru"),
        (2024, "cell", "selective state space (Mamba)", "gu2024mamba"),
        (2024, "cell", "LSTM with a matrix (xLSTM)", "beck2024xlstm"),
        (2026, "learning", "nonlinear RNNs in parallel", "danieli2026"),
    )
)


def spread(years: Sequence[float], gap: float, last: float) -> list[float]:
    """Move places apart until neighbours are ``gap`` from each other, none beyond ``last``; keep their order.

    Raises ``ValueError`` unless the years are sorted.
    """
    if list(years) != sorted(years):
        raise ValueError("expected years in order, the earliest first")
    places: list[float] = []
    for year in years:
        places.append(max(year, places[-1] + gap) if places else year)
    end = last
    for i in reversed(range(len(places))):
        places[i] = min(places[i], end)
        end = places[i] - gap
    return places


def draw_timeline(events: Sequence[Event] = HISTORY, *, ax: Axes | None = None) -> Axes:
    """Draw events on a line of years that runs downwards; colour and mark say of which kind they are.

    Narrow and tall, so that it can be read on a telephone. A thin line joins each event to its year.
    """
    if ax is None:
        ax = plt.figure(figsize=(4.2, 0.26 * len(events) + 1.0)).add_subplot()
    first, last = events[0].year - 1, events[-1].year + 2
    gap = 0.96 * (last - first) / len(events)
    places = spread([event.year for event in events], gap, last - 0.5 * gap)
    ax.plot([0, 0], [first, last], color=GREY, linestyle="-", linewidth=1.5)
    for event, place in zip(events, places, strict=True):
        colour, marker = KINDS[event.kind]
        ax.plot([0, 0.5, 0.6], [event.year, place, place], color=GREY, linestyle="-", linewidth=0.6)
        ax.plot([0.66], [place], linestyle="none", marker=marker, color=colour, markersize=6)
        ax.text(0.76, place, f"{event.year}  {event.text}", va="center", color="#202020")
    ax.set(xlim=(-0.05, 3.4), ylim=(last, first), ylabel="year", xticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    marks = [
        Line2D([], [], color=colour, marker=marker, linestyle="none") for colour, marker in KINDS.values()
    ]
    ax.figure.legend(marks, list(KINDS), loc="outside upper center", ncols=4, handlelength=1, columnspacing=1)
    return ax


def plot_bracket(
    tasks: Mapping[str, Mapping[str, Sequence[float]]], *, axes: Sequence[Axes] | None = None
) -> Axes:
    """Draw accuracies of the same readers on several tasks, a panel each: a dot for every seed.

    The first two readers are the network, as written and shuffled; the line between their means is what
    order is worth to it. The grey line is chance, one half.
    """
    if axes is None:
        figure = plt.figure(figsize=(4.6, 1.6 * len(tasks) + 0.4))
        axes = figure.subplots(len(tasks), 1, sharex=True, squeeze=False)[:, 0].tolist()
    for ax, (task, readers) in zip(axes, tasks.items(), strict=True):
        means = [float(np.mean(values)) for values in readers.values()]
        ax.axvline(0.5, color=GREY, linestyle="-", linewidth=1)
        ax.annotate(
            "", (means[1], 1), (means[0], 0), arrowprops={"arrowstyle": "->", "color": GREY, "shrinkB": 6}
        )
        for y, (values, colour, marker) in enumerate(
            zip(readers.values(), (BLUE, BLUE, ORANGE), "ooD", strict=True)
        ):
            face = "white" if y == 1 else colour
            look = {"linestyle": "none", "marker": marker, "color": colour, "markerfacecolor": face}
            ax.plot(values, [y] * len(values), markersize=7, **look)
        ax.set_yticks(range(len(readers)), list(readers))
        ax.tick_params(axis="y", length=0)
        ax.set(ylim=(len(readers) - 0.5, -0.6), xlim=(0.45, 1.03))
        ax.text(1, 1.02, task, ha="right", va="bottom", color=DARK, transform=ax.transAxes)
        ax.grid(visible=False, axis="y")
    axes[-1].set_xlabel("accuracy on new examples (share)")
    return axes[0]


Side = Sequence[str] | Array  # tokens, or numbers (T, I)


def _boxes(
    ax: Axes, tokens: Sequence[str], y: float, colour: str, *, start: float = 0.0, end: float | None = None
) -> float:
    """Draw tokens as boxes in a row, wide enough for their letters; return where the row ends.

    The row begins at ``start``, or ends at ``end``: one answer stands below the last time step.
    """
    shown = [token.replace(" ", "␣") for token in tokens]
    width = 1.0 if max(map(len, shown)) == 1 else 0.55
    places = np.cumsum([0.0] + [max(1.0, width * len(token) + 0.5) for token in shown])
    places += start if end is None else end - places[-1]
    for token, left, right in zip(shown, places[:-1], places[1:], strict=True):
        left, right = left + 0.06, right - 0.06
        corners = [left, right, right, left, left]
        ax.plot(corners, [y, y, y + 1, y + 1, y], color=colour, linestyle="-", linewidth=0.9)
        ax.text((left + right) / 2, y + 0.5, token, ha="center", va="center", color="#202020")
    return float(places[-1])


def _draw_numbers(ax: Axes, x: Array) -> None:
    """Draw numbers (T, I): up to 16 time steps as a picture, one row a step; more as one line for each of I."""
    if len(x) <= 16:
        ax.imshow(x, cmap="Greys", interpolation="nearest")
        ax.set(xlabel="$x_t$: one row", ylabel="← time step")
    else:
        step = 1.1 * float(np.ptp(x))
        ax.plot(x - step * np.arange(x.shape[1]), color=BLUE, linestyle="-", linewidth=0.8)
        ax.set(xlim=(0, len(x)), xlabel="time step →", ylabel="$x_t$")
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)


def draw_gallery(panels: Mapping[str, tuple[Side, Sequence[str]]]) -> Axes:
    """Draw pairs (input, output), one below the other: the input blue, the output orange.

    An input is a list of tokens, or numbers (T, I): up to 16 time steps are a picture with one row a
    step, more are one line for each of the I numbers. An output is a list of tokens: one stands below the
    last time step, as many as the input's below each, another number after all of them.

    Raises ``ValueError`` for no pair at all.
    """
    if not panels:
        raise ValueError("expected at least one pair of input and output, got none")
    tall = [2.0 if isinstance(x, np.ndarray) else 1.0 for x, _ in panels.values()]
    figure = plt.figure(figsize=(4.4, 1.02 * sum(tall)))
    parts = figure.subfigures(len(panels), 1, height_ratios=tall, squeeze=False)[:, 0]
    for part, (name, (x, y)) in zip(parts, panels.items(), strict=True):
        part.suptitle(name, x=0.02, ha="left", fontsize="medium", color=DARK)
        if isinstance(x, np.ndarray):
            left, right = part.subplots(1, 2, width_ratios=[3, 1])
            _draw_numbers(left, x)
            end = _boxes(right, y, 0, ORANGE)
            right.annotate("", (0, 0.5), (-0.8, 0.5), arrowprops={"arrowstyle": "->", "color": GREY})
            right.set(xlim=(-0.8, end), ylim=(-1.2, 2.2))
        else:
            right = part.subplots()
            end = _boxes(right, x, 1.3, BLUE)
            after = len(y) not in (1, len(x))  # another sequence, which begins when this one was read
            last = _boxes(right, y, 0, ORANGE, start=end if after else 0.0, end=end if len(y) == 1 else None)
            right.set(xlim=(0, max(end, last)), ylim=(-0.1, 2.4))
        right.set_axis_off()
    return parts[0].axes[0]  # type: ignore[no-any-return]
