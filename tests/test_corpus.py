"""A file of one's own loses no row in silence, and no text stands on two sides of a split."""

from __future__ import annotations

import codecs
import csv

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from rnnbook.corpus import (
    Split,
    deduplicate,
    duplicates,
    overlap,
    read_texts,
    same_text_key,
    split_by_hash,
    split_texts,
)
from rnnbook.text import characters, tokenize

RECORDS = [(0, "Dull.\u2028Very dull."), (1, "Fine \u0085 film"), (1, 'He said "go"'), (0, "NA"), (1, "日本")]


def split_of(records: list[tuple[int, str]]) -> Split:
    return Split(tuple(text for _, text in records), np.array([label for label, _ in records], np.int64))


# --- a file of one's own ---------------------------------------------------------------------------


def file_of(tmp_path, content, name="own.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("name", "dialect"), [("own.csv", "excel"), ("OWN.TSV", "excel-tab")])
def test_a_file_comes_back_to_the_letter(tmp_path, name, dialect):
    texts = [
        "NA",
        "null",
        " nan ",
        "a,b\tc",
        'He said "go"',
        "one\u2028two\u0085three",
        "four\nfive\r\nsix",
        "日本\0",
    ]
    labels = [0, 1, 2, 0, 1, 999_999, 1, 0]
    with (tmp_path / name).open("w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.writer(handle, dialect)
        writer.writerow(["label", "id", "text"])
        writer.writerows([label, i, text] for i, (text, label) in enumerate(zip(texts, labels, strict=True)))
    found = read_texts(tmp_path / name)
    assert found[0] == tuple(texts)
    assert found[1].tolist() == labels
    assert found[1].dtype == np.int64


def test_the_byte_order_mark_is_part_of_no_name(tmp_path):
    content = "text,label\nfine,1\n\n"
    plain = read_texts(file_of(tmp_path, content))
    marked = read_texts(file_of(tmp_path, codecs.BOM_UTF8 + content.encode()))
    assert plain[0] == marked[0] == ("fine",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('text,label\nfine,1\n"dull,0\nfine,1\ndull,0\n', "line 3: unexpected end of data; is a quote open"),
        ('text,label\n"two\nlines",1\n"dull,0\n"fine",1\n', "line 4: ',' expected after '\"'"),
        ('text,label\n"two\nlines",1\ndull\n', "line 4: expected 2 columns, got 1"),
        ("text,label\nwell, fine,1\n", "line 2: expected 2 columns, got 3; quote a text"),
        ("text,label\n\nfine,1\n ,1\n", "line 4: the text is empty"),
        ("text,label\n\u200b<br>\ufeff,1\n", "line 2: the text is empty"),
        ("text,label\nfine,1.0\n", "line 2: expected a class number from 0 as label, got '1.0'"),
        ("text,label\nfine,-1\n", "line 2: expected a class number from 0 as label, got '-1'"),
        ("text,label\nfine,\n", "line 2: .* got ''"),
        ("text,label\nfine,positive\n", "line 2: .* got 'positive'"),
        ("text,label\nfine,1_0\n", "line 2: .* got '1_0'"),
        (f"text,label\nfine,{'9' * 30}\n", "line 2: .* got '999"),
        (b"text,label\nfine,1\ncaf\xe9,0\n", "line 3: byte 0xe9 is not UTF-8; save"),
        (codecs.BOM_UTF8 + b"text,label\ncaf\xe9,0\n", "line 2: byte 0xe9"),
        ("text,label\nfine,1\n".encode("utf-16"), "line 1: byte 0xf[ef] is not UTF-8"),
        (
            "fine,1\ndull,0\n",
            r"line 1: expected a first row with the column names text and label, got \['fine', '1'\]",
        ),
        ("text;label\nfine;1\n", r"line 1: .* got \['text;label'\]"),
        ("text,label,text\nfine,1,dull\n", "line 1: expected a first row"),
        ("text,label\n", "expected a row of column names and rows of texts, found no text"),
        ("", "found no text"),
        (f"text,label\n{'x' * 140_000},1\n", "line 2: field larger than field limit"),
    ],
)
def test_a_file_that_would_lose_something_is_refused_with_its_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"^own\.csv(, |: expected |: .*){message}"):
        read_texts(file_of(tmp_path, content))


@pytest.mark.parametrize("name", ["own.txt", "own", "own.csv.gz"])
def test_another_kind_of_file_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name}: expected a file whose name ends in \.csv or \.tsv"):
        read_texts(file_of(tmp_path, "text,label\nfine,1\n", name))


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


# --- texts that are the same but for their looks -----------------------------------------------------


WORDS = ["fine", "dull", "film", "go", "日本", "５", "Ａ"]


def looks() -> st.SearchStrategy[str]:
    """Draw texts of few words, with other case, width and white space."""
    word = st.sampled_from(WORDS).flatmap(lambda w: st.sampled_from([w, w.upper(), w.title()]))
    return st.lists(word, min_size=1, max_size=2).flatmap(
        lambda words: st.sampled_from([" ", "  ", "\u3000", "\u2028", " \u200b"]).map(
            lambda gap: gap.join(words) + gap
        )
    )


