"""House rules of the chapters: what the style guide asks and a program can see."""

from __future__ import annotations

import base64
import copy
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from rnnbook import __version__
from rnnbook.repro import source_hash

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from address import install_cell

CHAPTERS = sorted(p for p in (ROOT / "chapters").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
TAGS = {"hide-input", "hide-output", "remove-cell", "remove-output", "skip-execution"}
LOCAL_PATH = re.compile(r"(?:/(?:home|Users|root|tmp|work|mnt)/|[A-Z]:\\\\)\w")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
NOT_PROSE = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\{[\w:-]+\}`[^`]*`|\]\([^)]*\)|https?://\S+|\([^()]*\d{4}[^()]*\)|§[\d.]+",
    re.DOTALL,
)
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])")
EXERCISE = re.compile(r"\{exercise-start\}[^\n]*\n(?::[^\n]*\n)*?:label: (ex-[\w-]+)")
SOLUTION = re.compile(r"\{solution-start\} (ex-[\w-]+)\n((?::[^\n]*\n)*)")


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def said(cell: NotebookNode) -> str:
    """All words that a cell's outputs hold."""
    parts = []
    for output in cell.get("outputs", []):
        parts.append(output.get("text", ""))
        parts += [str(v) for k, v in output.get("data", {}).items() if not k.startswith("image/")]
    return "\n".join(parts)


def check_opening(notebook: NotebookNode) -> Iterator[str]:
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        yield "opening: the first cell is not the title"
    for word in ("Question", "You will", "You need", "Time"):
        if f"**{word}" not in first.source:
            yield f"opening: no **{word}** below the title"
    if any(
        re.search(r"^# ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
        for text in texts(notebook)[1:]
    ):
        yield "opening: a second title"
    code = code_cells(notebook)
    wanted = install_cell("\n".join(cell.source for cell in code))
    if not code or code[0].source != wanted or tags(code[0]) != ["remove-cell"]:
        yield "opening: the first code cell is not the install cell, tagged remove-cell"
    if len(code) < 2 or "use_style()" not in code[1].source or "seed_everything(" not in code[1].source:
        yield "opening: the second code cell does not set style and seed"
    for i, cell in enumerate(code[1:]):
        if bad := re.search(
            r"sys\.path|pip install|urlretrieve|filterwarnings|^\s*!", cell.source, re.MULTILINE
        ):
            yield f"opening: code cell {i + 1} has {bad[0].strip()!r}"


def check_order(notebook: NotebookNode) -> Iterator[str]:
    heads = re.findall(r"^## (.+)$", "\n".join(texts(notebook)), re.MULTILINE)
    if not 4 <= len(heads) <= 10:
        yield f"sections: {len(heads)}, expected 4 to 10 with the closing ones"
    if heads[-3:] != ["Exercises", "What to keep", "Further reading"]:
        yield "sections: the last three are not Exercises, What to keep, Further reading"


def check_outputs(notebook: NotebookNode) -> Iterator[str]:
    counts = [cell.execution_count for cell in code_cells(notebook) if "skip-execution" not in tags(cell)]
    if counts != list(range(1, len(counts) + 1)):
        yield "outputs: execution counts are not 1 … n: run make notebooks"
    for i, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                yield f"outputs: cell {i} stores an error"
            if output.get("name") == "stderr":
                yield f"outputs: cell {i} stores stderr"
        if LOCAL_PATH.search(said(cell)) or LOCAL_PATH.search(cell.source):
            yield f"outputs: cell {i} holds a path of one machine"
        if ADDRESS.search(said(cell)):
            yield f"outputs: cell {i} holds an address in memory"


def check_provenance(notebook: NotebookNode) -> Iterator[str]:
    if notebook.metadata.get("rnnbook") != {"version": __version__, "sha256": source_hash()}:
        yield "provenance: the outputs were made with another rnnbook than the one beside them: run make notebooks"


def check_tags(notebook: NotebookNode) -> Iterator[str]:
    for i, cell in enumerate(notebook.cells):
        if unknown := set(tags(cell)) - TAGS:
            yield f"tags: cell {i} has {sorted(unknown)}"
        if cell.cell_type == "code" and "NBVAL" in cell.source:
            yield f"tags: cell {i} switches a comparison off"


def check_figures(notebook: NotebookNode) -> Iterator[str]:
    prose = "\n".join(texts(notebook))
    for i, cell in enumerate(notebook.cells):
        shown = any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
        wanted = cell.metadata.get("mystnb", {})
        figure, alt = wanted.get("figure", {}), wanted.get("image", {}).get("alt", "")
        if not shown:
            if figure:
                yield f"figures: cell {i} has a caption and stores no figure"
            continue
        if not str(figure.get("name", "")).startswith("fig-") or len(figure.get("caption", "")) < 30:
            yield f"figures: cell {i} lacks a name fig-… or a caption that says what to see"
        elif f"{{numref}}`{figure['name']}`" not in prose:
            yield f"figures: no text speaks of {figure['name']}"
        if len(alt) < 60 or alt == figure.get("caption"):
            yield f"figures: cell {i} lacks an alternative text that says what is seen"


def check_length(notebook: NotebookNode) -> Iterator[str]:
    row = 0
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            row = 0
            if (count := len(cell.source.split())) > 200:
                yield f"length: text cell {i} has {count} words, at most 200"
        else:
            row += "remove-cell" not in tags(cell)
            if (count := len(cell.source.splitlines())) > 30:
                yield f"length: code cell {i} has {count} lines, at most 30"
            if (
                width := max(map(len, cell.source.splitlines()), default=0)
            ) > 88 and "remove-cell" not in tags(cell):
                yield f"length: code cell {i} has a line of {width} characters, at most 88 are seen at once"
        if row > 4:
            yield f"length: cell {i} is the fifth code cell in a row"


def check_exercises(notebook: NotebookNode) -> Iterator[str]:
    prose = "\n\n".join(texts(notebook))
    exercises, solutions = EXERCISE.findall(prose), SOLUTION.findall(prose)
    if not 3 <= len(exercises) <= 6:
        yield f"exercises: {len(exercises)}, expected 3 to 6"
    if sorted(exercises) != sorted(label for label, _ in solutions):
        yield "exercises: not every exercise has a solution after it"
    if any(":class: dropdown" not in options for _, options in solutions):
        yield "exercises: a solution is not folded"
    for cell in code_cells(notebook):
        if re.search(r"^check\.", cell.source) and "NotImplementedError" in cell.source:
            yield "exercises: stub and check stand in one cell"
        if "raise NotImplementedError" in cell.source and "skip-execution" in tags(cell):
            yield "exercises: a stub that only defines can run: drop its tag"


def check_numbers(notebook: NotebookNode) -> Iterator[str]:
    """A number in the prose stands in an output or in the code; years and small counts are let off."""
    held = set()
    for cell in code_cells(notebook):
        held |= {n.replace(",", "") for n in NUMBER.findall(said(cell) + "\n" + cell.source)}
    for i, cell in enumerate(notebook.cells[1:], start=1):
        if cell.cell_type != "markdown":
            continue
        for number in NUMBER.findall(NOT_PROSE.sub(" ", cell.source)):
            plain = number.replace(",", "").rstrip(".")
            small = re.fullmatch(r"\d", plain)
            if not small and plain not in held:
                yield f"numbers: text cell {i} says {number}, which no output and no code holds"


RULES: dict[str, Callable[[NotebookNode], Iterator[str]]] = {
    "opening": check_opening,
    "sections": check_order,
    "outputs": check_outputs,
    "provenance": check_provenance,
    "tags": check_tags,
    "figures": check_figures,
    "length": check_length,
    "exercises": check_exercises,
    "numbers": check_numbers,
}


def test_there_are_chapters() -> None:
    assert CHAPTERS


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_keeps_the_rule(path: Path, rule: str) -> None:
    assert list(RULES[rule](nbformat.read(path, as_version=4))) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_is_valid_and_its_cells_have_names(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    names = [cell.id for cell in notebook.cells]
    assert len(set(names)) == len(names)


def test_cover_is_the_figure_of_the_chapter() -> None:
    stored = [
        output.data["image/png"]
        for path in CHAPTERS
        for cell in nbformat.read(path, as_version=4).cells
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == "fig-reading"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert [base64.b64decode(picture) for picture in stored] == [
        (ROOT / "assets" / "reading.png").read_bytes()
    ]


# Each rule is shown a chapter in which it is broken, so that a rule that sees nothing is seen.
def _code(notebook: NotebookNode, word: str) -> NotebookNode:
    return next(cell for cell in code_cells(notebook) if word in cell.source)


def _figure(notebook: NotebookNode) -> NotebookNode:
    return next(cell for cell in code_cells(notebook) if "mystnb" in cell.metadata)


def _add_text(text: str) -> Callable[[NotebookNode], object]:
    return lambda nb: nb.cells.insert(2, nbformat.v4.new_markdown_cell(text))


def _add_output(**output: object) -> Callable[[NotebookNode], object]:
    return lambda nb: code_cells(nb)[1].outputs.append(nbformat.v4.new_output(**output))


def _add_code(source: str, count: int = 1) -> Callable[[NotebookNode], object]:
    def plant(nb: NotebookNode) -> None:
        for _ in range(count):
            nb.cells.insert(4, nbformat.v4.new_code_cell(source))

    return plant


def _replace(old: str, new: str) -> Callable[[NotebookNode], object]:
    def plant(nb: NotebookNode) -> None:
        cell = next(cell for cell in nb.cells if old in cell.source)
        cell.source = cell.source.replace(old, new)

    return plant


PLANTED: list[tuple[str, str, Callable[[NotebookNode], object]]] = [
    ("opening", "the first cell is not the title", lambda nb: nb.cells.pop(0)),
    ("opening", "no **Question**", _replace("**Question", "**Query")),
    ("opening", "a second title", _add_text("# Another title")),
    ("opening", "not the install cell", lambda nb: nb.cells.pop(1)),
    ("opening", "not the install cell", _add_code('load("shop_reviews")')),  # without [chinese]
    ("opening", "does not set style and seed", _replace("use_style()", "None")),
    ("opening", "has 'pip install'", _add_code("%pip install somewhat")),
    ("sections", "the last three", _replace("## What to keep", "## Summary")),
    ("outputs", "not 1 … n", lambda nb: setattr(code_cells(nb)[2], "execution_count", 99)),
    ("outputs", "not 1 … n", lambda nb: setattr(code_cells(nb)[2], "execution_count", None)),
    ("outputs", "an error", _add_output(output_type="error", ename="E", evalue="", traceback=[])),
    ("outputs", "stderr", _add_output(output_type="stream", name="stderr", text="warning")),
    ("outputs", "a path", _add_output(output_type="stream", name="stdout", text="/" + "home/someone")),
    ("outputs", "an address", _add_output(output_type="stream", name="stdout", text="<at 0x7f12ab34cd>")),
    ("provenance", "another rnnbook", lambda nb: nb.metadata["rnnbook"].update(sha256="0")),
    ("tags", "['secret']", lambda nb: code_cells(nb)[2].metadata.update(tags=["secret"])),
    ("tags", "switches a comparison off", _add_code("# NBVAL_" + "IGNORE_OUTPUT")),
    ("figures", "stores no figure", lambda nb: setattr(_figure(nb), "outputs", [])),
    ("figures", "lacks a name", lambda nb: _figure(nb).metadata["mystnb"]["figure"].pop("caption")),
    (
        "figures",
        "no text speaks of",
        lambda nb: _figure(nb).metadata["mystnb"]["figure"].update(name="fig-other"),
    ),
    (
        "figures",
        "lacks an alternative text",
        lambda nb: _figure(nb).metadata["mystnb"]["image"].update(alt="A plot"),
    ),
    ("length", "words, at most 200", _add_text("word " * 201)),
    ("length", "lines, at most 30", _add_code("\n".join(["x = 1"] * 31))),
    ("length", "characters, at most 88", _add_code("x = " + "1" * 90)),
    ("length", "fifth code cell", _add_code("x = 1", count=5)),
    ("exercises", "not every exercise", _replace("{solution-start} ex-", "{solution-start} ex-no-")),
    ("exercises", "is not folded", _replace(":class: dropdown", ":class: open")),
    ("numbers", "says 0.98765", _add_text("The accuracy is 0.98765 here.")),
    ("numbers", "says 87,654", _add_text("We saw 87,654 reviews.")),
]


@pytest.mark.parametrize(
    ("rule", "complaint", "plant"),
    PLANTED,
    ids=lambda value: value[:30] if isinstance(value, str) else "planted",
)
def test_rule_sees_a_planted_fault(
    rule: str, complaint: str, plant: Callable[[NotebookNode], object]
) -> None:
    notebook = copy.deepcopy(nbformat.read(CHAPTERS[0], as_version=4))
    plant(notebook)
    assert any(complaint in problem for problem in RULES[rule](notebook))
