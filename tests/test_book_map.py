"""What chapters need and lead to: read from their first cells, turned around, drawn, and put on the pages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from _ext import map_drawing
from _ext.book_map import (
    Book,
    Part,
    alone,
    cards,
    columns_of,
    essential,
    leads_to,
    read_needs,
    read_parts,
    read_questions,
    topic,
)

PARTS = read_parts(ROOT)
BOOK = Book(PARTS, read_needs(ROOT, PARTS))  # refuses a need that is missing, or that comes later
PAGES = [page for part in PARTS for page in part.pages]
COLUMNS = columns_of(BOOK, title=lambda page: page, address=lambda page: f"{page}.html")
BOXES = {box.name: box for column in COLUMNS.values() for box in column}
PLACES = map_drawing.place(list(COLUMNS.values()))
LINES = [(need, box.name) for box in BOXES.values() for need in box.entering]


# ---- a small book --------------------------------------------------------------------------------


def write_book(root: Path, openings: dict[str, str]) -> list[Part]:
    """Write a notebook for each chapter, with this text after **You need**; all are of one part."""
    for name, opening in openings.items():
        text = f"# The title of {name}\n\n**Question.** Why?\n\n**You need** {opening}\n\n**Time.** One minute.\n\n## A section"
        cell = {"cell_type": "markdown", "id": "first", "metadata": {}, "source": text.splitlines(True)}
        notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        path = root / "chapters" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook), encoding="utf-8")
    return [Part("Part", tuple(f"chapters/{name}" for name in openings))]


def needs_of(root: Path, openings: dict[str, str]) -> dict[str, list[str]]:
    return read_needs(root, write_book(root, openings))


def test_needs_are_read_in_every_form_of_a_link(tmp_path):
    needs = needs_of(
        tmp_path,
        {
            "a/one": "Python.",
            "a/two": "{doc}`one`, and time.",
            "b/three": "{doc}`../a/one`, and\n{doc}`the second <../a/two>`, {doc}`../a/one` again.",
        },
    )
    assert needs == {
        "chapters/a/one": [],
        "chapters/a/two": ["chapters/a/one"],
        "chapters/b/three": ["chapters/a/one", "chapters/a/two"],
    }


@pytest.mark.parametrize(
    ("opening", "message"),
    [
        ("{doc}`nowhere`.", "chapters/a/two: needs nowhere, and _toc.yml has no such page"),
        ("{doc}`../one`.", r"needs \.\./one, and _toc.yml has no such page"),
        ("{doc}`three`.", "chapters/a/two: needs chapters/a/three, which does not come before it"),
        ("{doc}`two`.", "needs chapters/a/two, which does not come before it"),
    ],
)
def test_a_need_that_cannot_be_met_is_an_error(tmp_path, opening, message):
    with pytest.raises(ExtensionError, match=message):
        needs_of(tmp_path, {"a/one": "Python.", "a/two": opening, "a/three": "Python."})


def test_a_chapter_that_does_not_say_what_it_needs_is_an_error(tmp_path):
    parts = write_book(tmp_path, {"a/one": "Python."})
    path = tmp_path / "chapters" / "a" / "one.ipynb"
    path.write_text(path.read_text().replace("**You need**", "**You have**"))
    with pytest.raises(ExtensionError, match="chapters/a/one: its first cell has no paragraph"):
        read_needs(tmp_path, parts)


def test_what_nothing_needs_leads_to_the_next_page():
    book = Book([Part("P", ("a", "b", "c")), Part("R", ("words",))], {"a": [], "b": ["a"], "c": ["a"]})
    assert leads_to(book) == {"a": ["b", "c"], "b": ["c"], "c": ["words"]}


def test_a_need_behind_another_need_is_not_drawn():
    needs = {"a": [], "b": ["a"], "c": ["b", "a"], "d": ["a", "c"], "e": ["a"]}
    assert essential(needs) == {"a": [], "b": ["a"], "c": ["b"], "d": ["c"], "e": ["a"]}


def test_a_chapter_that_stands_alone_is_joined_to_the_next_one():
    book = Book(
        [Part("P", ("a", "b", "c", "d")), Part("R", ("words",))], {"a": [], "b": [], "c": ["b"], "d": []}
    )
    assert alone(book) == ["a"]
    columns = columns_of(book, title=str, address=str)
    assert [(box.name, box.needs, box.after) for box in columns["P"]] == [
        ("a", (), ()),
        ("b", (), ("a",)),
        ("c", ("b",), ()),
        ("d", (), ()),
    ]
    assert map_drawing.draw(columns).count('class="edge next ') == 1


# ---- this book -----------------------------------------------------------------------------------


def test_leads_to_is_the_reverse_of_you_need():
    leads = leads_to(BOOK)
    assert set(leads) == set(BOOK.needs) == {page for page in PAGES if (ROOT / f"{page}.ipynb").is_file()}
    for page, targets in leads.items():
        needing = [other for other in BOOK.needs if page in BOOK.needs[other]]
        assert targets == needing or (not needing and targets == [PAGES[PAGES.index(page) + 1]])
        assert targets == sorted(targets, key=PAGES.index)


def test_the_map_has_each_chapter_once_as_a_link():
    svg = BeautifulSoup(map_drawing.draw(COLUMNS), "html.parser")
    assert [link["href"] for link in svg.find_all("a")] == [f"{page}.html" for page in BOOK.needs]
    for link, page in zip(svg.find_all("a"), BOOK.needs, strict=True):
        assert " ".join(text.get_text() for text in link.find_all("text")) == topic(page)
        spoken = [topic(need) for need in BOXES[page].needs]
        assert link["aria-label"].startswith(topic(page))
        assert re.findall(r"Needs: (.+)\.$", link["aria-label"]) == [", ".join(spoken)] * bool(spoken)
    assert len(svg.find_all("g", class_="edge")) == len(LINES) > len(BOXES) / 2


def test_every_need_can_be_followed_on_the_map():
    def behind(page: str) -> set[str]:
        return {page}.union(*(behind(need) for need in BOXES[page].needs))

    for page, needs in BOOK.needs.items():
        chapters = set(needs) & set(BOOK.needs)
        assert chapters <= behind(page)


def test_no_line_of_the_map_runs_through_a_box():
    for source, target in LINES:
        corners = map_drawing.path(PLACES, source, target)
        for (x0, y0), (x1, y1) in pairwise(corners):
            assert x0 == x1 or y0 == y1
            for name in BOXES:
                left, middle = PLACES.left(name), PLACES.middle(name)
                inside_x = max(x0, x1) > left and min(x0, x1) < left + map_drawing.WIDTH
                inside_y = abs(y0 - middle) < map_drawing.HEIGHT / 2 or (y0 - middle) * (y1 - middle) < 0
                assert not (inside_x and inside_y), f"{source} → {target} runs through {name}"


def test_lines_of_two_chapters_never_run_into_one():
    for place in (0, 1):  # upright, level
        runs: list[tuple[int, int, int, str]] = []
        for source, target in LINES:
            for start, end in pairwise(map_drawing.path(PLACES, source, target)[:-1]):  # all but the last bit
                if start[place] == end[place] and start != end:
                    low, high = sorted((start[1 - place], end[1 - place]))
                    runs.append((start[place], low, high, source))
        for at, low, high, source in runs:
            for other, begin, end, name in runs:
                assert name == source or other != at or begin >= high or end <= low, f"{source} on {name}"


def test_boxes_have_places_of_their_own_in_the_order_of_the_book():
    places = [(PLACES.column[name], PLACES.row[name]) for name in BOXES]
    assert places == sorted(set(places))
    most = max(map(len, COLUMNS.values()))
    assert all(0 <= row < most for _, row in places)


def test_cards_name_every_page_once():
    lines = "\n".join(cards(PARTS, {part.name: "What?" for part in PARTS}))
    assert re.findall(r"\{doc\}`/(.+?)`", lines) == PAGES
    assert re.findall(r"grid-item-card\} (\d) · (\w+)", lines) == [
        (str(number), part.name) for number, part in enumerate(PARTS, start=1)
    ]


def test_each_part_has_its_sentence():
    names = ["One", "Two"]
    assert read_questions(["One: Why: because.", "", "Two: How?"], names) == {
        "One": "Why: because.",
        "Two": "How?",
    }
    for lines in (
        ["One: Why?"],
        ["Two: How?", "One: Why?"],
        ["One: Why?", "Two: "],
        ["One: Why?", "Three: How?"],
    ):
        with pytest.raises(ValueError, match="for each of One, Two, in this order"):
            read_questions(lines, names)


def test_the_landing_page_names_the_pythons_of_the_readme():
    (pythons,) = re.findall(
        r"Python 3\.\d+[\d., ]+ or 3\.\d+", (ROOT / "intro.md").read_text(encoding="utf-8")
    )
    assert pythons in (ROOT / "README.md").read_text(encoding="utf-8")


# ---- on the pages --------------------------------------------------------------------------------

CONF = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
extensions = ["myst_nb", "sphinx_design", "_ext.book_map", "_ext.glossary"]
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "off"
"""
TOC = (
    "root: intro\nparts:\n- caption: Part\n  chapters:\n  - file: chapters/a/one\n  - file: chapters/a/two\n"
)
INTRO = "# Book\n\n```{toctree}\nchapters/a/one\nchapters/a/two\nchapters/words\n```\n\n```{book-map}\nPart: Why?\n```\n"
WORDS = "# Words\n\n```{glossary-terms}\n```\n"
GATE = "- {term: gate, chinese: 门, says: A number., taught: a/two § A section}\n"
LOST = """
- {term: mask, chinese: 掩码, says: A tensor., taught: a/two § No such heading}
- {term: nats, chinese: 奈特, says: A unit., taught: a/three}
"""


