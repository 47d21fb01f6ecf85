"""Linear recurrences: three ways, one result; and the layers, step by step as in their papers."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from scipy.special import expit
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from torch.overrides import TorchFunctionMode

from rnnbook import scan
from rnnbook.scan import METHODS, DiagonalRecurrence, MinGRU, MinLSTM, linear_recurrence

LENGTHS = [1, 2, 3, 5, 7, 64, 100, 1024]
LAYERS = [MinGRU, MinLSTM, DiagonalRecurrence]


def draw(*shape: int, seed: int = 0, lowest: float = -1.0) -> torch.Tensor:
    numbers = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (lowest + (1 - lowest) * numbers).requires_grad_()


def problem(length: int, batch_size: int = 2, features: int = 3) -> tuple[torch.Tensor, ...]:
    """a with some zeros, b and h_0."""
    a = draw(batch_size, length, features)
    with torch.no_grad():
        a[:, ::5, 0] = 0
    return a, draw(batch_size, length, features, seed=1), draw(batch_size, features, seed=2)


def by_products(a: torch.Tensor, b: torch.Tensor, h_0: torch.Tensor) -> np.ndarray:
    """h_t = Σ_s b_s Π_{s < u ≤ t} a_u, with h_0 as the b of time 0: each state on its own."""
    a_, b_ = a.detach().numpy(), np.concatenate([h_0.detach().numpy()[:, None], b.detach().numpy()], axis=1)
    return np.stack(
        [
            sum(b_[:, s] * np.prod(a_[:, s:t], axis=1) for s in range(max(0, t - 400), t + 1))
            for t in range(1, b_.shape[1])
        ],
        axis=1,
    )


def results(method: str, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """States and the gradients of a random function of them."""
    h = linear_recurrence(*inputs, method=method)
    weights = draw(*h.shape, seed=3).detach()
    return [h, *torch.autograd.grad((h * weights).sum(), inputs)]


def assert_same(one: str, other: str, *lengths: int) -> None:
    for length in lengths:
        inputs = problem(length)
        for ours, theirs in zip(results(one, *inputs), results(other, *inputs), strict=True):
            assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("length", LENGTHS)
def test_scan_and_loop_agree_in_value_and_gradient(length):
    assert_same("scan", "loop", length)
    assert_same("loop", "autograd", length)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 64, 100])
def test_each_state_is_the_sum_of_what_is_left_of_the_inputs(method, length):
    a, b, h_0 = problem(length)
    expected = by_products(a, b, h_0)
    np.testing.assert_allclose(linear_recurrence(a, b, h_0, method=method).detach(), expected, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_constant_a_is_a_digital_filter(method, length):
    _, b, h_0 = problem(length)
    factors = torch.tensor([0.0, 0.9, -0.999], dtype=torch.float64)
    ours = linear_recurrence(factors.expand_as(b), b, h_0, method=method).detach()
    for i, factor in enumerate(factors.tolist()):
        start = factor * h_0[:, i : i + 1].detach().numpy()
        theirs, _ = lfilter([1.0], [1.0, -factor], b[:, :, i].detach().numpy(), axis=1, zi=start)
        np.testing.assert_allclose(ours[:, :, i], theirs, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_gradients_are_those_of_differences(method, length):
    torch.autograd.gradcheck(lambda *inputs: linear_recurrence(*inputs, method=method), problem(length))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("within[1:]", "within[: len(odd) - 1]"),  # the product with the link before, not after
        ("across[: len(odd) - 1]", "across[len(across) - len(odd) + 1 :]"),
        ("odd[: len(tail)])", "odd[len(odd) - len(tail) :])"),
        ("addcmul_(across, tail)", "addcmul_(across, even[: len(tail)])"),  # only the gradient
        ("head.addcmul_(within, odd)", "head.addcmul_(a[len(a) % 2 :: 2][: len(odd)], odd)"),
    ],
)
def test_an_off_by_one_in_the_scan_is_caught(monkeypatch, right, wrong):
    source = inspect.getsource(scan._scan)
    assert source.count(right) == 1
    exec(source.replace(right, wrong), namespace := dict(vars(scan)))  # noqa: S102 (our own source)
    monkeypatch.setitem(scan._SOLVERS, "scan", namespace["_scan"])
    with pytest.raises((AssertionError, RuntimeError)):
        assert_same("scan", "loop", *LENGTHS)


class Count(TorchFunctionMode):
    """Count the products."""

    calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += func in (torch.Tensor.addcmul_, torch.Tensor.mul)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("length", [63, 64, 1024])
def test_the_scan_needs_a_number_of_calls_that_grows_as_the_logarithm(length):
    a, b = torch.rand(1, length, 2), torch.rand(1, length, 2)
    with Count() as loop:
        linear_recurrence(a, b)
    with Count() as halving:
        linear_recurrence(a, b, method="scan")
    assert loop.calls == length
    assert halving.calls <= 3 * (math.floor(math.log2(length)) + 1)


@pytest.mark.parametrize("method", METHODS)
def test_layout_in_memory_and_type_are_no_matter(method):
    a, b, h_0 = (x.detach() for x in problem(7))
    expected = linear_recurrence(a, b, h_0, method=method)
    swapped = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in (a, b)]
    assert torch.equal(linear_recurrence(*swapped, h_0, method=method), expected)
    single = linear_recurrence(a.float(), b.float(), h_0.float(), method=method)
    assert single.dtype == torch.float32
    assert (single - expected).abs().max() < 1e-6
    zeros = torch.zeros_like(h_0)
    assert torch.equal(linear_recurrence(a, b, method=method), linear_recurrence(a, b, zeros, method=method))


def test_inputs_are_left_as_they_are():
    inputs = problem(9)
    before = [x.detach().clone() for x in inputs]
    for method in METHODS:
        results(method, *inputs)
    assert all(torch.equal(x, y) for x, y in zip(inputs, before, strict=True))


def test_second_derivatives_are_left_to_autograd():
    inputs = problem(3)
    torch.autograd.gradgradcheck(lambda *x: linear_recurrence(*x, method="autograd"), inputs)
    for method in ("loop", "scan"):
        h = linear_recurrence(*inputs, method=method)
        (gradient,) = torch.autograd.grad(h.square().sum(), inputs[0], create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            gradient.sum().backward()


ONE = torch.ones(2, 4, 3)


@pytest.mark.parametrize(
    ("error", "words", "arguments", "options"),
    [
        (ValueError, "at least one time step", (ONE[:, :0], ONE[:, :0]), {}),
        (ValueError, r"one shape \(batch, time, feature\), got \(2, 3, 3\)", (ONE[:, :3], ONE), {}),
        (ValueError, r"got \(4, 3\) and \(4, 3\)", (ONE[0], ONE[0]), {}),
        (ValueError, r"h_0 of shape \(2, 3\), got \(1, 2, 3\)", (ONE, ONE, torch.ones(1, 2, 3)), {}),
        (ValueError, "unknown method 'fast'; known: autograd, loop, scan", (ONE, ONE), {"method": "fast"}),
        (TypeError, "expected a as real floating-point tensor, got torch.int64", (ONE.long(), ONE), {}),
        (TypeError, "expected b .* got torch.complex64", (ONE, ONE.to(torch.complex64)), {}),
        (TypeError, "one type, got a of torch.float64, b of torch.float32", (ONE.double(), ONE), {}),
        (TypeError, "expected h_0 .* got 0", (ONE, ONE, 0), {}),
    ],
)
def test_errors_in_words(error, words, arguments, options):
    with pytest.raises(error, match=words):
        linear_recurrence(*arguments, **options)


# --- layers ------------------------------------------------------------------------------------------


def by_hand(layer: torch.nn.Module, x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Run one layer over x (T, I) from h (H,), as its paper writes it."""
    weights = {name: weight.detach().numpy() for name, weight in layer.named_parameters()}
    outputs = []
    for x_t in x:
        parts = np.split(weights["weight_ih_l0"] @ x_t + weights["bias_ih_l0"], layer.num_gates)
        if isinstance(layer, MinGRU):
            z, candidate = expit(parts[0]), parts[1]
            h = (1 - z) * h + z * candidate
        elif isinstance(layer, MinLSTM):
            f, i = expit(parts[0]), expit(parts[1])
            h = f / (f + i) * h + i / (f + i) * parts[2]
        else:
            h = expit(weights["weight_hh_l0"]) * h + parts[0]
        outputs.append(h)
    return np.stack(outputs)


