"""Checks of the exercises on practice: text to tensors, training, evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from scipy.stats import binom
from torch import Tensor

from rnnbook.check import answer


def all_right(low: float) -> None:
    """Check the lower end of the 95 % Wilson interval for 20 right answers of 20, to three decimals."""
    z, n = 1.959964, 20
    mistakes = {
        "the normal approximation: its width is zero when all are right": 1.0,
        "z stands where its square belongs": n / (n + z),
        "that is the centre of the interval, not its lower end": (n + z * z / 2) / (n + z * z),
        "that is the upper end, for none right": z * z / (n + z * z),
        "that is for 90 %: z is 1.96": n / (n + 1.644854**2),
    }
    _number("all_right", low, n / (n + z * z), mistakes, atol=1e-3)
    print("all_right: right, to three decimals")  # noqa: T201 (a check answers its reader)


def items_needed(needed: Callable[[float, float], int]) -> None:
    """Check ``needed(p, half_width) -> whole n`` by the normal approximation, rounded up."""
    for p, half in ((0.8, 0.02), (0.9, 0.03), (0.6, 0.05)):
        z, spread = 1.959964, p * (1 - p)
        exact = z * z * spread / half**2
        mistakes = {
            "rounded down: the interval is a little too wide": math.floor(exact),
            "z is missing: that is one standard error": math.ceil(spread / half**2),
            "that is for the worst p, one half": math.ceil(z * z / 4 / half**2),
            "half_width is one half of the interval, not all of it": math.ceil(4 * exact),
            "z / half_width has to be squared": math.ceil(z * spread / half),
        }
        _number(f"items_needed({p}, {half})", needed(p, half), math.ceil(exact), mistakes, atol=0.5)
    print("items_needed: right, for 3 pairs")  # noqa: T201 (a check answers its reader)


def mcnemar(test: Callable[[int, int, int, int], float]) -> None:
    """Check ``test(both, only_a, only_b, neither) -> p``, exact and two-sided."""
    for both, only_a, only_b, neither in ((70, 2, 9, 19), (40, 8, 3, 9), (30, 5, 5, 10)):

        def tail(k: int, n: int) -> float:
            return float(binom.cdf(k, n, 0.5))

        n, less, ties = only_a + only_b, min(only_a, only_b), (both + neither) // 2
        mistakes = {
            "one-sided: the other model might have won as well": tail(less, n),
            "texts that both get right or wrong are no coin tosses": min(
                1.0, 2 * tail(ties + less, 2 * ties + n)
            ),
            "the texts right for both cancel": min(1.0, 2 * tail(both + less, 2 * both + n)),
            "a probability above 1: the middle is counted twice": 2 * tail(less, n),
            "so uneven *or more so*": min(1.0, 2 * float(binom.pmf(less, n, 0.5))),
        }
        got = test(both, only_a, only_b, neither)
        _number(f"mcnemar{both, only_a, only_b, neither}", got, min(1.0, 2 * tail(less, n)), mistakes)
    print("mcnemar: right, for 3 tables")  # noqa: T201 (a check answers its reader)


def ragged_perplexity(perplexity: Callable[[Tensor, Tensor], Tensor | float]) -> None:
    """Check ``perplexity(losses (M,), counts (M,))``: mean nats and number of tokens of each batch."""
    generator = torch.Generator().manual_seed(0)
    losses = 1 + torch.rand(5, generator=generator, dtype=torch.double)
    counts = torch.randint(1, 9, (5,), generator=generator)
    total = (losses * counts).sum()
    mistakes = {
        "the mean of exponentials: add nats first, then exp": losses.exp().mean().item(),
        "the mean of the batches' means: a small batch weighs too much": losses.mean().exp().item(),
        "exponentials weighed by tokens: add nats first, then exp": (
            (losses.exp() * counts).sum() / counts.sum()
        ).item(),
        "nats a batch, not nats a token": (total / len(counts)).exp().item(),
        "that is the loss in nats: exp is missing": (total / counts.sum()).item(),
    }
    right = (total / counts.sum()).exp().item()
    _number("ragged_perplexity", perplexity(losses, counts), right, mistakes)
    print("ragged_perplexity: right")  # noqa: T201 (a check answers its reader)


def _number(name: str, got: Any, right: float, mistakes: Mapping[str, float], atol: float = 1e-6) -> None:
    """Compare one number, and leave out a mistake that gives the right one here."""
    double = partial(torch.as_tensor, dtype=torch.double)
    seen = {text: double(wrong) for text, wrong in mistakes.items() if abs(wrong - right) > atol}
    answer(name, double(got), double(right), seen, atol=atol)


def padding_shares(as_they_come: float, by_length: float) -> None:
    """Check the shares of padding of texts of 2, 9, 3, 10, 4 and 8 tokens in batches of two."""
    mistakes = {
        "that is the share of tokens; padding is the rest": (2 / 3, 6 / 7),
        "that is padding for each token, not for each place of the rectangles": (1 / 2, 1 / 6),
        "a mean of the shares of the batches: count places over all batches": (0.329630, 0.155556),
        "each batch is as wide as its own longest text, not as the longest of all": (0.4, 0.4),
        "the two are exchanged": (1 / 7, 1 / 3),
    }
    wrong = {name: torch.tensor(pair) for name, pair in mistakes.items()}
    got = torch.tensor([as_they_come, by_length])
    answer("padding_shares", got, torch.tensor([1 / 3, 1 / 7]), wrong, atol=2e-3)
    print("padding_shares: right")  # noqa: T201 (a check answers its reader)


def masked_mean(mean: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check ``mean(outputs (B, T, H), lengths (B,)) -> (B, H)``: over real steps, whatever stands in the padding."""
    outputs = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    lengths = torch.tensor([6, 1, 4, 2])
    real = (torch.arange(6) < lengths[:, None]).unsqueeze(-1)
    right = outputs.masked_fill(~real, 0).sum(dim=1) / lengths[:, None]
    mistakes = {
        "the padding is in the sum": outputs.sum(dim=1) / lengths[:, None],
        "divided by T instead of the length of the row": outputs.masked_fill(~real, 0).mean(dim=1),
        "a plain mean, which reads the padding": outputs.mean(dim=1),
        "that is the sum over the real steps": outputs.masked_fill(~real, 0).sum(dim=1),
        "the last real step is missing": (right * lengths[:, None] - outputs[torch.arange(4), lengths - 1])
        / (lengths[:, None] - 1).clamp(min=1),
    }
    answer("masked_mean", mean(outputs.clone(), lengths), right, mistakes, atol=1e-9)
    got = mean(outputs.masked_fill(~real, torch.nan), lengths)
    if got.isnan().any():
        raise AssertionError("masked_mean: NaN in the padding comes through (0 * NaN is NaN): fill instead")
    answer("masked_mean, with NaN in the padding", got, right, mistakes, atol=1e-9)
    print("masked_mean: right, with NaN in the padding too")  # noqa: T201 (a check answers its reader)


