"""The checks of the last chapter: right answers pass, each usual mistake is called by its name."""

from __future__ import annotations

import math

import pytest
import torch

from rnnbook import check_outlook as check


def cache(tokens, size, layers):
    return 8 * tokens * size * layers


def most(bits, values):
    n = 0
    while values ** (n + 1) <= 2**bits:
        n += 1
    return n


def turn(digits, m):
    return torch.exp(2j * math.pi * digits / m)


CHOICE = {job: right for job, (right, _) in check.JOBS.items()}


@pytest.mark.parametrize(
    ("examine", "right"),
    [
        (check.cache_bytes, cache),
        (check.most_pairs, most),
        (check.turns, turn),
        (check.first_choice, CHOICE),
        (check.first_choice, {**CHOICE, "another job": "anything"}),
    ],
)
def test_a_right_answer_passes_and_says_so(examine, right, capsys):
    examine(right)
    assert capsys.readouterr().out.startswith(examine.__name__)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda t, h, n: 4 * t * h * n, "a key and a value"),
        (lambda t, h, n: 2 * t * h * n, "four bytes"),
        (lambda t, h, n: 8 * t * h, "a cache of its own"),
        (lambda t, h, n: 8 * t * t * h * n, "the square is that of the arithmetic"),
        (lambda t, h, n: 8 * t * h * n + 4, "expected"),
    ],
)
def test_cache_bytes_names_the_mistake(wrong, words):
    with pytest.raises(AssertionError, match=words):
        check.cache_bytes(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda bits, values: 2**bits // values, r"num_values \*\* N cases"),
        (lambda bits, values: math.ceil(bits / math.log2(values)), "rounded up"),
        (lambda bits, values: bits, "takes log2"),
        (lambda bits, values: math.floor(bits / math.log(values)), "to the base 2"),
        (lambda bits, values: 5, "expected"),
    ],
)
def test_most_pairs_names_the_mistake(wrong, words):
    with pytest.raises(AssertionError, match=words):
        check.most_pairs(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda digits, m: turn(digits, m).conj(), "the other way round"),
        (lambda digits, m: 0.99 * turn(digits, m), "fades or explodes"),
        (lambda digits, m: torch.exp(1j * digits), "not by 1 radian"),
        (lambda digits, m: torch.exp(1j * math.pi * digits / m), "2 π, not π"),
        (lambda digits, m: torch.ones_like(digits) + 0j, "is not at the angle"),
        (lambda digits, m: turn(digits.cumsum(1), m), "is not at the angle"),
        (lambda digits, m: turn(digits, m)[:, :1], "one a for each digit"),
    ],
)
def test_turns_names_the_mistake(wrong, words):
    with pytest.raises(AssertionError, match=words):
        check.turns(wrong)


@pytest.mark.parametrize("job", check.JOBS)
def test_a_wrong_choice_is_answered_with_the_reason(job):
    right, reason = check.JOBS[job]
    for other in {right for right, _ in check.JOBS.values()} - {right}:
        with pytest.raises(AssertionError, match=reason[:30]):
            check.first_choice({**CHOICE, job: other})
    with pytest.raises(AssertionError, match="unknown 'a bigger one'; known: attention"):
        check.first_choice({**CHOICE, job: "a bigger one"})
    with pytest.raises(AssertionError, match="nothing is chosen"):
        check.first_choice({name: right for name, right in CHOICE.items() if name != job})
