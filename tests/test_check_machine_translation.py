"""The checks of the chapter on translation: right answers pass, each usual mistake is named."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from rnnbook import check_application as check


def grams(words, n):
    return [tuple(words[k : k + n]) for k in range(len(words) - n + 1)]


def clipped(words, reference, n):
    have, want = Counter(grams(words, n)), Counter(grams(reference, n))
    return sum(min(count, want[gram]) for gram, count in have.items()) / sum(have.values())


def scores(query, memory, w, u, v):
    return ((memory @ u.T + w @ query).tanh()) @ v


def normalised(log_probs, a):
    return sum(log_probs) / len(log_probs) ** a


def test_right_answers_pass(capsys):
    check.additive_scores(scores)
    check.normalised_score(normalised)
    check.clipped_precision(clipped)
    assert capsys.readouterr().out.count(": right") == 3


WRONG = {
    "the tanh is missing": (check.additive_scores, lambda q, m, w, u, v: (m @ u.T + w @ q) @ v),
    "after the softmax": (check.additive_scores, lambda *a: scores(*a).softmax(dim=0)),
    "the tanh comes before v": (check.additive_scores, lambda q, m, w, u, v: ((m @ u.T + w @ q) @ v).tanh()),
    "W and U have changed places": (check.additive_scores, lambda q, m, w, u, v: scores(q, m, u, w, v)),
    "U m_s is": (check.additive_scores, lambda q, m, w, u, v: scores(q, m, w, u.T, v)),
    "W h is": (check.additive_scores, lambda q, m, w, u, v: scores(q, m, w.T, u, v)),
    "the query has no say": (check.additive_scores, lambda q, m, w, u, v: (m @ u.T).tanh() @ v),
    r"expected shape \(4,\)": (check.additive_scores, lambda *a: scores(*a)[:, None]),
    "without a normalisation": (check.normalised_score, lambda p, a: sum(p)),
    "whatever a is": (check.normalised_score, lambda p, a: sum(p) / len(p)),
    "n times a": (check.normalised_score, lambda p, a: sum(p) / max(len(p) * a, 1e-9)),
    "multiplied by it": (check.normalised_score, lambda p, a: sum(p) * len(p) ** a),
    "those are the probabilities": (
        check.normalised_score,
        lambda p, a: sum(math.exp(x) for x in p) / len(p) ** a,
    ),
    "not clipped": (
        check.clipped_precision,
        lambda words, ref, n: sum(g in grams(ref, n) for g in grams(words, n)) / len(grams(words, n)),
    ),
    "that is recall": (check.clipped_precision, lambda words, ref, n: clipped(ref, words, n)),
    "kinds of n-grams": (
        check.clipped_precision,
        lambda words, ref, n: len({*grams(words, n)} & {*grams(ref, n)}) / len({*grams(words, n)}),
    ),
    "clipped_precision.*expected .*, got 0 ": (check.clipped_precision, lambda *a: 0.0),
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_answers_are_named(words):
    function, wrong = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        function(wrong)
