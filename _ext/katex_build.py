"""Formulas typeset while the site is built: KaTeX in one node process, one line of JSON a formula.

The reader's browser gets finished HTML, a style sheet and fonts; no script runs, nothing flickers.
A formula that KaTeX refuses is a warning with its place, so ``-W`` makes it an error.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

from _ext.lean_site import keep_in_font

logger = logging.getLogger(__name__)

TYPESETTER = """
const katex = require(process.argv[1]);
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { tex, displayMode } = JSON.parse(line);
  let answer;
  try {
    answer = { html: katex.renderToString(tex, { displayMode, strict: "ignore" }) };
  } catch (error) {
    answer = { error: error.message };
  }
  console.log(JSON.stringify(answer));
});
"""


def find_node() -> str:
    """Return the path of node: the virtual environment's own, else the first on PATH."""
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    if node is None:
        raise ExtensionError("formulas need node, and there is none: run make book, which installs it")
    return node


def find_katex(app: Sphinx) -> Path:
    """Return the folder of the node package ``katex``."""
    folder = Path(app.confdir) / "node_modules" / "katex"
    if not (folder / "dist" / "katex.min.css").is_file():
        raise ExtensionError("formulas need node_modules/katex: run make book, which installs it")
    return folder


class Typesetter:
    """One node process that turns TeX into HTML, line by line, for as long as the build lasts."""

    def __init__(self, node: str, katex: Path) -> None:
        """Start the process."""
        command = [node, "-e", TYPESETTER, str(katex)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.signs: set[str] = set()  # all that its formulas are made of

    def typeset(self, tex: str, *, display: bool) -> dict[str, str]:
        """Return ``{"html": …}``, or ``{"error": …}`` with KaTeX's own words."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"tex": tex, "displayMode": display}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise ExtensionError(f"node ended while it typeset {tex!r}")
        answer: dict[str, str] = json.loads(line)
        self.signs |= set(html.unescape(re.sub(r"<[^>]*>", "", answer.get("html", ""))))
        return answer

    def close(self) -> None:
        """End the process by closing its input."""
        self.process.communicate()


@cache
def typesetter(app: Sphinx) -> Typesetter:
    """Start node at the first formula of a build; a build without one needs no process."""
    return Typesetter(find_node(), find_katex(app))


def render(translator: HTML5Translator, node: nodes.Node, tex: str, *, display: bool) -> str:
    """Return a formula as HTML; where KaTeX refuses it, warn and return its source, marked."""
    answer = typesetter(translator.builder.app).typeset(tex, display=display)
    if "html" in answer:
        return answer["html"]
    logger.warning("%s, in the formula %s", answer["error"], tex, location=node, type="katex")
    return f'<code class="katex-error">{html.escape(tex)}</code>'


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula that stands in a line of text."""
    formula = render(self, node, node.astext(), display=False)
    self.body.append(self.starttag(node, "span", "", CLASS="math") + formula + "</span>")
    raise nodes.SkipNode


def in_rows(tex: str) -> str:
    """Let ``&`` align and a double backslash or an empty line part rows, without an environment."""
    parts = [part for part in tex.split("\n\n") if part.strip()]
    parts = [rf"\begin{{split}}{part}\end{{split}}" if r"\\" in part else part for part in parts]
    if len(parts) == 1:
        return parts[0]
    return r"\begin{gathered}" + r" \\ ".join(parts) + r"\end{gathered}"


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own, with its number where it has a label."""
    tex = node.astext()
    formula = render(self, node, tex if node.get("nowrap") else in_rows(tex), display=True)
    self.body.append(self.starttag(node, "div", CLASS="math") + formula)
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def copy_assets(app: Sphinx) -> None:
    """Put KaTeX's style sheet and its woff2 fonts into the site, before pages are written."""
    if app.builder.format != "html":
        return
    find_node()
    dist, target = find_katex(app) / "dist", Path(app.outdir) / "_static" / "katex"
    (target / "fonts").mkdir(parents=True, exist_ok=True)
    css = (dist / "katex.min.css").read_text(encoding="utf-8")
    older = r',url\([^)]*\) format\("(?:woff|truetype)"\)'  # formats that no browser of today asks for
    (target / "katex.min.css").write_text(re.sub(older, "", css), encoding="utf-8")
    for font in (dist / "fonts").glob("*.woff2"):
        shutil.copyfile(font, target / "fonts" / font.name)


def link_stylesheet(app: Sphinx, page: str, _template: str, _context: dict[str, Any], _tree: Any) -> None:
    """Load KaTeX's style sheet on pages that have a formula."""
    if app.env.get_domain("math").has_equations(page):  # type: ignore[attr-defined]
        app.add_css_file("katex/katex.min.css")


def finish(app: Sphinx, error: Exception | None) -> None:
    """End node, whether the build went well or not, and keep in the fonts what the formulas show."""
    if not typesetter.cache_info().currsize:
        return
    used = typesetter(app)
    used.close()
    typesetter.cache_clear()
    if error is None:
        for font in (Path(app.outdir) / "_static" / "katex" / "fonts").glob("*.woff2"):
            keep_in_font(font, map(ord, used.signs))


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the renderer ``katex_build``; one process serves all pages, so they are written in turn."""
    app.add_html_math_renderer("katex_build", (visit_math, None), (visit_math_block, None))
    app.connect("builder-inited", copy_assets)
    app.connect("html-page-context", link_stylesheet)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
