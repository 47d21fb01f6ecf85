"""From text to tensors: what looks alike is alike, nothing is lost, nothing is invented."""

from __future__ import annotations

import hashlib
import json
import re
import string
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.font_manager import findfont, get_font
from matplotlib.ft2font import FT2Font
from torch import Tensor

from rnnbook.datasets import load
from rnnbook.text import (
    HOMOGLYPHS,
    PAD,
    UNKNOWN,
    Vocab,
    characters,
    check_ids,
    fold_homoglyphs,
    normalize,
    ppmi_vectors,
    tokenize,
    tokenize_folded,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \t\n\u2028\u00a0 ", []),
        ("A fine, FINE film.", ["a", "fine", ",", "fine", "film", "."]),
        ("it's rock'n'roll", ["it's", "rock'n'roll"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("snake_case", ["snake", "case"]),
        ("7/10 ... 3.5", ["7", "/", "10", ".", ".", ".", "3", ".", "5"]),
        ("NA null nan", ["na", "null", "nan"]),
        ("one<br /><br/>two<BR>three<br >four", ["one", "two", "three", "four"]),
        ("a < b", ["a", "<", "b"]),
        ("line\u2028next\u0085last", ["line", "next", "last"]),
        ("\ufeffstart", ["start"]),
        ("日本 é", ["日本", "é"]),
    ],
)
def test_tokens(text, tokens):
    assert tokenize(text) == tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("don\u2019t", "don't"),  # two kinds of apostrophe
        ("cafe\u0301", "caf\u00e9"),  # accent apart, and as one letter
        ("cafe\u200b\u0301", "caf\u00e9"),  # the same with something invisible between
        ("\ufb01lm", "film"),  # a ligature
        ("\uff26ilm", "film"),  # a wide letter
        ("fi\u00adlm", "film"),  # a soft hyphen
        ("\ufefffi\u200b\u200c\u200d\u2060lm", "film"),  # of no width
        ("a\u00a0film", "a film"),  # a space that does not break
        ("wait\u2026", "wait..."),
        ("x\u00b2", "x2"),
        ("J\u030c", "\u01f0"),  # the capital has no letter of its own, the small one has
        ("wide\uff1cbr\uff1etag", "wide tag"),
        ("a<b\u200br>b", "a b"),
    ],
)
def test_what_looks_alike_is_alike(one, other):
    assert tokenize(one) == tokenize(other)


@pytest.mark.parametrize("text", ["It's GREAT — 10/10!", "naïve<br />\u200bcafé…", "(a_b) 'c' d'e"])
def test_tokens_of_tokens_are_themselves(text):
    tokens = tokenize(text)
    assert tokenize(" ".join(tokens)) == tokens


@pytest.mark.parametrize("wrong", [b"bytes", None, 3, ["a list"], float("nan")])
def test_only_a_text_has_tokens(wrong):
    for function in (tokenize, characters, normalize):
        with pytest.raises(TypeError, match=f"one str, got {type(wrong).__name__}"):
            function(wrong)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<\uff1c\ufe64")))
