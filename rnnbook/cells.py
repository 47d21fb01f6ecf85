r"""The recurrences written out, one time step each, the loop that unrolls them, and their first weights.

Every cell takes the ``state_dict`` of its twin in :mod:`torch.nn`, strictly, and gives the same
numbers and gradients. Letters: B batch, T time steps, I input_size, H hidden_size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

State = Tensor | tuple[Tensor, Tensor]
NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu}


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

    def _products(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Input part and recurrent part of all gates, before any nonlinearity: each (B, num_gates * H)."""
        return linear(x, self.weight_ih, self.bias_ih), linear(h, self.weight_hh, self.bias_hh)


def lstm_gates(x_part: Tensor, h_part: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make i, f, g, o, each (B, H), from the two products of a step, stacked in that order: (B, 4H)."""
    i, f, g, o = (x_part + h_part).chunk(4, dim=1)
    return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()


def gru_gates(x_part: Tensor, h_part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Make r, z, n, each (B, H), from the two products (B, 3H): r acts on the recurrent part of n alone."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = x_part.chunk(3, dim=1), h_part.chunk(3, dim=1)
    r = (r_x + r_h).sigmoid()
    return r, (z_x + z_h).sigmoid(), (n_x + r * n_h).tanh()


class RNNCell(_Cell):
    r"""One step of the simple recurrent network (Elman, 1990), with tanh or ReLU.

    .. math:: h_t = \tanh(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})
    """

    num_gates = 1

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "tanh") -> None:
        """Raise ``ValueError`` for a nonlinearity other than ``"tanh"`` and ``"relu"``."""
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"unknown nonlinearity {nonlinearity!r}; known: {', '.join(NONLINEARITIES)}")
        super().__init__(input_size, hidden_size)
        self.nonlinearity = nonlinearity

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Take x (B, I) and h (B, H), zeros when left out; return the next h (B, H).

        Raises ``TypeError`` for integer input and ``ValueError`` for shapes that do not fit.
        """
        self._check_input(x)
        x_part, h_part = self._products(x, self._start(x, h))
        return NONLINEARITIES[self.nonlinearity](x_part + h_part)


