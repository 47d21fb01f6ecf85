"""Attacks on characters change what they say they change, and nothing that a reader would see."""

from __future__ import annotations

import re

import pytest
import torch

from rnnbook.attack_text import LOOK_ALIKES, ZERO_WIDTH, homoglyphs, invisible, typos
from rnnbook.text import fold_homoglyphs, normalize, tokenize

TEXTS = ["The plot is thin, but what a cast!", "see it", "An utterly charming 7/10 comedy of errors."]
ATTACKS = [typos, homoglyphs, invisible]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def words_of(text: str) -> list[str]:
    return re.split(r"[ ,!./]+", text)


def is_one_edit(word: str, other: str) -> bool:
    """Compare by definition: two neighbours exchanged, or the longer word less one letter is the shorter."""
    if len(word) == len(other):
        wrong = [i for i, (a, b) in enumerate(zip(word, other, strict=True)) if a != b]
        return len(wrong) == 2 and wrong[1] == wrong[0] + 1 and sorted(word) == sorted(other)
    short, long = sorted((word, other), key=len)
    return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("num_words", [1, 2, None])
def test_so_many_words_differ_as_it_says_and_the_model_is_not_asked(attack, num_words):
    for seed in range(20):
        found = attack(TEXTS, num_words, generator=generator(seed))
        for text, other, count in zip(TEXTS, found.examples, found.words_changed.tolist(), strict=True):
            pairs = list(zip(words_of(text), words_of(other), strict=True))
            assert sum(a != b for a, b in pairs) == count
            assert re.findall(r"[ ,!./]+", text) == re.findall(r"[ ,!./]+", other)
            assert num_words is None or count <= num_words
        assert found.words_changed[0] == (
            num_words or {"typos": 4, "homoglyphs": 8, "invisible": 7}[attack.__name__]
        )
        assert found.queries.tolist() == [0, 0, 0]


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_generator_alone_decides(attack):
    runs = {tuple(attack(TEXTS, 1, generator=generator(seed)).examples) for seed in range(20)}
    assert len(runs) > 5
    assert (
        attack(TEXTS, 1, generator=generator(3)).examples == attack(TEXTS, 1, generator=generator(3)).examples
    )


def test_a_typo_is_one_edit_inside_a_word():
    kinds = set()
    for seed in range(60):
        for text, other in zip(TEXTS, typos(TEXTS, generator=generator(seed)).examples, strict=True):
            for word, wrong in zip(words_of(text), words_of(other), strict=True):
                assert (word == wrong) == (len(word) < 4)
                if word != wrong:
                    assert is_one_edit(word, wrong)
                    assert (word[0], word[-1]) == (wrong[0], wrong[-1])
                    kinds.add(len(wrong) - len(word))
    assert kinds == {-1, 0, 1}


def test_homoglyphs_are_undone_by_folding_unless_the_whole_word_is_one_letter():
    changed = homoglyphs(TEXTS, generator=generator()).examples
    assert all(tokenize(a) != tokenize(b) for a, b in zip(TEXTS, changed, strict=True))
    assert [fold_homoglyphs(text) for text in changed[1:]] == TEXTS[1:]
    assert fold_homoglyphs(changed[0]) == TEXTS[0].replace(" a ", f" {LOOK_ALIKES['a']} ")


def test_an_attacker_may_bring_other_letters():
    changed = homoglyphs(["go on"], letters={"o": "օ"}, generator=generator()).examples  # Armenian
    assert changed == ["gօ օn"]
    assert fold_homoglyphs(changed[0]) == changed[0]


def test_invisible_characters_are_gone_after_normalize_and_stand_inside_words():
    for seed in range(20):
        changed = invisible(TEXTS, generator=generator(seed)).examples
        assert [normalize(text) for text in changed] == [normalize(text) for text in TEXTS]
        assert all(re.search(rf"\w[{ZERO_WIDTH}]\w", text) for text in changed)
    (separated,) = invisible(["see"], characters="\u2063", generator=generator()).examples
    assert tokenize(separated) != ["see"] == tokenize(fold_homoglyphs(separated))


@pytest.mark.parametrize("attack", ATTACKS)
def test_errors(attack):
    with pytest.raises(TypeError, match="expected a list of texts, got one str"):
        attack("a text", generator=generator())
    with pytest.raises(ValueError, match="text 1 has no word to attack: ' 7/10 '"):
        attack(["fine", " 7/10 "], generator=generator())
    with pytest.raises(ValueError, match="num_words of at least 1, or None for all words, got 0"):
        attack(["fine"], 0, generator=generator())
