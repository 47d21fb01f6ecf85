"""What each chapter needs, and what needs it: read from the chapters' first cells, said on each page.

A chapter names what it needs by ``{doc}`` links after **You need**, and nobody writes down the reverse.
Here the links of all chapters are turned around: below **You need** each page says where it leads to.
The directive ``book-map`` draws the same links on the landing page, above a card for each part.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from _ext.map_drawing import Box, draw

NEED = "You need"
NOTE = (
    "An arrow leads from a chapter to one that needs it; what lies behind its arrows it needs as well. "
    "Point at a chapter to see its own."
)
NOTE_ALONE = " A dashed arrow says only what comes next."
DOC_ROLE = re.compile(r"\{doc\}`(?:[^`<]*<([^`>]+)>|([^`<]+))`")


@dataclass(frozen=True)
class Part:
    """One part of the book: its name, and the names of its pages in their order."""

    name: str
    pages: tuple[str, ...]


@dataclass(frozen=True)
class Book:
    """The parts of the book, and what each of its chapters needs."""

    parts: list[Part]
    needs: dict[str, list[str]]


def read_parts(root: Path) -> list[Part]:
    """Return the parts that ``_toc.yml`` lists, in its order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [Part(part["caption"], tuple(page["file"] for page in part["chapters"])) for part in toc["parts"]]


