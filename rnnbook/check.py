"""Checks that a reader runs on an exercise: each says what differs, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def close(name: str, actual: Tensor, expected: Tensor, *, atol: float = 1e-6) -> None:
    """Compare two tensors: the shape first, then the worst entry (``AssertionError`` says which)."""
    if not isinstance(actual, Tensor):
        raise AssertionError(f"{name}: expected a tensor, got {type(actual).__name__}")  # noqa: TRY004
    if actual.shape != expected.shape:
        raise AssertionError(f"{name}: expected shape {tuple(expected.shape)}, got {tuple(actual.shape)}")
    if not actual.numel():
        return
    difference = (actual.detach().double() - expected.detach().double()).abs()
    difference = difference.nan_to_num(nan=torch.inf)  # NaN is as far away as can be
    difference = difference.masked_fill(actual == expected, 0.0)  # two infinities may agree
    worst = int(difference.argmax())
    if difference.flatten()[worst] > atol:
        place = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), difference.shape))
        raise AssertionError(
            f"{name}{list(place)}: expected {expected.flatten()[worst].item():.6g}, "
            f"got {actual.flatten()[worst].item():.6g} (a difference of at most {atol:g} is allowed)"
        )


def answer(
    name: str, actual: Tensor, expected: Tensor, mistakes: Mapping[str, Tensor], *, atol: float = 1e-6
) -> None:
    """Compare an answer as :func:`close` does, but tell a known mistake by its name.

    ``mistakes`` maps a sentence ("z and 1 - z are exchanged") to what that mistake would have given.
    """
    for sentence, wrong in mistakes.items():
        if actual.shape == wrong.shape and torch.allclose(actual.to(wrong.dtype), wrong, rtol=0, atol=atol):
            raise AssertionError(f"{name}: {sentence}")
    close(name, actual, expected, atol=atol)


def rnn_step(step: Callable[[Tensor, Tensor, nn.RNNCell], Tensor], trials: int = 5) -> None:
    """Compare ``step(x (B, I), h (B, H), cell) -> h (B, H)`` with ``torch.nn.RNNCell``, random sizes."""
    for trial in range(trials):
        generator = torch.Generator().manual_seed(trial)
        batch, inputs, hidden = (torch.randint(2, 6, (3,), generator=generator)).tolist()
        cell = nn.RNNCell(inputs, hidden)
        x, h = (
            torch.randn(batch, inputs, generator=generator),
            torch.randn(batch, hidden, generator=generator),
        )
        close(f"h for B={batch}, I={inputs}, H={hidden}: h", step(x, h, cell), cell(x, h))
    print("rnn_step: right, for", trials, "random cells")  # noqa: T201 (a check answers its reader)


def masked_mean(mean: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check ``mean(outputs (B, T, H), lengths (B,)) -> (B, H)``: real steps only, NaN in the padding."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 5, 2, generator=generator)
    lengths = torch.tensor([5, 2, 1])
    expected = torch.stack(
        [row[:length].mean(dim=0) for row, length in zip(outputs, lengths.tolist(), strict=True)]
    )
    close("clean padding: mean", mean(outputs.clone(), lengths), expected)
    for row, length in zip(outputs, lengths.tolist(), strict=True):
        row[length:] = torch.nan
    close("NaN in the padding: mean", mean(outputs, lengths), expected)
    print("masked_mean: right, whatever stands in the padding")  # noqa: T201 (a check answers its reader)
