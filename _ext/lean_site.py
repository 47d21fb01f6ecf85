"""Build the whole site each time, and take out of it what no reader needs.

The theme sends each visitor half a megabyte of icons as a script, the same icons as fonts, and the
search index of the whole book. Here the script goes, the fonts keep the icons that some page shows,
the index is left to the search page, images below the first load when the reader comes near, and
figures are stored with as many colours as an eye can tell apart in them.
"""

from __future__ import annotations

import io
import logging
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fontTools import subset
from PIL import Image
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

SCRIPT = r'[ \t]*<script[^>]*src="[^"]*{}[^"]*"></script>\n?'
ICON_SCRIPT = re.compile(SCRIPT.format("scripts/fontawesome.js"))
SEARCH_SCRIPTS = re.compile(SCRIPT.format("(?:searchtools|language_data|searchindex).js"))
ICON_RULE = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"(?:\\\w+|.)"\}')
PRIVATE_USE = re.compile(r"\\([ef][0-9a-f]{3})\b|([\ue000-\uf8ff])")
ICONS_OF_SCRIPTS = {"fa-xmark"}
# Names and roles by which assistive technology would miss what the page shows.
REPAIRS = (
    (r'(<button class="[^"]*search-button-field[^>]*?) aria-label="[^"]*"', r"\1"),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    (r'role="doc-biblioentry"', 'role="listitem"'),
    (r'<div id="pst-primary-sidebar"', r'\g<0> role="complementary" aria-label="The book"'),
)
LEFTOVERS = ("scripts/fontawesome.js*", "scripts/*.map", "styles/*.map", "*webpack-macros.html", "locales")


def lean_page(text: str, *, is_search: bool) -> str:
    """Return a page without the scripts it does not use, with late images and mended roles."""
    text = ICON_SCRIPT.sub("", text)
    if not is_search:
        text = SEARCH_SCRIPTS.sub("", text)
    head, article, body = text.partition("<article")
    first, image, rest = body.partition("<img ")
    text = late_images(head) + article + first + image + late_images(rest)
    for fault, repair in REPAIRS:
        text = re.sub(fault, repair, text)
    return text


def late_images(text: str) -> str:
    """Let the browser fetch images only when they are about to be seen."""
    return text.replace("<img ", '<img loading="lazy" ')


def lean_icons(static: Path, used: set[str]) -> None:
    """Keep the style rules of used icons, and in the icon fonts what a remaining rule asks for."""

    def keep(rule: re.Match[str]) -> str:
        return rule[0] if used & set(re.findall(r"fa-[\w-]+", rule[1])) else ""

    points: set[int] = set()
    for sheet in static.glob("styles/*.css"):
        css = ICON_RULE.sub(keep, sheet.read_text(encoding="utf-8"))
        css = re.sub(r',url\([^)]*\.ttf\) format\("truetype"\)', "", css)
        sheet.write_text(css, encoding="utf-8")
        points |= {int(escape, 16) if escape else ord(sign) for escape, sign in PRIVATE_USE.findall(css)}
    for font in static.glob("vendor/fontawesome/webfonts/*"):
        if font.suffix == ".woff2":
            keep_in_font(font, points)
        else:
            font.unlink()


def keep_in_font(path: Path, points: Iterable[int]) -> None:
    """Rewrite a woff2 font with these code points alone."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    options = subset.Options(flavor="woff2")
    font = subset.load_font(path, options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=points)
    subsetter.subset(font)
    subset.save_font(font, path, options)


def lean_picture(path: Path) -> None:
    """Store an opaque PNG with a palette of 256 colours where that makes the file smaller."""
    picture = Image.open(path)
    if picture.mode == "RGBA" and picture.getextrema()[3] != (255, 255):
        return
    small = io.BytesIO()
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    if len(small.getvalue()) < path.stat().st_size:
        path.write_bytes(small.getvalue())


def finish(app: Sphinx, error: Exception | None) -> None:
    """Work on the finished site; pages and static files are fresh, as each build writes them all."""
    if error or app.builder.name != "html":
        return
    out = Path(app.outdir)
    used = set(ICONS_OF_SCRIPTS)
    for page in sorted(out.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        used |= set(re.findall(r"\bfa-[a-z0-9-]+", text))
        lean = lean_page(text, is_search=page == out / "search.html")
        page.write_text(lean, encoding="utf-8", newline="\n")
    lean_icons(out / "_static", used)
    for path in sorted((out / "_images").glob("*.png")):
        lean_picture(path)
    for leftover in LEFTOVERS:
        for path in (out / "_static").glob(leftover):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def start_empty(app: Sphinx) -> None:
    """Delete the site of an earlier build, so that no page or file of it stays behind."""
    if app.builder.name == "html" and (Path(app.outdir) / "searchindex.js").is_file():
        shutil.rmtree(app.outdir)
        Path(app.outdir).mkdir()


def build_everything(
    _app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], _removed: set[str]
) -> set[str]:
    """Name every page as out of date.

    A build that reads only what changed repeats no warning of the other pages, leaves old titles and
    numbers on them, and does not notice a new style sheet. Reading all takes seconds.
    """
    return set(env.found_docs)


def setup(app: Sphinx) -> dict[str, Any]:
    """Start from nothing, read all pages, and clear up after everything else is done."""
    app.connect("builder-inited", start_empty, priority=100)
    app.connect("env-get-outdated", build_everything)
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
