"""Checks of the exercises on layers: environment, core module, fast cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnnbook.check import answer, close


def lstm_parameters(count: Callable[[int, int, int, int], int]) -> None:
    """Check ``count(I, H, L, D) -> numbers`` in an LSTM of L layers and D directions, biases included."""
    H = 4
    for width, L, D in ((3, 1, 1), (3, 3, 1), (5, 1, 2), (5, 3, 2)):
        first, later, narrow = (4 * H * (size + H) + 8 * H for size in (width, D * H, H))
        right = D * (first + (L - 1) * later)
        mistakes = {
            "from the second layer on, what is read are outputs, not I numbers": L * D * first,
            "the layers above the first read D * H numbers each": D * (first + (L - 1) * narrow),
            "one of the two biases is missing": right - 4 * L * D * H,
            "the second direction has weights of its own": right // D,
            "there are four blocks of weights, one for each gate and the candidate": right // 4,
        }
        wrong = {text: torch.tensor(number) for text, number in mistakes.items() if number != right}
        got = torch.as_tensor(count(width, H, L, D))
        answer(f"I={width}, H={H}, L={L}, D={D}", got, torch.tensor(right), wrong, atol=0.5)
    print("lstm_parameters: right, for 4 shapes")  # noqa: T201 (a check answers its reader)


def batch_sizes(sizes: Callable[[Tensor], Tensor]) -> None:
    """Check ``sizes(lengths (B,)) -> (T,)``: how many sequences go on at each time step."""
    for lengths in (torch.tensor([2, 5, 4, 2]), torch.tensor([1, 3]), torch.tensor([4])):
        t = torch.arange(int(lengths.max()))
        right = (lengths[:, None] > t).sum(dim=0)
        mistakes = {
            "a sequence of length n is there at t = 0 … n - 1, not at t = n": (lengths[:, None] >= t).sum(0),
            "that counts from t = 1: at t = 0 all sequences are there": (lengths[:, None] > t + 1).sum(0),
            "these are the sequences that end at t, not those that go on": (lengths[:, None] == t + 1).sum(0),
            "these are the lengths in falling order: count the columns": lengths.sort(descending=True)[0],
            "the time steps stand in reverse": right.flip(0),
        }
        wrong = {text: value for text, value in mistakes.items() if not torch.equal(value, right)}
        answer(f"lengths {lengths.tolist()}: batch_sizes", sizes(lengths.clone()), right, wrong)
    print("batch_sizes: right, for 3 batches")  # noqa: T201 (a check answers its reader)


def _lstm(seed: int) -> nn.LSTM:
    with torch.random.fork_rng(devices=[]):  # the reader's numbers stay as they are
        torch.manual_seed(seed)
        return nn.LSTM(3, 4, batch_first=True, dtype=torch.double)


def reverse(turn: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check ``turn(x (B, T, F), lengths (B,)) -> (B, T, F)``: each row reversed within its own length."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 5, 2, dtype=torch.double, generator=generator)
    lengths = torch.tensor([2, 5, 4, 1])
    t, n, row = torch.arange(5), lengths[:, None], torch.arange(4)[:, None]
    right = x[row, torch.where(t < n, n - 1 - t, t)]
    mistakes = {
        "the padding has moved to the front": x.flip(1),
        "the axis of the batch is reversed, not that of time": x.flip(0),
        "the features are reversed, not the time steps": x.flip(2),
        "the last real step is n - 1, not n": x[row, torch.where(t < n, (n - t).clamp(max=4), t)],
        "the padding is to stay as it is": right.masked_fill((t >= n)[:, :, None], 0.0),
        "nothing is reversed": x,
    }
    answer("reverse", turn(x.clone(), lengths.clone()), right, mistakes, atol=1e-10)
    print("reverse: right, for 4 lengths")  # noqa: T201 (a check answers its reader)


def in_pieces(read: Callable[..., tuple[Tensor, Any]]) -> None:
    """Check ``read(layer, x (B, T, I), size) -> (outputs, (h_n, c_n))``: pieces of ``size`` time steps."""
    generator = torch.Generator().manual_seed(0)
    layer = _lstm(1)
    x = torch.randn(2, 7, 3, dtype=torch.double, generator=generator)
    right, (h_n, c_n) = layer(x)
    only_h: list[Tensor] = []
    state = None
    for piece in x.split(3, dim=1):
        out, (h, c) = layer(piece, state)
        only_h, state = [*only_h, out], (h, torch.zeros_like(c))
    fresh = [layer(piece)[0] for piece in x.split(3, dim=1)]
    wrong = {
        "each piece starts from zero: the state is not carried": torch.cat(fresh, dim=1),
        "only h is carried, c starts from zero": torch.cat(only_h, dim=1),
    }
    outputs, state = read(layer, x.clone(), 3)
    if isinstance(outputs, Tensor) and outputs.shape[1] == 6:
        raise AssertionError("the last piece, which is shorter, is lost")
    answer("outputs", outputs, right, wrong, atol=1e-10)
    answer("h_n", state[0], h_n, {"that is the pair in the wrong order": c_n}, atol=1e-10)
    close("c_n", state[1], c_n, atol=1e-10)
    print("in_pieces: right, for 7 time steps in pieces of 3")  # noqa: T201 (a check answers its reader)


def training_flops(flops: Callable[[int, int, int, int, int], int]) -> None:
    """Check ``flops(gates, T, B, I, H)``: matrix products of a layer, forward and backward."""
    for gates, T, B, I, H in ((4, 7, 5, 6, 4), (1, 20, 8, 100, 64), (3, 100, 32, 128, 128)):
        right = 3 * 2 * T * B * gates * H * (I + H)
        mistakes = {
            "a weight multiplies and adds: two operations, not one": right // 2,
            "the product with h is missing": 6 * T * B * gates * H * I,
            "the product with x is missing": 6 * T * B * gates * H * H,
            "the way back has two products for each one of the way forward": right // 3 * 2,
            "that is the way forward alone": right // 3,
            "every gate has its own rows of weights": right // gates,
            "every sequence of the batch has its own products": right // B,
            "every time step has its own products": right // T,
        }
        wrong = {sentence: torch.tensor(number) for sentence, number in mistakes.items()}
        sizes = f"training_flops for {gates} gates, T={T}, B={B}, I={I}, H={H}"
        answer(sizes, torch.as_tensor(flops(gates, T, B, I, H)), torch.tensor(right), wrong)
    print("training_flops: right, for three layers")  # noqa: T201 (a check answers its reader)


def predicted_calls(predict: Callable[[int, int, int], float]) -> None:
    """Check ``predict(at_50, at_100, T)``: calls of a loop of T steps from those of 50 and of 100 steps."""
    for once, step, T in ((28, 64, 400), (9, 129, 1000), (22, 0, 200)):
        at_50, at_100 = once + 50 * step, once + 100 * step
        mistakes = {
            "what stands outside the loop is called once, however long it is": at_100 * T / 100,
            "what stands outside the loop is called, too": float(step * T),
            "those are the calls of one time step": float(step),
            "50 steps lie between the two counts": once + (at_100 - at_50) / 100 * T,
        }
        wrong = {sentence: torch.tensor(number) for sentence, number in mistakes.items()}
        got = torch.tensor(float(predict(at_50, at_100, T)))
        answer(f"predicted_calls for T={T}", got, torch.tensor(float(once + step * T)), wrong, atol=1e-3)
    print("predicted_calls: right, for three loops")  # noqa: T201 (a check answers its reader)


def weight_gradient(gradient: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """Check ``gradient(delta (T, B, H), h_0 (B, H), outputs (T, B, H), lengths (B,)) -> (H, H)``, weight_hh's."""
    generator = torch.Generator().manual_seed(0)
    delta, outputs = torch.randn(2, 5, 3, 4, dtype=torch.double, generator=generator)
    h_0 = torch.randn(3, 4, dtype=torch.double, generator=generator)
    before = torch.cat([h_0[None], outputs[:-1]])
    lengths = torch.tensor([3, 5, 2])
    ended = (torch.arange(5)[:, None] >= lengths)[:, :, None]
    last = torch.arange(5)[:, None, None] == lengths[:, None] - 1
    rubbish, delta = delta.masked_fill(ended, torch.nan), delta.masked_fill(ended, 0)
    right = torch.einsum("tbi,tbj->ij", delta, before)
    mistakes = {
        "h_t stands where h_(t-1) belongs": torch.einsum("tbi,tbj->ij", delta, outputs),
        "the product is transposed: rows belong to delta": right.T,
        "h_0 is forgotten": torch.einsum("tbi,tbj->ij", delta[1:], outputs[:-1]),
        "time runs the wrong way for one of the two": torch.einsum("tbi,tbj->ij", delta.flip(0), before),
        "a sum over the batch, not a mean": right / 3,
        "the last step of each sequence is missing": torch.einsum("tbi,tbj->ij", delta * ~last, before),
    }
    got = gradient(rubbish, h_0, outputs, lengths)
    if isinstance(got, Tensor) and got.isnan().any():
        raise AssertionError("weight_gradient: what stands after an end is still there (0 times NaN is NaN)")
    answer("weight_gradient", got, right, mistakes, atol=1e-10)
    print("weight_gradient: right, to ten decimals")  # noqa: T201 (a check answers its reader)


