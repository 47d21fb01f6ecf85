"""What a network keeps through time: the derivatives of its states, and the bytes of a forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnnbook.cells import State, unroll


def state_jacobians(cell: nn.Module, x: Tensor, state: State | None = None) -> Tensor:
    """Return ∂s_T/∂s_t for t = 0 … T, shape (T + 1, S, S), row i for entry i of the last state.

    ``cell`` is one of :mod:`rnnbook.cells` and x has shape (1, T, I). The state s is h (S = H), or
    h and c end to end for an LSTM (S = 2H). The last matrix is the identity. One backward pass serves
    all rows: the sequence is laid S times into a batch, and copy i differentiates entry i.
    """
    if x.ndim != 3 or len(x) != 1 or not x.shape[1]:
        raise ValueError(f"expected one sequence, x of shape (1, time, feature), got {tuple(x.shape)}")
    hidden, after = unroll(cell, x[:, :1].detach(), state)
    hidden_size = hidden.shape[2]
    if state is None:
        zeros = x.new_zeros(1, hidden_size)
        state = (zeros, zeros) if isinstance(after, tuple) else zeros
    parts = list(state) if isinstance(state, tuple) else [state]
    size = hidden_size * len(parts)
    rows = x.detach().expand(size, -1, -1)
    states = [[part.detach().repeat(size, 1).requires_grad_() for part in parts]]
    for t in range(x.shape[1]):
        new = cell(rows[:, t], tuple(states[-1]) if len(parts) == 2 else states[-1][0])
        # Copies, since the h of an LSTM is made from the very c beside it: that is no path through time.
        states.append([part.clone() for part in (new if isinstance(new, tuple) else [new])])
    last = torch.cat(states[-1], dim=1).diagonal().sum()
    flat = [part for parts in states for part in parts]
    gradients = torch.autograd.grad(last, flat)
    steps = zip(*(gradients[k :: len(parts)] for k in range(len(parts))), strict=True)
    return torch.stack([torch.cat(step, dim=1) for step in steps])


def gradient_through_time(cell: nn.Module, x: Tensor, state: State | None = None) -> Tensor:
    """Return the largest singular value of ∂s_T/∂s_t for t = 0 … T, shape (T + 1,): 1 at t = T.

    By how much the last state can move, at most, for a small move of an earlier one (Pascanu, Mikolov
    and Bengio, 2013). Arguments as in :func:`state_jacobians`; give both in float64.
    """
    norms: Tensor = torch.linalg.matrix_norm(state_jacobians(cell, x, state), ord=2)
    return norms


def saved_bytes(model: nn.Module, *inputs: Tensor) -> int:
    """Count the bytes that a forward pass keeps for the backward pass; each storage once, no weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}
    alive = []  # or a freed storage could lend its address to the next

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(*inputs)
    return sum(kept.values())