@example("J\u030c \u0130 \u2126 \ufb01 \uff21")
def test_a_normalised_text_stays_as_it_is(text):
    normal = normalize(text)
    assert normalize(normal) == normal
    assert unicodedata.is_normalized("NFKC", normal)
    assert tokenize(normal) == tokenize(text)
    assert characters(normal) == characters(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_characters_are_the_normalised_text_without_its_white_space(text):
    cut = characters(text)
    assert "".join(cut) == "".join(c for c in normalize(text) if not c.isspace())
    assert all(len(character) == 1 for character in cut)


def test_characters_of_a_chinese_text():
    text = "\ufeff\u3000很好，\u200b５ 星<br />ＯＫ\u2028不错 "
    assert characters(text) == ["很", "好", ",", "5", "星", "o", "k", "不", "错"]
    assert characters("") == characters(" \t\u3000") == []


def test_half_of_a_surrogate_pair_is_refused_and_the_advice_helps():
    with pytest.raises(ValueError, match=r"character 2 is half of a surrogate pair \('\\ud83d'\)"):
        tokenize("ok\ud83d")
    mended = "ok \ud83d\ude00 \ud83d".encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert tokenize(mended) == ["ok", "\U0001f600", "\ufffd"]


# --- look-alikes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("gооd Fіlm", "good Film"),  # Cyrillic о, о and і
        ("NOТ", "NOT"),  # a capital whose small letter looks like no Latin one
        ("νery fυnny", "very funny"),  # Greek
        ("g\u200bооd g\u2063ооd", "good good"),  # the first letter would else stand alone
        ("ｇооd cafе\u0301", "good café"),
        ("ѕоре сосо", "ѕоре сосо"),  # Cyrillic throughout, though all letters look Latin
        ("Привет, Ευρώπη", "Привет, Ευρώπη"),
        ("наукa", "наукa"),  # Latin at the end alone: у and а have look-alikes, н has none
        ("gօօd", "gօօd"),  # Armenian stands in no table here
        ("ΔT of 5μm", "ΔT of 5μm"),
        ("αA-crystallin", "aA-crystallin"),  # meant, and broken
        ("it's 7/10", "it's 7/10"),
    ],
)
def test_look_alikes_are_folded_in_words_that_mix_scripts(text, folded):
    assert fold_homoglyphs(text) == folded
    assert tokenize_folded(text) == tokenize(folded)


def test_every_look_alike_looks_like_its_letter_and_no_other():
    font = get_font(findfont("DejaVu Sans"))
    different = set()
    for letter, latin in HOMOGLYPHS.items():
        assert unicodedata.name(letter).split()[0] in {"CYRILLIC", "GREEK"}
        alphabet = string.ascii_uppercase if letter.isupper() else string.ascii_lowercase
        drawn = outline(font, letter)
        nearest = max(alphabet, key=lambda a: intersection_over_union(drawn, outline(font, a)))
        if nearest != latin:
            different.add(letter)
    assert different <= set("ԁԌαγК")  # of another shape in this font, or not in it


def outline(font: FT2Font, letter: str) -> np.ndarray:
    font.set_size(40, 72)
    font.set_text(letter)
    font.draw_glyphs_to_bitmap()
    return np.array(font.get_image()) > 127


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    height, width = np.maximum(one.shape, other.shape)
    a, b = (np.pad(x, ((height - x.shape[0], 0), (0, width - x.shape[1]))) for x in (one, other))
    return (a & b).sum() / (a | b).sum()


@given(st.text(st.sampled_from("aeoаеоαз\u200b\u0301 '5")))
def test_folding_is_done_at_once_and_leaves_texts_of_one_script(text):
    folded = fold_homoglyphs(text)
    assert fold_homoglyphs(folded) == folded
    letters = re.sub(r"[\W\d]", "", folded)
    if letters.isascii() or not re.search("[a-zA-Z]", folded):
        assert tokenize_folded(text) == tokenize(folded)
    assert tokenize_folded("film " + text)[0] == "film" or text[:1] not in " "


@pytest.mark.parametrize("name", ["film_sentences", "peoples_daily"])
def test_folding_changes_no_text_of_a_kept_data_set(name):
    texts = load(name).train.texts[::5]
    assert all(tokenize_folded(text) == tokenize(text) for text in texts)


def test_folding_refuses_what_normalize_refuses():
    with pytest.raises(TypeError, match="one str, got NoneType"):
        fold_homoglyphs(None)
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        fold_homoglyphs("оk\ud83d")


# --- vocabulary ----------------------------------------------------------------------------------

LISTS = [["b", "a", "b"], ["c", "a"], ["d"]]


def test_vocabulary_by_frequency_then_alphabet():
    assert Vocab.build(LISTS).tokens == (PAD, UNKNOWN, "a", "b", "c", "d")
    assert Vocab.build([["z", "z"], ["a"]]).tokens == (PAD, UNKNOWN, "z", "a")


def test_vocabulary_does_not_depend_on_the_order_of_texts():
    assert Vocab.build(LISTS) == Vocab.build([list(reversed(tokens)) for tokens in reversed(LISTS)])
    assert Vocab.build(iter(LISTS)) == Vocab.build(LISTS)


