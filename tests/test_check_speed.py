"""The checks of the chapter on speed: right answers pass, each usual mistake is named."""

from __future__ import annotations

import math

import pytest
import torch

from rnnbook import check_optimization as check
from rnnbook.batches import pad_sequences

OWN = [0.0, 5, 25, 10, 15, 30, 15]


def smallest(flop, read, size):
    return math.ceil(flop * size / (2 * read))


def nearest(times, p):
    return sorted(times)[math.ceil(p * len(times) / 100) - 1]


def effect(table, axis):
    line = table.movedim(axis, 0).flatten(1).mean(dim=1)
    return line.var(correction=0) / table.var(correction=0)


def same(model, exported, rows=((5, 2), (9, 1, 9), (3,))):
    for lengths in rows:
        batch = pad_sequences([torch.arange(1, n + 1) for n in lengths])
        if not torch.allclose(model(*batch), exported(*batch), atol=1e-5):
            return False
    return True


def one_text(model, exported):
    tokens, lengths = torch.tensor([[4, 7, 9, 0, 0]]), torch.tensor([2])
    return torch.allclose(model(tokens, lengths), exported(tokens, lengths), atol=1e-5)


def test_right_answers_pass(capsys):
    check.self_times(torch.tensor(OWN))
    check.smallest_batch(smallest)
    check.percentile(nearest)
    check.main_effect(effect)
    check.export_test(same)
    assert capsys.readouterr().out.count("right") == 5


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ([100.0, 40, 25, 10, 45, 30, 15], "these are the total times"),
        ([-65.0, 5, 25, 10, 15, 30, 15], "take away its own three parts alone"),
        ([5.0, 5, 25, 10, 15, 30, 15], "expected 0"),
    ],
)
def test_self_times_names_the_mistake(own, message):
    with pytest.raises(AssertionError, match=message):
        check.self_times(torch.tensor(own))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda flop, read, size: math.floor(flop * size / (2 * read)), "rounded down"),
        (lambda flop, read, size: math.ceil(flop * size / read), "two FLOP a row"),
        (lambda flop, read, size: math.ceil(flop / (2 * read)), "bytes of a weight are missing"),
        (lambda flop, read, size: math.ceil(read * size / (2 * flop)), "two speeds are exchanged"),
        (lambda flop, read, size: smallest(flop, read, size) + 1, "expected 7"),
    ],
)
def test_smallest_batch_names_the_mistake(wrong, message):
    with pytest.raises(AssertionError, match=message):
        check.smallest_batch(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda times, p: times[math.ceil(p * len(times) / 100) - 1], "not sorted"),
        (lambda times, p: sorted(times)[math.ceil(p * len(times) / 100) % len(times)], "counts from 0"),
        (lambda times, p: nearest([-t for t in times], p) * -1, "slowest come first"),
        (lambda times, _: sum(times) / len(times), "that is the mean"),
        (lambda times, p: sorted(times)[max(p * len(times) // 100 - 1, 0)], "rounded down"),
    ],
)
def test_percentile_names_the_mistake(wrong, message):
    with pytest.raises(AssertionError, match=message):
        check.percentile(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda t, k: t.mean(dim=k).var(correction=0) / t.var(correction=0), "not over this one"),
        (lambda t, k: effect(t, k) * t.var(correction=0), "no share yet"),
        (lambda t, k: effect(t, k).sqrt(), "where variances were asked"),
        (lambda t, k: t.movedim(k, 0).flatten(1).mean(dim=1).var() / t.var(), "not by one less"),
    ],
)
def test_main_effect_names_the_mistake(wrong, message):
    with pytest.raises(AssertionError, match=message):
        check.main_effect(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda model, exported: same(model, exported, rows=((3, 3),)),
            "divides by the length of its example",
        ),
        (lambda model, exported: same(model, exported, rows=((5, 5), (2,))), "reads the padding"),
        (lambda model, exported: one_text(model, exported), "length of row 0"),
        (lambda *_: True, "lets through"),
        (lambda *_: False, "allow 1e-5"),
    ],
)
def test_export_test_names_what_it_lets_through(wrong, message):
    with pytest.raises(AssertionError, match=message):
        check.export_test(wrong)


def test_a_test_of_the_classes_alone_lets_faults_through():
    def answers(model, exported):
        batch = pad_sequences([torch.arange(1, n + 1) for n in (5, 2)])
        return torch.equal(model(*batch).argmax(dim=1), exported(*batch).argmax(dim=1))

    with pytest.raises(AssertionError, match="lets through an export that divides"):
        check.export_test(answers)


def test_a_number_is_needed():
    with pytest.raises(AssertionError, match="expected a tensor"):
        check.self_times(OWN)