def build(root: Path, terms: str, part: str = "Part") -> subprocess.CompletedProcess[str]:
    """Build a book of two chapters and a glossary, as strictly as the real one."""
    write_book(root, {"a/one": "Python.", "a/two": "{doc}`one`."})
    intro = INTRO.replace("Part:", f"{part}:")
    files = {"conf.py": CONF, "_toc.yml": TOC, "intro.md": intro, "chapters/words.md": WORDS}
    for name, text in (files | {"chapters/glossary.yml": terms}).items():
        (root / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-D", "root_doc=intro"]
    return subprocess.run(
        [*command, root, root / "site"], capture_output=True, text=True, check=False, cwd=root
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("book")
    done = build(root, GATE)
    assert done.returncode == 0, done.stderr
    return root / "site"


def page_of(site: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def test_a_page_says_where_it_leads_between_what_it_needs_and_the_time(site):
    for name, link in {"chapters/a/one": "two.html", "chapters/a/two": None}.items():
        starts = [bold.get_text() for bold in page_of(site, name).select("section > p > strong:first-child")]
        wanted = ["Question.", "You need", "Leads to", "Time."]
        assert starts == [start for start in wanted if link or start != "Leads to"]
        found = page_of(site, name).select("p.leads-to a")
        assert [a["href"] for a in found] == ([link] if link else [])
    assert page_of(site, "chapters/a/one").select_one("p.leads-to a").get_text() == "The title of a/two"


def test_the_landing_page_has_the_map_and_the_cards(site):
    page = page_of(site, "intro")
    assert [a["href"] for a in page.select("svg.book-map a")] == [
        "chapters/a/one.html",
        "chapters/a/two.html",
    ]
    assert [a.get_text() for a in page.select(".sd-card a")] == ["The title of a/one", "The title of a/two"]


def test_a_term_has_an_anchor_and_a_link_to_its_section(site):
    page = page_of(site, "chapters/words")
    term = page.select_one("dt#term-gate")
    assert term.select_one("span[lang='zh-Hans']").get_text() == "门"
    assert term.find_next("dd").select_one("a")["href"] == "a/two.html#a-section"


def test_what_leads_nowhere_is_an_error(tmp_path):
    done = build(tmp_path, GATE + LOST, part="Other")
    assert done.returncode != 0
    assert "/chapters/a/two § No such heading" in done.stderr
    assert "/chapters/a/three § " in done.stderr
    assert "§ A section" not in done.stderr
    assert "expected a line 'Part: sentence' for each of Part" in done.stderr
