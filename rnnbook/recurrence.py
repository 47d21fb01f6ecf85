r"""One layer in one direction over a whole batch: a plain pass, and a fast one with its own backward.

Both take the steps of all sequences as the rows of one matrix, time after time, as in the data of a
``PackedSequence``: first the ``batch_sizes[0]`` sequences at time 0, then those that go on at time 1,
and so on. A batch without padding is the case of equal ``batch_sizes``. Letters: N rows, B sequences,
I input_size, H hidden_size, G gates (1, 4 or 3). ``kind`` is "tanh", "relu", "lstm" or "gru".
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbook.cells import NONLINEARITIES, gru_gates, lstm_gates
from rnnbook.kernels import KERNELS, Pair, Weights, prepare


def _step(kind: str, x_part: Tensor, h_part: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Make the next (h,) or (h, c) from the two products of a step, each (B, G * H)."""
    if kind == "lstm":
        i, f, g, o = lstm_gates(x_part, h_part)
        c = f * state[1] + i * g
        return o * c.tanh(), c
    if kind == "gru":
        _, z, n = gru_gates(x_part, h_part)
        return ((1 - z) * n + z * state[0],)
    return (NONLINEARITIES[kind](x_part + h_part),)


def plain_pass(
    kind: str, batch_sizes: Sequence[int], reverse: bool, data: Tensor, weights: Weights, *state: Tensor
) -> tuple[Tensor, ...]:
    """Run over data (N, I) from state (B, H), one for h or two for h, c; autograd finds the gradients.

    Returns ``(outputs (N, H), *last state (B, H))``. With ``reverse`` each sequence is read from its
    end. A sequence that has ended, or in reverse not yet begun, keeps its state.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    x_parts = linear(data, weight_ih, bias_ih).split(list(batch_sizes))  # all steps in one product
    outputs = []
    for t in reversed(range(len(x_parts))) if reverse else range(len(x_parts)):
        b = batch_sizes[t]
        now = [part[:b] for part in state]
        new = _step(kind, x_parts[t], linear(now[0], weight_hh, bias_hh), now)
        state = tuple(torch.cat([part, old[b:]]) for part, old in zip(new, state, strict=True))
        outputs.append(new[0])
    return torch.cat(outputs[::-1] if reverse else outputs), *state


class _Chunk(NamedTuple):
    """A rectangle of ``steps`` x ``b`` rows from ``row`` on; before it, ``b_before`` rows at ``before``."""

    row: int
    steps: int
    b: int
    before: int
    b_before: int

    def order(self, reverse: bool) -> range:
        """Go through the steps as the sequence is read."""
        return range(self.steps)[::-1] if reverse else range(self.steps)

    def of(self, buffer: Tensor) -> Tensor:
        """View the rows of the chunk as (steps, b, features)."""
        return buffer[self.row : self.row + self.steps * self.b].view(self.steps, self.b, -1)

    def start(self, buffer: Tensor, initial: Tensor) -> Tensor:
        """Put together the state (b, H) that the first step begins with."""
        known = buffer[self.before : self.before + min(self.b, self.b_before)]
        return torch.cat([known, initial[len(known) : self.b]])

    def previous(self, buffer: Tensor, initial: Tensor, reverse: bool) -> Tensor:
        """Put together the states (steps, b, H) that the steps begin with; a view where they lie in a row."""
        if self.b_before == self.b:
            row = self.row + (self.b if reverse else -self.b)
            return self._replace(row=row).of(buffer)
        block, first = self.of(buffer), self.start(buffer, initial).unsqueeze(0)
        return torch.cat([block[1:], first] if reverse else [first, block[:-1]])


def _chunks(batch_sizes: Sequence[int], reverse: bool, most: int = 25) -> list[_Chunk]:
    """Cut the steps where the number of sequences changes, and after ``most`` steps: small stays in cache."""
    cuts = [0]
    for t in range(1, len(batch_sizes) + 1):
        if t == len(batch_sizes) or batch_sizes[t] != batch_sizes[t - 1] or t - cuts[-1] == most:
            cuts.append(t)
    rows = [0]
    for b in batch_sizes:
        rows.append(rows[-1] + b)
    chunks = []
    for first, end in pairwise(cuts):
        before = end if reverse else first - 1
        inside = 0 <= before < len(batch_sizes)
        place = (rows[before], batch_sizes[before]) if inside else (0, 0)
        chunks.append(_Chunk(rows[first], end - first, batch_sizes[first], *place))
    return chunks[::-1] if reverse else chunks


class _FastPass(torch.autograd.Function):
    """The same function as :func:`plain_pass`, with buffers made once and a backward pass by hand."""

    @staticmethod
    def forward(
        ctx: Any,
        kind: str,
        batch_sizes: list[int],
        reverse: bool,
        data: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        kernel, hidden = KERNELS[kind], weight_hh.shape[1]
        (weight, bias), recurrent = prepare(kind, (weight_ih, weight_hh, bias_ih, bias_hh))
        gates = torch.addmm(bias, data, weight.T)  # (N, G * H): all steps in one product
        buffers = [gates, *(gates.new_empty(len(gates), hidden) for _ in kernel.extra_buffers)]
        last = [part.clone() for part in state]
        chunks = _chunks(batch_sizes, reverse)
        for chunk in chunks:
            starts = [chunk.start(*pair) for pair in _kept(buffers, state)]
            order = chunk.order(reverse)
            views = [chunk.of(buffer) for buffer in buffers]
            kernel.forward(order, views, starts, recurrent)
            for part, (buffer, _) in zip(last, _kept(buffers, state), strict=True):
                part[: chunk.b] = chunk.of(buffer)[order[-1]]
        ctx.save_for_backward(data, weight_ih, weight_hh, bias_ih, bias_hh, *state, *buffers)
        ctx.kind, ctx.batch_sizes, ctx.reverse, ctx.chunks = kind, batch_sizes, reverse, chunks
        return buffers[-1], *last

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, *d_last: Tensor) -> tuple[Tensor | None, ...]:
        data, weight_ih, weight_hh, bias_ih, bias_hh, *rest = ctx.saved_tensors
        state, buffers = rest[: len(d_last)], rest[len(d_last) :]
        if torch.is_grad_enabled():
            inputs = [data, weight_ih, weight_hh, bias_ih, bias_hh, *state]
            return None, None, None, *_differentiable(ctx, inputs, (d_outputs, *d_last))
        d_outputs, d_state = d_outputs.contiguous(), [part.clone() for part in d_last]
        d_data = torch.empty_like(data) if ctx.needs_input_grad[3] else None
        d_ih, d_hh = (weight.new_zeros(weight.shape[::-1]) for weight in (weight_ih, weight_hh))
        d_bias_ih, d_bias_hh = (weight_hh.new_zeros(len(weight_hh)) for _ in range(2))
        for chunk in ctx.chunks[::-1]:
            before = [chunk.previous(*pair, ctx.reverse) for pair in _kept(buffers, state)]
            order = chunk.order(ctx.reverse)
            views = [chunk.of(buffer) for buffer in buffers]
            now = [part[: chunk.b] for part in d_state]
            args = (order, views, before, chunk.of(d_outputs), now, weight_hh)
            d_x, d_h = (d.flatten(0, 1) for d in KERNELS[ctx.kind].backward(*args))
            rows = slice(chunk.row, chunk.row + len(d_x))
            if d_data is not None:
                torch.mm(d_x, weight_ih, out=d_data[rows])
            d_ih.addmm_(data[rows].T, d_x)
            d_hh.addmm_(before[0].flatten(0, 1).T, d_h)
            if bias_ih is not None:
                total = d_h.sum(0)
                d_bias_hh += total
                d_bias_ih += total if ctx.kind != "gru" else d_x.sum(0)
        biases = (None, None) if bias_ih is None else (d_bias_ih, d_bias_hh)
        return None, None, None, d_data, d_ih.T, d_hh.T, *biases, *d_state


def _kept(buffers: list[Tensor], state: Sequence[Tensor]) -> list[Pair]:
    """Pair the buffer of outputs with the first h and, for an LSTM, the buffer of cells with the first c."""
    return list(zip([buffers[-1], buffers[1 % len(buffers)]], state, strict=False))


def _differentiable(ctx: Any, inputs: list[Any], d_results: tuple[Tensor, ...]) -> list[Tensor | None]:
    """Find the gradients by the plain pass, in a form that can be differentiated once more."""
    warnings.warn(
        "double backward: the hand-written backward pass has no derivative of its own; "
        "the plain form is run in its place",
        stacklevel=2,
    )
    weights = (inputs[1], inputs[2], inputs[3], inputs[4])
    results = plain_pass(ctx.kind, ctx.batch_sizes, ctx.reverse, inputs[0], weights, *inputs[5:])
    needed = ctx.needs_input_grad[3:]
    wanted = [x for x, need in zip(inputs, needed, strict=True) if need]
    found = iter(torch.autograd.grad(results, wanted, d_results, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needed]


def fast_pass(
    kind: str, batch_sizes: Sequence[int], reverse: bool, data: Tensor, weights: Weights, *state: Tensor
) -> tuple[Tensor, ...]:
    """Do what :func:`plain_pass` does, with a hand-written backward pass: same arguments and results.

    When the gradient itself is to be differentiated, a warning says that the plain form is run.
    """
    results: tuple[Tensor, ...] = _FastPass.apply(kind, list(batch_sizes), reverse, data, *weights, *state)
    return results
