"""The checks of the chapter on evaluation: right answers pass, each usual mistake is called by its name."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binomtest

from rnnbook import check_practice as check
from rnnbook.evaluate import paired_comparison, perplexity, wilson_interval

Z = 1.959964


def items(p, half, *, z=Z, spread=None, rounded=math.ceil):
    return rounded(z * z * (p * (1 - p) if spread is None else spread) / half**2)


def exact(_both, only_a, only_b, _neither):
    return binomtest(only_a, only_a + only_b).pvalue


def one_sided(_both, only_a, only_b, _neither):
    return binomtest(min(only_a, only_b), only_a + only_b, alternative="less").pvalue


def with_ties(both, only_a, only_b, neither):
    ties = (both + neither) // 2
    return binomtest(min(only_a, only_b) + ties, only_a + only_b + 2 * ties).pvalue


def unpaired(both, only_a, only_b, _neither):
    return binomtest(both + only_a, 2 * both + only_a + only_b).pvalue


def by_package(losses, counts):
    return perplexity((losses * counts).sum().item(), int(counts.sum()))


WRONG = {
    "the normal approximation": (check.all_right, 1.0),
    "z stands where its square belongs": (check.all_right, 20 / (20 + Z)),
    "the centre of the interval": (check.all_right, (20 + Z * Z / 2) / (20 + Z * Z)),
    "for none right": (check.all_right, wilson_interval(0, 20)[1]),
    "that is for 90 %": (check.all_right, 20 / (20 + 1.644854**2)),
    "all_right.*expected": (check.all_right, 0.5),
    "rounded down": (check.items_needed, lambda p, h: items(p, h, rounded=math.floor)),
    "z is missing": (check.items_needed, lambda p, h: items(p, h, z=1)),
    "the worst p": (check.items_needed, lambda p, h: items(p, h, spread=0.25)),
    "one half of the interval": (check.items_needed, lambda p, h: items(p, h / 2)),
    "has to be squared": (check.items_needed, lambda p, h: math.ceil(Z * p * (1 - p) / h)),
    "one-sided": (check.mcnemar, one_sided),
    "are no coin tosses": (check.mcnemar, with_ties),
    "right for both cancel": (check.mcnemar, unpaired),
    "above 1": (check.mcnemar, lambda *counts: 2 * one_sided(*counts)),
    "or more so": (
        check.mcnemar,
        lambda b, x, y, n: min(1, 2 * math.comb(x + y, min(x, y)) / 2 ** (x + y)),
    ),
    "the mean of exponentials": (check.ragged_perplexity, lambda m, c: m.exp().mean()),
    "the batches' means": (check.ragged_perplexity, lambda m, c: m.mean().exp()),
    "exponentials weighed": (check.ragged_perplexity, lambda m, c: (m.exp() * c).sum() / c.sum()),
    "nats a batch": (check.ragged_perplexity, lambda m, c: ((m * c).sum() / len(c)).exp()),
    "exp is missing": (check.ragged_perplexity, lambda m, c: (m * c).sum() / c.sum()),
}


def by_pairs(both, only_a, only_b, neither):
    answers = [(True, True)] * both + [(True, False)] * only_a + [(False, True)] * only_b
    a, b = torch.tensor(answers + [(False, False)] * neither).T
    return paired_comparison(a, b, generator=torch.Generator().manual_seed(0)).p_value


def test_right_answers_pass(capsys):
    check.all_right(wilson_interval(20, 20)[0])
    check.items_needed(items)
    check.mcnemar(exact)
    check.mcnemar(by_pairs)
    check.ragged_perplexity(by_package)
    assert capsys.readouterr().out.count("right") >= 5


@pytest.mark.parametrize("words", WRONG)
def test_a_mistake_is_called_by_its_name(words, capsys):
    test, answer = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        test(answer)
    assert not capsys.readouterr().out


def test_the_checks_leave_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    check.ragged_perplexity(by_package)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_number_of_items_gives_the_width():
    low, high = wilson_interval(0.75 * items(0.75, 0.01), items(0.75, 0.01))
    assert (high - low) / 2 == pytest.approx(0.01, abs=1e-4)