def leaked(find: Callable[[list[str], list[str]], list[int]]) -> None:
    """Check ``find(train_texts, test_texts) -> positions`` of test texts that stand in training, in disguise or not."""
    train = ["A fine film.", "Dull.", "很好！", "Not for me", "It was\u200b long"]
    test = ["dull.", "A fine film", "It was long", "Not  for me", "很好!", "Dull.", "A film.", "Ｎot for me"]
    got = sorted(int(i) for i in find([*train], [*test]))
    mistakes = {
        "only texts that are equal to the letter": [5],
        "case alone is not enough: normalize has more to say": [0, 5],
        "white space still counts: two blanks hide a copy": [0, 2, 4, 5, 7],
        "width is one form now, but invisible characters and blanks hide a copy": [0, 4, 5, 7],
        "those are positions among the training texts": [1, 2, 3, 4],
        "those are the texts that are *not* in training": [1, 6],
    }
    right = [0, 2, 3, 4, 5, 7]
    for sentence, wrong in mistakes.items():
        if got == wrong:
            raise AssertionError(f"leaked: {sentence}")
    if got != right:
        missed, extra = sorted({*right} - {*got}), sorted({*got} - {*right})
        raise AssertionError(f"leaked: missed {missed}, wrongly accused {extra}")
    print("leaked: right: 6 of the 8 test texts are copies, all found")  # noqa: T201 (a check answers its reader)


def vocabulary_size(size: Callable[[Counter[str], float], int]) -> None:
    """Check ``size(counts, share) -> V``: fewest tokens, special ones included, that cover this share of a text."""
    for seed, share in ((0, 0.95), (1, 0.5), (2, 0.8)):
        draws = torch.rand(400, generator=torch.Generator().manual_seed(seed)).pow(3).mul(40).long().tolist()
        counts = Counter(f"word{i}" for i in sorted(draws, reverse=True))  # the rare ones first
        need, falling = share * counts.total(), sorted(counts.values(), reverse=True)
        kept = next(k for k in range(len(falling) + 1) if sum(falling[:k]) >= need)
        first = next(k for k in range(len(falling) + 1) if sum([*counts.values()][:k]) >= need)
        mistakes = {
            "<pad> and <unk> count as well": kept,
            "one too few: it covers less than the share": kept + 1,
            "one too many": kept + 3,
            "that share of the *different* words, not of all tokens": math.ceil(share * len(counts)) + 2,
            "the words are not in the order of their frequency": first + 2,
        }
        wrong = {name: torch.tensor(number) for name, number in mistakes.items()}
        answer("vocabulary_size", torch.as_tensor(size(counts, share)), torch.tensor(kept + 2), wrong)
    print("vocabulary_size: right")  # noqa: T201 (a check answers its reader)


