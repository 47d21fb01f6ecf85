"""Checks of the exercises of the last chapter: the cache, what a state can hold, turning, and the choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rnnbook.check import answer


def cache_bytes(count: Callable[[int, int, int], int]) -> None:
    """Check ``count(tokens, hidden_size, num_layers) -> bytes`` of keys and values in float32."""
    for tokens, size, layers in ((1, 8, 1), (100, 16, 3), (4096, 244, 2)):
        right = 4 * 2 * tokens * size * layers
        mistakes = {
            "a key and a value: two vectors for each token": right // 2,
            "a float32 has four bytes": right // 4,
            "every layer has a cache of its own": right // layers,
            "each token is kept once: the square is that of the arithmetic": right * tokens,
        }
        wrong = {text: torch.tensor(value) for text, value in mistakes.items() if value != right}
        got = torch.as_tensor(count(tokens, size, layers))
        answer(f"{tokens} tokens, H={size}, L={layers}: bytes", got, torch.tensor(right), wrong, atol=0.5)
    print("cache_bytes: right, for 3 models")  # noqa: T201 (a check answers its reader)


def most_pairs(most: Callable[[int, int], int]) -> None:
    """Check ``most(bits, num_values) -> N``: the most values that a state of so many bits can tell apart."""
    for bits, values in ((8, 2), (16, 4), (100, 8), (31, 10), (7, 3)):
        exact = bits / math.log2(values)
        right = max(n for n in range(bits + 1) if values**n <= 2**bits)
        mistakes = {
            "N values make num_values ** N cases, not num_values * N": float(2**bits // values),
            "that is rounded up: not all cases have a state of their own": math.ceil(exact),
            "a value of num_values kinds takes log2(num_values) bits, not one": bits,
            "the logarithm is to the base 2, as bits are": math.floor(bits / math.log(values)),
        }
        wrong = {text: torch.tensor(value).double() for text, value in mistakes.items() if value != right}
        got = torch.as_tensor(most(bits, values)).double()
        answer(f"{bits} bits, {values} values: N", got, torch.tensor(right).double(), wrong, atol=1e-9)
    print("most_pairs: right, for 5 states")  # noqa: T201 (a check answers its reader)


def turns(turn: Callable[[Tensor, int], Tensor]) -> None:
    """Check ``turn(digits (B, T), m) -> a (B, T)``, complex: the product of all a tells the sum modulo m."""
    generator = torch.Generator().manual_seed(0)
    for m in (2, 3, 5):
        digits = torch.randint(m, (4, 60), generator=generator)
        sums = digits.cumsum(dim=1) % m
        got = turn(digits.clone(), m)
        if got.shape != digits.shape:
            raise AssertionError(
                f"turn, m={m}: expected one a for each digit, {tuple(digits.shape)}, got {tuple(got.shape)}"
            )
        state = got.to(torch.complex128).cumprod(dim=1)
        circle = torch.exp(2j * torch.pi * torch.arange(m).double() / m)
        if (got.abs() - 1).abs().max() > 1e-5:
            raise AssertionError(
                f"turn, m={m}: |a| is not 1, so after many steps the state fades or explodes"
            )
        if torch.allclose(state, circle[sums].conj(), atol=1e-3) and m > 2:
            raise AssertionError(f"turn, m={m}: it turns the other way round: the angle grows with the digit")
        if torch.allclose(state, torch.exp(1j * digits.cumsum(dim=1).double()), atol=1e-3):
            raise AssertionError(f"turn, m={m}: a digit of 1 turns by one m-th of a circle, not by 1 radian")
        if torch.allclose(state, torch.exp(1j * torch.pi * digits.cumsum(dim=1).double() / m), atol=1e-3):
            raise AssertionError(f"turn, m={m}: a whole circle is 2 π, not π")
        if not torch.allclose(state, circle[sums], atol=1e-3):
            raise AssertionError(f"turn, m={m}: the product of all a is not at the angle 2 π (sum mod m) / m")
    print("turns: right, for m = 2, 3 and 5")  # noqa: T201 (a check answers its reader)


JOBS: Mapping[str, tuple[str, str]] = {
    "praise or blame in a sentence, by tomorrow": (
        "count words",
        "counting words and pairs beat all six networks of one size on film sentences",
    ),
    "a machine is on or off after any number of presses of one button": (
        "gated recurrence",
        "that is parity: only a recurrence whose state turns over was right at 16 times the length",
    ),
    "a known pattern of 50 samples in an endless signal": (
        "convolution",
        "a window of known width decides, and nothing before it has to be held",
    ),
    "questions about any of the last 4,000 words": (
        "attention",
        "any word may be asked for: of more pairs a fixed state recalled less, a cache all",
    ),
    "sequences of 16,384 steps to train on, whose meaning adds up or fades": (
        "linear recurrence",
        "at one width its scan took the least time there, and no state has to be turned over",
    ),
}


def first_choice(choice: Mapping[str, str]) -> None:
    """Check what to try first for each of ``JOBS``: what the chapter's own numbers speak for."""
    known = {right for right, _ in JOBS.values()}
    for job, (right, reason) in JOBS.items():
        got = choice.get(job)
        if got is None:
            raise AssertionError(f"first_choice: nothing is chosen for {job!r}")
        if got not in known:
            raise AssertionError(f"first_choice: unknown {got!r}; known: {', '.join(sorted(known))}")
        if got != right:
            raise AssertionError(f"first_choice: not {got!r} for {job!r}: {reason}")
    print("first_choice: as our numbers have it, all five")  # noqa: T201 (a check answers its reader)
