"""The challenge set is what it says it is, and its scores are those of a count by hand."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnbook.challenge import Challenge, KindScore, load_challenge, score_challenge
from rnnbook.corpus import same_text_key, split_by_hash
from rnnbook.datasets import load
from rnnbook.evaluate import wilson_interval
from rnnbook.text import tokenize

CHALLENGE = load_challenge()
KINDS = ["plain", "negation", "but", "comparison", "irony", "names"]


def tiny() -> Challenge:
    """Return three pairs of opposite labels and two of equal ones, with the members apart."""
    return Challenge(
        tuple("abcdefghij"),
        np.array([1, 0, 1, 0, 0, 1, 1, 0, 1, 0]),
        ("but",) * 6 + ("names",) * 4,
        np.array([1, 2, 3, 1, 3, 2, 7, 8, 7, 8]),
    )


# --- the sentences ---------------------------------------------------------------------------------


def test_each_kind_is_large_and_half_positive():
    assert list(dict.fromkeys(CHALLENGE.kinds)) == KINDS
    assert len(CHALLENGE.texts) >= 160
    for kind in KINDS:
        part = CHALLENGE.of(kind)
        assert len(part.texts) >= 24
        assert part.labels.mean() == 0.5


def test_pairs_have_opposite_labels_and_names_equal_ones():
    members = defaultdict(list)
    for i, pair in enumerate(CHALLENGE.pairs.tolist()):
        members[pair].append(i)
    assert sorted(members) == list(range(1, len(CHALLENGE.texts) // 2 + 1))
    for first, second in members.values():
        assert CHALLENGE.kinds[first] == CHALLENGE.kinds[second]
        same = CHALLENGE.labels[first] == CHALLENGE.labels[second]
        assert same == (CHALLENGE.kinds[first] == "names"), CHALLENGE.texts[first]


def test_the_two_of_a_pair_differ_in_little():
    for kind in KINDS:
        for one, other in zip(CHALLENGE.of(kind).texts[::2], CHALLENGE.of(kind).texts[1::2], strict=True):
            before, after = tokenize(one), tokenize(other)
            if kind == "names":
                assert len(before) == len(after)
                assert sum(a != b for a, b in zip(before, after, strict=True)) == 1, (one, other)
            else:  # an exchange of two parts counts as little too, so the order is left out
                shared = sum((Counter(before) & Counter(after)).values())
                assert 2 * shared / (len(before) + len(after)) > 0.5, (one, other)
                assert SequenceMatcher(None, before, after).ratio() < 1


def test_no_sentence_stands_twice_or_in_the_data_of_the_book():
    own = [same_text_key(text) for text in CHALLENGE.texts]
    assert len({*own}) == len(own)
    ends = tuple(".!?")
    assert all(text.endswith(ends) and text == text.strip() for text in CHALLENGE.texts)
    bare = {key.strip(".!?") for key in own}
    longest = 2 * max(map(len, CHALLENGE.texts))  # spares the time to normalise long reviews
    for name in ("film_sentences", "imdb_train"):
        short = [text for text in load(name).train.texts if len(text) < longest]
        assert short
        assert not bare & {same_text_key(text).strip(".!?") for text in short}


def test_hardly_a_word_is_unknown():
    def unseen(wanted: set[str], texts: tuple[str, ...]) -> set[str]:
        for text in texts:
            if not wanted:
                break
            wanted = wanted.difference(tokenize(text))
        return wanted

    tokens = [token for text in CHALLENGE.texts for token in tokenize(text)]
    unknown = unseen({*tokens}, split_by_hash(load("film_sentences").train, 0.2)[0].texts)
    assert sum(token in unknown for token in tokens) < 0.005 * len(tokens), unknown
    assert not unseen({*tokens}, load("imdb_train").train.texts)


def test_label_and_first_word_are_nearly_independent():
    begins = defaultdict(Counter)
    for text, label in zip(CHALLENGE.texts, CHALLENGE.labels.tolist(), strict=True):
        begins[tokenize(text)[0]][label] += 1
    guess = sum(max(counts.values()) for counts in begins.values()) / len(CHALLENGE.texts)
    assert guess < 0.65
    assert len(begins) > 40


# --- its scores ------------------------------------------------------------------------------------


def test_scores_are_those_counted_by_hand():
    # pairs 1 2 3 1 3 2, 7 8 7 8: both of 1 and 7 right, both of 2 and 8 wrong, one of 3 right
    correct = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0, 1, 0]).bool()
    but, names = score_challenge(correct, tiny())
    assert but == KindScore("but", 6, 0.5, *wilson_interval(3, 6), both_right=1 / 3, same_answer=1 / 3)
    assert names == KindScore("names", 4, 0.5, *wilson_interval(2, 4), both_right=0.5, same_answer=1.0)


@pytest.mark.parametrize("answer", [0, 1])
def test_one_answer_for_all_gets_half_of_the_sentences_and_no_opposite_pair(answer):
    for score in score_challenge(torch.from_numpy(CHALLENGE.labels == answer), CHALLENGE):
        assert score.accuracy == 0.5
        assert score.low < 0.5 < score.high
        assert score.both_right == (0.5 if score.kind == "names" else 0)
        assert score.same_answer == 1


def test_who_is_always_right_or_wrong_treats_pairs_alike():
    count = len(CHALLENGE.texts)
    right = score_challenge(torch.ones(count, dtype=torch.bool), CHALLENGE)
    wrong = score_challenge(torch.zeros(count, dtype=torch.bool), CHALLENGE)
    assert [score.kind for score in right] == KINDS
    for best, worst in zip(right, wrong, strict=True):
        assert (best.accuracy, best.both_right, best.same_answer) == (1, 1, best.kind == "names")
        assert (worst.accuracy, worst.both_right, worst.same_answer) == (0, 0, worst.kind == "names")


def test_a_coin_gets_a_quarter_of_the_pairs():
    generator = torch.Generator().manual_seed(0)
    coins = torch.rand(400, len(CHALLENGE.texts), generator=generator) < 0.5
    shares = [[score.both_right for score in score_challenge(coin, CHALLENGE)] for coin in coins]
    assert np.mean(shares, axis=0) == pytest.approx(0.25, abs=0.025)


# --- what is refused -------------------------------------------------------------------------------


def test_wrong_answers_are_refused():
    for correct in (torch.ones(10), torch.ones(10, 1).bool(), torch.ones(9).bool()):
        with pytest.raises(ValueError, match=r"expected \(10,\) of torch.bool, got \("):
            score_challenge(correct, tiny())


def test_a_broken_set_and_an_unknown_kind_are_refused():
    with pytest.raises(ValueError, match="a kind among but, names, got 'rhyme'"):
        tiny().of("rhyme")
    labels, kinds, pairs = np.array([0, 1, 0]), ("but", "but", "irony"), np.array([4, 4, 4])
    with pytest.raises(ValueError, match="one label, one kind"):
        Challenge(("a", "b"), labels, kinds, pairs)
    with pytest.raises(ValueError, match=r"two sentences of one kind .* got 1 of pair 4"):
        Challenge(("a", "b", "c"), labels, kinds, pairs)


def test_the_sentences_come_with_the_wheel(tmp_path):
    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    pytest.importorskip("hatchling")
    subprocess.run(hatchling, cwd=Path(__file__).parents[1], capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "rnnbook/challenge.csv" in archive.namelist()
