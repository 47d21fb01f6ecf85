"""The checks of the chapter on the article's network: right answers pass, each usual mistake is named."""

from __future__ import annotations

import pytest
import torch

from rnnbook import check_application as check
from rnnbook.batches import length_mask
from rnnbook.models import pool


def picked(outputs, lengths):
    return outputs[torch.arange(len(outputs)), lengths - 1]


def added(outputs, lengths):
    steps = torch.arange(outputs.shape[1])
    return (outputs * (steps == lengths[:, None] - 1).unsqueeze(2)).sum(dim=1)


def by_validation(_train, val, test):
    return test[val.index(max(val))]


def test_right_answers_pass(capsys):
    check.loud_or_silent("silent", "loud", "silent")
    check.last_real_state(picked)
    check.last_real_state(lambda outputs, lengths: pool(outputs, lengths, "last"))
    check.leaks({2, 5})
    check.leaks([5, 2])
    check.to_report(by_validation)
    assert capsys.readouterr().out.count(": right") == 6


WRONG = {
    "each answer meets the labels of all texts": (check.loud_or_silent, ("loud", "loud", "silent")),
    "64 is refused": (check.loud_or_silent, ("silent", "silent", "silent")),
    "computed from padding": (check.loud_or_silent, ("silent", "loud", "loud")),
    "expected 'loud' or 'silent', got None": (check.loud_or_silent, ("silent", "loud", None)),
    "last column, text or not": (check.last_real_state, (lambda o, _: o[:, -1],)),
    "one step too far": (check.last_real_state, (lambda o, n: o[torch.arange(len(o)), n],)),
    "after the first token": (check.last_real_state, (lambda o, _: o[:, 0],)),
    "number the rows too": (check.last_real_state, (lambda o, n: o[:, n - 1],)),
    "pick, do not add": (check.last_real_state, (added,)),
    "last_real_state.*expected": (
        check.last_real_state,
        (lambda o, n: o.masked_fill(~length_mask(n, o.shape[1]).unsqueeze(2), 0).sum(dim=1),),
    ),
    "line 2 is missing: the vocabulary": (check.leaks, ({5},)),
    "line 5 is missing: the test chooses": (check.leaks, ({2},)),
    "line 6 is in order": (check.leaks, ({2, 5, 6},)),
    "line 1 is in order": (check.leaks, ({1},)),
    "on the training sentences": (check.to_report, (lambda train, *_: train[-1],)),
    "has chosen the epoch, so it is too high": (check.to_report, (lambda _, val, __: max(val),)),
    "let validation do it": (check.to_report, (lambda _, __, test: max(test),)),
    "validation has chosen another": (check.to_report, (lambda _, __, test: test[-1],)),
    "to_report.*expected": (check.to_report, (lambda *_: 0.5,)),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_answer_is_refused_with_its_reason(words):
    function, answers = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        function(*answers)
