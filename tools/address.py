"""The public address stands in pyproject.toml alone; this tool hands it to every file that shows it.

``python tools/address.py`` rewrites the generated lines of README.md and CITATION.cff;
``python tools/address.py --check`` names the files that are out of date and exits 1.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What a chapter installs besides the package itself, and how its code tells that it needs it.
EXTRAS = {
    "chinese": r'load\("(?:shop_reviews|peoples_daily)"',
    "onnx": r"rnnbook\.export|rnnbook import .*\bexport\b",
    "translation": r"rnnbook\.dates|\bcorpus_bleu\b",
}


def repository() -> str:
    """Return the address of the repository, e.g. ``https://github.com/OWNER/REPO``."""
    with (ROOT / "pyproject.toml").open("rb") as handle:
        address: str = tomllib.load(handle)["project"]["urls"]["Repository"]
    if not re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+", address):
        raise ValueError(
            f"pyproject.toml, Repository: expected https://github.com/OWNER/REPO, got {address!r}"
        )
    return address


def pages() -> str:
    """Return the address of the published site, which GitHub derives from that of the repository."""
    owner, repo = repository().split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{repo}/"


def colab(path: str) -> str:
    """Return the address that opens a notebook of the main branch in Colab."""
    owner, repo = repository().split("/")[-2:]
    return f"https://colab.research.google.com/github/{owner}/{repo}/blob/main/{path}"


def install_cell(code: str = "") -> str:
    """Return the source of a notebook's first code cell; with the extras that its ``code`` needs."""
    needed = ",".join(extra for extra, pattern in EXTRAS.items() if re.search(pattern, code))
    extra = f"[{needed}]" if needed else ""
    return (
        "# Installs the book's package where it is missing, as on Colab; does nothing elsewhere.\n"
        "import importlib.util\n\n"
        'if importlib.util.find_spec("rnnbook") is None:\n'
        f'    %pip install -q "rnnbook{extra} @ git+{repository()}"'
    )


def chapters() -> list[tuple[str, str]]:
    """Return ``(part, path)`` of every page in ``_toc.yml`` but the landing page, in its order."""
    part, found = "", []
    for line in (ROOT / "_toc.yml").read_text(encoding="utf-8").splitlines():
        entry = re.match(r"[\s-]*(caption|file):\s*(.*?)\s*(?:#.*)?$", line)
        if entry and entry[1] == "caption":
            part = entry[2].strip("\"'")
        elif entry:
            name = entry[2].strip("\"'")
            paths = [name, f"{name}.ipynb", f"{name}.md"]
            path = next((p for p in paths if (ROOT / p).is_file()), None)
            if path is None:
                raise FileNotFoundError(f"_toc.yml names {name}, and there is no such page")
            found.append((part, path))
    return found


def page_title(path: str) -> str:
    """Return the text of the first ``#`` heading of a page."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".ipynb"):
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    heading = re.search(r"^# +(.+?) *$", text, re.MULTILINE)
    if heading is None:
        raise ValueError(f"{path} has no title: expected a line that begins with '# '")
    return heading[1].replace("|", r"\|")


def badges() -> str:
    """Return README's line of state and links."""
    workflow = f"{repository()}/actions/workflows/pages.yml"
    return (
        f"[![tests and site]({workflow}/badge.svg?branch=main)]({workflow}) ·\n"
        f"[read the book]({pages()}) ·\n"
        "licence: [MIT](LICENSE) for code, [CC BY 4.0](LICENSE-TEXT.md) for text and figures"
    )


def chapter_table() -> str:
    """Return README's table of pages, one row each."""
    rows = ["| part | page | run it |", "| --- | --- | --- |"]
    for part, path in chapters():
        link = f"[Colab]({colab(path)})" if path.endswith(".ipynb") else ""
        rows.append(f"| {part} | [{page_title(path)}]({path}) | {link} |")
    return "\n".join(rows)


def first_steps() -> str:
    """Return README's ways to the first running chapter: on the site, in Colab, at home."""
    first = next(path for _, path in chapters() if path.endswith(".ipynb"))
    folder = repository().split("/")[-1]
    return (
        f"- Read [the book]({pages()}): nothing to install.\n"
        f"- Run its first chapter [in Colab]({colab(first)}); the first cell installs the package.\n"
        f"- Run it at home: `git clone {repository()} && cd {folder} && make lab` opens JupyterLab on the chapters."
    )


def put_block(text: str, name: str, content: str) -> str:
    """Replace what stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``."""
    begin, end = f"<!-- {name}:begin -->\n", f"\n<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"README.md: expected one {begin.strip()} and one {end.strip()}")
    return text.partition(begin)[0] + begin + content + end + text.partition(end)[2]


def generated() -> dict[str, str]:
    """Return what README.md and CITATION.cff should say, by file name."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for name, content in {"address": badges(), "steps": first_steps(), "chapters": chapter_table()}.items():
        readme = put_block(readme, name, content)
    for key, address in {"repository-code": repository(), "url": pages()}.items():
        citation = re.sub(rf"^( *{key}:).*$", rf'\1 "{address}"', citation, flags=re.MULTILINE)
    return {"README.md": readme, "CITATION.cff": citation}


def main() -> int:
    """Write the generated lines, or with ``--check`` only compare."""
    try:
        wanted = generated()
    except (OSError, ValueError) as error:
        sys.exit(f"address: {error}")
    stale = [name for name, text in wanted.items() if (ROOT / name).read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        if stale:
            print(f"out of date: {', '.join(stale)}; run `python tools/address.py`")
        return int(bool(stale))
    for name in stale:
        (ROOT / name).write_text(wanted[name], encoding="utf-8", newline="\n")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
