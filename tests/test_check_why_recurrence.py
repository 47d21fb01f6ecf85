"""The checks of the introduction: right answers pass, each usual mistake is named, the quiz sends to chapters."""

from __future__ import annotations

from itertools import combinations
from math import comb
from pathlib import Path

import nbformat
import pytest
import torch

from rnnbook import check_introduction as check

ROOT = Path(__file__).parents[1]


def bag(tokens, vocab_size):
    return torch.nn.functional.one_hot(tokens, vocab_size).sum(dim=1)


def known_by_hand(T):
    """Go through all places of the pair: which of them does the bag of neighbours betray?"""
    places = list(combinations(range(T), 2))
    known = [(i, j) for i, j in places if i == 0 or j == T - 1 or j == i + 1]
    return len(known) / len(places)


def test_right_answers_pass(capsys):
    check.bag_of_words(bag)
    check.pairs_ceiling(lambda T: 0.5 + 3 * (T - 2) / (T * (T - 1)))
    check.pairs_ceiling(lambda T: 0.5 + known_by_hand(T) / 2)
    assert capsys.readouterr().out.count(": right") == 3


WRONG = {
    "twice counts twice": (check.bag_of_words, lambda t, V: bag(t, V).clamp(max=1)),
    "shares of the row": (check.bag_of_words, lambda t, V: bag(t, V) / t.shape[1]),
    "of the whole batch": (check.bag_of_words, lambda t, V: bag(t, V).sum(0).expand(len(t), V)),
    "token 0 counts": (check.bag_of_words, lambda t, V: bag(t, V) * (torch.arange(V) > 0)),
    "counts: expected shape": (check.bag_of_words, lambda t, V: bag(t, V).T),
    "begin or end with A or B": (check.pairs_ceiling, lambda T: 0.5 + 1 / T),
    "so does a pair of neighbours": (check.pairs_ceiling, lambda T: 1 - comb(T - 2, 2) / comb(T, 2) / 2),
    "counted twice": (check.pairs_ceiling, lambda T: 0.5 + (3 * T - 4) / (T * (T - 1))),
    "half of the rest is guessed": (check.pairs_ceiling, known_by_hand),
    "share that is not known": (check.pairs_ceiling, lambda T: 1 - known_by_hand(T)),
    "accuracy.*expected": (check.pairs_ceiling, lambda _: 0.5),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_mistake_is_named(words):
    checker, wrong = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        checker(wrong)


RIGHT = {1: (4, 3), 2: (4, 7, 5), 3: 20, 4: 24, 5: "c", 6: 0.69, 7: 6, 8: "b", 9: "b", 10: "c"}


def report(capsys, answers):
    check.self_check(answers)
    return capsys.readouterr().out.splitlines()


def test_ten_right_answers_in_every_form(capsys):
    assert report(capsys, RIGHT) == ["10 of 10 right"]
    other = {1: [4, 3], 2: torch.zeros(4, 7, 5).shape, 4: 24.0, 5: " C ", 6: 0.6931, 7: torch.tensor(6.0)}
    assert report(capsys, RIGHT | other) == ["10 of 10 right"]


@pytest.mark.parametrize("number", RIGHT)
def test_a_wrong_answer_costs_a_point_and_names_a_chapter_of_the_book(capsys, number):
    titles = {
        nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
        for path in (ROOT / "chapters").rglob("*.ipynb")
    }
    for wrong in (0.123, "z", (9, 9), ()):
        first, line = report(capsys, RIGHT | {number: wrong})
        assert first == "9 of 10 right"
        assert line.startswith(f"{number:2d}: not yet")
        assert line.split("“")[1].rstrip("”") in titles
    for open_answers in (RIGHT | {number: None}, {n: a for n, a in RIGHT.items() if n != number}):
        assert f"{number:2d}: open" in report(capsys, open_answers)[1]


@pytest.mark.parametrize(
    ("number", "wrong", "words"),
    [
        (1, (4, 1, 3), "takes its axis away"),
        (1, (7, 3), "is a time step"),
        (2, (4, 5), "leaves the others"),
        (3, 15, "biases"),
        (3, 8, "a weight for each pair"),
        (4, 12, "inner derivative"),
        (4, 8, "the value itself"),
        (5, "a", "a hundred factors"),
        (5, "b", "far smaller"),
        (6, 0.5, "-ln p"),
        (6, 0.3, "natural logarithm"),
        (7, 3, "add up"),
        (8, "a", "a guess on the rest"),
        (9, "a", "looks good"),
        (9, "C", "nothing is left"),
        (10, "a", "overlap"),
        (10, "b", "luck"),
    ],
)
def test_a_usual_mistake_is_explained(capsys, number, wrong, words):
    assert words in report(capsys, RIGHT | {number: wrong})[1]


def test_nothing_answered_is_all_open(capsys):
    lines = report(capsys, {})
    assert lines[0] == "0 of 10 right"
    assert sum("open" in line for line in lines) == 10


def test_a_question_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="questions 1 to 10, got 11"):
        check.self_check({11: "a"})
