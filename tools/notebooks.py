"""Run chapters in fresh kernels and store their outputs: ``python tools/notebooks.py [principles/recurrence ...]``.

The only thing that writes outputs. Two runs give the same bytes: what depends on the moment (times,
editor settings, the interpreter's patch version) is not stored. A notebook is replaced only when the
whole of it ran, without an error and without a word on stderr.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from address import install_cell
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from rnnbook import __version__
from rnnbook.repro import source_hash

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ROOT / "chapters"
COVER_FIGURE, COVER = "fig-reading", ROOT / "assets" / "reading.png"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
KEPT = {"tags", "mystnb", "rnnbook"}


def provenance() -> dict[str, str]:
    """Name the package that the outputs were made with."""
    return {"version": __version__, "sha256": source_hash()}


def clean(notebook: NotebookNode) -> None:
    """Keep of the metadata what the book uses, and name the package that made the outputs."""
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        rnnbook=provenance(),
    )
    for cell in notebook.cells:
        cell.metadata = NotebookNode({key: value for key, value in cell.metadata.items() if key in KEPT})
    count = 0
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.execution_count is not None:
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count


def export_cover(notebook: NotebookNode) -> None:
    """Write the figure that opens the book, and its README, to ``assets/reading.png``."""
    for cell in notebook.cells:
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == COVER_FIGURE:
            picture = next(o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {}))
            COVER.write_bytes(base64.b64decode(picture))


def complaints(notebook: NotebookNode) -> list[str]:
    """Name the cells that wrote to stderr."""
    return [
        f"cell {i} wrote to stderr: {output.text.strip()[:200]}"
        for i, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]


def run(path: Path) -> None:
    """Run one notebook from top to bottom and store it."""
    start = time.monotonic()
    name = path.relative_to(CHAPTERS).with_suffix("").as_posix()
    notebook = nbformat.read(path, as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if "importlib.util" in cell.source and "remove-cell" in cell.metadata.get("tags", []):
                cell.source = install_cell(source)
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def progress(cell: NotebookNode, cell_index: int) -> None:  # noqa: ARG001 (nbclient calls by name)
        if sys.stdout.isatty() and cell_index in code:
            print(f"\r\033[K{name}: cell {code.index(cell_index) + 1} of {len(code)}", end="", flush=True)

    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        skip_cells_with_tag="skip-execution",
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=40"],
        on_cell_execute=progress,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        sys.exit(f"\n{name}: nothing was stored, a cell failed.\n" + COLOUR.sub("", str(error)))
    if bad := complaints(notebook):
        sys.exit(f"\n{name}: nothing was stored.\n" + "\n".join(bad))
    clean(notebook)
    partial = path.with_suffix(".partial")
    nbformat.write(notebook, partial)
    partial.replace(path)
    export_cover(notebook)
    print(
        f"{chr(13) if sys.stdout.isatty() else ''}{name}: {len(code)} code cells, {time.monotonic() - start:.0f} s"
    )


def main() -> None:
    """Run the named chapters, or all of them."""
    os.environ |= {"OMP_NUM_THREADS": "1", "RNNBOOK_PROGRESS": "0", "PYTHONHASHSEED": "0"}
    paths = [CHAPTERS / f"{name.removesuffix('.ipynb')}.ipynb" for name in sys.argv[1:]]
    if missing := [path for path in paths if not path.is_file()]:
        known = ", ".join(
            sorted(p.relative_to(CHAPTERS).with_suffix("").as_posix() for p in CHAPTERS.rglob("*.ipynb"))
        )
        sys.exit(f"no chapter {missing[0].relative_to(CHAPTERS).with_suffix('')}; there are: {known}")
    for path in paths or sorted(CHAPTERS.rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            run(path)


if __name__ == "__main__":
    main()
