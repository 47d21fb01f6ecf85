"""The built site as a reader meets it: links, pictures, weight, a narrow screen, both themes, search."""

from __future__ import annotations

import gzip
import json
import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page

from tools.address import colab, install_cell
from tools.look import chromium, find_chromium, open_page, pages_of, served

ROOT = Path(__file__).resolve().parents[1]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
CHAPTERS = [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
NOTEBOOKS = [chapter for chapter in CHAPTERS if (ROOT / f"{chapter}.ipynb").is_file()]
PAGES = [TOC["root"], *CHAPTERS, "search"]
MOST_BYTES = 300_000  # of what a first visit loads, each file compressed
WIDE, NARROW = 1280, 375

# ---- the site, and the browser -----------------------------------------------------------------


def build(out: Path) -> Path:
    """Build the site as `make book` does, but elsewhere."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "-n", "--keep-going"]
    done = subprocess.run(
        [*command, "--path-output", out], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-1000:]
    return out / "_build" / "html"


# Scope: this file. A browser that is left open would be in the way of tests that run an event loop.
@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with served(site) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if find_chromium() is None:
        reason = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("RNNBOOK_REQUIRE_CHROMIUM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium() as started:
        yield started


@dataclass
class Visit:
    """One page in the browser, what it asked for, and what went wrong."""

    page: Page
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Reader:
    """Opens each page once for each width."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser, self.address = browser, address
        self.visits: dict[tuple[str, int], Visit] = {}

    def visit(self, name: str, width: int = WIDE) -> Visit:
        if (name, width) not in self.visits:
            self.visits[name, width] = self._open(name, width)
        return self.visits[name, width]

    def _open(self, name: str, width: int) -> Visit:
        requests: list[str] = []
        problems: list[str] = []

        def watch(page: Page) -> None:
            page.on("request", lambda request: requests.append(request.url))
            page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
            page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)
            page.on("pageerror", lambda error: problems.append(str(error)))

        page = open_page(self.browser, f"{self.address}/{name}.html", width=width, theme="light", watch=watch)
        return Visit(page, requests, problems)


@pytest.fixture(scope="module")
def reader(browser: Browser, address: str) -> Reader:
    return Reader(browser, address)


# ---- the files ---------------------------------------------------------------------------------


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def ids(path: Path) -> set[str]:
    return {tag["id"] for tag in parsed(path).find_all(id=True)}


def test_every_page_of_the_toc_is_built(site: Path) -> None:
    assert sorted(pages_of(site)) == sorted([*(f"{name}.html" for name in PAGES), "index.html"])


def leads_somewhere(site: Path, url: str) -> bool:
    """Say whether an address of the site, written as ``http://site/…``, has a file and a target in it."""
    parts = urlsplit(url)
    file = site / unquote(parts.path).lstrip("/")
    if parts.netloc != "site" or not file.is_file():
        return False
    return file.suffix != ".html" or not parts.fragment or unquote(parts.fragment) in ids(file)


@pytest.mark.parametrize("name", PAGES)
def test_internal_links_and_images_lead_somewhere(site: Path, name: str) -> None:
    dead = []
    for tag in parsed(site / f"{name}.html").find_all(["a", "link", "img", "script", "source", "form"]):
        for attribute in {"href", "src", "action"} & tag.attrs.keys():
            url = urljoin(f"http://site/{name}.html", tag[attribute])
            outward = tag.name == "a" and urlsplit(url).netloc != "site"  # a reader may follow it
            if not outward and not leads_somewhere(site, url):
                dead.append(str(tag)[:200])
    assert dead == []


def test_files_that_style_sheets_ask_for_exist(site: Path) -> None:
    for sheet in site.rglob("*.css"):
        for url in re.findall(r"url\(\s*['\"]?([^)'\"]+)", sheet.read_text(encoding="utf-8")):
            if not url.startswith("data:"):
                target = posixpath.join(sheet.parent.as_posix(), urlsplit(url).path)
                assert Path(target).is_file(), f"{sheet.relative_to(site)} asks for {url}"


