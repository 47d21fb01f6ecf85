"""Build the site, or show it: ``python tools/book.py build`` and ``python tools/book.py serve [PORT]``."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
PORT = 8000
# All that a page can depend on, and a note of what the site was last built from.
INPUTS = (
    *("chapters/**/*", "assets/**/*", "_ext/*.py", "tools/*.py"),
    *("rnnbook/*.py", "results/*.json", "experiments/*.py"),  # the pages of the reference are made from them
    *("*.md", "*.bib", "*.yml", "pyproject.toml", "requirements.lock", "package-lock.json"),
)
BUILT_FROM = ROOT / "_build" / "inputs.sha256"


def inputs_hash() -> str:
    """Hash the names and contents of all inputs of the site."""
    digest = hashlib.sha256(sys.version.encode())
    paths = {path for pattern in INPUTS for path in ROOT.glob(pattern) if path.is_file()}
    for path in sorted(paths):
        if ".ipynb_checkpoints" not in path.parts and "__pycache__" not in path.parts:
            name = path.relative_to(ROOT).as_posix()
            digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def build() -> None:
    """Run Jupyter Book, unless nothing changed; every warning, also of a dead link, is an error."""
    start, inputs = time.monotonic(), inputs_hash()
    if (SITE / "index.html").is_file() and BUILT_FROM.is_file() and BUILT_FROM.read_text() == inputs:
        print("The site is built, and nothing has changed since: _build/html/index.html")
        print("Open that file in a browser, or run `make serve`.")
        return
    BUILT_FROM.unlink(missing_ok=True)
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    flags = ["-W", "-n", "--keep-going", "-q"]
    print("Building the site ...", flush=True)
    done = subprocess.run(
        [jupyter_book, "build", ".", *flags], cwd=ROOT, check=False, stdout=subprocess.DEVNULL
    )
    if done.returncode:
        sys.exit("The site was not built: the messages above name file and line.")
    BUILT_FROM.write_text(inputs)
    print(f"The site is built ({time.monotonic() - start:.0f} s): _build/html/index.html")
    print("Open that file in a browser, or run `make serve`.")


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line for each request."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(port: int | None) -> None:
    """Serve the built site on this machine only; without a port, on the first free one from 8000."""
    handler = partial(Quiet, directory=str(SITE))
    for candidate in range(PORT, PORT + 100) if port is None else [port]:
        try:
            server = ThreadingHTTPServer(("127.0.0.1", candidate), handler)
        except OSError:
            continue
        break
    else:
        sys.exit(f"Port {port or PORT} is in use: name another, e.g. `python tools/book.py serve 8765`.")
    address = f"http://127.0.0.1:{server.server_port}/"
    print(f"The site is at {address} (Ctrl-C ends it)", flush=True)
    webbrowser.open(address)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets background jobs ignore it
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    else:
        build()