def test_max_size_counts_the_special_tokens():
    assert Vocab.build(LISTS, max_size=4).tokens == (PAD, UNKNOWN, "a", "b")
    assert len(Vocab.build(LISTS, max_size=100)) == 6
    with pytest.raises(ValueError, match="at least 3, got 2"):
        Vocab.build(LISTS, max_size=2)


def test_min_count():
    assert Vocab.build(LISTS, min_count=2).tokens == (PAD, UNKNOWN, "a", "b")


def test_special_tokens_in_a_text_do_not_stand_twice():
    assert Vocab.build([[PAD, UNKNOWN, UNKNOWN, "a"]]).tokens == (PAD, UNKNOWN, "a")


def test_what_was_not_in_the_training_texts_is_unknown():
    vocab = Vocab.build(LISTS)
    ids = vocab.encode(["a", "never", "d", "A"])
    assert ids.dtype == torch.int64
    assert ids.tolist() == [2, Vocab.unknown_index, 5, Vocab.unknown_index]
    assert vocab.decode(ids) == ["a", UNKNOWN, "d", UNKNOWN]
    assert "never" not in vocab.tokens, "encoding a text must not teach the vocabulary its words"


def test_round_trip():
    vocab = Vocab.build(LISTS)
    tokens = ["d", "a", "a", "c", "b"]
    assert vocab.decode(vocab.encode(tokens)) == tokens
    assert vocab.decode(torch.arange(len(vocab))) == list(vocab.tokens)
    assert vocab.encode([]).shape == (0,)
    assert vocab.encode([]).dtype == torch.int64
    assert [vocab.ids[token] for token in vocab.tokens] == list(range(6))
    assert (vocab.padding_index, vocab.unknown_index) == (0, 1)


@pytest.mark.parametrize("empty", [[], [[]], iter([])])
def test_a_vocabulary_of_nothing(empty):
    with pytest.raises(ValueError, match=r"no token occurs 1 times.*generator that was used up"):
        Vocab.build(empty)


def test_the_fingerprint_is_that_of_the_tokens_in_their_order():
    vocab = Vocab.build(LISTS)
    assert vocab.fingerprint() == Vocab(vocab.tokens).fingerprint()
    assert vocab.fingerprint() == hashlib.sha256(json.dumps(list(vocab.tokens)).encode()).hexdigest()
    others = [(PAD, UNKNOWN, "a b"), (PAD, UNKNOWN, "a", "b"), (PAD, UNKNOWN, "b", "a"), (PAD, UNKNOWN, "ab")]
    assert len({Vocab(tokens).fingerprint() for tokens in others}) == len(others)


def test_a_text_is_no_list_of_tokens():
    for wrong in (["a b", "c"], "a b c"):
        with pytest.raises(TypeError, match="lists of tokens, got a str: call tokenize"):
            Vocab.build(wrong)
    with pytest.raises(TypeError, match="a list of tokens, got a str"):
        Vocab.build(LISTS).encode("a b")


def test_a_vocabulary_that_is_none():
    with pytest.raises(ValueError, match="begins with '<pad>', '<unk>'; this one with"):
        Vocab(("a", "b", "c"))
    with pytest.raises(ValueError, match="begins with"):
        Vocab((UNKNOWN, PAD, "a"))
    with pytest.raises(ValueError, match="twice"):
        Vocab((PAD, UNKNOWN, "a", "a"))


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([2, 6], ValueError, "ids from 0 to 5, got 2 to 6: were they made with another vocabulary"),
        ([-1, 2], ValueError, "ids from 0 to 5, got -1 to 2"),
        ([0.0, 1.0], TypeError, r"ids as integers, got torch\.float32"),
        ([True, False], TypeError, r"ids as integers, got torch\.bool"),
    ],
)
def test_ids_outside_the_vocabulary(ids, error, message):
    with pytest.raises(error, match=message):
        check_ids(torch.tensor(ids), 6)
    with pytest.raises(error, match=message):
        Vocab.build(LISTS).decode(torch.tensor(ids))


def test_ids_at_both_ends_are_fine():
    check_ids(torch.tensor([[0, 5]]), 6)
    check_ids(torch.zeros(0, dtype=torch.int64), 6)


