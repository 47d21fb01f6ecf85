"""The arithmetic of a recurrent layer on buffers made beforehand, forward and backward.

A kernel works on one rectangle of steps. Its ``buffers`` have the shape (steps, batch, features) and
are overwritten; ``order`` goes through the steps as the sequence is read. Forward, the first buffer
holds the products with the input and becomes the gates. Backward, what is known of the derivatives is
made for all steps at once, so that the loop only multiplies it by dh and dc, the gradients of the
state on their way back; the result is the gradient of the products with x and of those with h.
Called by :mod:`rnnbook.recurrence`.
"""

from __future__ import annotations

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
Parts = list[Tensor]
Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]  # weight_ih, weight_hh, bias_ih, bias_hh
_MINUS_ONE = torch.tensor(-1.0)


def _finish_tanh(s: Tensor) -> Tensor:
    """Overwrite s = σ(2x) with 2s - 1 = tanh x: faster than ``tanh`` on a CPU, off by a rounding of 1."""
    return torch.add(_MINUS_ONE, s, alpha=2, out=s)


def _tanh(x: Tensor, out: Tensor) -> Tensor:
    """Write tanh x to ``out``, which may be x itself."""
    return _finish_tanh(torch.add(x, x, out=out).sigmoid_())


def _through_sigmoid(gradient: Tensor, y: Tensor, out: Tensor) -> None:
    """Write gradient * y (1 - y) to ``out``: back through y = σ(x)."""
    torch.ops.aten.sigmoid_backward.grad_input(gradient, y, grad_input=out)


def _through_tanh(gradient: Tensor, y: Tensor, out: Tensor) -> None:
    """Write gradient * (1 - y²) to ``out``: back through y = tanh(x)."""
    torch.ops.aten.tanh_backward.grad_input(gradient, y, grad_input=out)


def prepare(kind: str, weights: Weights) -> tuple[Pair, Pair]:
    """Return weight and bias of the product with x, and of that with h, as the forward kernels want them.

    The biases are joined, except the one that a GRU's reset gate acts on. The rows that go through
    tanh are doubled where one sigmoid can then serve all gates: tanh x = 2 σ(2x) - 1.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    hidden = weight_hh.shape[1]
    zeros = weight_hh.new_zeros(len(weight_hh))
    bias_ih, bias_hh = (zeros, zeros) if bias_ih is None or bias_hh is None else (bias_ih, bias_hh)
    if kind == "gru":
        rz_n = [(bias_ih + bias_hh)[: 2 * hidden], bias_ih[2 * hidden :]]
        return (weight_ih, torch.cat(rz_n)), (weight_hh, bias_hh[2 * hidden :])
    scale = torch.ones_like(zeros).unsqueeze(1)
    if kind != "relu":
        scale.view(-1, hidden)[2 if kind == "lstm" else 0] = 2
    return (weight_ih * scale, (bias_ih + bias_hh) * scale[:, 0]), (weight_hh * scale, zeros)


class _Kernel:
    """One recurrence; a subclass says what its buffers hold and how a step goes, forward and backward."""

    extra_buffers: tuple[str, ...] = ()

    def forward(self, order: range, buffers: Parts, start: Parts, recurrent: Pair) -> None:
        """Fill the buffers from the state (batch, H) that the first step starts with: h, or h and c."""
        raise NotImplementedError

    def backward(
        self, order: range, buffers: Parts, before: Parts, d_out: Tensor, d_state: Parts, weight_hh: Tensor
    ) -> Pair:
        """Take dh (and dc) back through the steps in place; ``before`` holds each step's old state."""
        raise NotImplementedError


class _Simple(_Kernel):
    """h = tanh(a) or relu(a). Buffer: the outputs h."""

    def __init__(self, relu: bool) -> None:
        self.relu = relu

    def forward(self, order: range, buffers: Parts, start: Parts, recurrent: Pair) -> None:
        out, h, weight = buffers[0].unbind(), start[0], recurrent[0].T
        for t in order:
            out[t].addmm_(h, weight)
            h = out[t].relu_() if self.relu else _finish_tanh(out[t].sigmoid_())

    def backward(
        self, order: range, buffers: Parts, before: Parts, d_out: Tensor, d_state: Parts, weight_hh: Tensor
    ) -> Pair:
        h, dh = buffers[0], d_state[0]
        local = (h > 0).to(h.dtype) if self.relu else torch.addcmul(h.new_ones(()), h, h, value=-1)
        d_a, d_outs = local.unbind(), d_out.unbind()
        for t in order[::-1]:
            d_a[t].mul_(dh.add_(d_outs[t]))
            torch.mm(d_a[t], weight_hh, out=dh)
        return local, local


