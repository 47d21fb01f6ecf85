r"""Linear recurrences, which a parallel scan computes in log T passes, and the layers made of them.

A linear recurrence :math:`h_t = a_t \odot h_{t-1} + b_t` has no function around its state. Therefore two
steps make one, :math:`(a_2, b_2) \circ (a_1, b_1) = (a_2 a_1,\; a_2 b_1 + b_2)`, in whatever order they are
joined: an associative scan (Blelloch, 1990; for recurrent networks Martin and Cundy, 2018). Letters:
B sequences, T time steps, H features. Inside, time comes first and the buffer holds h_0 as its first row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, logsigmoid

from rnnbook.kernels import Weights
from rnnbook.layers import _Layer


def _loop(a: Tensor, h: Tensor, reverse: bool) -> None:
    """Do the work of :func:`_scan` step after step."""
    links, states = a.unbind(), h.unbind()
    if reverse:
        for t in reversed(range(len(links))):
            states[t].addcmul_(links[t], states[t + 1])
    else:
        for t in range(len(links)):
            states[t + 1].addcmul_(links[t], states[t])


def _scan(a: Tensor, h: Tensor, reverse: bool) -> None:
    """Turn h (T + 1, B, H) from inputs to states, in place; a (T, B, H) links each row to the next.

    Forward h[t + 1] += a[t] h[t], in reverse h[t] += a[t] h[t + 1], the transposed map, which is its
    gradient. Each odd row takes in one neighbour, the odd rows alone are a recurrence of half the
    length, and what they become completes the even rows: 3 T products in all, in 3 log2 T calls.
    """
    if len(h) < 2:
        return
    even, odd = h[::2], h[1::2]
    within, across = a[::2], a[1::2]  # from an even row to the odd one after it; from that to the next even
    head, tail = even[: len(odd)], even[1:]
    if reverse:
        odd[: len(tail)].addcmul_(across, tail)
    else:
        odd.addcmul_(within, head)
    _scan(across[: len(odd) - 1] * within[1:], odd, reverse)
    if reverse:
        head.addcmul_(within, odd)
    else:
        tail.addcmul_(across, odd[: len(tail)])


_SOLVERS: dict[str, Callable[[Tensor, Tensor, bool], None]] = {"loop": _loop, "scan": _scan}
METHODS = ("autograd", *_SOLVERS)


class _Recurrence(torch.autograd.Function):
    """States (T, B, H) from gate, values (T, B, H) and h_0 (B, H); the backward pass is the same reversed.

    The gate is a, and the values are b; or, with ``average``, h_t = (1 - z_t) h_{t-1} + z_t v_t, the gate
    is z, which saves several passes over memory.
    """

    @staticmethod
    def forward(ctx: Any, gate: Tensor, values: Tensor, h_0: Tensor, method: str, average: bool) -> Tensor:
        h = values.new_empty(len(values) + 1, *h_0.shape)
        h[0] = h_0
        if average:
            torch.mul(gate, values, out=h[1:])
        else:
            h[1:] = values
        _SOLVERS[method](1 - gate if average else gate, h, False)
        ctx.save_for_backward(gate, values if average else None, h)
        ctx.method = method
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        gate, values, h = ctx.saved_tensors
        average = values is not None
        d = torch.empty_like(h)  # dh_t = d_out_t + a_{t+1} dh_{t+1}; db_t = dh_t; da_t = dh_t h_{t-1}
        d[0], d[1:] = 0, d_out
        _SOLVERS[ctx.method](1 - gate if average else gate, d, True)
        d_0, d = d[0], d[1:]
        if average:
            return (values - h[:-1]).mul_(d), d * gate, d_0, None, None
        return d * h[:-1], d, d_0, None, None


def _recur(gate: Tensor, values: Tensor, h_0: Tensor, method: str, average: bool = False) -> Tensor:
    """Run the recurrence of :class:`_Recurrence` by one of the ``METHODS``; time comes first."""
    if method in _SOLVERS:
        states: Tensor = _Recurrence.apply(gate, values, h_0, method, average)
        return states
    a, b = (1 - gate, gate * values) if average else (gate, values)
    h, outputs = h_0, []
    for a_t, b_t in zip(a.unbind(), b.unbind(), strict=True):  # a[t] would cost O(T²): its gradient is
        h = a_t * h + b_t  # a whole tensor of zeros but for step t
        outputs.append(h)
    return torch.stack(outputs)


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")


def linear_recurrence(a: Tensor, b: Tensor, h_0: Tensor | None = None, *, method: str = "loop") -> Tensor:
    r"""Compute :math:`h_t = a_t \odot h_{t-1} + b_t` for a, b (B, T, H) from h_0 (B, H), zeros if left out.

    Returns all h (B, T, H). ``method`` is the way, not the result: ``"autograd"`` is the plain loop, of
    which autograd remembers each step; ``"loop"`` the same with a backward pass by hand; ``"scan"`` an
    associative scan, its backward pass another one, which needs the products of successive a to be finite.
    Only ``"autograd"`` can be differentiated twice.

    Raises ``TypeError`` for numbers that are not real floating-point ones of one type, and
    ``ValueError`` for shapes that do not fit, length 0 or an unknown method.
    """
    _check_method(method)
    parts = {"a": a, "b": b} | ({} if h_0 is None else {"h_0": h_0})
    for name, part in parts.items():
        if not isinstance(part, Tensor) or not part.is_floating_point():
            raise TypeError(
                f"expected {name} as real floating-point tensor, got {getattr(part, 'dtype', part)}"
            )
    if len({part.dtype for part in parts.values()}) > 1:
        types = ", ".join(f"{name} of {part.dtype}" for name, part in parts.items())
        raise TypeError(f"expected one type, got {types}")
    if b.ndim != 3 or a.shape != b.shape:
        raise ValueError(
            f"expected a and b of one shape (batch, time, feature), got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    batch_size, length, features = b.shape
    if not length:
        raise ValueError(f"expected at least one time step, got a and b of shape {tuple(b.shape)}")
    if h_0 is None:
        h_0 = b.new_zeros(batch_size, features)
    if h_0.shape != (batch_size, features):
        raise ValueError(f"expected h_0 of shape {(batch_size, features)}, got {tuple(h_0.shape)}")
    return _recur(a.transpose(0, 1), b.transpose(0, 1), h_0, method).transpose(0, 1)


def _running(batch_sizes: Sequence[int], device: torch.device) -> Tensor | None:
    """Mark (T, B) which sequences have a step at each time; None if all have."""
    if batch_sizes[0] == batch_sizes[-1]:
        return None
    sizes = torch.tensor(batch_sizes, device=device)
    running: Tensor = torch.arange(batch_sizes[0], device=device) < sizes.unsqueeze(1)
    return running


def _pad(rows: Tensor, batch_sizes: Sequence[int], running: Tensor | None, fill: float) -> Tensor:
    """Lay the rows (N, H) of all steps out as (T, B, H), with ``fill`` where a sequence has ended."""
    shape = (len(batch_sizes), batch_sizes[0])
    if running is None:
        return rows.view(*shape, -1)
    padded = rows.new_full((*shape, rows.shape[1]), fill)
    padded[running] = rows
    return padded


class _LinearLayer(_Layer):
    """What the three layers share: gates that do not see the state, then a linear recurrence."""

    average: ClassVar[bool] = True
    kind = "linear"

    def __init__(self, *args: Any, method: str = "loop", **kwargs: Any) -> None:
        """Take the arguments of ``torch.nn.GRU``, and the ``method`` of :func:`linear_recurrence`."""
        _check_method(method)
        self.method = method
        super().__init__(*args, **kwargs, form="fast")

    def extra_repr(self) -> str:
        """Show the sizes, what differs from the defaults, and the method."""
        return f"{super().extra_repr()}, method={self.method}"

    def _shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        shapes = super()._shapes(width)
        return {name: shape for name, shape in shapes.items() if name.endswith("ih")}

    def _gate_and_values(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Make the gate and the values (N, H) of all steps from the products with the input, each (N, H)."""
        raise NotImplementedError

    def _choose_pass(self, _device: str) -> Callable[..., tuple[Tensor, ...]]:
        return self._pass

    def _pass(
        self, _kind: str, sizes: Sequence[int], reverse: bool, data: Tensor, weights: Weights, h_0: Tensor
    ) -> tuple[Tensor, ...]:
        """Do what :func:`rnnbook.recurrence.plain_pass` does: rows (N, I) to rows (N, H) and the last state."""
        weight_ih, weight_hh, bias_ih, _ = weights
        parts = linear(data, weight_ih, bias_ih).chunk(self.num_gates, dim=1)
        gate, values = self._gate_and_values(*parts, *([] if weight_hh is None else [weight_hh]))
        running = _running(sizes, data.device)
        gate = _pad(gate, sizes, running, 0.0 if self.average else 1.0)  # after its end it keeps its state
        values = _pad(values, sizes, running, 0.0)
        if reverse:
            gate, values = gate.flip(0), values.flip(0)
        h = _recur(gate, values, h_0.to(values.dtype), self.method, self.average)
        last = h[-1]
        h = h.flip(0) if reverse else h
        return h.flatten(0, 1) if running is None else h[running], last


