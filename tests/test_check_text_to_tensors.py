"""The checks of the chapter on texts and tensors: right answers pass, usual mistakes are called by name."""

from __future__ import annotations

import math
import unicodedata

import pytest
import torch

from rnnbook import check_practice as check
from rnnbook.corpus import same_text_key
from rnnbook.text import normalize


def masked(fill=True, divide="length", real=lambda t, lengths: t < lengths):
    """Make a mean over real steps, with a fault in one place."""

    def mean(outputs, lengths):
        mask = real(torch.arange(outputs.shape[1]), lengths[:, None]).unsqueeze(-1)
        kept = torch.where(mask, outputs, 0.0) if fill else outputs * mask
        if divide == "T":
            return kept.mean(dim=1)
        return kept.sum(dim=1) / (lengths[:, None] if divide == "length" else 1)

    return mean


def find(key):
    return lambda train, test: [i for i, text in enumerate(test) if key(text) in {key(t) for t in train}]


def smallest(falling=True, extra=2, covers=lambda part, need: part >= need):
    def size(counts, share):
        numbers = sorted(counts.values(), reverse=True) if falling else list(counts.values())
        need = share * sum(numbers)
        return extra + next(k for k in range(len(numbers) + 1) if covers(sum(numbers[:k]), need))

    return size


RIGHT = [
    (check.padding_shares, (1 / 3, 1 / 7)),
    (check.padding_shares, (0.333, 0.143)),
    (check.masked_mean, (masked(),)),
    (check.leaked, (find(same_text_key),)),
    (check.vocabulary_size, (smallest(),)),
]
WRONG = {
    "share of tokens": (check.padding_shares, (0.667, 0.857)),
    "for each token": (check.padding_shares, (0.5, 0.167)),
    "a mean of the shares": (check.padding_shares, (0.3296, 0.1556)),
    "as its own longest text": (check.padding_shares, (0.4, 0.4)),
    "the two are exchanged": (check.padding_shares, (1 / 7, 1 / 3)),
    r"padding_shares\[": (check.padding_shares, (0.1, 0.1)),
    "the padding is in the sum": (check.masked_mean, (lambda x, n: x.sum(dim=1) / n[:, None],)),
    "divided by T": (check.masked_mean, (masked(divide="T"),)),
    "a plain mean": (check.masked_mean, (lambda x, _: x.mean(dim=1),)),
    "that is the sum": (check.masked_mean, (masked(divide="nothing"),)),
    "the last real step is missing": (
        check.masked_mean,
        (lambda x, n: masked(real=lambda t, n: t < n - 1, divide="")(x, n) / (n[:, None] - 1).clamp(min=1),),
    ),
    "NaN in the padding comes through": (check.masked_mean, (masked(fill=False),)),
    r"masked_mean: expected shape": (check.masked_mean, (lambda x, n: masked()(x, n).sum(),)),
    "equal to the letter": (check.leaked, (find(str),)),
    "case alone": (check.leaked, (find(str.lower),)),
    "two blanks hide a copy": (check.leaked, (find(normalize),)),
    "invisible characters": (check.leaked, (find(lambda t: unicodedata.normalize("NFKC", t).lower()),)),
    "among the training": (check.leaked, (lambda train, test: find(same_text_key)(test, train),)),
    r"\*not\* in training": (check.leaked, (lambda *_: [1, 6],)),
    "wrongly accused": (check.leaked, (lambda _, test: range(len(test)),)),
    "<pad> and <unk> count": (check.vocabulary_size, (smallest(extra=0),)),
    "one too few": (check.vocabulary_size, (smallest(extra=1),)),
    "one too many": (check.vocabulary_size, (smallest(extra=3),)),
    "not of all tokens": (check.vocabulary_size, (lambda c, share: math.ceil(share * len(c)) + 2,)),
    "order of their frequency": (check.vocabulary_size, (smallest(falling=False),)),
}


def test_right_answers_pass(capsys):
    for test, answers in RIGHT:
        test(*answers)
    assert capsys.readouterr().out.count("right") == len(RIGHT)


@pytest.mark.parametrize("words", WRONG)
def test_a_mistake_is_called_by_its_name(words, capsys):
    test, answers = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        test(*answers)
    assert not capsys.readouterr().out


def test_the_checks_leave_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    for test, answers in RIGHT:
        test(*answers)
    assert torch.equal(torch.random.get_rng_state(), before)