def untrained(loss: float, perplexity: float) -> None:
    """Check loss in nats and perplexity of a model that knows nothing about 50 classes."""
    for name, got, right, mistakes in (
        (
            "loss",
            loss,
            math.log(50),
            {
                "that is in bits: nats use the natural logarithm": math.log2(50),
                "that is the logarithm to base 10": math.log10(50),
                "that is the probability of a class; the loss is minus its logarithm": 1 / 50,
                "a loss is not negative: the minus sign is missing": -math.log(50),
                "that is ln 2, for two classes": math.log(2),
            },
        ),
        (
            "perplexity",
            perplexity,
            50.0,
            {
                "that is 2 to the loss, but the loss is in nats": 2 ** math.log(50),
                "that is the loss: take exp of it": math.log(50),
            },
        ),
    ):
        _number(name, got, right, mistakes, atol=0.005 * right)
    print("untrained: right")  # noqa: T201 (a check answers its reader)


def choose_rate(choose: Callable[[list[float], list[float]], float]) -> None:
    """Check ``choose(rates, losses) -> rate``: mean of 5, then the middle of its steepest fall."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        u = torch.linspace(-5, 0, 101, dtype=torch.double)  # log10 of the rate
        place = -2.6 + 0.2 * seed
        losses = 0.7 - 0.5 * torch.sigmoid(6 * (u - place)) + torch.relu(u + 1.2) ** 2
        losses = losses + 0.03 * torch.randn(101, generator=generator, dtype=torch.double)
        smooth = losses.unfold(0, 5, 1).mean(dim=1)  # of the places 2 to 98
        rates = 10**u
        mistakes = {
            "that is where the loss is lowest: the edge, and far too high": 10 ** u[2:-2][smooth.argmin()],
            "that is the lowest single loss: the edge, and noise": rates[losses.argmin()],
            "the steepest pair of neighbours is noise: take the mean of 5 first": rates[
                losses.diff().argmin()
            ],
            "that is where the loss *rises* fastest": 10 ** u[2:-2][smooth.diff().argmax()],
            "slope by the rate instead of by its logarithm": 10
            ** u[2:-2][(smooth.diff() / rates[2:-2].diff()).argmin()],
            "the index is given, not the rate": smooth.diff().argmin(),
        }
        got = choose(rates.tolist(), losses.tolist())
        best = float(rates[2:-2][smooth.diff().argmin()])
        if not best / 1.3 <= got <= best * 1.3:
            for sentence, wrong in mistakes.items():
                if abs(got - float(wrong)) <= 0.02 * abs(float(wrong)):
                    raise AssertionError(f"choose_rate: {sentence}")
            raise AssertionError(f"choose_rate: expected a rate near {best:.1e}, got {got:.1e}")
    print("choose_rate: right, for 3 range tests")  # noqa: T201 (a check answers its reader)


def one_equals_many(test: Callable[[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor], bool]) -> None:
    """Check ``test(model, tokens (B, T), lengths (B,)) -> bool`` on one good model and four faulty ones."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(9, 3, generator=generator)
    lengths = torch.tensor([6, 2, 5, 3])
    tokens = torch.randint(1, 9, (4, 6), generator=generator) * (torch.arange(6) < lengths[:, None])
    rows = torch.arange(4)

    def good(t: Tensor, n: Tensor) -> Tensor:
        noise = 1e-8 * len(t)  # sums are taken in another order
        return table[t].cumsum(dim=1)[rows[: len(t)], n - 1] + noise

    faulty: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "reads the padding: cut each row to its length": lambda t, _: table[t].sum(dim=1),
        "subtracts the mean of the batch": lambda t, n: good(t, n) - good(t, n).mean(dim=0),
        "gives the last row to the others: compare all rows": lambda t, n: good(t, n).roll(1, 0).cumsum(0),
        "is wrong in row 3 alone: compare all rows": lambda t, n: (
            good(t, n) + (torch.arange(len(t)) > 2)[:, None]
        ),
    }
    if not test(good, tokens, lengths):
        raise AssertionError("one_equals_many: refuses a right model: allow 1e-5, sums differ in their order")
    for what, model in faulty.items():
        if test(model, tokens, lengths):
            raise AssertionError(f"one_equals_many: passes a model that {what}")
    print("one_equals_many: right, 1 good model passed and 4 faulty ones found")  # noqa: T201
