"""Checks of the introduction: counts of words, what pairs can tell, and ten questions on what is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import comb, isclose

import torch
from torch import Tensor

from rnnbook.check import answer


def bag_of_words(bag: Callable[[Tensor, int], Tensor]) -> None:
    """Check ``bag(tokens (N, T), vocab_size) -> (N, V)``: how often each token stands in each row."""
    for N, T, V in ((4, 6, 5), (1, 1, 3), (3, 9, 12)):
        generator = torch.Generator().manual_seed(N + T)
        tokens = torch.randint(V, (N, T), generator=generator)
        right = torch.zeros(N, V, dtype=torch.int64).scatter_add_(1, tokens, torch.ones_like(tokens))
        mistakes = {
            "a token that stands twice counts twice": right.clamp(max=1),
            "those are shares of the row, not counts": right / T,
            "each row has counts of its own; these are of the whole batch": right.sum(dim=0).expand(N, V),
            "token 0 counts as well": right.index_fill(1, torch.tensor([0]), 0),
        }
        answer(f"N={N}, T={T}, V={V}: counts", bag(tokens, V), right, mistakes)
    print("bag_of_words: right, for 3 batches")  # noqa: T201 (a check answers its reader)


def pairs_ceiling(ceiling: Callable[[int], float]) -> None:
    """Check ``ceiling(T) -> accuracy``: what a linear model of neighbouring pairs can reach on the order task.

    A and B stand at two of T places, all equally likely. The pairs say which comes first if both are
    neighbours, or if one of them begins or ends the row; else the model guesses. T is at least 4.
    """
    for T in (4, 10, 20, 100):
        places = comb(T, 2)
        open_places = comb(T - 2, 2) - (T - 3)
        right = 1 - open_places / places / 2
        mistakes = {
            "neighbours are told, but so are rows that begin or end with A or B": 0.5 + (T - 1) / places / 2,
            "the ends tell, but so does a pair of neighbours": 1 - comb(T - 2, 2) / places / 2,
            "neighbours at an end were counted twice": 0.5 + (2 * T - 3 + T - 1) / places / 2,
            "that is the share that is known: half of the rest is guessed right": 1 - open_places / places,
            "that is the share that is not known": open_places / places,
        }
        wrong = {text: torch.tensor(number).double() for text, number in mistakes.items() if number != right}
        got = torch.as_tensor(ceiling(T)).double()
        answer(f"T={T}: accuracy", got, torch.tensor(right).double(), wrong, atol=1e-6)
    print("pairs_ceiling: right, for 4 lengths")  # noqa: T201 (a check answers its reader)


@dataclass(frozen=True)
class _Item:
    """One question: its answer, the chapter that teaches it, and what a wrong answer says."""

    right: object
    read: str
    mistakes: Mapping[object, str] = field(default_factory=dict)


_RECURRENCE, _BPTT = "What is a recurrent network, exactly?", "How does the gradient travel?"
_TRAINING, _EVALUATION = (
    "How do I notice that training goes wrong?",
    "Is my model better, and how sure can I be?",
)
_ITEMS = {
    1: _Item((4, 3), _RECURRENCE, {(4, 1, 3): "an index takes its axis away", (7, 3): "-1 is a time step"}),
    2: _Item((4, 7, 5), _RECURRENCE, {(4, 5): "a product acts on the last axis and leaves the others"}),
    3: _Item(
        20, "How does one step become nn.LSTM?", {15: "the biases count too", 8: "a weight for each pair"}
    ),
    4: _Item(24, _BPTT, {12: "times the inner derivative, 2", 8: "that is the value itself"}),
    5: _Item(
        "c", "Why is it hard to remember?", {"a": "a hundred factors below 1", "b": "it is far smaller"}
    ),
    6: _Item(0.69, _TRAINING, {0.5: "that is p; the loss is -ln p", 0.3: "with the natural logarithm"}),
    7: _Item(6, _TRAINING, {3: "gradients add up until they are set to zero"}),
    8: _Item("b", _EVALUATION, {"a": "right on what it has seen, a guess on the rest"}),
    9: _Item(
        "b", _EVALUATION, {"a": "on these it always looks good", "c": "then nothing is left to judge by"}
    ),
    10: _Item("c", _EVALUATION, {"a": "the ranges overlap", "b": "the best seed is luck"}),
}


def _same(got: object, right: object) -> bool:
    """Compare an answer with another one: tuples also as lists or shapes, numbers to two decimals."""
    if isinstance(got, str) and isinstance(right, str):
        return got.strip().lower() == right
    if isinstance(right, tuple):
        return isinstance(got, tuple | list) and tuple(got) == right
    if isinstance(right, int | float) and isinstance(got, int | float | Tensor):
        return isclose(float(got), right, abs_tol=0.006)
    return False


def self_check(answers: Mapping[int, object]) -> None:
    """Look through ``{number: answer}`` and say which chapter to read first where an answer is wrong or open.

    An answer is a shape, a number or a letter; ``None`` stands for an open one. Raises ``ValueError`` for
    a number that no question has.
    """
    if unknown := sorted(set(answers) - set(_ITEMS)):
        raise ValueError(f"expected questions 1 to {len(_ITEMS)}, got {unknown[0]}")
    lines, count = [], 0
    for number, item in _ITEMS.items():
        got = answers.get(number)
        if _same(got, item.right):
            count += 1
            continue
        reason = next((text for wrong, text in item.mistakes.items() if _same(got, wrong)), "not yet")
        lines.append(f"{number:2d}: {'open' if got is None else reason} → read first “{item.read}”")
    print("\n".join([f"{count} of {len(_ITEMS)} right", *lines]))  # noqa: T201 (a check answers its reader)
