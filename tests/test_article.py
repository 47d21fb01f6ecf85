"""The claims of the article that the book answers: each is settled in one place, beside a cell that runs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

CHAPTERS = sorted((Path(__file__).parents[1] / "chapters").rglob("*.ipynb"))
# Numbered as in the list of the article's claims: those of its sections on principles and implementation,
# and those of its two listings.
SETTLED = [f"c{n:02d}" for n in range(8, 47)] + ["c32b", "c47", "c47b", "c47c", "c48", "c49", "c50"]


def places(claim: str) -> list[tuple[list, int]]:
    """Find the notebooks' cells that hold a claim's label: (cells of the notebook, number of the cell)."""
    return [
        (cells, i)
        for path in CHAPTERS
        for cells in [nbformat.read(path, as_version=4).cells]
        for i, cell in enumerate(cells)
        if cell.cell_type == "markdown" and f"({claim})=" in cell.source.splitlines()
    ]


@pytest.mark.parametrize("claim", SETTLED)
def test_a_claim_is_settled_in_one_place_by_a_cell_that_runs(claim):
    (place,) = places(f"claim-{claim}")
    cells, i = place
    text = cells[i].source.split(f"(claim-{claim})=")[1].split("(claim-")[0]
    if claim not in ("c18", "c40", "c44"):  # what the article leaves out has no words
        assert re.search("「[^」]+」|`[^`]+`", text), "the article's own words, or its code"
    near = cells[max(0, i - 2) : i + 4]
    assert any(cell.cell_type == "code" and cell.execution_count for cell in near)
