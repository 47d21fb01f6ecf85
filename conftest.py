"""What nbval leaves out when it runs a chapter: pictures, and numbers that differ between machines.

And what the tests of figures share: axes in the book's style.

nbval compares text to the letter and skips PNG. Here each picture of a cell is compared with the
stored one, and a cell with the metadata ``"rnnbook": {"tolerance": 0.02}`` may print other numbers
than the stored ones, by that much, while all its other text must stay.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

WIDTH = 480  # points: both pictures are compared at this width
REACH = 5  # ink may move by two points: the window within which a partner is looked for
LOST, LOST_OF_COLOUR = 0.02, 0.10  # share of the ink, and of the ink of one colour, without a partner
HUES = 36  # parts of the circle of hues: the nearest two of the book's colours are one apart
MEAN_CHANGE = 6.0  # grey levels of 255, after a blur
NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
Picture = Image.Image


def pictures(outputs: list[Any]) -> Iterator[Picture]:
    """Decode the pictures of a cell's outputs, laid on white."""
    for output in outputs:
        for kind in ("image/png", "image/jpeg"):
            if kind in output.get("data", {}):
                picture = Image.open(io.BytesIO(base64.b64decode("".join(output["data"][kind])))).convert(
                    "RGBA"
                )
                sheet = Image.new("RGBA", picture.size, "white")
                yield Image.alpha_composite(sheet, picture).convert("RGB")


