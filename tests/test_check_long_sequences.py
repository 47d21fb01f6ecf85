"""The checks of the chapter on long sequences: right answers pass, each usual mistake is called by its name."""

from __future__ import annotations

import math

import pytest
import torch

from rnnbook import check_optimization as check


def join(a_1, b_1, a_2, b_2):
    return a_1 + a_2, torch.maximum(a_2 + b_1, b_2)


def best(compute, size, bandwidth, latency):
    return math.sqrt((compute - 2 * size / bandwidth) / (2 * latency))


def chunked(hand=lambda own, kept, before: own + kept * before, late=0):
    """Read chunks side by side, then hand states on from chunk to chunk; ``late`` hands on the wrong one."""

    def scan(a, b, k):
        B, T, H = a.shape
        a, b = (x.reshape(B, T // k, k, H) for x in (a, b))
        own = [b[:, :, 0]]
        for t in range(1, k):
            own.append(a[:, :, t] * own[-1] + b[:, :, t])
        own, kept = torch.stack(own, 2), a.cumprod(2)  # (B, chunks, k, H)
        states = [torch.zeros(B, H, dtype=a.dtype)]
        for c in range(T // k):
            states.append(own[:, c, -1] + kept[:, c, -1] * states[-1])
        before = torch.stack(states[late : late + T // k], 1)[:, :, None]
        return hand(own, kept, before).reshape(B, T, H)

    return scan


def of_first_pass(own, kept, _):
    ends = torch.cat([torch.zeros_like(own[:, :1, -1]), own[:, :-1, -1]], 1)
    return own + kept * ends[:, :, None]


def test_right_answers_pass(capsys):
    check.checkpointed(lambda T, k: -(-T // k) + k)
    check.joined(join)
    check.rank_weights(lambda counts: len(counts) * counts / counts.sum())
    check.most_processes(best)
    check.chunked(chunked())
    assert capsys.readouterr().out.count("right") == 5


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (lambda T, k: math.ceil(T / k), "made anew is kept as well"),
        (lambda T, k: k, "states at the seams are kept all the time"),
        (lambda T, k: T, "without checkpoints"),
        (lambda T, k: T // k + k, "may be shorter"),
        (lambda T, k: math.ceil(T / k) + T, "one segment at a time"),
        (lambda T, k: 7, "expected"),
    ],
)
def test_checkpointed_names_the_mistake(count, words):
    with pytest.raises(AssertionError, match=words):
        check.checkpointed(count)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda a, b, c, d: join(c, d, a, b), "step 1 comes first"),
        (lambda a, b, c, d: (a * c, c * b + d), "h → a h"),
        (lambda a, b, c, d: (a + c, torch.maximum(b, d)), "goes through step 2"),
        (lambda a, b, c, d: (torch.maximum(a, c), torch.maximum(c + b, d)), "both are added"),
        (lambda a, b, c, d: (a, b), "expected"),
    ],
)
def test_joined_names_the_mistake(wrong, words):
    with pytest.raises(AssertionError, match=words):
        check.joined(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda n: torch.ones(len(n)), "same weight"),
        (lambda n: n / n.sum(), "once more"),
        (lambda n: n.double(), "a sum over targets"),
        (lambda n: 0.5 * n, "expected"),
    ],
)
def test_rank_weights_names_the_mistake(wrong, words):
    with pytest.raises(AssertionError, match=words):
        check.rank_weights(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda c, s, b, l: math.sqrt(c / (2 * l)), "a part falls with R"),
        (lambda c, s, b, l: math.sqrt((c - 2 * s / b) / l), "not R - 1"),
        (lambda c, s, b, l: math.sqrt((c + 2 * s / b) / (2 * l)), "its sign"),
        (lambda c, s, b, l: (c - 2 * s / b) / (2 * l), "R squared"),
        (lambda c, s, b, l: 8.0, "expected"),
    ],
)
def test_most_processes_names_the_mistake(wrong, words):
    with pytest.raises(AssertionError, match=words):
        check.most_processes(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (chunked(lambda own, kept, before: own), "begins at zero"),
        (chunked(lambda own, kept, before: own + before), "every a of the chunk"),
        (chunked(of_first_pass), "holds what it was handed"),
        (chunked(late=1), "the one before, not of its own"),
        (lambda a, b, k: b, "expected"),
    ],
)
def test_chunked_names_the_mistake(wrong, words):
    with pytest.raises(AssertionError, match=words):
        check.chunked(wrong)
