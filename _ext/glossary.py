"""The glossary, made from ``glossary.yml`` beside its page: a term, its Chinese, a sentence, and a link.

``{glossary-terms}`` shows all terms by their first letters, each with the anchor ``term-…``, so that
``{term}`` of Sphinx finds them. A link leads to a chapter or to one of its sections by the heading; where
there is no such chapter or section, the build ends with the name of the term.
"""

from __future__ import annotations

import re
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.std import make_glossary_term
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from _ext.book_map import topic

Entry = dict[str, str]
KEYS = {"term", "chinese", "says", "taught"}


def read_terms(path: Path) -> list[Entry]:
    """Return the terms of a file in their order (``ValueError`` if one is not complete or out of order)."""
    entries: list[Entry] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for entry in entries:
        if not set(entry) - {"written"} == KEYS:
            raise ValueError(f"{path.name}: expected {', '.join(sorted(KEYS))}, got {entry}")
    names = [entry["term"] for entry in entries]
    for before, after in pairwise(names):
        if sort_key(before) >= sort_key(after):
            raise ValueError(f"{path.name}: {after!r} stands after {before!r}")
    return entries


def sort_key(term: str) -> str:
    """Return what a term is sorted by: its letters and figures alone."""
    return re.sub(r"[^a-z0-9]", "", term.lower())


def letter(entry: Entry) -> str:
    """Return the heading under which a term stands."""
    return sort_key(entry["term"])[0].upper()


def place(entry: Entry) -> tuple[str, str]:
    """Return the page and the section, or an empty string, of ``PART/TOPIC § section``."""
    page, _, section = entry["taught"].partition(" § ")
    return f"chapters/{page}", section


class GlossaryTerms(SphinxDirective):
    """``glossary-terms``: all terms of ``glossary.yml``."""

    def run(self) -> list[nodes.Node]:
        """Return a line of letters, and a section for each of them."""
        path = Path(self.env.doc2path(self.env.docname)).with_name("glossary.yml")
        self.env.note_dependency(str(path))
        try:
            entries = read_terms(path)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise self.error(str(error)) from error
        line = nodes.paragraph(classes=["letters"])
        sections = []
        for first, group in groupby(entries, key=letter):
            identifier = f"letter-{first.lower()}"
            line += [nodes.reference("", first, refid=identifier, internal=True), nodes.Text(" ")]
            terms = nodes.definition_list("", *map(self.item, group), classes=["glossary", "simple"])
            section = nodes.section(
                "", nodes.title("", first), addnodes.glossary("", terms, sorted=False), ids=[identifier]
            )
            sections.append(section)
        return [line, *sections]

    def item(self, entry: Entry) -> nodes.definition_list_item:
        """Return a term with its anchor, its sentence and its link."""
        source, number = self.get_source_info()
        words, messages = self.parse_inline(entry["term"])
        term = make_glossary_term(
            self.env, words, "", source, number, node_id=None, document=self.state.document
        )
        chinese = f' <span class="chinese" lang="zh-Hans">{entry["chinese"]}</span>'
        term.insert(len(words), nodes.raw("", chinese, format="html"))
        sentence, more = self.parse_inline(entry["says"])
        page, section = place(entry)
        name = f"{topic(page)}: {section}" if section else topic(page)
        link = addnodes.pending_xref(
            "",
            nodes.inline("", name, classes=["taught"]),
            reftype="book-section",
            refdomain="",
            reftarget=f"/{page} § {section}",
            refdoc=self.env.docname,
            refwarn=True,
        )
        self.set_source_info(link)
        text = nodes.paragraph("", "", *sentence, nodes.Text(" → "), link)
        return nodes.definition_list_item("", term, nodes.definition("", text), *messages, *more)


def find_section(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.TextElement
) -> nodes.reference | None:
    """Return a link to the section that a term names by its heading; ``None``, an error, if there is none."""
    if node["reftype"] != "book-section":
        return None
    page, _, section = node["reftarget"].lstrip("/").partition(" § ")
    if page not in env.found_docs:
        return None
    if not section:
        return make_refnode(app.builder, node["refdoc"], page, "", text)
    for heading in env.tocs[page].findall(nodes.reference):
        if heading.astext() == section:
            return make_refnode(app.builder, node["refdoc"], page, heading["anchorname"].lstrip("#"), text)
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the directive, and find what its links name."""
    app.add_directive("glossary-terms", GlossaryTerms)
    app.connect("missing-reference", find_section)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