def gru_backward(step: Callable[..., Sequence[Tensor]]) -> None:
    """Check ``step(dh, h_prev, r, z, n, a_hn)``, all (B, H): one step back through a GRU.

    Right are five tensors: the gradients of a_r, a_z, a_n and a_hn, and what goes to h_prev past the matrix.
    """
    generator = torch.Generator().manual_seed(0)
    dh, h, *a = torch.randn(6, 3, 4, dtype=torch.double, generator=generator).requires_grad_()
    r, z, a_hn = a[0].sigmoid(), a[1].sigmoid(), a[3]
    n = (a[2] + r * a_hn).tanh()
    right = torch.autograd.grad((dh.detach() * ((1 - z) * n + z * h)).sum(), (*a, h))
    dh, h, r, z, n, a_hn = (v.detach() for v in (dh, h, r, z, n, a_hn))
    d_r, d_z, d_n, d_hn, d_h = right
    swap = dh * z * (1 - n**2)
    wrong = {
        "more z means more of h_prev, less of n": (d_r, -d_z, d_n, d_hn, d_h),
        "z and 1 - z are exchanged": (swap * a_hn * r * (1 - r), -d_z, swap, swap * r, dh - d_h),
        "the slope 1 - n^2 is missing": (d_r / (1 - n**2), d_z, d_n / (1 - n**2), d_hn / (1 - n**2), d_h),
        "the slope of the sigmoid is missing": (d_r / (r * (1 - r)), d_z / (z * (1 - z)), d_n, d_hn, d_h),
        "what r multiplies is a_hn": (d_n * n * r * (1 - r), d_z, d_n, d_hn, d_h),
        "a_hn reaches n through r": (d_r, d_z, d_n, d_n, d_h),
    }
    got = step(dh, h, r, z, n, a_hn)
    for k, part in enumerate(("da_r", "da_z", "da_n", "da_hn", "dh_prev")):
        seen = {text: w[k] for text, w in wrong.items() if not torch.allclose(w[k], right[k])}
        answer(f"gru_backward: {part}", got[k], right[k], seen, atol=1e-10)
    print("gru_backward: right, to ten decimals")  # noqa: T201 (a check answers its reader)


