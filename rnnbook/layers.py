r"""Whole recurrent layers, in the place of ``torch.nn.RNN``, ``LSTM`` and ``GRU``.

Same arguments, parameter names, shapes, random first weights, outputs and gradients: depth, both
directions, dropout between layers, padded or packed batches, one sequence without a batch axis. Letters:
B batch, T time steps, I input_size, H hidden_size, L num_layers, D directions (1 or 2).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from rnnbook.cells import NONLINEARITIES
from rnnbook.kernels import Weights
from rnnbook.recurrence import fast_pass, plain_pass

FORMS = ("fast", "plain")


class _Layer(nn.Module):
    """What the three layers share: weights, the checks of what comes in, depth and direction."""

    num_gates: ClassVar[int]
    kind: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        form: str = "fast",
    ) -> None:
        """Take the arguments of ``torch.nn``'s layer, and ``form``: ``"fast"`` or ``"plain"``.

        Both forms are the same function; ``"plain"`` leaves the gradients to autograd. Raises
        ``TypeError`` or ``ValueError`` for sizes, a dropout or a form that cannot be.
        """
        super().__init__()
        for name, size in (
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ):
            if isinstance(size, bool) or not isinstance(size, int):
                raise TypeError(f"expected {name} as a whole number, got {size!r}")
            if size < 1:
                raise ValueError(f"expected {name} of at least 1, got {size}")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"expected dropout as a probability from 0 to 1, got {dropout!r}")
        if form not in FORMS:
            raise ValueError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout stands between layers, so one layer has none: it does nothing", stacklevel=3
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.form = bidirectional, form
        directions = 2 if bidirectional else 1
        for depth in range(num_layers):
            width = input_size if depth == 0 else directions * hidden_size
            for suffix in ("", "_reverse")[:directions]:
                for name, shape in self._shapes(width).items():
                    weight = torch.empty(shape, device=device, dtype=dtype)
                    self.register_parameter(f"{name}_l{depth}{suffix}", nn.Parameter(weight))
        self.reset_parameters()

    def _shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """Name the weights of one direction of one layer that reads ``width`` features, with their shapes."""
        rows = self.num_gates * self.hidden_size
        biases: dict[str, tuple[int, ...]] = {"bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else {}
        return {"weight_ih": (rows, width), "weight_hh": (rows, self.hidden_size), **biases}

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from (-1/√H, 1/√H), in the order of ``torch.nn``."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: here so that code written for ``torch.nn`` on a GPU runs unchanged."""

    def extra_repr(self) -> str:
        """Show the sizes, and what differs from the defaults."""
        defaults: dict[str, Any] = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        defaults |= {"bidirectional": False, "form": "fast"}
        changed = [
            f"{name}={getattr(self, name)}" for name, v in defaults.items() if getattr(self, name) != v
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])

    def _weights(self, depth: int, suffix: str) -> Weights:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        found = (getattr(self, f"{name}_l{depth}{suffix}", None) for name in names)
        return tuple(found)  # type: ignore[return-value]

    def _check_data(self, data: Tensor) -> None:
        if not data.is_floating_point():
            raise TypeError(f"expected floating-point input, got {data.dtype}: embed token ids first")
        dtype = next(self.parameters()).dtype
        if data.dtype != dtype and not torch.is_autocast_enabled(data.device.type):
            raise TypeError(f"expected input of the weights' type {dtype}, got {data.dtype}")
        if data.shape[-1] != self.input_size:
            raise ValueError(f"expected {self.input_size} features on the last axis, got {tuple(data.shape)}")

    def _check_state(self, state: Any, batch_size: int, batched: bool) -> list[Tensor]:
        """Return the state as [h] or [h, c], each (L * D, B, H); zeros when left out."""
        names = ("h_0", "c_0") if self.kind == "lstm" else ("h_0",)
        deep = self.num_layers * (2 if self.bidirectional else 1)
        if state is None:
            like = next(self.parameters())
            return [like.new_zeros(deep, batch_size, self.hidden_size) for _ in names]
        if self.kind == "lstm" and (isinstance(state, Tensor) or len(state) != 2):
            raise TypeError("expected the state of an LSTM as a pair (h_0, c_0)")
        parts = list(state) if self.kind == "lstm" else [state]
        shape = (deep, batch_size, self.hidden_size) if batched else (deep, self.hidden_size)
        for name, part in zip(names, parts, strict=True):
            if not isinstance(part, Tensor):
                raise TypeError(f"expected {name} as a tensor, got {type(part).__name__}")
            if part.shape != shape:
                raise ValueError(
                    f"expected {name} of shape {shape}, got {tuple(part.shape)}: "
                    f"layers x directions first, and a state belongs to the batch it was made from"
                )
        return parts if batched else [part.unsqueeze(1) for part in parts]

    def _choose_pass(self, device: str) -> Callable[..., tuple[Tensor, ...]]:
        """Return the function that takes one layer in one direction over the batch."""
        if self.form == "fast" and torch.is_autocast_enabled(device):
            warnings.warn("autocast: the fast form keeps one type, so the plain form is run", stacklevel=5)
            return plain_pass
        return fast_pass if self.form == "fast" else plain_pass

    def _run(
        self, data: Tensor, batch_sizes: list[int], state: list[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Go through all layers and directions: rows (N, I) to rows (N, D * H), state (L * D, B, H)."""
        one_pass = self._choose_pass(data.device.type)
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        last: list[list[Tensor]] = []
        for depth in range(self.num_layers):
            if depth and self.training and self.dropout:
                data = dropout(data, self.dropout)
            outputs = []
            for suffix in suffixes:
                start = (part[len(last)] for part in state)
                weights = self._weights(depth, suffix)
                rows, *end = one_pass(self.kind, batch_sizes, bool(suffix), data, weights, *start)
                outputs.append(rows)
                last.append(end)
            data = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
        return data, tuple(torch.stack(parts) for parts in zip(*last, strict=True))

    def forward(self, x: Tensor | PackedSequence, state: Any = None) -> tuple[Any, Any]:
        """Read x from the first step to the last; return ``(outputs, last state)`` as ``torch.nn`` does.

        x is (T, B, I), or (B, T, I) with ``batch_first``, or (T, I) for one sequence alone, or a
        ``PackedSequence``; outputs have the same form with D * H features. The state is h, or the pair
        (h, c) of an LSTM, each (L * D, B, H), without B for a sequence alone; zeros when left out.

        Raises ``TypeError`` for integers or another float type than the weights', and ``ValueError``
        for shapes that do not fit, naming them.
        """
        if isinstance(x, PackedSequence):
            self._check_data(x.data)
            parts = self._check_state(state, int(x.batch_sizes[0]), batched=True)
            if x.sorted_indices is not None:
                parts = [part.index_select(1, x.sorted_indices) for part in parts]
            data, last = self._run(x.data, x.batch_sizes.tolist(), parts)
            if x.unsorted_indices is not None:
                last = tuple(part.index_select(1, x.unsorted_indices) for part in last)
            outputs: Any = PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices)
        else:
            if x.ndim not in (2, 3):
                raise ValueError(
                    f"expected (time, batch, feature), or (time, feature) for one sequence, "
                    f"got {tuple(x.shape)}"
                )
            self._check_data(x)
            batched = x.ndim == 3
            steps = (x.transpose(0, 1) if self.batch_first else x) if batched else x.unsqueeze(1)
            length, batch_size = steps.shape[:2]
            if not length or not batch_size:
                raise ValueError(f"expected at least one time step and one sequence, got {tuple(x.shape)}")
            parts = self._check_state(state, batch_size, batched)
            rows = steps.reshape(length * batch_size, -1)
            data, last = self._run(rows, [batch_size] * length, parts)
            outputs = data.unflatten(0, (length, batch_size))
            if not batched:
                outputs, last = outputs.squeeze(1), tuple(part.squeeze(1) for part in last)
            elif self.batch_first:
                outputs = outputs.transpose(0, 1)
        return outputs, last if self.kind == "lstm" else last[0]


class RNN(_Layer):
    r"""Simple recurrent network (Elman, 1990), in the place of ``torch.nn.RNN``.

    .. math:: h_t = \tanh(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})
    """

    num_gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Take ``nonlinearity``, ``"tanh"`` or ``"relu"``, and all that :class:`_Layer` takes."""
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"unknown nonlinearity {nonlinearity!r}; known: {', '.join(NONLINEARITIES)}")
        super().__init__(input_size, hidden_size, num_layers, *args, **kwargs)
        self.kind = self.nonlinearity = nonlinearity


class LSTM(_Layer):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), in the place of ``torch.nn.LSTM``.

    The recurrence is that of :class:`rnnbook.cells.LSTMCell`. Projections (``proj_size``) are left out.
    """

    num_gates, kind = 4, "lstm"


class GRU(_Layer):
    """Gated recurrent unit (Cho et al., 2014), in the place of ``torch.nn.GRU``.

    The recurrence is that of :class:`rnnbook.cells.GRUCell`.
    """

    num_gates, kind = 3, "gru"