@given(looks(), looks())
def test_what_a_model_reads_alike_has_one_key(one, other):
    alike = same_text_key(one) == same_text_key(other)
    assert alike == (characters(one) == characters(other))
    assert alike or tokenize(one) != tokenize(other)


@given(st.lists(st.tuples(looks(), st.integers(0, 1)), min_size=30, max_size=60), st.integers(0, 5))
def test_no_text_has_its_like_in_another_part(rows, seed):
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    try:
        parts = split_texts(texts, labels, (0.4, 0.3, 0.3), seed=seed)
    except ValueError:
        assume(False)
    assert sorted(i for part in parts for i in part.tolist()) == list(range(len(texts)))
    keys = [{tuple(characters(texts[i])) for i in part} for part in parts]
    assert not keys[0] & keys[1] | keys[0] & keys[2] | keys[1] & keys[2]
    assert all({labels[i] for i in part} == {0, 1} for part in parts)


def test_a_split_meets_its_shares_and_moves_no_old_text():
    texts = [f"text {i}" for i in range(4000)]
    labels = np.arange(4000) % 3
    parts = split_texts(texts, labels, (0.7, 0.2, 0.1))
    assert [len(part) / 4000 for part in parts] == pytest.approx([0.7, 0.2, 0.1], abs=0.025)
    assert all((np.diff(part) > 0).all() for part in parts)
    fewer = split_texts(texts[:2000], labels[:2000], (0.7, 0.2, 0.1))
    for part, before in zip(parts, fewer, strict=True):
        assert part[part < 2000].tolist() == before.tolist()
    assert split_texts(texts, labels, seed=1)[2].tolist() != split_texts(texts, labels)[2].tolist()


def test_a_split_cannot_be_guessed_from_the_first_letter_alone():
    """Texts that differ in case alone are one; a plain hash of the letters would part some of them."""
    texts = [f"text {i}" for i in range(300)] + [f"TEXT  {i}" for i in range(300)]
    train, val, test = split_texts(texts, [i % 2 for i in range(600)])
    for part in (train, val, test):
        assert {i % 300 for i in part.tolist() if i < 300} == {i % 300 for i in part.tolist() if i >= 300}


@pytest.mark.parametrize(
    ("texts", "labels", "shares", "error", "message"),
    [
        (["a", "b"], [1, 1], (0.8, 0.1, 0.1), ValueError, r"at least two classes, got \[1\] alone"),
        (["a", "b", "c"], [0, 1], (0.8, 0.1, 0.1), ValueError, r"one label a text, got 3 and \(2,\)"),
        ([], [], (0.8, 0.1, 0.1), ValueError, "at least one text"),
        (["a", "b"], [0.0, 1.0], (0.8, 0.1, 0.1), TypeError, "integers, got float64"),
        (["a", "b"], [0, 1], (0.8, 0.2, 0.0), ValueError, "three positive shares with the sum 1"),
        (["a", "b"], [0, 1], (0.8, 0.1, 0.2), ValueError, "with the sum 1, got"),
        (["a", "b"], [0, 1], (0.8, 0.2), ValueError, "three positive shares"),
        (["a", "b"], [0, 1], (0.8, 0.1, 0.1), ValueError, r"the \w+ part holds . of 2 texts and lacks class"),
    ],
)
def test_a_split_that_would_mislead_is_refused(texts, labels, shares, error, message):
    with pytest.raises(error, match=message):
        split_texts(texts, labels, shares)


@pytest.mark.parametrize("part", range(3))
def test_each_part_must_hold_each_class(part):
    texts = [f"text {i}" for i in range(300)]
    held = split_texts(texts, [i % 2 for i in range(300)])
    labels = np.zeros(300, np.int64)
    for i, positions in enumerate(held):
        labels[positions[::2]] = i != part
    name = ("training", "validation", "test")[part]
    with pytest.raises(ValueError, match=rf"the {name} part holds {len(held[part])} of 300 .* lacks class 1"):
        split_texts(texts, labels)


def test_of_each_text_the_first_is_kept_and_of_a_contradicted_one_none():
    texts = ["Fine film", "dull", "FINE  film", "go", "Ｄｕｌｌ", "new", "go"]
    labels = [1, 0, 1, 1, 1, 0, 1]
    assert deduplicate(texts, labels).tolist() == [0, 3, 5]
    assert deduplicate(texts, np.zeros(7, np.int64)).tolist() == [0, 1, 3, 5]
    kept = deduplicate(["a", "A"], [0, 1])
    assert (kept.tolist(), kept.dtype) == ([], np.int64)
    with pytest.raises(ValueError, match="one label a text"):
        deduplicate(texts, labels[:-1])


@given(st.lists(st.tuples(looks(), st.integers(0, 1)), min_size=1, max_size=40))
def test_without_repeats_nothing_more_is_dropped(rows):
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    kept = deduplicate(texts, labels)
    labels_of: dict[str, set[int]] = {}
    for text, label in rows:
        labels_of.setdefault(same_text_key(text), set()).add(label)
    assert {same_text_key(texts[i]) for i in kept} == {
        key for key, found in labels_of.items() if len(found) == 1
    }
    assert len(kept) == len({same_text_key(texts[i]) for i in kept})
    again = deduplicate([texts[i] for i in kept] or ["x"], [labels[i] for i in kept] or [0])
    assert again.tolist() == list(range(max(1, len(kept))))