def counter_stops(value: float) -> None:
    """Check the number at which a float32 that grows by 1.0 no longer grows."""
    mistakes = {
        2**23: "23 digits are stored, but the leading one is not: there are 24",
        2**31: "that is where an integer of 32 bits ends, not a float",
        2**32: "of the 32 bits one is the sign and eight are the exponent",
        2**53: "that is the place for float64",
        2**24 - 1: "one more is still exact: a power of two needs one digit",
        2**24 + 1: "this number has 25 digits and cannot be stored",
    }
    named = {sentence: torch.tensor(float(wrong), dtype=torch.double) for wrong, sentence in mistakes.items()}
    got, right = (torch.tensor(float(v), dtype=torch.double) for v in (value, 2**24))
    answer("counter_stops", got, right, named, atol=0.25)
    print("counter_stops: right")  # noqa: T201 (a check answers its reader)


def two_loaders(make: Callable[[Tensor, int], tuple[Iterable[Tensor], Iterable[Tensor]]]) -> None:
    """Check ``make(data (N,), seed) -> two loaders of shuffled batches``, in the same order, pass by pass."""
    data = torch.arange(40)
    with torch.random.fork_rng(devices=[]):  # the reader's numbers stay as they are
        first, second = make(data, 3)
        passes = []
        for loader in (first, first, second, second):
            passes.append(torch.cat([torch.as_tensor(batch) for batch in loader]))
            torch.rand(1)  # as one layer more would draw
        other = torch.cat([torch.as_tensor(batch) for batch in make(data, 4)[0]])
        torch.manual_seed(0)
        third = make(data, 3)[0]
        torch.rand(1)
        again = torch.cat([torch.as_tensor(batch) for batch in third])
    for made in (*passes, other):
        close("two_loaders: one pass, sorted", made.sort().values, data)
    a, b, c, d = passes
    complaints = {
        "the batches are not shuffled": torch.equal(a, data),
        "every pass has the same order: a generator is not seeded again between them": torch.equal(a, b),
        "the seed changes nothing": torch.equal(a, other),
        "the two share one generator: the second goes on where the first has stopped": (
            not torch.equal(a, c) and torch.equal(a, again)
        ),
        "the order comes from the global generator: whatever else draws from it changes the order": (
            not torch.equal(a, c) or not torch.equal(a, again)
        ),
        "the first pass agrees, the second does not": not torch.equal(b, d),
    }
    for sentence, found in complaints.items():
        if found:
            raise AssertionError(f"two_loaders: {sentence}")
    print("two_loaders: right, for two passes")  # noqa: T201 (a check answers its reader)


