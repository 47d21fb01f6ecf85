"""What runs the chapters sees a changed number, a changed figure, a figure that is gone."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from PIL import Image

import conftest

ROOT = Path(__file__).resolve().parents[1]
BLUE, ORANGE = "#0072B2", "#D55E00"


def drawing(*, dpi=100, shift=0.0, colour=BLUE, drop=(), marker="", legend=True) -> Image.Image:
    """Draw two lines, and leave out or change a part."""
    x = np.linspace(0, 6, 40)
    with mpl.rc_context({"figure.figsize": (6, 3.4), "font.size": 10}):
        figure, ax = plt.subplots()
        if "first" not in drop:
            ax.plot(x, np.sin(x) + shift, color=colour, label="one", marker=marker)
        if "second" not in drop:
            ax.plot(x, np.cos(x), "--", color=ORANGE, label="two")
        if "label" not in drop:
            ax.set_xlabel("time step")
        if legend:
            ax.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=dpi)
        plt.close(figure)
    return Image.open(buffer).convert("RGB")


def output(picture: Image.Image) -> dict[str, object]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": "<Figure>"}
    return {"output_type": "display_data", "data": data}


STORED = drawing()


@pytest.mark.parametrize(
    "same",
    [{}, {"dpi": 72}, {"shift": 0.004}],
    ids=["the same", "fewer points", "a hair higher"],
)
def test_a_figure_that_looks_the_same_passes(same):
    assert conftest.picture_problem(STORED, drawing(**same)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"drop": ("first",), "legend": False},
        {"drop": ("second",)},
        {"drop": ("label",)},
        {"shift": 0.25},
        {"colour": ORANGE},
        {"colour": "#009E73"},
        {"marker": "o"},
        {"legend": False},
    ],
    ids=str,
)
def test_a_changed_figure_is_seen(change):
    assert conftest.picture_problem(STORED, drawing(**change))


@pytest.mark.parametrize("grey", [255, 250, 0])
def test_a_blank_figure_is_refused_even_if_a_blank_one_is_stored(grey):
    blank = Image.new("RGB", STORED.size, (grey,) * 3)
    assert conftest.picture_problem(STORED, blank) == "the figure is blank"
    assert conftest.picture_problem(blank, blank) == "the figure is blank"


def test_another_shape_is_refused():
    wide = STORED.resize((STORED.width * 2, STORED.height))
    assert "shape" in (conftest.picture_problem(STORED, wide) or "")


def test_figures_are_counted():
    one, two = [output(STORED)], [output(STORED), output(STORED)]
    assert conftest.figures_problem(one, one) is None
    assert conftest.figures_problem([], []) is None
    assert conftest.figures_problem(one, []) == "1 figures are stored, 0 were made"
    assert conftest.figures_problem(one, two) == "1 figures are stored, 2 were made"
    other = [output(STORED), output(drawing(shift=0.25))]
    assert (conftest.figures_problem(two, other) or "").startswith("figure 2:")


def test_a_transparent_figure_is_laid_on_white():
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    buffer = io.BytesIO()
    clear.save(buffer, "PNG")
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode()}
    (picture,) = conftest.pictures([{"data": data}])
    assert picture.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("stored", "made", "tolerance", "fits"),
    [
        ("loss 0.512", "loss 0.519", 0.01, True),
        ("loss 0.512", "loss 0.530", 0.01, False),
        ("loss 0.512", "gain 0.512", 0.01, False),
        ("1,637 texts", "1,640 texts", 0.01, True),
        ("1,637 texts", "1,700 texts", 0.01, False),
        ("a 0.5 b 0.5", "a 0.5", 0.5, False),
        ("-0.10", "-0.11", 0.02, True),
        ("\u22120.10", "0.10", 0.02, False),
        ("1e-5", "3e-5", 0.02, True),
        ("200.0", "203.0", 0.02, True),
        ("200.0", "206.0", 0.02, False),
        ("nan", "0.5", 0.5, False),
    ],
)
def test_numbers_may_differ_by_the_tolerance_and_words_not_at_all(stored, made, tolerance, fits):
    assert (conftest.numbers_problem(stored, made, tolerance) is None) is fits


# --- the whole of it, on a notebook of three cells --------------------------------------------------

CELLS = {
    "number": "print(2 + 2)",
    "figure": "import matplotlib.pyplot as plt\n_ = plt.plot([1, 3, 2])",
    "near": "print('loss', 0.5)",
}


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    """Return a notebook whose stored outputs are right."""
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    cells[2].metadata["rnnbook"] = {"tolerance": 0.05}
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    NotebookClient(made, kernel_name="python3", extra_arguments=["--IPKernelApp.log_level=40"]).execute()
    return made


def run(folder: Path, notebook: nbformat.NotebookNode) -> subprocess.CompletedProcess[str]:
    path = folder / "chapter.ipynb"
    nbformat.write(notebook, path)
    (folder / "conftest.py").write_bytes((ROOT / "conftest.py").read_bytes())
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "-q",
        "-p",
        "no:cacheprovider",
        path.name,
    ]
    settings = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_true_notebook_passes(notebook, tmp_path):
    done = run(tmp_path, notebook)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


@pytest.mark.parametrize(
    ("cell", "old", "new"),
    [
        (0, "2 + 2", "2 + 3"),
        (0, "print(2 + 2)", "raise KeyError"),
        (1, "_ = plt.plot([1, 3, 2])", "pass"),
        (1, "[1, 3, 2]", "[1, 3, 1]"),
        (1, "[1, 3, 2]", "[]"),
        (2, "0.5", "0.6"),
        (2, "loss", "gain"),
    ],
    ids=["number", "error", "no figure", "other figure", "empty figure", "far number", "word"],
)
def test_a_false_notebook_fails_at_that_cell_alone(notebook, tmp_path, cell, old, new):
    changed = nbformat.from_dict(notebook)
    changed = nbformat.reads(nbformat.writes(changed), as_version=4)
    assert old in changed.cells[cell].source
    changed.cells[cell].source = changed.cells[cell].source.replace(old, new)
    done = run(tmp_path, changed)
    assert done.returncode == 1, done.stdout
    assert "1 failed, 2 passed" in done.stdout


def test_a_number_within_its_tolerance_passes_and_a_stub_is_not_run(notebook, tmp_path):
    changed = nbformat.reads(nbformat.writes(notebook), as_version=4)
    changed.cells[2].source = changed.cells[2].source.replace("0.5", "0.52")
    changed.cells.append(nbformat.v4.new_code_cell("raise NotImplementedError"))
    changed.cells[3].metadata["tags"] = ["skip-execution"]
    done = run(tmp_path, changed)
    assert done.returncode == 0, done.stdout
    assert "3 passed, 1 deselected" in done.stdout
