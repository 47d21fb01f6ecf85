"""Checks that a reader runs on an exercise: each says what differs, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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
    try:
        close(name, actual, expected, atol=atol)
    except AssertionError:
        for sentence, wrong in mistakes.items():
            if (
                isinstance(actual, Tensor)
                and actual.shape == wrong.shape
                and (actual - wrong).abs().max() <= atol
            ):
                raise AssertionError(f"{name}: {sentence}") from None
        raise


def rnn_step(step: Callable[[Tensor, Tensor, nn.RNNCell], Tensor], trials: int = 5) -> None:
    """Compare ``step(x (B, I), h (B, H), cell) -> h (B, H)`` with ``torch.nn.RNNCell``, random sizes."""
    for trial in range(trials):
        generator = torch.Generator().manual_seed(trial)
        batch, inputs, hidden = (torch.randint(2, 6, (3,), generator=generator)).tolist()
        cell = nn.RNNCell(inputs, hidden)
        x, h = (torch.randn(batch, size, generator=generator) for size in (inputs, hidden))
        from_input, from_state = x @ cell.weight_ih.T + cell.bias_ih, h @ cell.weight_hh.T + cell.bias_hh
        mistakes = {
            "the state before it plays no part": from_input.tanh(),
            "tanh is missing": from_input + from_state,
            "bias_hh is missing": (from_input + h @ cell.weight_hh.T).tanh(),
            "weight_hh is not transposed": (from_input + h @ cell.weight_hh + cell.bias_hh).tanh(),
        }
        name = f"h for B={batch}, I={inputs}, H={hidden}: h"
        answer(name, step(x, h, cell), cell(x, h), mistakes)
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


def bptt_by_hand(delta_2: Tensor, gradient: Tensor) -> None:
    """Check δ_2 (H,) and ∂L/∂W_hh (H, H) of the three-step example with target 0, to three decimals."""
    W_hh = torch.tensor([[0.5, 0.0], [1.0, 0.5]])
    h_1 = torch.tanh(torch.tensor([1.0, -1.0]))
    h_2 = torch.tanh(W_hh @ h_1)
    h_3 = torch.tanh(torch.tensor([1.0, -1.0]) + W_hh @ h_2)
    last = (1 - h_3**2) * h_3
    slope = 1 - h_2**2
    delta = slope * (W_hh.T @ last)
    no_slope = {"the slope 1 - h^2 is missing at t = 3": slope * (W_hh.T @ h_3)}
    no_slope |= {"the slope 1 - h^2 is missing at t = 2": W_hh.T @ last}
    answer("delta_2", delta_2, delta, no_slope | {"W_hh is not transposed": slope * (W_hh @ last)}, atol=1e-3)
    wrong = {"h_t stands where h_{t-1} belongs": torch.outer(delta, h_2) + torch.outer(last, h_3)}
    wrong |= {"only the last of the three uses is counted": torch.outer(last, h_2)}
    right = torch.outer(delta, h_1) + torch.outer(last, h_2)
    answer("gradient", gradient, right, wrong | {"the outer products are transposed": right.T}, atol=1e-3)
    print("bptt_by_hand: right, to three decimals")  # noqa: T201 (a check answers its reader)


def lstm_backward(step: Callable[..., Sequence[Tensor]]) -> None:
    """Check ``step(dh, dc, i, f, g, o, c_prev, c)``, all (B, H), for one backward step of an LSTM.

    Right are five tensors: the gradients of the four pre-activations, i, f, g, o, and that of c_prev.
    """
    generator = torch.Generator().manual_seed(0)
    dh, dc, c_prev, *a = torch.randn(7, 3, 4, dtype=torch.double, generator=generator).requires_grad_()
    i, f, g, o = a[0].sigmoid(), a[1].sigmoid(), a[2].tanh(), a[3].sigmoid()
    c = f * c_prev + i * g
    loss = (dh.detach() * o * c.tanh() + dc.detach() * c).sum()
    right = torch.autograd.grad(loss, (*a, c_prev))
    dh, dc, c_prev, i, f, g, o, c = (v.detach() for v in (dh, dc, c_prev, i, f, g, o, c))

    def by(d: Tensor, s: Callable[[Tensor], Tensor] = lambda v: v * (1 - v)) -> tuple[Tensor, ...]:
        return d * g * s(i), d * c_prev * s(f), d * i * (1 - g**2), dh * c.tanh() * s(o), d * f

    shown = dh * o * (1 - c.tanh() ** 2)
    wrong = {
        "the slope 1 - tanh(c)^2 is missing": by(dc + dh * o),
        "dc, which comes from the next time step, is forgotten": by(shown),
        "dh, which comes through the output, is forgotten": by(dc),
        "the slope of the sigmoid is missing": by(shown + dc, torch.ones_like),
        "g has the slope of tanh, not of the sigmoid": tuple((shown + dc) * i * g * (1 - g) for _ in right),
        "the order is i, f, g, o": (right[0], right[1], right[3], right[2], right[4]),
    }
    got = step(dh, dc, i, f, g, o, c_prev, c)
    for k, part in enumerate(("da_i", "da_f", "da_g", "da_o", "dc_prev")):
        seen = {text: w[k] for text, w in wrong.items() if not torch.allclose(w[k], right[k])}
        answer(f"lstm_backward: {part}", got[k], right[k], seen, atol=1e-10)
    print("lstm_backward: right, to ten decimals")  # noqa: T201 (a check answers its reader)


def steps_to_fade(steps: int) -> None:
    """Check the smallest whole T with 0.9**T below 0.001."""
    mistakes = {
        65: "rounded down: after so many time steps it is still above 0.001",
        29: "the logarithms have different bases",
        10: "0.1 is not taken away each time: the value is multiplied by 0.9",
    }
    named = {sentence: torch.tensor(wrong) for wrong, sentence in mistakes.items()}
    answer("steps_to_fade", torch.as_tensor(steps), torch.tensor(66), named, atol=0.5)
    print("steps_to_fade: right")  # noqa: T201 (a check answers its reader)


def state_product(product: Callable[[Tensor, Tensor], Tensor], trials: int = 3) -> None:
    """Check ``product(states (T, H), W_hh (H, H)) -> ∂h_T/∂h_0 (H, H)`` of a tanh network."""
    for trial in range(trials):
        generator = torch.Generator().manual_seed(trial)
        W_hh = torch.randn(3, 3, generator=generator, dtype=torch.double)
        states = torch.rand(4, 3, generator=generator, dtype=torch.double) * 1.6 - 0.8
        steps = [torch.diag(1 - h**2) @ W_hh for h in states]
        slopes = [torch.diag(1 - h**2) for h in states]
        mistakes = {
            "the order of the product is reversed: the last time step stands on the left": steps,
            "W_hh is transposed": [d @ W_hh.T for d in slopes[::-1]],
            "the slope of tanh is 1 - h², not 1 - h": [torch.diag(1 - h) @ W_hh for h in states.flip(0)],
            "the slopes stand right of W_hh: they belong to its rows": [W_hh @ d for d in slopes[::-1]],
            "one time step is missing": steps[:0:-1],
        }
        wrong = {sentence: torch.linalg.multi_dot(factors) for sentence, factors in mistakes.items()}
        right = torch.linalg.multi_dot(steps[::-1])
        answer("state_product", product(states.clone(), W_hh.clone()), right, wrong, atol=1e-10)
    print("state_product: right, for", trials, "random networks")  # noqa: T201 (a check answers its reader)


def clip_gradients(clip: Callable[[list[Tensor], float], list[Tensor]]) -> None:
    """Check ``clip(gradients, max_norm) -> gradients``: one factor for all, found from their joint norm."""
    for long in (True, False):
        gradients = [torch.tensor([[3.0, 0.0], [0.0, 0.5]]), torch.tensor([4.0, -0.2])]
        max_norm = 2.0 if long else 8.0
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        shorter = flat * min(1.0, max_norm / flat.norm().item())
        each = torch.cat([(g * min(1.0, max_norm / g.norm().item())).flatten() for g in gradients])
        mistakes = {"each tensor is clipped by itself": each} if long else {}
        mistakes |= {"clipped by value: the direction has changed": flat.clamp(-2, 2)} if long else {}
        mistakes |= {} if long else {"a small gradient was scaled up": flat / flat.norm() * max_norm}
        clipped = torch.cat([g.flatten() for g in clip([g.clone() for g in gradients], max_norm)])
        answer("clip_gradients", clipped, shorter, mistakes)
    print("clip_gradients: right, for long and for short gradients")  # noqa: T201 (a check answers its reader)


def _cells(kind: type[nn.LSTMCell | nn.GRUCell]) -> Iterator[tuple[Any, Tensor, Tensor, Tensor]]:
    """Yield five random cells of ``torch.nn``, each with x (2, 3) and two states (2, 4), in float64."""
    for trial in range(5):
        generator = torch.Generator().manual_seed(trial)
        cell: Any = nn.utils.skip_init(kind, 3, 4, dtype=torch.double)
        for weight in cell.parameters():
            nn.init.normal_(weight, generator=generator)
        yield cell, *torch.randn(2, 11, generator=generator, dtype=torch.double).split([3, 4, 4], dim=1)


def lstm_step(step: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """Check ``step(x (B, I), h (B, H), c (B, H), cell) -> (h, c)``, cell a ``torch.nn.LSTMCell``."""

    def pair(i: Tensor, f: Tensor, g: Tensor, o: Tensor, c: Tensor) -> Tensor:
        c = f.sigmoid() * c + i.sigmoid() * g
        return torch.cat([o.sigmoid() * c.tanh(), c], dim=1)

    for cell, x, h, c in _cells(nn.LSTMCell):
        i, f, g, o = (x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh).chunk(4, 1)
        right = torch.cat(cell(x, (h, c)), dim=1)
        mistakes = {
            "the order is i, f, g, o; here g and o are exchanged": pair(i, f, o.tanh(), g, c),
            "the forget gate and the input gate are exchanged": pair(f, i, g.tanh(), o, c),
            "tanh is missing on c": torch.cat([o.sigmoid() * right[:, 4:], right[:, 4:]], dim=1),
            "g is no gate: it goes through tanh, not through a sigmoid": pair(i, f, g.sigmoid(), o, c),
            "the state is the pair (h, c), in this order": right.roll(4, dims=1),
        }
        answer("lstm_step: (h, c)", torch.cat(step(x, h, c, cell), dim=1), right, mistakes, atol=1e-10)
    print("lstm_step: right, for 5 random cells")  # noqa: T201 (a check answers its reader)


def gru_step(step: Callable[..., Tensor]) -> None:
    """Check ``step(x (B, I), h (B, H), cell) -> h (B, H)``, cell a ``torch.nn.GRUCell``."""
    for cell, x, h, _ in _cells(nn.GRUCell):
        W, b = cell.weight_hh.chunk(3)[2], cell.bias_hh.chunk(3)[2]
        r_x, z_x, n_x = (x @ cell.weight_ih.T + cell.bias_ih).chunk(3, dim=1)
        r_h, z_h, n_h = (h @ cell.weight_hh.T + cell.bias_hh).chunk(3, dim=1)
        r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
        mistakes = {
            "z and 1 - z are exchanged": z * (n_x + r * n_h).tanh() + (1 - z) * h,
            "r acts before the matrix product": (1 - z) * (n_x + (r * h) @ W.T + b).tanh() + z * h,
            "b_hn stands outside the reset": (1 - z) * (n_x + r * (h @ W.T) + b).tanh() + z * h,
        }
        answer("gru_step: h", step(x, h, cell), cell(x, h), mistakes, atol=1e-10)
    print("gru_step: right, for 5 random cells")  # noqa: T201 (a check answers its reader)


def half_life_bias(bias: Callable[[float], float]) -> None:
    """Check ``bias(n) -> b``: a forget gate that stands at sigma(b) keeps one half for n time steps."""
    f = torch.tensor([-1 / 2, -1 / 30, -1 / 400], dtype=torch.double).exp2()
    mistakes = {
        "that is the gate itself: its bias is the logit": f,
        "that leaves 1/e, not one half": f.log2().exp().logit(),
        "the sign is wrong: this gate is nearly shut": -f.logit(),
    }
    got = [float(bias(n)) for n in (2, 30, 400)]
    answer("half_life_bias", torch.tensor(got, dtype=torch.double), f.logit(), mistakes)
    print("half_life_bias: right, for 2, 30 and 400 time steps")  # noqa: T201 (a check answers its reader)


def reach(function: Callable[[int], int]) -> None:
    """Check ``reach(num_blocks) -> steps back`` of the causal convolution: two of width 3 a block, doubling."""
    for blocks in (1, 2, 5):
        right = 4 * (2**blocks - 1)
        mistakes = {
            "each block holds two convolutions, not one": torch.tensor(right // 2),
            "that counts the present step as well; a reach is steps back": torch.tensor(right + 1),
            "the dilation doubles from block to block": torch.tensor(4 * blocks),
        }
        answer(f"{blocks} blocks", torch.as_tensor(function(blocks)), torch.tensor(right), mistakes)
    print("reach: right")  # noqa: T201 (a check answers its reader)


def causal_weights(weights: Callable[[Tensor], Tensor]) -> None:
    """Check ``weights(scores (T, T)) -> (T, T)``: softmax over the steps up to the own one."""
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    hidden = torch.ones(5, 5).triu(1).bool()
    right = scores.masked_fill(hidden, -torch.inf).softmax(dim=1)
    mistakes = {
        "no step is hidden: the first sees the last": scores.softmax(dim=1),
        "hidden after the softmax, so a row does not sum to one": scores.softmax(dim=1).masked_fill(
            hidden, 0
        ),
        "the past is hidden instead of the future": scores.masked_fill(hidden.T, -torch.inf).softmax(dim=1),
        "the softmax runs down the columns": scores.masked_fill(hidden, -torch.inf).softmax(dim=0),
    }
    answer("weights", weights(scores), right, mistakes)
    print("causal_weights: right")  # noqa: T201 (a check answers its reader)
