"""The checks of the environment chapter: right answers pass, each known mistake is refused by its name."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from rnnbook import check_layers as check


def loader(data, generator=None, shuffle=True):
    return DataLoader(data, batch_size=8, shuffle=shuffle, generator=generator)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class SameEachPass:
    """A loader that seeds its generator anew for each pass."""

    def __init__(self, data, seed):
        self.data, self.seed = data, seed

    def __iter__(self):
        yield self.data[torch.randperm(len(self.data), generator=seeded(self.seed))]


class FixedFromThen:
    """A loader whose first pass follows the seed, and whose later passes follow nothing."""

    def __init__(self, data, seed):
        self.data, self.generator, self.passes = data, seeded(seed), 0

    def __iter__(self):
        if self.passes:
            self.generator.seed()
        self.passes += 1
        yield self.data[torch.randperm(len(self.data), generator=self.generator)]


def shared(data, seed):
    generator = seeded(seed)
    return loader(data, generator), loader(data, generator)


def from_global(data, seed):
    torch.manual_seed(seed)
    return loader(data), loader(data)


def test_the_counter_stops_at_two_to_the_24(capsys):
    check.counter_stops(2**24)
    check.counter_stops(16_777_216.0)
    assert capsys.readouterr().out.count("counter_stops: right") == 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2**23, "the leading one is not"),
        (2**31, "integer of 32 bits"),
        (2**32, "the sign"),
        (2**53, "float64"),
        (2**24 - 1, "still exact"),
        (2**24 + 1, "25 digits"),
        (1000, "expected 1.67772e"),
    ],
)
def test_a_wrong_place_is_refused_by_name(value, words):
    with pytest.raises(AssertionError, match=words):
        check.counter_stops(value)


def test_two_loaders_with_a_generator_each_pass_and_the_global_one_is_left_alone(capsys):
    state = torch.get_rng_state()
    check.two_loaders(lambda data, seed: (loader(data, seeded(seed)), loader(data, seeded(seed))))
    assert "two_loaders: right" in capsys.readouterr().out
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (shared, "share one generator"),
        (from_global, "global generator"),
        (lambda data, seed: (loader(data), loader(data)), "global generator"),
        (lambda data, seed: (loader(data, shuffle=False),) * 2, "not shuffled"),
        (lambda data, seed: (SameEachPass(data, seed), SameEachPass(data, seed)), "not seeded again"),
        (lambda data, seed: (loader(data, seeded(0)), loader(data, seeded(0))), "the seed changes nothing"),
        (lambda data, seed: (FixedFromThen(data, seed), FixedFromThen(data, seed)), "the second does not"),
        (lambda data, seed: (loader(data[:32], seeded(seed)),) * 2, "expected shape"),
    ],
)
def test_loaders_that_go_apart_are_refused_by_name(make, words):
    with pytest.raises(AssertionError, match=words):
        check.two_loaders(make)


def same_bits(a, b):
    return torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


def first_name(log, other, same=same_bits):
    return next((name for name in log if not same(log[name], other[name])), None)


def last_name(log, other):
    return next((name for name in reversed(log) if not same_bits(log[name], other[name])), None)


def test_the_first_difference_is_found(capsys):
    check.first_difference(first_name)
    assert "first_difference: right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("find", "words"),
    [
        (last_name, "the last difference"),
        (lambda a, b: first_name(a, b, lambda p, q: torch.allclose(p, q, equal_nan=True)), "no tolerance"),
        (lambda a, b: first_name(a, b, torch.equal), "NaN equals NaN"),
        (lambda a, b: "weights", "expected None, got 'weights'"),
    ],
)
def test_a_search_that_finds_another_place_is_refused_by_name(find, words):
    with pytest.raises(AssertionError, match=words):
        check.first_difference(find)