def colour_classes(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sort pixels (H, W, 3) by colour: 0 paper, 1 grey or black, 2 … a part of the circle of hues."""
    low, high = pixels.min(axis=2).astype(int), pixels.max(axis=2).astype(int)
    hue = np.asarray(Image.fromarray(pixels).convert("HSV"))[..., 0].astype(int)
    classes = np.where(high - low < 40, 1, 2 + hue * HUES // 256)
    return np.where(255 - low > 40, classes, 0)


def without_partner(here: npt.NDArray[Any], there: npt.NDArray[Any]) -> float:
    """Share of the marked points that have no marked point of the other picture within reach."""
    fat = np.asarray(Image.fromarray(there).convert("L").filter(ImageFilter.MaxFilter(REACH))) > 0
    return float((here & ~fat).sum() / max(1, here.sum()))


def picture_problem(stored: Picture, made: Picture, *, lost: float = LOST) -> str | None:
    """Say how the picture that was made differs from the stored one; ``None`` when it does not."""
    if np.ptp(np.asarray(made).reshape(-1, 3), axis=0).max() <= 3:
        return "the figure is blank"
    if abs(stored.width / stored.height - made.width / made.height) > 0.05:
        return f"the shape differs: stored {stored.size}, made {made.size}"
    size = (WIDTH, max(1, round(WIDTH * stored.height / stored.width)))
    small = [picture.resize(size, Image.Resampling.BOX) for picture in (stored, made)]
    classes = [colour_classes(np.asarray(picture)) for picture in small]
    ink = [kind > 0 for kind in classes]
    alone = max(without_partner(ink[0], ink[1]), without_partner(ink[1], ink[0]))
    if alone > lost:
        return f"{alone:.1%} of the ink has no partner in the other figure"
    for kind in range(1, 2 + HUES):
        mine = [c == kind for c in classes]
        if max(m.sum() for m in mine) < 0.01 * max(1, ink[0].sum()):
            continue  # a few points at the edge between two colours
        near = [
            mine[0] | np.isin(classes[0], neighbours(kind)),
            mine[1] | np.isin(classes[1], neighbours(kind)),
        ]
        alone = max(without_partner(mine[0], near[1]), without_partner(mine[1], near[0]))
        if alone > max(LOST_OF_COLOUR, 2 * lost):
            return f"{alone:.1%} of the ink of one colour has no partner of that colour"
    blurred = [np.asarray(picture.filter(ImageFilter.BoxBlur(4)), float) for picture in small]
    change = float(np.abs(blurred[0] - blurred[1]).max(axis=2).mean())
    return (
        f"the colours differ by {change:.1f} levels on the mean"
        if change > MEAN_CHANGE * lost / LOST
        else None
    )


def neighbours(kind: int) -> list[int]:
    """Hues beside a hue, since a hue at the edge of its class may fall on either side."""
    return [] if kind == 1 else [2 + (kind - 2 + step) % HUES for step in (-1, 1)]


def figures_problem(stored: list[Any], made: list[Any], *, lost: float = LOST) -> str | None:
    """Compare all pictures of a cell, in order."""
    old, new = list(pictures(stored)), list(pictures(made))
    if len(old) != len(new):
        return f"{len(old)} figures are stored, {len(new)} were made"
    for i, (a, b) in enumerate(zip(old, new, strict=True)):
        if problem := picture_problem(a, b, lost=lost):
            return f"figure {i + 1}: {problem}"
    return None


def texts(outputs: list[Any]) -> str:
    """Join all that a cell says in words: streams and the text forms of its results."""
    parts = []
    for output in outputs:
        data = output.get("data", {})
        parts += [output["text"]] if "text" in output else []
        parts += [data[kind] for kind in ("text/markdown", "text/plain") if kind in data]
    return "\n".join("".join(part) for part in parts)


def numbers_problem(stored: str, made: str, tolerance: float) -> str | None:
    """Compare two texts: the words to the letter, the numbers within ``tolerance``.

    The tolerance is absolute below 1 and relative above.
    """
    words = [re.sub(r"\s+", " ", NUMBER.sub("#", text)).replace("-", "") for text in (stored, made)]
    if words[0] != words[1]:
        return f"the text differs apart from its numbers: stored {words[0]!r}, made {words[1]!r}"
    pairs = zip(NUMBER.findall(stored), NUMBER.findall(made), strict=True)
    for old, new in pairs:
        a, b = (float(text.replace(",", "").replace("\u2212", "-")) for text in (old, new))
        if not abs(a - b) <= tolerance * max(1.0, abs(a)):
            return f"stored {old}, made {new}: further apart than the tolerance of {tolerance:g}"
    return None


@pytest.fixture
def style() -> Iterator[None]:
    """Draw in the book's style, and close all figures at the end."""
    import matplotlib as mpl  # here, since few tests draw
    import matplotlib.pyplot as plt

    from rnnbook import plot

    with mpl.rc_context():
        plot.use_style()
        yield
        plt.close("all")


@pytest.fixture
def ax(style: None) -> Any:  # noqa: ARG001 (the style acts by being there)
    """Give an empty Axes."""
    import matplotlib.pyplot as plt

    return plt.subplots()[1]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cells that a reader is to write: their tag says that they are not run."""
    stubs = [item for item in items if "skip-execution" in cell_tags(item)]
    if stubs:
        config.hook.pytest_deselected(items=stubs)
        items[:] = [item for item in items if item not in stubs]


def cell_tags(item: pytest.Item) -> list[str]:
    """Read the tags of a notebook cell; an ordinary test has none."""
    cell = getattr(item, "cell", None)
    return list(cell.metadata.get("tags", [])) if cell is not None else []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Generator[None, Any, Any]:
    """Compare what nbval does not, after it has run the cell."""
    if type(item).__name__ != "IPyNbCell":
        return (yield)
    rules = item.cell.metadata.get("rnnbook", {})
    tolerance = rules.get("tolerance")
    if tolerance is not None:
        item.options["check"] = False
    result = yield
    problem = figures_problem(item.cell.outputs, item.test_outputs, lost=rules.get("figure_tolerance", LOST))
    if problem is None and tolerance is not None:
        problem = numbers_problem(texts(item.cell.outputs), texts(item.test_outputs), tolerance)
    if problem:
        item.raise_cell_error(problem)
    return result
