"""Leakage and buckets: fair comparisons, and the promised numbers in their records."""

from __future__ import annotations

import pytest
import torch

from experiments import buckets, leakage
from rnnbook.batches import pad_sequences
from rnnbook.datasets import load
from rnnbook.results import load_results


def test_a_packed_reader_gives_the_numbers_of_a_padded_one():
    readers = [buckets.Reader(9, packed=packed) for packed in (False, True)]
    readers[1].load_state_dict(readers[0].state_dict())
    batch = pad_sequences([torch.tensor([3, 1, 4]), torch.tensor([1, 5, 8, 2, 6]), torch.tensor([7])])
    logits = [reader(*batch) for reader in readers]
    assert torch.allclose(*logits, atol=1e-6)
    for reader, out in zip(readers, logits, strict=True):
        out.square().sum().backward()
        assert reader.rnn.weight_hh_l0.grad.abs().sum() > 0
    gradients = [reader.rnn.weight_hh_l0.grad for reader in readers]
    assert torch.allclose(*gradients, atol=1e-6)


def test_the_random_split_takes_each_text_once_and_depends_on_the_seed():
    data = load("film_sentences").train.take(range(50))
    sides = leakage.random_split(data, 0)
    assert sorted(sides[0].texts + sides[1].texts) == sorted(data.texts)
    assert [len(side) for side in sides] == [40, 10]
    assert leakage.random_split(data, 1)[1].texts != sides[1].texts


def test_the_record_of_the_leak_shows_it_with_every_seed():
    reported, seen, unseen, true = load_results("leakage")
    assert [row.model for row in (reported, seen, unseen, true)] == list(leakage.ROWS)
    assert len(reported.seeds) == 5
    assert reported.mean == pytest.approx(0.93, abs=0.01)
    assert true.mean == pytest.approx(0.85, abs=0.01)
    for values in zip(reported.values, seen.values, unseen.values, true.values, strict=True):
        assert values[1] > values[0] > values[2]
        assert values[0] > values[3] + 0.06


def test_the_record_of_the_buckets_shows_what_they_save():
    rows = load_results("buckets")
    saved = {row.model: row for row in rows if row.metric == "time_ratio" and row.mean != 1}
    assert set(saved) == set(buckets.WAYS) - {"random batches"}
    assert all(len(row.values) >= 5 for row in rows)
    assert max(saved["batches of like length"].values) < 0.5
