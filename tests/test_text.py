"""From text to tensors: what looks alike is alike, nothing is lost, nothing is invented."""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from rnnbook import text as text_module
from rnnbook.corpus import split_by_hash
from rnnbook.datasets import load
from rnnbook.text import (
    PAD,
    UNKNOWN,
    MaximumMatching,
    Vocab,
    characters,
    check_ids,
    normalize,
    ppmi_vectors,
    simplify,
    tokenize,
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


# --- words and script of Chinese -------------------------------------------------------------------

DICTIONARY = ["研究", "研究生", "生命", "命", "的", "起源", "ＯＫ", "1998年", "第1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("研究生命的起源", ["研究", "生命", "的", "起源"]),  # from the left alone: 研究生 命 …
        ("研究 生命", ["研究", "生命"]),
        ("研\u3000究", ["研", "究"]),
        ("研\u200b究<br/>命", ["研究", "命"]),
        ("ok，OK！", ["ok", ",", "ok", "!"]),
        ("1998年第15", ["1998年", "第", "15"]),  # the word 第1 would end inside a number
        ("21998年", ["21998", "年"]),
        ("Café2号okay", ["café2", "号", "okay"]),
        ("火星", ["火", "星"]),
    ],
)
def test_words_are_the_longest_of_the_dictionary(text, words):
    assert MaximumMatching(DICTIONARY).cut(text) == words


def test_a_longest_word_to_look_up():
    words = MaximumMatching(["一二三四", "一二", "二三四", "abc一"])
    assert words.max_len == 4
    assert words.cut("一二三四") == ["一二三四"]
    assert MaximumMatching(words.words, max_len=3).cut("一二三四") == ["一", "二三四"]
    assert MaximumMatching(words.words, max_len=2).cut("一二三四abc一") == ["一二", "三", "四", "abc一"]
    assert MaximumMatching(words.words, max_len=1).cut("一二") == ["一", "二"]
    assert MaximumMatching(words.words, max_len=99).max_len == 4


@pytest.mark.parametrize(
    ("words", "text", "cut"),
    [
        (["甲乙", "乙丙丁"], "甲乙丙丁", ["甲", "乙丙丁"]),  # two words against three
        (["甲乙丙", "丙丁"], "甲乙丙丁", ["甲乙丙", "丁"]),  # three on the right, two on the left
        (["甲乙", "乙丙", "丙丁戊", "丁戊"], "甲乙丙丁戊", ["甲乙", "丙丁戊"]),
        (["甲乙", "乙丙"], "甲乙丙", ["甲乙", "丙"]),  # as good from both sides
        (["甲乙丙", "乙丙", "丙丁戊", "甲乙", "戊己", "丁戊己"], "甲乙丙丁戊己", ["甲乙丙", "丁戊己"]),
        (["甲乙丙", "丙丁", "甲乙", "丁戊"], "甲乙丙丁戊", ["甲乙丙", "丁戊"]),
        (["甲乙丙", "甲乙", "丙丁"], "甲乙丙丁", ["甲乙", "丙丁"]),  # fewer single characters
    ],
)
def test_fewer_words_then_fewer_single_characters_then_from_the_left(words, text, cut):
    assert MaximumMatching(words).cut(text) == cut


ALPHABET = st.text("甲乙丙丁a1， ", max_size=9)


def by_definition(words: set[str], text: str) -> list[str]:
    """Match from the left by trying every prefix of what is left, the longest first; no runs, no blanks."""
    if not text:
        return []
    head = next((text[:n] for n in range(len(text), 1, -1) if text[:n] in words), text[0])
    return [head, *by_definition(words, text[len(head) :])]


@given(st.sets(st.text("甲乙丙丁", min_size=1, max_size=4), min_size=1), st.text("甲乙丙丁", max_size=12))
def test_both_directions_equal_their_definition(words, text):
    mirrored = [word[::-1] for word in by_definition({word[::-1] for word in words}, text[::-1])][::-1]
    left = by_definition(words, text)
    cost = [(len(cut), sum(len(word) == 1 for word in cut)) for cut in (left, mirrored)]
    assert MaximumMatching(words).cut(text) == (mirrored if cost[1] < cost[0] else left)


@given(st.lists(ALPHABET.map(lambda word: word.replace(" ", "")), min_size=1), ALPHABET)
def test_no_character_is_lost_and_every_word_is_known_or_one_unit(words, text):
    if not any(words):
        return
    dictionary = MaximumMatching(words)
    cut = dictionary.cut(text)
    assert "".join(cut) == "".join(characters(text))
    assert all(word in dictionary.words or len(word) == 1 or set(word) <= set("a1") for word in cut)
    assert dictionary.cut(" ".join(cut)) == cut or any(set(word) <= set("a1") for word in cut)


@pytest.mark.parametrize(
    ("words", "options", "error", "message"),
    [
        ("研究 生命", {}, TypeError, "list of words, got a str: give its words"),
        ([], {}, ValueError, "the dictionary is empty: no words, or a generator that was used up"),
        (["", "\u200b"], {}, ValueError, "the dictionary is empty"),
        (["研究", "生命 的 起源"], {}, ValueError, "expected words, got '生命 的 起源': cut sentences"),
        (["研究"], {"max_len": 0}, ValueError, "max_len of at least 1, got 0"),
        ([3], {}, TypeError, "one str, got int"),
    ],
)
def test_a_dictionary_that_is_none(words, options, error, message):
    with pytest.raises(error, match=message):
        MaximumMatching(words, **options)


def test_two_directions_find_more_words_of_the_newspaper_than_one():
    rest, held_out = split_by_hash(load("peoples_daily").train, 0.05)
    dictionary = MaximumMatching(word for text in rest.texts[::4] for word in text.split())
    sides = {side: (lambda u, s=side: dictionary._match(u, from_the_right=s)) for side in (False, True)}
    found = dict.fromkeys(("left", "right", "both"), 0)
    total = dict.fromkeys(found, 0)
    for text in held_out.texts:
        truth = ends(normalize(text).split())
        joined = "".join(normalize(text).split())
        units = text_module._UNIT.findall(joined)
        for name, cut in zip(
            found, (sides[False](units), sides[True](units), dictionary.cut(joined)), strict=True
        ):
            found[name] += 2 * len(truth & ends(cut))
            total[name] += len(truth) + len(cut)
    f1 = {name: found[name] / total[name] for name in found}
    assert f1["both"] > max(f1["left"], f1["right"])
    assert f1["both"] > 0.85


def ends(words: list[str]) -> set[tuple[int, int]]:
    stops = np.cumsum([len(word) for word in words]).tolist()
    return set(zip([0, *stops], stops, strict=False))


def test_the_simplified_script_depends_on_the_word():
    pytest.importorskip("opencc")
    assert simplify("房間比較舊，服務不錯ＯＫ") == "房间比较旧,服务不错ok"
    assert simplify("頭髮，發現") == "头发,发现"
    assert simplify("乾淨，乾隆") == "干净,乾隆"
    assert simplify("很好 film") == "很好 film"
    assert simplify(simplify("這本書")) == simplify("這本書") == "这本书"
    with pytest.raises(TypeError, match="one str, got NoneType"):
        simplify(None)


def test_without_its_package_the_script_stays_and_the_error_says_what_helps(monkeypatch):
    text_module._traditional_to_simplified.cache_clear()
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(ImportError, match=r"needs the package opencc; what helps: python -m pip") as caught:
        simplify("這")
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    asked = str(caught.value).rpartition(" ")[2]
    assert asked in project["optional-dependencies"]["chinese"]


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