class MinGRU(_LinearLayer):
    r"""Minimal gated recurrent unit (Feng et al., 2024), with the arguments of ``torch.nn.GRU``.

    .. math::
        z_t = \sigma(W_z x_t + b_z), \quad \tilde h_t = W_h x_t + b_h, \quad
        h_t = (1 - z_t) \odot h_{t-1} + z_t \odot \tilde h_t

    ``weight_ih_l0`` (2H, I) holds the rows of z, then those of h̃. The candidate is linear, as in the
    paper's main text; its form for the logarithm of h, where h̃ must be positive, is left out.
    """

    num_gates = 2

    def _gate_and_values(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        z, candidate = parts
        return z.sigmoid(), candidate


class MinLSTM(_LinearLayer):
    r"""Minimal long short-term memory (Feng et al., 2024), with the arguments of ``torch.nn.GRU``.

    .. math::
        f_t = \sigma(W_f x_t + b_f), \quad i_t = \sigma(W_i x_t + b_i), \quad
        \tilde h_t = W_h x_t + b_h, \quad
        h_t = \frac{f_t}{f_t + i_t} \odot h_{t-1} + \frac{i_t}{f_t + i_t} \odot \tilde h_t

    ``weight_ih_l0`` (3H, I) holds the rows of f, i, h̃. There is one state, h: no cell beside it.
    """

    num_gates = 3

    def _gate_and_values(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        f, i, candidate = parts
        return (logsigmoid(i) - logsigmoid(f)).sigmoid(), candidate  # i / (f + i), also where both are 0


class DiagonalRecurrence(_LinearLayer):
    r"""Real diagonal linear recurrence, :math:`h_t = \lambda \odot h_{t-1} + W x_t + b`, 0 < λ < 1.

    In the spirit of the linear recurrent unit (Orvieto et al., 2023), whose λ are complex, can turn the
    state, and come with a scale of the input and a read-out; here λ = σ(``weight_hh_l0``) (H,) only
    forgets. At first λ is drawn evenly from 0.5 to 0.99. Arguments are those of ``torch.nn.GRU``.
    """

    num_gates, average = 1, False

    def _shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        return super()._shapes(width) | {"weight_hh": (self.hidden_size,)}

    def reset_parameters(self) -> None:
        """Draw W and b as the other layers do, and λ evenly from 0.5 to 0.99."""
        super().reset_parameters()
        for name, weight in self.named_parameters():
            if "weight_hh" in name:
                weight.data.uniform_(0.5, 0.99).logit_()

    def _gate_and_values(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        values, weight_hh = parts
        return weight_hh.sigmoid().expand_as(values), values
