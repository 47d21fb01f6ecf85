"""The glossary: each term is complete, and is really spoken of at the place that its link names."""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from _ext.book_map import read_parts
from _ext.glossary import place, read_terms, sort_key

DATA = ROOT / "chapters" / "reference" / "glossary.yml"
ENTRIES = read_terms(DATA)
PAGES = {page for part in read_parts(ROOT) for page in part.pages}
NAMES = [entry["term"] for entry in ENTRIES]


@cache
def sections(page: str) -> dict[str, str]:
    """Return each section of a page with its heading; what stands before the first is under ''."""
    notebook = ROOT / f"{page}.ipynb"
    if notebook.is_file():
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    else:
        text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
    pieces = re.split(r"^#+ +(.+?) *$", text, flags=re.MULTILINE)
    headings = ["", *(heading.replace("`", "") for heading in pieces[1::2])]
    return {heading: f"{heading}\n{body}" for heading, body in zip(headings, pieces[::2], strict=True)}


def speaks_of(text: str, words: str) -> bool:
    """Say whether a text has these words, in whatever case, as words of their own or with an ending."""
    plain = re.sub(r"\s+", " ", re.sub(r"[*`]", "", text))
    return re.search(rf"(?<!\w){re.escape(words)}(?:e?s)?(?!\w)", plain, re.IGNORECASE) is not None


def test_there_are_at_least_a_hundred_terms_each_once():
    assert len(ENTRIES) >= 100
    assert len({sort_key(name) for name in NAMES}) == len(NAMES)
    assert sorted(NAMES, key=sort_key) == NAMES


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_a_term_has_its_chinese_and_one_short_sentence(entry):
    assert re.search(r"[\u4e00-\u9fff]", entry["chinese"])
    assert not re.search(r"[<>&]", entry["chinese"])
    says = entry["says"]
    assert says.endswith(".")
    assert says[0].isupper() or says[0] == "$"
    assert not re.search(r"[.!?] [A-Z]", says), "more than one sentence"
    assert 5 <= len(says.split()) <= 30


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_a_term_stands_in_the_section_that_its_link_names(entry):
    page, section = place(entry)
    assert page in PAGES
    found = sections(page)
    assert not section or section in found, f"{page} has no section {section!r}"
    text = found[section] if section else "\n".join(found.values())
    assert speaks_of(text, entry.get("written", entry["term"]))


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if "written" in entry], ids=lambda e: e["term"])
def test_another_spelling_is_given_only_where_it_is_needed(entry):
    page, section = place(entry)
    assert not speaks_of(sections(page)[section], entry["term"])


def test_words_are_found_as_words():
    assert speaks_of("three **buckets**, `side` by side", "bucket")
    assert speaks_of("a bag of\nwords", "bag of words")
    assert not speaks_of("a checkpoint", "check")
    assert not speaks_of("unscanned", "scan")


def write(folder: Path, text: str) -> Path:
    path = folder / "glossary.yml"
    path.write_text(text, encoding="utf-8")
    return path


GATE = "- {term: gate, chinese: 门, says: A number., taught: principles/gates}\n"


def test_terms_that_cannot_be_shown_are_refused(tmp_path):
    assert len(read_terms(write(tmp_path, GATE))) == 1
    with pytest.raises(ValueError, match="expected chinese, says, taught, term"):
        read_terms(write(tmp_path, "- {term: gate, says: A number., taught: principles/gates}\n"))
    with pytest.raises(ValueError, match="'Gate' stands after 'gate'"):
        read_terms(write(tmp_path, GATE + GATE.replace("term: gate", "term: Gate")))
    with pytest.raises(ValueError, match="'embedding' stands after 'gate'"):
        read_terms(write(tmp_path, GATE + GATE.replace("term: gate", "term: embedding")))
