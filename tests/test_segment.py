"""Chinese text: words are the longest of the dictionary, no character is lost, the script depends on the word."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbook import segment
from rnnbook.corpus import split_by_hash
from rnnbook.datasets import load
from rnnbook.segment import MaximumMatching, simplify
from rnnbook.text import characters, normalize

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
        units = segment._UNIT.findall(joined)
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
    segment._traditional_to_simplified.cache_clear()
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(ImportError, match=r"needs the package opencc; what helps: python -m pip") as caught:
        simplify("這")
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    asked = str(caught.value).rpartition(" ")[2]
    assert asked in project["optional-dependencies"]["chinese"]
