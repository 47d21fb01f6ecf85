"""The claims of the article that the book answers: each is settled in one place, beside a cell that runs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
import yaml

FOLDER = Path(__file__).parents[1] / "chapters"
CHAPTERS = [nbformat.read(path, as_version=4).cells for path in sorted(FOLDER.rglob("*.ipynb"))]
# All of them: the list from which the page "The article line by line" is made.
CLAIMS = yaml.safe_load((FOLDER / "reference" / "article.yml").read_text(encoding="utf-8"))["claims"]


def places(claim: str) -> list[tuple[list, int]]:
    """Find the notebooks' cells that hold a claim's label: (cells of the notebook, number of the cell)."""
    return [
        (cells, i)
        for cells in CHAPTERS
        for i, cell in enumerate(cells)
        if cell.cell_type == "markdown" and f"({claim})=" in cell.source.splitlines()
    ]


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim["id"] for claim in CLAIMS])
def test_a_claim_is_settled_in_one_place_by_a_cell_that_runs(claim):
    label = f"claim-{claim['id'].lower()}"
    (place,) = places(label)
    cells, i = place
    text = cells[i].source.split(f"({label})=")[1].split("(claim-")[0]
    if "omitted" not in claim:  # what the article leaves out has no words
        assert re.search("「[^」]+」|`[^`]+`", text), "the article's own words, or its code"
    near = cells[max(0, i - 2) : i + 4]
    assert any(cell.cell_type == "code" and cell.execution_count for cell in near)