class LSTMCell(_Cell):
    r"""One step of the long short-term memory (Hochreiter and Schmidhuber, 1997).

    .. math::
        c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh(c_t)

    Gates stacked in the order i, f, g, o, as in ``torch.nn``; forget gate from Gers et al. (2000).
    """

    num_gates = 4

    def gates(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take x (B, I) and h (B, H); return i, f, g, o, each (B, H): what the step will multiply by."""
        self._check_input(x)
        return lstm_gates(*self._products(x, self._start(x, h)))

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Take x (B, I) and (h, c), each (B, H), zeros when left out; return the next (h, c).

        Raises ``TypeError`` for integer input and ``ValueError`` for shapes that do not fit.
        """
        if state is not None and (isinstance(state, Tensor) or len(state) != 2):
            raise TypeError("expected the state of an LSTM as a pair (h, c)")
        h, c = (None, None) if state is None else state
        i, f, g, o = self.gates(x, h)
        c = f * self._start(x, c, "c") + i * g
        return o * c.tanh(), c


class GRUCell(_Cell):
    r"""One step of the gated recurrent unit (Cho et al., 2014), in PyTorch's form.

    .. math::
        n_t &= \tanh(W_{in} x_t + b_{in} + r_t \odot (W_{hn} h_{t-1} + b_{hn})) \\
        h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}

    Gates stacked in the order r, z, n. The paper resets ``h`` before the product, not after it.
    """

    num_gates = 3

    def gates(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Take x (B, I) and h (B, H); return r, z, n, each (B, H)."""
        self._check_input(x)
        return gru_gates(*self._products(x, self._start(x, h)))

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Take x (B, I) and h (B, H), zeros when left out; return the next h (B, H).

        Raises ``TypeError`` for integer input and ``ValueError`` for shapes that do not fit.
        """
        _, z, n = self.gates(x, h)
        return (1 - z) * n + z * self._start(x, h)


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
    for x_t in x.unbind(1):  # not x[:, t]: its gradient would write all T steps, T times
        state = cell(x_t, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs, dim=1), state


def _blocks(module: nn.Module, kind: str) -> Sequence[Tensor]:
    """Find the parameters whose name begins with ``kind``: of a cell, or of all layers in a module."""
    named = module.named_parameters()
    found = [parameter for name, parameter in named if name.rpartition(".")[2].startswith(kind)]
    if not found:
        raise TypeError(f"expected a recurrent cell or layer, got {type(module).__name__}: it has no {kind}")
    return found


@torch.no_grad()
def init_orthogonal(module: nn.Module, gain: float = 1.0, *, generator: torch.Generator) -> None:
    """Make the H x H matrix of each gate orthogonal, times ``gain`` (Saxe, McClelland and Ganguli, 2014).

    All singular values of ``weight_hh`` are then ``gain``: a linear step neither shrinks nor stretches
    with 1. ``module`` is a cell of this file, or a layer of ``torch.nn``.
    """
    if not gain > 0:
        raise ValueError(f"expected a gain above 0, got {gain}")
    for weight in _blocks(module, "weight_hh"):
        for block in weight.split(weight.shape[1]):
            nn.init.orthogonal_(block, gain, generator=generator)


@torch.no_grad()
def init_identity(module: nn.Module, scale: float = 1.0) -> None:
    """Start from "keep the state": weight_hh = scale * 1, biases zero (Le, Jaitly and Hinton, 2015).

    Meant for ``RNNCell(..., nonlinearity="relu")`` and ``nn.RNN``; gated cells raise ``TypeError``.
    """
    for weight in _blocks(module, "weight_hh"):
        if weight.shape[0] != weight.shape[1]:
            raise TypeError("expected a network without gates: the identity is for RNNCell and nn.RNN")
        weight.copy_(scale * torch.eye(len(weight)))
    for bias in _blocks(module, "bias_"):
        bias.zero_()


def _set_gate_bias(module: nn.Module, gate: int, num_gates: int, value: Tensor | float) -> None:
    """Put ``value`` into one gate's rows of ``bias_ih``, and zero into those of ``bias_hh``."""
    weights = _blocks(module, "weight_hh")
    if any(len(weight) != num_gates * weight.shape[1] for weight in weights):
        raise TypeError(f"expected a cell with {num_gates} gates, got {type(module).__name__}")
    for bias_ih, bias_hh in zip(_blocks(module, "bias_ih"), _blocks(module, "bias_hh"), strict=True):
        bias_ih.chunk(num_gates)[gate].copy_(torch.as_tensor(value))
        bias_hh.chunk(num_gates)[gate].zero_()


@torch.no_grad()
def init_forget_bias(module: nn.Module, bias: float = 1.0) -> None:
    """Open the forget gate of an LSTM: its bias starts at ``bias`` (Gers et al., 2000; Jozefowicz et al., 2015).

    The bias is put into ``bias_ih``; that in ``bias_hh`` becomes zero. ``TypeError`` for other cells.
    """
    _set_gate_bias(module, 1, 4, bias)


@torch.no_grad()
def init_chrono(module: nn.Module, longest: int, *, generator: torch.Generator) -> None:
    """Spread the memory spans of the units from 1 to ``longest`` time steps (Tallec and Ollivier, 2018).

    LSTM: forget bias = log u with u uniform from 1 to longest - 1, input bias = its negative. GRU: the
    bias of z, which keeps the old state in PyTorch, is log u. ``ValueError`` for ``longest`` below 3.
    """
    if longest < 3:
        raise ValueError(f"expected longest of at least 3 time steps, got {longest}")
    hidden_size = _blocks(module, "weight_hh")[0].shape[1]
    num_gates = len(_blocks(module, "weight_hh")[0]) // hidden_size
    span = torch.empty(hidden_size).uniform_(1, longest - 1, generator=generator).log()
    if num_gates == 3:
        _set_gate_bias(module, 1, 3, span)
    else:
        _set_gate_bias(module, 1, 4, span)
        _set_gate_bias(module, 0, 4, -span)
