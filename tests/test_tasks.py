"""Toy tasks: the answer is the one that a loop over the examples gives, and chance enters by the generator."""

from __future__ import annotations

import pytest
import torch

from rnnbook.tasks import adding_problem, latch_task, order_task, parity_task

ALL = [order_task, adding_problem, parity_task, latch_task]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", ALL)
def test_the_generator_alone_decides(task):
    torch.manual_seed(0)
    x, y = task(20, 10, generator=seeded(1))
    torch.manual_seed(1)
    again_x, again_y = task(20, 10, generator=seeded(1))
    other_x, _ = task(20, 10, generator=seeded(2))
    assert torch.equal(x, again_x)
    assert torch.equal(y, again_y)
    assert not torch.equal(x, other_x)


def test_order():
    tokens, labels = order_task(500, 12, generator=seeded())
    assert tokens.shape == (500, 12)
    assert labels.dtype == torch.int64
    for row, label in zip(tokens.tolist(), labels.tolist(), strict=True):
        assert row.count(10) == row.count(11) == 1
        assert max(t for t in row if t < 10) <= 9
        assert label == (row.index(10) < row.index(11))
    assert 0.4 < labels.float().mean() < 0.6


@pytest.mark.parametrize("seq_len", [2, 7, 10])
def test_adding(seq_len):
    x, targets = adding_problem(1000, seq_len, generator=seeded())
    assert x.shape == (1000, seq_len, 2)
    assert targets.shape == (1000, 1)
    marks = x[..., 1]
    half = seq_len // 2
    assert (marks[:, :half].sum(dim=1) == 1).all()
    assert (marks[:, half:].sum(dim=1) == 1).all()
    assert set(marks.unique().tolist()) <= {0, 1}
    for row, target in zip(x.tolist(), targets[:, 0].tolist(), strict=True):
        assert sum(n for n, mark in row if mark == 1) == pytest.approx(target)
    assert marks.sum(dim=0).min() > 0  # every place is marked at some time


def test_who_answers_one_in_the_adding_problem_has_an_error_of_a_sixth():
    _, targets = adding_problem(100_000, 10, generator=seeded())
    assert (targets - 1).square().mean().item() == pytest.approx(1 / 6, rel=0.02)


def test_parity():
    bits, labels = parity_task(50, 9, generator=seeded())
    for row, answers in zip(bits.tolist(), labels.tolist(), strict=True):
        assert answers == [sum(row[: t + 1]) % 2 for t in range(9)]


def test_latch():
    x, labels = latch_task(2000, 30, generator=seeded())
    assert x.shape == (2000, 30, 1)
    assert x[:, 0, 0].unique().tolist() == [-1, 1]
    assert torch.equal(x[:, 0, 0] > 0, labels.bool())
    noise = x[:, 1:]
    assert noise.std().item() == pytest.approx(0.5, rel=0.02)
    signs = 2.0 * labels - 1
    assert abs((noise.mean(dim=(1, 2)) * signs).mean()) < 0.01  # the noise knows nothing of the label


@pytest.mark.parametrize("task", ALL)
@pytest.mark.parametrize(("count", "seq_len"), [(0, 5), (3, 0), (-1, 5)])
def test_no_examples_and_no_time_steps(task, count, seq_len):
    with pytest.raises(ValueError, match=f"got {count} of {seq_len}"):
        task(count, seq_len, generator=seeded())
