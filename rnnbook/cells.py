r"""The recurrences written out, one time step each, and the loop that unrolls them.

Every cell takes the ``state_dict`` of its twin in :mod:`torch.nn`, strictly, and gives the same
numbers and gradients. Letters: B batch, T time steps, I input_size, H hidden_size.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

State = Tensor | tuple[Tensor, Tensor]


class _Cell(nn.Module):
    """What the cells share: sizes, weights stacked gate by gate, and the checks of their input."""

    num_gates: int

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Draw all weights uniformly from (-1/√H, 1/√H), like ``torch.nn``'s cells."""
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if isinstance(size, bool) or not isinstance(size, int):
                raise TypeError(f"expected {name} as a whole number, got {size!r}")
            if size < 1:
                raise ValueError(f"expected {name} of at least 1, got {size}")
        self.input_size, self.hidden_size = input_size, hidden_size
        rows = self.num_gates * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))
        bound = 1 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """Show the two sizes."""
        return f"{self.input_size}, {self.hidden_size}"

    def _check_input(self, x: Tensor) -> None:
        if not x.is_floating_point():
            raise TypeError(f"expected x as floating-point numbers, got {x.dtype}: embed token ids first")
        if x.ndim != 2 or x.shape[1] != self.input_size:
            raise ValueError(f"expected x of shape (batch, {self.input_size}), got {tuple(x.shape)}")

    def _start(self, x: Tensor, state: Tensor | None, name: str = "h") -> Tensor:
        if state is None:
            return x.new_zeros(len(x), self.hidden_size)
        if not isinstance(state, Tensor):
            raise TypeError(f"expected the state {name} as one tensor, got {type(state).__name__}")
        if state.shape != (len(x), self.hidden_size):
            raise ValueError(
                f"expected {name} of shape ({len(x)}, {self.hidden_size}), got {tuple(state.shape)}: "
                f"a state belongs to the batch it was made from"
            )
        return state

    def _gates(self, x: Tensor, h: Tensor) -> Tensor:
        """Input part plus recurrent part of all gates: (B, num_gates * H)."""
        return x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T + self.bias_hh


class RNNCell(_Cell):
    r"""One step of the simple recurrent network (Elman, 1990).

    .. math:: h_t = \tanh(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})
    """

    num_gates = 1

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Take x (B, I) and h (B, H), zeros when left out; return the next h (B, H).

        Raises ``TypeError`` for integer input and ``ValueError`` for shapes that do not fit.
        """
        self._check_input(x)
        return torch.tanh(self._gates(x, self._start(x, h)))


class LSTMCell(_Cell):
    r"""One step of the long short-term memory (Hochreiter and Schmidhuber, 1997).

    .. math::
        c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh(c_t)

    Gates stacked in the order i, f, g, o, as in ``torch.nn``; forget gate from Gers et al. (2000).
    """

    num_gates = 4

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Take x (B, I) and (h, c), each (B, H), zeros when left out; return the next (h, c).

        Raises ``TypeError`` for integer input and ``ValueError`` for shapes that do not fit.
        """
        self._check_input(x)
        if state is not None and (isinstance(state, Tensor) or len(state) != 2):
            raise TypeError("expected the state of an LSTM as a pair (h, c)")
        h, c = (None, None) if state is None else state
        h, c = self._start(x, h), self._start(x, c, "c")
        i, f, g, o = self._gates(x, h).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class GRUCell(_Cell):
    r"""One step of the gated recurrent unit (Cho et al., 2014), in PyTorch's form.

    .. math::
        n_t &= \tanh(W_{in} x_t + b_{in} + r_t \odot (W_{hn} h_{t-1} + b_{hn})) \\
        h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}

    Gates stacked in the order r, z, n. The paper resets ``h`` before the product, not after it.
    """

    num_gates = 3

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Take x (B, I) and h (B, H), zeros when left out; return the next h (B, H).

        Raises ``TypeError`` for integer input and ``ValueError`` for shapes that do not fit.
        """
        self._check_input(x)
        h = self._start(x, h)
        r_x, z_x, n_x = (x @ self.weight_ih.T + self.bias_ih).chunk(3, dim=1)
        r_h, z_h, n_h = (h @ self.weight_hh.T + self.bias_hh).chunk(3, dim=1)
        r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
        n = (n_x + r * n_h).tanh()
        return (1 - z) * n + z * h


def unroll(cell: nn.Module, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """Apply a cell to x (B, T, I), step after step; return ``(outputs (B, T, H), last state)``.

    Cutting x in two and carrying the state over gives the same outputs as one call.
    Raises ``ValueError`` unless x has three axes and at least one time step.
    """
    if x.ndim != 3:
        raise ValueError(
            f"expected x of shape (batch, time, feature), got {tuple(x.shape)}: add the missing axis, "
            f"e.g. x.unsqueeze(0) for one sequence or x.unsqueeze(-1) for one feature"
        )
    if x.shape[1] == 0:
        raise ValueError("expected at least one time step, got x with T = 0")
    outputs = []
    for t in range(x.shape[1]):
        state = cell(x[:, t], state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs, dim=1), state