# --- vectors from neighbours ---------------------------------------------------------------------


def two_topics(count: int = 200) -> list[Tensor]:
    """Make texts of words 2 … 6 or of words 7 … 11, never both."""
    draw = generator(5)
    return [torch.randint(2, 7, (8,), generator=draw) + 5 * (i % 2) for i in range(count)]


def test_neighbours_get_vectors_alike():
    vectors = ppmi_vectors(two_topics(), 12, 4)
    assert vectors.shape == (12, 4)
    assert vectors.dtype == torch.float32
    assert vectors.std().item() == pytest.approx(0.3, rel=1e-4)
    unit = vectors[2:] / vectors[2:].norm(dim=1, keepdim=True)
    alike = unit @ unit.T
    within = torch.cat([alike[:5, :5].flatten(), alike[5:, 5:].flatten()])
    assert within.mean() > 0.3
    assert alike[:5, 5:].abs().max() < 0.05


def test_ppmi_equals_its_definition():
    """Count the pairs by hand; compare inner products, which do not depend on the sign of a direction."""
    texts = [torch.randint(0, 9, (12,), generator=generator(i)) for i in range(6)]
    window, size = 3, 9
    counts = np.zeros((size, size))
    for text in texts:
        ids = text.tolist()
        for i, a in enumerate(ids):
            for j, b in enumerate(ids):
                if 0 < abs(i - j) <= window and a > 1 and b > 1:
                    counts[a, b] += 1 / abs(i - j)
    known = counts[2:, 2:]
    context = known.sum(axis=0) ** 0.75
    with np.errstate(divide="ignore"):
        information = np.log(known / known.sum(axis=1, keepdims=True) / (context / context.sum()))
    left, strength, _ = np.linalg.svd(np.maximum(information, 0.0))
    full = np.zeros((size, size - 2))
    full[2:] = left * np.sqrt(strength)
    for dim in (3, 7):
        vectors = ppmi_vectors(texts, size, dim, window=window).double().numpy()
        actual, expected = (v[:, :dim] @ v[:, :dim].T for v in (vectors, full))
        np.testing.assert_allclose(actual / np.trace(actual), expected / np.trace(expected), atol=1e-4)


def test_padding_gets_zeros_and_the_rest_is_repeatable():
    first, second = (ppmi_vectors(two_topics(), 12, 11) for _ in range(2))
    assert torch.equal(first, second)
    assert (first[0] == 0).all()
    assert first[1].abs().max() < 1e-3, "an unknown word has no neighbours of its own"
    assert first.isfinite().all()


def test_no_pair_across_texts():
    ends = [torch.tensor([2, 3]), torch.tensor([4, 5])] * 20
    apart = ppmi_vectors(ends, 6, 5)
    assert (apart[3] @ apart[4]).abs() < 1e-4
    assert (apart[2] @ apart[5]).abs() < 1e-4
    before = ppmi_vectors(ends, 6, 5)
    turned = ppmi_vectors(list(reversed(ends)), 6, 5)
    torch.testing.assert_close(before @ before.T, turned @ turned.T, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("sequences", "dim", "window", "message"),
    [
        ([torch.tensor([2, 3])], 0, 5, "dim from 1 to vocab_size - 1 = 5, got 0"),
        ([torch.tensor([2, 3])], 6, 5, "dim from 1 to vocab_size - 1 = 5, got 6"),
        ([torch.tensor([2, 3])], 2, 0, "window of at least 1, got 0"),
        ([torch.tensor([2, 9])], 2, 5, "ids from 0 to 5, got 0 to 9"),
        ([torch.tensor([2]), torch.tensor([3])], 2, 5, "no known token has a known neighbour"),
        ([torch.tensor([2, 1, 1])], 2, 5, "no known token has a known neighbour"),
        ([torch.tensor([2])[:0]], 2, 5, "sequence 0 is empty"),
        ([], 2, 5, "at least one sequence, got none"),
    ],
)
def test_ppmi_refuses(sequences, dim, window, message):
    with pytest.raises(ValueError, match=message):
        ppmi_vectors(sequences, 6, dim, window=window)
