"""Toy tasks, made on the spot: each asks for one ability, and its answer is known.

All take a ``generator``, so the same seed gives the same examples. N examples, T time steps.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _check(num_examples: int, seq_len: int, shortest: int) -> None:
    if num_examples < 1 or seq_len < shortest:
        raise ValueError(
            f"expected at least 1 example of at least {shortest} time steps, got {num_examples} of {seq_len}"
        )


def order_task(num_examples: int, seq_len: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ask whether A comes before B: tokens (N, T) and labels (N,), both int64.

    Ten fillers, 0 … 9, and once each A = 10 and B = 11. Counts say nothing: a bag of words guesses.
    """
    _check(num_examples, seq_len, 2)
    tokens = torch.randint(10, (num_examples, seq_len), generator=generator)
    places = torch.rand((num_examples, seq_len), generator=generator).argsort(dim=1)[:, :2]
    tokens.scatter_(1, places, torch.tensor([10, 11]).expand(num_examples, 2))
    return tokens, (places[:, 0] < places[:, 1]).long()


def adding_problem(num_examples: int, seq_len: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add the two marked numbers (Hochreiter and Schmidhuber, 1997): inputs (N, T, 2), targets (N, 1).

    Feature 0 is uniform in [0, 1); feature 1 is one at two time steps, one in each half, and zero
    elsewhere. Who always answers 1, the mean, has a mean squared error of 1/6.
    """
    _check(num_examples, seq_len, 2)
    half = seq_len // 2
    numbers = torch.rand((num_examples, seq_len), generator=generator)
    first = torch.randint(half, (num_examples, 1), generator=generator)
    second = torch.randint(half, seq_len, (num_examples, 1), generator=generator)
    marks = torch.zeros(num_examples, seq_len).scatter_(1, torch.cat([first, second], dim=1), 1.0)
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=1, keepdim=True)


def parity_task(num_examples: int, seq_len: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ask whether the ones so far are odd in number: tokens 0 or 1, (N, T), and labels for each step, (N, T)."""
    _check(num_examples, seq_len, 1)
    bits = torch.randint(2, (num_examples, seq_len), generator=generator)
    return bits, bits.cumsum(dim=1) % 2


def latch_task(num_examples: int, seq_len: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Keep the first sign through noise (Bengio et al., 1994): inputs (N, T, 1) and labels (N,).

    Input 0 is -1 or 1, and the label, 0 or 1, is its sign; all later inputs are normal noise of standard
    deviation 0.5. The task asks for one bit, kept for T - 1 time steps, and for nothing else.
    """
    _check(num_examples, seq_len, 1)
    labels = torch.randint(2, (num_examples,), generator=generator)
    x = 0.5 * torch.randn((num_examples, seq_len), generator=generator)
    x[:, 0] = 2.0 * labels - 1.0
    return x.unsqueeze(-1), labels
