"""The checks of the chapter on text classification: right answers pass, each usual mistake is named."""

from __future__ import annotations

import math

import pytest

from rnnbook import check_application as check


def test_right_answers_pass(capsys):
    check.log_odds(lambda logits: logits[:, 1] - logits[:, 0])
    check.log_odds(lambda logits: logits.diff(dim=1).squeeze(1))
    check.log_odds(lambda logits: logits.log_softmax(dim=1).diff(dim=1)[:, 0])
    check.any_false_mark(lambda k: 1 - 0.95**k)
    check.any_false_mark(lambda k: -math.expm1(k * math.log(0.95)))
    assert capsys.readouterr().out.count(": right") == 5


def by_probability(logits):
    p = logits.softmax(dim=1)
    return (p[:, 1] / p[:, 0]).log()


WRONG = {
    "the odds against": (check.log_odds, lambda logits: logits[:, 0] - logits[:, 1]),
    "they do not add up": (check.log_odds, lambda logits: logits.softmax(dim=1)[:, 1]),
    "that is log p": (check.log_odds, lambda logits: logits.softmax(dim=1)[:, 1].log()),
    "only the difference of the two": (check.log_odds, lambda logits: logits[:, 1]),
    "take their difference": (check.log_odds, lambda logits: logits.softmax(dim=1).diff(dim=1)[:, 0]),
    "use the logits, p rounds to 1": (check.log_odds, by_probability),
    "log_odds.*shape": (check.log_odds, lambda logits: logits.diff(dim=1)),
    "the number to expect": (check.any_false_mark, lambda k: 0.05 * k),
    "no false mark at all": (check.any_false_mark, lambda k: 0.95**k),
    "that all are false": (check.any_false_mark, lambda k: 0.05**k),
    "there are k": (check.any_false_mark, lambda _: 0.05),
    "any_false_mark.*expected": (check.any_false_mark, lambda _: 0.5),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_usual_mistake_is_called_by_its_name(words):
    trial, wrong = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        trial(wrong)
