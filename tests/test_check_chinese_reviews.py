"""The checks of the chapter on Chinese reviews: right answers pass, each usual mistake is named."""

from __future__ import annotations

import pytest

from rnnbook import check_application as check
from rnnbook.segment import MaximumMatching


def forward(text, words, max_len):
    found = []
    while text:
        sizes = (n for n in range(min(max_len, len(text)), 1, -1) if text[:n] in words)
        size = next(sizes, 1)
        found.append(text[:size])
        text = text[size:]
    return found


def shortest(text, words, max_len):
    found = []
    while text:
        sizes = (n for n in range(1, min(max_len, len(text)) + 1) if text[:n] in words)
        size = next(sizes, 1)
        found.append(text[:size])
        text = text[size:]
    return found


def lossy(text, words, max_len):
    return [word for word in forward(text, words, max_len) if word in words]


def from_the_right(text, words, _max_len):
    return MaximumMatching(words)._match([*text], from_the_right=True)


def test_right_answers_pass(capsys):
    check.greedy_cuts(["大学生", "活", "有意思"], ["大学", "生活", "有意思"])
    check.cut_scores(0.25, 0.5, 0.333)
    check.forward_matching(forward)
    check.forward_matching(
        lambda text, words, n: MaximumMatching(words)._match([*text], from_the_right=False)
    )
    assert capsys.readouterr().out.count(": right") == 4


LEFT, RIGHT = ["大学生", "活", "有意思"], ["大学", "生活", "有意思"]
WRONG = {
    "from the left: that is the cut begun at the other end": (check.greedy_cuts, (RIGHT, LEFT)),
    "from the right: that is the cut begun at the other end": (check.greedy_cuts, (LEFT, LEFT)),
    "from the right: the words are right, but stand in the order found": (
        check.greedy_cuts,
        (LEFT, RIGHT[::-1]),
    ),
    "from the left: a shorter word was taken": (check.greedy_cuts, (["大学", "生活", "有意", "思"], RIGHT)),
    "from the right: a shorter word was taken": (
        check.greedy_cuts,
        (LEFT, ["大", "学生", "活", "有", "意思"]),
    ),
    "expected all seven characters": (check.greedy_cuts, (LEFT, RIGHT[:2])),
    "is not what the longest word first gives": (check.greedy_cuts, (["大", "学生", "活", "有意思"], RIGHT)),
    "precision: precision divides by": (check.cut_scores, (0.5, 0.25, 1 / 3)),
    "recall: precision divides by": (check.cut_scores, (0.25, 0.25, 1 / 3)),
    "precision: that counts the limits": (check.cut_scores, (1 / 3, 1.0, 0.5)),
    "F1: that is the plain mean": (check.cut_scores, (0.25, 0.5, 0.375)),
    "F1: that counts the limits": (check.cut_scores, (0.25, 0.5, 0.5)),
    "'大学生活有意思': a shorter word": (check.forward_matching, (shortest,)),
    "'大学生活有意思': that is matching from the right": (check.forward_matching, (from_the_right,)),
    "'大学生活有意思': a character that no word covers is lost": (check.forward_matching, (lossy,)),
    "'莫名其妙的大学': words of max_len": (
        check.forward_matching,
        (lambda text, words, n: forward(text, words, n - 1),),
    ),
    "'性价比': got": (check.forward_matching, (lambda text, words, n: forward(text, words | {"性价比"}, n),)),
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_answers_are_named(words):
    function, arguments = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        function(*arguments)