def make(kind: type, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    return kind(3, 4, dtype=torch.float64, **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_does_what_its_paper_says(kind, method):
    layer = make(kind, method=method, batch_first=True)
    x, h_0 = draw(2, 9, 3).detach(), draw(1, 2, 4, seed=1).detach()
    outputs, h_n = layer(x, h_0)
    for b in range(2):
        expected = by_hand(layer, x[b].numpy(), h_0[0, b].numpy())
        np.testing.assert_allclose(outputs[b].detach(), expected, atol=1e-14)
    assert torch.equal(h_n[0], outputs[:, -1])
    first, h = layer(x[:, :4], h_0)
    second, _ = layer(x[:, 4:], h)
    assert torch.allclose(torch.cat([first, second], dim=1), outputs, atol=1e-14)


@pytest.mark.parametrize("method", ["loop", "scan"])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_gradients_of_a_layer(kind, method):
    layer = make(kind, method=method)
    names = [name for name, _ in layer.named_parameters()]

    def run(x, h_0, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x, h_0))

    torch.autograd.gradcheck(run, (draw(3, 1, 3), draw(1, 1, 4, seed=1), *layer.parameters()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", LAYERS)
def test_packed_and_in_both_directions_as_each_sequence_alone(kind, method):
    layer = make(kind, method=method, bidirectional=True, num_layers=2)
    texts = [draw(length, 3, seed=length).detach() for length in (4, 7, 1)]
    h_0 = draw(4, 3, 4, seed=1).detach()
    packed, h_n = layer(pack_sequence(texts, enforce_sorted=False), h_0)
    outputs, lengths = pad_packed_sequence(packed, batch_first=True)
    assert lengths.tolist() == [4, 7, 1]
    for b, text in enumerate(texts):
        alone, h = layer(text, h_0[:, b])
        assert torch.allclose(outputs[b, : len(text)], alone, atol=1e-14)
        assert torch.allclose(h_n[:, b], h, atol=1e-14)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_second_direction_reads_from_the_end(kind):
    both, back = make(kind, bidirectional=True), make(kind)
    back.load_state_dict({name: both.state_dict()[f"{name}_reverse"] for name in back.state_dict()})
    x = draw(7, 2, 3).detach()
    outputs, h_n = both(x)
    alone, h = back(x.flip(0))
    assert torch.allclose(outputs[..., 4:], alone.flip(0), atol=1e-14)
    assert torch.allclose(h_n[1], h[0], atol=1e-14)


def test_a_gate_averages_and_a_decay_forgets():
    x = draw(50, 2, 3).detach()
    for kind in (MinGRU, MinLSTM):
        layer = make(kind)
        outputs, _ = layer(x)
        weight, bias = layer.weight_ih_l0[-4:], layer.bias_ih_l0[-4:]
        assert outputs.abs().max() <= torch.nn.functional.linear(x, weight, bias).abs().max()
    layer = make(DiagonalRecurrence, bias=False)
    decay = layer.weight_hh_l0.sigmoid()
    assert ((decay > 0.5) & (decay < 0.99)).all()
    impulse = torch.zeros(6, 1, 3, dtype=torch.float64)
    impulse[0] = 1
    outputs = layer(impulse)[0]
    powers = decay ** torch.arange(6, dtype=torch.float64).unsqueeze(1)
    assert torch.allclose(outputs[:, 0], powers * layer.weight_ih_l0.sum(1))


def test_a_minlstm_with_both_gates_shut_stays_a_number():
    layer = MinLSTM(3, 4)
    with torch.no_grad():
        layer.bias_ih_l0[:8] = -200.0
    outputs, _ = layer(torch.ones(5, 2, 3))
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in layer.parameters())


def test_a_layer_is_saved_shown_and_refused_as_the_others_are():
    layer = MinGRU(3, 4, method="scan", batch_first=True)
    assert repr(layer) == "MinGRU(3, 4, batch_first=True, method=scan)"
    assert {name: tuple(w.shape) for name, w in layer.state_dict().items()} == {
        "weight_ih_l0": (8, 3),
        "bias_ih_l0": (8,),
    }
    with pytest.raises(ValueError, match="unknown method 'fast'"):
        MinGRU(3, 4, method="fast")
    with pytest.raises(TypeError, match="form"):
        MinGRU(3, 4, form="plain")
    with pytest.raises(ValueError, match="3 features"):
        layer(torch.ones(2, 5, 4))
    with pytest.raises(ValueError, match=r"h_0 of shape \(1, 2, 4\)"):
        layer(torch.ones(2, 5, 3), torch.ones(2, 4))
    with pytest.raises(ValueError, match="at least one time step"):
        layer(torch.ones(2, 0, 3))
    with pytest.raises(TypeError, match="embed token ids"):
        layer(torch.ones(2, 5, 3).long())