def first_difference(find: Callable[[dict[str, Tensor], dict[str, Tensor]], str | None]) -> None:
    """Check ``find(log, other) -> name`` of the first entry whose values differ, None where none do."""
    log = {"weights": torch.ones(2, 2), "order": torch.arange(4), "loss": torch.tensor(0.7)}
    log |= {"update": torch.tensor([0.1, torch.nan])}
    one_bit = torch.tensor(0.7).nextafter(torch.tensor(1.0))
    trials: list[tuple[dict[str, Tensor], str | None]] = [
        ({}, None),
        ({"loss": one_bit}, "loss"),
        ({"order": torch.arange(4).flip(0), "loss": torch.tensor(0.9)}, "order"),
        ({"weights": torch.zeros(2, 2), "order": torch.zeros(4), "loss": one_bit}, "weights"),
    ]
    for changes, right in trials:
        other = {name: value.clone() for name, value in log.items()} | changes
        got = find(log, other)
        if got == right:
            continue
        reasons = {
            (None, "loss"): "a difference in the last digit counts: no tolerance",
            ("update", None): "both hold NaN at the same place: here NaN equals NaN",
        }
        told = reasons.get((got, right), f"expected {right!r}, got {got!r}")
        if got == "loss":
            told = "this is the last difference; all that comes after the first follows from it"
        raise AssertionError(f"first_difference: {told}")
    print("first_difference: right, for 4 pairs of logs")  # noqa: T201 (a check answers its reader)
