"""Figures of the chapter on translation: one Axes in, labelled Axes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from rnnbook.evaluate import wilson_interval
from rnnbook.plot import BLUE, GREEN, GREY, ORANGE, _axes

LOOKS = ((BLUE, "o", "-"), (GREEN, "s", "--"), (ORANGE, "D", ":"))


def _check_names(names: Sequence[str]) -> None:
    if not 1 <= len(names) <= len(LOOKS):
        raise ValueError(f"expected one to {len(LOOKS)} models, got {len(names)}: {', '.join(names)}")


def plot_attention_map(
    weights: Tensor, source: Sequence[str], target: Sequence[str], *, ax: Axes | None = None
) -> Axes:
    """Draw α (T, S): a row for each token of the target, a column for each of the source; dark is much.

    Raise ``ValueError`` where there is not one row and one column for each token.
    """
    ax = _axes(ax)
    if weights.shape != (len(target), len(source)):
        raise ValueError(
            f"expected weights of shape ({len(target)}, {len(source)}), a row a target token and a column "
            f"a source token, got {tuple(weights.shape)}"
        )
    image = ax.imshow(weights.detach().numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(source)), [token if token.strip() else "␣" for token in source])
    ax.set_yticks(range(len(target)), list(target))
    ax.tick_params(length=0, labelsize=10)
    ax.grid(visible=False)
    ax.set(xlabel="source, as it is read", ylabel="target, as it is written")
    ax.figure.colorbar(image, ax=ax, label=r"attention weight $\alpha_{ts}$ (share)")
    return ax


def plot_match_by_epoch(matches: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Draw exact matches (shares) after each epoch, for up to three models, which may differ in length."""
    ax = _axes(ax)
    _check_names([*matches])
    for (name, values), (colour, marker, dash) in zip(matches.items(), LOOKS[: len(matches)], strict=True):
        look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dash, "label": name}
        ax.plot(range(1, len(values) + 1), [100 * value for value in values], **look)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", ylabel="exact match (%)", ylim=(-4, 104))
    ax.legend()
    return ax


def plot_match_by_length(
    matches: Mapping[str, Sequence[bool]],
    lengths: Sequence[int],
    edges: Sequence[int],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw exact matches (shares) by the length of the source, with 95 % intervals (Wilson, 1927).

    A class holds the lengths from one of the ``edges`` to below the next. Raise ``ValueError`` for
    more than three models, for a model without one match a length, and for an empty class.
    """
    ax = _axes(ax)
    _check_names([*matches])
    sizes = np.asarray(lengths)
    for name, found in matches.items():
        if len(found) != len(sizes):
            raise ValueError(f"expected {len(sizes)} matches of {name}, one a length, got {len(found)}")
    classes = [(sizes >= low) & (sizes < high) for low, high in pairwise(edges)]
    if empty := [f"{edges[k]}–{edges[k + 1] - 1}" for k, here in enumerate(classes) if not here.any()]:
        raise ValueError(f"no source has a length of {', '.join(empty)} tokens: choose wider classes")
    for k, ((name, found), look) in enumerate(zip(matches.items(), LOOKS[: len(matches)], strict=True)):
        right = [int(np.asarray(found)[here].sum()) for here in classes]
        counts = [int(here.sum()) for here in classes]
        shares = 100 * np.array(right) / np.array(counts)
        ends = [wilson_interval(r, n) for r, n in zip(right, counts, strict=True)]
        reach = np.abs(100 * np.array(ends).T - shares)  # (2, classes): down and up
        x = np.arange(len(classes)) + 0.12 * (k - (len(matches) - 1) / 2)
        style: dict[str, Any] = {"color": look[0], "marker": look[1], "linestyle": look[2]}
        ax.errorbar(x, shares, reach, label=name, **style)
    ax.set_xticks(range(len(classes)), [f"{low}–{high - 1}" for low, high in pairwise(edges)])
    ax.set(xlabel="length of the source (characters)", ylabel="exact match (%)", ylim=(-4, 104))
    ax.legend()
    return ax


def plot_translation_runs(
    curve: Mapping[str, Sequence[Mapping[str, float]]], *, axes: Sequence[Axes] | None = None
) -> Axes:
    """Draw recorded runs, a line a seed: the two losses on the left, BLEU of the validation pairs on the right.

    ``curve`` gives for each seed its epochs, each with ``epoch``, ``train_loss``, ``val_loss`` (nats a
    token) and, where it was taken, ``val_bleu``. Raise ``ValueError`` where no epoch of a seed has one.
    """
    if axes is None:
        axes = plt.subplots(1, 2, figsize=(8.0, 3.4))[1]
    left, right = axes
    for k, (seed, rows) in enumerate(curve.items()):
        epochs = [row["epoch"] for row in rows]
        for (key, name), (colour, _, dash) in zip(
            (("train_loss", "training"), ("val_loss", "validation")), LOOKS[:2], strict=True
        ):
            look: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 1.2}
            left.plot(epochs, [row[key] for row in rows], label=None if k else name, **look)
        scored = [(row["epoch"], row["val_bleu"]) for row in rows if row.get("val_bleu") is not None]
        if not scored:
            raise ValueError(f"no epoch of seed {seed} has val_bleu")
        right.plot(
            *zip(*scored, strict=True), color=GREY, linestyle="-", linewidth=1.2, marker="o", markersize=4
        )
    left.set(xlabel="epoch", ylabel="loss (nats per token)")
    right.set(xlabel="epoch", ylabel="BLEU, validation pairs (0 to 100)")
    left.legend()
    for one in axes:
        one.xaxis.set_major_locator(MaxNLocator(integer=True))
    return left
