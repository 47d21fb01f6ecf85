"""A file of one's own loses no row in silence, and no text stands on two sides of a split."""

from __future__ import annotations

import codecs
import csv

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from sklearn.model_selection import train_test_split

from rnnbook.corpus import (
    Split,
    check_parts,
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


def rows_of(labels, name="label"):
    return "\n".join([f"row,{name},text", *(f"{i},{label},text {i}" for i, label in enumerate(labels)), ""])


def test_the_columns_can_be_chosen(tmp_path):
    path = file_of(tmp_path, "review,text,stars,label\nfine,a,1,x\ndull,b,0,y\n")
    texts, labels = read_texts(path, text_column="review", label_column="stars")
    assert (texts, labels.tolist()) == (("fine", "dull"), [1, 0])


@pytest.mark.parametrize(
    "labels",
    [[0, 1], [1], [0, 0, 1], [0, 1, 2, 1], [2, 0, 1] * 9, [*range(100)] * 2, [*range(7), *[7] * 7]],
    ids=len,
)
def test_few_rows_and_many_classes_are_no_reason_to_refuse(tmp_path, labels):
    assert read_texts(file_of(tmp_path, rows_of(labels)))[1].tolist() == labels


@pytest.mark.parametrize(
    ("labels", "chosen", "message"),
    [
        (
            [0, 1] * 9,
            {"label_column": "row"},
            "'row' is no label column: 18 of 18 rows have one for themselves",
        ),
        ([*range(8), *[8] * 7], {}, "'label' is no label column: 8 of 15 rows have one for themselves"),
        ([*range(101)] * 2, {}, "'label' is no label column: 101 different ones, expected at most 100"),
        ([3, 3], {}, "'label' is no label column: 3 in all 2 rows"),
        (
            [0, 1],
            {"label_column": "text", "text_column": "row"},
            "line 2: expected a class number .* got 'text 0' .columns: ",
        ),
        ([0, 1], {"label_column": "stars"}, "line 1: .* column names text and stars, got "),
        ([0, 1], {"text_column": "review"}, "line 1: .* column names review and label, got "),
        ([0, 1], {"text_column": "label"}, "line 1: .* column names label and label, got "),
    ],
)
def test_a_wrong_column_is_refused_with_the_names_of_all(tmp_path, labels, chosen, message):
    with pytest.raises(ValueError, match=rf"^own\.csv(, |: ){message}.*\['row', 'label', 'text'\]"):
        read_texts(file_of(tmp_path, rows_of(labels)), **chosen)


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


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
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


# --- parts that someone else has cut -----------------------------------------------------------------

NAMES = ("negative", "positive")


def part_of(*counts: int, start: int = 0) -> Split:
    """Make a part with so many texts of each class, all different, their numbers from ``start``."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return Split(tuple(f"text {start + i}" for i in range(len(labels))), labels)


@given(st.lists(st.integers(0, 1), min_size=60, max_size=90), st.integers(0, 3))
def test_what_split_texts_cuts_passes(labels, seed):
    whole = Split(tuple(f"text {i}" for i in range(len(labels))), np.array(labels))
    try:
        train, val, test = split_texts(whole.texts, labels, (0.4, 0.3, 0.3), seed=seed)
    except ValueError:
        assume(False)
    check_parts(
        {"training": whole.take(train), "validation": whole.take(val), "test": whole.take(test)}, NAMES
    )


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (part_of(4, 4), part_of(), r"^the part test is empty: give it a bigger share"),
        (part_of(), part_of(4, 4), r"^the part train is empty"),
        (part_of(4, 4), part_of(9, start=8), r"^the part test lacks class positive: .*split_texts$"),
        (part_of(0, 4), part_of(4, 4, start=8), r"^the part train lacks class negative"),
        (part_of(4, 4), part_of(4, 4, 1, start=8), r"^the part test holds label 2, expected 0 to 1 for neg"),
        (
            Split(("a", "b"), np.array([1, -1])),
            part_of(4, 4),
            r"^the part train holds label -1, expected 0 to 1",
        ),
        (Split(("a", "b"), np.array([1, 2])), part_of(4, 4), r"do the classes count from 1\?$"),
        (Split(("a",), np.array([1, 0])), part_of(4, 4), r"one label a text, got 1 and \(2,\)"),
        (
            part_of(4, 4),
            part_of(4, 4, start=5),
            r"^3 texts of the part test stand in train too, .*'text [567]'",
        ),
        (part_of(1, 1), Split(("x", "TEXT\u30001"), np.array([0, 1])), r"^1 texts .* 'TEXT.u30001': keep"),
        (
            part_of(100, 100),
            part_of(60, 140, start=200),
            r"^the share of class (negative is 50%.* 30% in test|positive is 50%.* 70% in test), more than chance",
        ),
    ],
)
def test_parts_that_would_mislead_are_refused(train, test, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_parts({"train": train, "test": test}, NAMES)


def test_every_two_parts_are_compared():
    parts = {
        "train": part_of(60, 60),
        "validation": part_of(9, 11, start=200),
        "test": part_of(5, 5, start=219),
    }
    with pytest.raises(ValueError, match=r"^1 texts of the part test stand in validation too"):
        check_parts(parts, NAMES)
    parts["test"] = part_of(400, 40, start=300)
    with pytest.raises(ValueError, match=r"is 50% in the part train and (91|9)% in test"):
        check_parts(parts, NAMES)


def test_a_file_that_was_nearly_sorted_and_cut_by_its_rows():
    rows = part_of(500, 300, 200)
    order = np.argsort(rows.labels + np.random.default_rng(0).normal(0, 1, 1000))
    by_rows = {"train": rows.take(order[:800]), "test": rows.take(order[800:])}
    with pytest.raises(
        ValueError, match=r"^the share of class (bad|good) is .* in the part train .*more than chance"
    ):
        check_parts(by_rows, ("bad", "so-so", "good"))
    shuffled = np.random.default_rng(1).permutation(1000)
    by_chance = {"train": rows.take(shuffled[:800]), "test": rows.take(shuffled[800:])}
    check_parts(by_chance, ("bad", "so-so", "good"))


def refusal(one: Split, other: Split) -> str:
    try:
        check_parts({"train": one, "test": other}, NAMES)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("size", [20, 60, 200, 2000])
def test_shares_may_differ_as_chance_allows(size):
    """The bound is that of the textbook: both classes pooled, with the correction of Yates."""
    one = part_of(size // 2, size // 2)
    refused = []
    for negative in range(1, size):
        table = np.array([[size // 2, size // 2], [negative, size - negative]])
        expected = table.sum(axis=0) / 2
        statistic = ((np.abs(table - expected) - 0.5).clip(0) ** 2 / expected).sum()
        differs = chi2.sf(statistic, 1) < 0.001 and abs(negative / size - 0.5) > 0.1
        refused.append(differs)
        if negative in (1, size - 1) or differs != refused[-2:][0]:
            found = refusal(one, part_of(negative, size - negative, start=size))
            assert ("more than chance explains" in found) == differs == bool(found)
    assert any(refused) == (size > 20)  # so few texts prove nothing
    assert not all(refused)


def test_a_small_difference_passes_however_sure_it_is():
    assert not refusal(part_of(5000, 5000), part_of(4100, 5900, start=10_000))
    assert refusal(part_of(5000, 5000), part_of(3900, 6100, start=10_000))
    assert not refusal(part_of(5, 5), part_of(2, 8, start=10))  # nor is a big one, where it can be chance