def read_needs(root: Path, parts: list[Part]) -> dict[str, list[str]]:
    """Return what each chapter needs, by their names; a chapter is a page that is a notebook.

    Raises ``ExtensionError`` for a chapter that does not say it, and for a need that is no page of the
    book, or is the chapter itself or a later one: whoever reads in order has read all that he needs.
    """
    pages = [page for part in parts for page in part.pages]
    needs = {}
    for place, page in enumerate(pages):
        if not (root / f"{page}.ipynb").is_file():
            continue
        cells = json.loads((root / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
        paragraphs = re.split(r"\n\s*\n", "".join(cells[0]["source"]))
        opening = next((text for text in paragraphs if text.startswith(f"**{NEED}**")), None)
        if opening is None:
            raise ExtensionError(f"{page}: its first cell has no paragraph that begins with **{NEED}**")
        found = []
        for titled, plain in DOC_ROLE.findall(opening):
            need = posixpath.normpath(posixpath.join(posixpath.dirname(page), titled or plain))
            if need not in pages:
                raise ExtensionError(f"{page}: needs {titled or plain}, and _toc.yml has no such page")
            if not (root / f"{need}.ipynb").is_file():
                continue  # a page to look things up in
            if pages.index(need) >= place:
                raise ExtensionError(f"{page}: needs {need}, which does not come before it in _toc.yml")
            if need not in found:
                found.append(need)
        needs[page] = found
    return needs


def leads_to(book: Book) -> dict[str, list[str]]:
    """Return the chapters that need each chapter, in the book's order; where there is none, the next page."""
    pages = [page for part in book.parts for page in part.pages]
    reverse = {}
    for page in book.needs:
        following = pages[pages.index(page) + 1 :][:1]
        reverse[page] = [other for other, needs in book.needs.items() if page in needs] or following
    return reverse


def essential(needs: dict[str, list[str]]) -> dict[str, list[str]]:
    """Leave out each need that another need of the same chapter already has, at whatever distance."""

    @cache
    def behind(page: str) -> frozenset[str]:
        direct = needs.get(page, [])
        return frozenset(direct).union(*map(behind, direct))

    return {
        page: [need for need in direct if not any(need in behind(other) for other in direct)]
        for page, direct in needs.items()
    }


def alone(book: Book) -> list[str]:
    """Return the chapters that need nothing and that nothing needs, if a chapter comes after them."""
    needed = {need for needs in book.needs.values() for need in needs}
    return [
        page
        for page, targets in leads_to(book).items()
        if not book.needs[page] and page not in needed and set(targets) & set(book.needs)
    ]


def topic(page: str) -> str:
    """Return the short name of a chapter, which is that of its file."""
    return posixpath.basename(page).replace("_", " ").capitalize()


# ---- on each chapter's page ---------------------------------------------------------------------


def link_to(page: str, *, from_page: str) -> addnodes.pending_xref:
    """Return a link that shows the title of a page of the book; a page that is not there is a warning."""
    inner = nodes.inline("", page, classes=["xref", "std", "std-doc"])
    return addnodes.pending_xref(
        "",
        inner,
        refdomain="std",
        reftype="doc",
        reftarget=f"/{page}",
        refdoc=from_page,
        refexplicit=False,
        refwarn=True,
    )


def add_leads_to(app: Sphinx, document: nodes.document) -> None:
    """Put **Leads to** below the paragraph of a chapter that says what it needs."""
    page = app.env.docname
    targets = leads_to(app.env.book).get(page, [])  # type: ignore[attr-defined]
    if not targets:
        return
    for opening in document.findall(nodes.paragraph):
        bold = opening.next_node(nodes.strong)
        if bold is not None and bold.astext() == NEED and opening.astext().startswith(NEED):
            line = nodes.paragraph(
                "", "", nodes.strong("", "Leads to"), nodes.Text(" "), classes=["leads-to"]
            )
            for place, target in enumerate(targets):
                line += [nodes.Text(" · ")] if place else []
                line += link_to(target, from_page=page)
            opening.parent.insert(opening.parent.index(opening) + 1, line)
            return
    raise ExtensionError(f"{page}: the paragraph that begins with {NEED!r} is not on its page")


def read_book(app: Sphinx) -> None:
    """Read the parts and the needs once for each build."""
    parts = read_parts(Path(app.confdir))
    app.env.book = Book(parts, read_needs(Path(app.confdir), parts))  # type: ignore[attr-defined]


# ---- on the landing page ------------------------------------------------------------------------


class book_map(nodes.General, nodes.Element):
    """The drawing of the chapters and of what leads to what."""


def read_questions(lines: list[str], names: list[str]) -> dict[str, str]:
    """Return the sentence of each part from lines ``Part: sentence``; each part has one, in order."""
    pairs = [line.partition(": ") for line in lines if line.strip()]
    if [name.strip() for name, *_ in pairs] != names or not all(text.strip() for *_, text in pairs):
        raise ValueError(f"expected a line 'Part: sentence' for each of {', '.join(names)}, in this order")
    return {name.strip(): text.strip() for name, _, text in pairs}


def cards(parts: list[Part], questions: dict[str, str]) -> list[str]:
    """Return a card for each part in MyST: its number, its sentence, and the titles of its pages."""
    lines = [":::::{grid} 1 2 2 2", ":gutter: 3", ""]
    for number, part in enumerate(parts, start=1):
        alone = number == len(parts) and number % 2  # in the last row
        lines += [f"::::{{grid-item-card}} {number} · {part.name}", *([":columns: 12", ""] if alone else [])]
        lines += [questions[part.name], "", ":::{card-footer}"]
        lines += ["\\\n".join(f"{{doc}}`/{page}`" for page in part.pages), ":::", "::::", ""]
    return "\n".join([*lines, ":::::"]).splitlines()


class BookMap(SphinxDirective):
    """``book-map``: the drawing, and a card for each part with the sentence that the content gives it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the drawing and the cards."""
        parts = self.env.book.parts  # type: ignore[attr-defined]
        try:
            questions = read_questions(list(self.content), [part.name for part in parts])
        except ValueError as error:
            raise self.error(str(error)) from None
        below = nodes.container(classes=["book-parts"])
        self.state.nested_parse(cards(parts, questions), self.content_offset, below)
        text = NOTE + (NOTE_ALONE if alone(self.env.book) else "")  # type: ignore[attr-defined]
        note = nodes.paragraph("", text, classes=["book-map-note"])
        return [book_map(), note, below]


def columns_of(
    book: Book, title: Callable[[str], str], address: Callable[[str], str]
) -> dict[str, list[Box]]:
    """Return the chapters of each part that has some, as boxes with their titles and addresses.

    A chapter that needs nothing, and that nothing needs, would stand alone: a line leads to the next one.
    """
    drawn = essential(book.needs)
    after = {target: (page,) for page in alone(book) for target in leads_to(book)[page]}
    columns = {
        part.name: [
            Box(page, topic(page), title(page), address(page), tuple(drawn[page]), after.get(page, ()))
            for page in part.pages
            if page in drawn
        ]
        for part in book.parts
    }
    return {name: column for name, column in columns.items() if column}


def visit_book_map(self: HTML5Translator, _node: book_map) -> None:
    """Write the drawing as SVG into the page."""
    builder: Any = self.builder
    env, here = builder.env, builder.current_docname
    columns = columns_of(
        env.book,
        title=lambda page: env.titles[page].astext(),
        address=lambda page: builder.get_relative_uri(here, page),
    )
    self.body.append(draw(columns))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Read the book first; then each page gets its line, and the landing page its map."""
    app.add_node(book_map, html=(visit_book_map, None))
    app.add_directive("book-map", BookMap)
    app.connect("builder-inited", read_book, priority=200)
    app.connect("doctree-read", add_leads_to)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
