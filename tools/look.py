"""Take pictures of the built site for a person to look at.

``python tools/look.py OUTDIR [PAGE ...]`` writes every page of ``_build/html`` (or the pages whose
path holds one of the words PAGE) as PNG, at the width of a laptop and of a phone, light and dark; a long
page in several parts, from top to bottom.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tools.book import SITE, Quiet

WIDTHS = (1280, 375)
TALLEST = 8000  # px of one picture: Chromium leaves what lies beyond 16,384 px blank
THEMES = ("light", "dark")
QUIET_CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine while the block runs; gives the address, without a slash."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the installed Chromium, without a window, while the block runs."""
    path = find_chromium()
    if path is None:
        raise FileNotFoundError("no Chromium found: install it (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET_CHROMIUM))
        try:
            yield browser
        finally:
            browser.close()


def open_page(
    browser: Browser,
    address: str,
    *,
    width: int,
    theme: str,
    watch: Callable[[Page], object] = lambda _: None,
) -> Page:
    """Open a page in a fresh profile, at a width and in a theme, and wait until it is complete.

    ``watch`` gets the page before anything is loaded, to listen to its events.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    context.add_init_script(f'localStorage.mode = "{theme}"; localStorage.theme = "{theme}";')
    page = context.new_page()
    watch(page)
    page.goto(address, wait_until="load")
    page.evaluate("document.fonts.ready.then(() => null)")
    return page


def pages_of(site: Path) -> list[str]:
    """Return the paths of a site's pages."""
    found = (path.relative_to(site) for path in site.rglob("*.html") if "_static" not in path.parts)
    return sorted(path.as_posix() for path in found)


def main(out: Path, words: list[str]) -> None:
    """Write the pictures, one file for page, width and theme."""
    out.mkdir(parents=True, exist_ok=True)
    with served(SITE) as address, chromium() as browser:
        for path in pages_of(SITE):
            if path == "index.html" or (words and not any(word in path for word in words)):
                continue
            for width in WIDTHS:
                for theme in THEMES:
                    page = open_page(browser, f"{address}/{path}", width=width, theme=theme)
                    page.evaluate("document.querySelectorAll('img').forEach((i) => (i.loading = 'eager'))")
                    page.wait_for_load_state("networkidle")
                    name = f"{path.removesuffix('.html').replace('/', '-')}-{width}-{theme}"
                    height = page.evaluate("document.documentElement.scrollHeight")
                    for part, top in enumerate(range(0, height, TALLEST), start=1):
                        clip = {"x": 0, "y": top, "width": width, "height": min(TALLEST, height - top)}
                        page.screenshot(path=out / f"{name}-{part}.png", full_page=True, clip=clip)
                        print(out / f"{name}-{part}.png")
                    page.context.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