class _LSTM(_Kernel):
    """c = f c + i g, h = o tanh(c). Buffers: the gates i, f, g, o side by side; the cells c; the outputs h."""

    extra_buffers = ("c", "h")

    def forward(self, order: range, buffers: Parts, start: Parts, recurrent: Pair) -> None:
        (h, c), weight = start, recurrent[0].T
        gates, cells, out = (buffer.unbind() for buffer in buffers)
        i, f, g, o = (part.unbind() for part in buffers[0].chunk(4, dim=2))
        for t in order:
            gates[t].addmm_(h, weight).sigmoid_()
            _finish_tanh(g[t])
            c = torch.mul(f[t], c, out=cells[t]).addcmul_(i[t], g[t])
            h = _tanh(c, out[t]).mul_(o[t])

    def backward(
        self, order: range, buffers: Parts, before: Parts, d_out: Tensor, d_state: Parts, weight_hh: Tensor
    ) -> Pair:
        (dh, dc), (gates, cells, _) = d_state, buffers
        i, f, g, o = gates.chunk(4, dim=2)
        local = torch.empty_like(gates)
        local_i, local_f, local_g, local_o = local.chunk(4, dim=2)
        y = _tanh(cells, torch.empty_like(cells))
        _through_sigmoid(g, i, local_i)
        _through_sigmoid(before[1], f, local_f)
        _through_tanh(i, g, local_g)
        _through_sigmoid(y, o, local_o)
        _through_tanh(o, y, y)
        d_ifg = local.unflatten(2, (4, -1))[:, :, :3].unbind()
        d_a, d_o, fs, h_to_c, d_outs = (x.unbind() for x in (local, local_o, f, y, d_out))
        dc_each = dc.unsqueeze(1)
        for t in order[::-1]:
            dc.addcmul_(dh.add_(d_outs[t]), h_to_c[t])
            d_ifg[t].mul_(dc_each)
            d_o[t].mul_(dh)
            dc.mul_(fs[t])
            torch.mm(d_a[t], weight_hh, out=dh)
        return local, local


class _GRU(_Kernel):
    """n = tanh(a_n + r a_hn), h = (1 - z) n + z h. Buffers: the gates r, z, n; the products a_hn; h."""

    extra_buffers = ("a_hn", "h")

    def forward(self, order: range, buffers: Parts, start: Parts, recurrent: Pair) -> None:
        h, (weight_hh, bias_hn) = start[0], recurrent
        cut = 2 * h.shape[1]
        weight_rz, weight_hn = weight_hh[:cut].T, weight_hh[cut:].T
        rz, a_hn, out = (part.unbind() for part in (buffers[0][..., :cut], *buffers[1:]))
        r, z, n = (part.unbind() for part in buffers[0].chunk(3, dim=2))
        for t in order:
            rz[t].addmm_(h, weight_rz).sigmoid_()
            torch.addmm(bias_hn, h, weight_hn, out=a_hn[t])
            _tanh(n[t].addcmul_(r[t], a_hn[t]), n[t])
            h = torch.lerp(n[t], h, z[t], out=out[t])

    def backward(
        self, order: range, buffers: Parts, before: Parts, d_out: Tensor, d_state: Parts, weight_hh: Tensor
    ) -> Pair:
        dh, (gates, a_hn, _) = d_state[0], buffers
        r, z, n = gates.chunk(3, dim=2)
        local, local_n = torch.empty_like(gates), torch.empty_like(a_hn)  # for a_r, a_z, a_hn; for a_n
        local_r, local_z, local_hn = local.chunk(3, dim=2)
        _through_tanh(1 - z, n, local_n)
        _through_sigmoid(local_n * a_hn, r, local_r)
        _through_sigmoid(before[0] - n, z, local_z)
        torch.mul(local_n, r, out=local_hn)
        d_blocks = local.unflatten(2, (3, -1)).unbind()
        d_a, d_n, zs, d_outs = (x.unbind() for x in (local, local_n, z, d_out))
        dh_each = dh.unsqueeze(1)
        for t in order[::-1]:
            dh.add_(d_outs[t])
            d_blocks[t].mul_(dh_each)
            d_n[t].mul_(dh)
            dh.mul_(zs[t]).addmm_(d_a[t], weight_hh)
        return torch.cat([local[..., : -a_hn.shape[2]], local_n], dim=2), local


KERNELS: dict[str, _Kernel] = {
    "tanh": _Simple(relu=False),
    "relu": _Simple(relu=True),
    "lstm": _LSTM(),
    "gru": _GRU(),
}