@pytest.mark.parametrize("name", PAGES)
def test_every_image_says_in_words_what_it_shows(site: Path, name: str) -> None:
    for image in parsed(site / f"{name}.html").find_all("img"):
        alt = image.get("alt", "").strip()
        assert alt, f"no alternative text: {image}"
        assert not re.search(r"\.(png|svg|jpe?g|gif|webp)$|_images/|/", alt), f"a file name: {image}"
        assert Path(image["src"]).stem != alt, f"a file name: {image}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_table_that_a_cell_returns_is_set_as_one(site: Path, name: str) -> None:
    notebook = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    tables = ["".join(output["data"].get("text/markdown", "")) for output in outputs if "data" in output]
    wanted = [table.count("\n") - 1 for table in tables if table.startswith("|")]
    found = [
        len(table.select("tbody tr")) for table in parsed(site / f"{name}.html").select(".cell_output table")
    ]
    assert found == wanted
    assert not re.search(r"\|\s*[-—]+:?\s*\|", parsed(site / f"{name}.html").get_text())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_in_colab_and_can_be_downloaded(site: Path, name: str) -> None:
    page = site / f"{name}.html"
    links = [tag["href"] for tag in parsed(page).select(".article-header-buttons a[href]")]
    assert colab(f"{name}.ipynb") in links
    download = next(link for link in links if link.endswith(".ipynb") and "://" not in link)
    notebook = json.loads((page.parent / download).read_text(encoding="utf-8"))
    first, *later = ("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert first == install_cell("\n".join(later))


# ---- the browser -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_without_errors_and_from_nowhere_else(reader: Reader, name: str) -> None:
    visit = reader.visit(name)
    own = ("data:", "blob:", f"{reader.address}/")
    assert [url for url in visit.requests if not url.startswith(own)] == []
    assert visit.problems == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_light(reader: Reader, site: Path, name: str) -> None:
    sizes = {}
    for url in reader.visit(name).requests:
        if url.startswith(reader.address):
            path = unquote(urlsplit(url).path).lstrip("/")
            content = (site / path).read_bytes()
            sizes[path] = min(len(content), len(gzip.compress(content, mtime=0)))
    heaviest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    assert sum(sizes.values()) <= MOST_BYTES, f"{sum(sizes.values()):,} bytes, most of it in {heaviest}"


# Elements that stick out of the screen without anything around them that scrolls.
STICKING_OUT = """
() => [...document.querySelectorAll(".bd-main *")].filter((element) => {
  const { left, right, width } = element.getBoundingClientRect();
  if (!width || (left >= -1 && right <= innerWidth + 1)) return false;
  if (element.closest("svg, .hide-tail, .katex-mathml, .bd-sidebar-secondary")) return false;
  for (let box = element; box; box = box.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
  return true;
}).map((element) => element.outerHTML.slice(0, 150))
"""

# Boxes that scroll sideways: the start of their content, and a way to them by the keyboard.
OUT_OF_REACH = """
() => [...document.querySelectorAll(".bd-article *")].filter((box) => {
  const scrolls = ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
  if (!scrolls || box.scrollWidth <= box.clientWidth + 1) return false;
  const content = box.firstElementChild;
  const start = content && content.getBoundingClientRect().left < box.getBoundingClientRect().left - 1;
  return box.tabIndex < 0 || start;
}).map((element) => element.outerHTML.slice(0, 150))
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_only_wide_things_scroll_sideways(reader: Reader, name: str, theme: str) -> None:
    page = reader.visit(name, NARROW).page
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    page.evaluate("document.querySelectorAll('details').forEach((box) => (box.open = true))")
    closed = page.locator(".bd-article .toggle-button-hidden")
    while closed.count():
        closed.first.click()
    page.wait_for_timeout(100)
    scroll, width = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert scroll <= width, page.evaluate(STICKING_OUT)
    assert page.evaluate(STICKING_OUT) == []
    assert page.evaluate(OUT_OF_REACH) == []


@pytest.mark.parametrize("name", PAGES)
def test_formulas_are_typeset(reader: Reader, name: str) -> None:
    page = reader.visit(name).page
    assert page.locator(".katex-error").count() == 0
    raw = page.evaluate("""
    () => {
      const copy = document.querySelector(".bd-content").cloneNode(true);
      copy.querySelectorAll("pre, code, script, .katex").forEach((element) => element.remove());
      return copy.textContent.match(/\\$\\$?[^$]+\\$|\\\\[a-zA-Z]{2,}|\\\\[()[\\]]/g) || [];
    }""")
    assert raw == []
    if page.locator(".katex").count():
        used = (
            "Math" if page.locator(".katex .mathnormal").count() else "Main"
        )  # a page of digits has no letters
        assert page.evaluate(f"document.fonts.check('1em KaTeX_{used}')")
        assert "KaTeX_Main" in page.evaluate("getComputedStyle(document.querySelector('.katex')).fontFamily")


def test_some_page_has_formulas(reader: Reader) -> None:
    assert reader.visit("chapters/reference/notation").page.locator(".katex").count() > 20


def test_the_theme_can_be_switched(reader: Reader) -> None:
    page = reader.visit(TOC["root"]).page
    backgrounds = []
    for _ in range(3):  # light, dark, and what the system says
        page.locator(".theme-switch-button").first.click()
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(backgrounds)) == 2, backgrounds


def test_search_finds_a_word_of_a_chapter(browser: Browser, address: str) -> None:
    page = open_page(browser, f"{address}/{TOC['root']}.html", width=WIDE, theme="light")
    page.locator(".search-button-field").click()
    page.locator("#pst-search-dialog input").fill("vocabulary")
    page.keyboard.press("Enter")
    # Results come in one after the other: wait for this one, not for the first.
    found = page.locator('#search-results li a[href*="chapters/reference/notation.html"]')
    found.first.wait_for(timeout=10_000)
    page.context.close()


def test_the_bare_address_leads_to_the_first_page(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/")
    page.wait_for_url(f"**/{TOC['root']}.html")
    page.close()


# ---- last, since it writes the site anew -------------------------------------------------------


def test_a_second_build_gives_the_same_bytes(site: Path) -> None:
    def content() -> dict[str, bytes]:
        return {str(p.relative_to(site)): p.read_bytes() for p in site.rglob("*") if p.is_file()}

    first = content()
    assert build(site.parents[1]) == site
    second = content()
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
