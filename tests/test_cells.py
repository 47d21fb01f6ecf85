"""The cells and their loop are PyTorch's, in value and in every gradient."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from rnnbook.cells import GRUCell, LSTMCell, RNNCell, unroll

TWINS = {RNNCell: nn.RNNCell, LSTMCell: nn.LSTMCell, GRUCell: nn.GRUCell}
LAYERS = {RNNCell: nn.RNN, LSTMCell: nn.LSTM, GRUCell: nn.GRU}
SIZES = [(1, 1, 1), (1, 3, 2), (4, 1, 3), (3, 5, 4)]  # batch, input_size, hidden_size

every_cell = pytest.mark.parametrize("kind", TWINS, ids=lambda kind: kind.__name__)
every_size = pytest.mark.parametrize("sizes", SIZES, ids=str)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def twins(kind: type[nn.Module], inputs: int, hidden: int) -> tuple[nn.Module, nn.Module]:
    """Make our cell and PyTorch's with the same random weights, in double precision."""
    ours, theirs = kind(inputs, hidden).double(), TWINS[kind](inputs, hidden).double()
    for i, parameter in enumerate(theirs.parameters()):
        parameter.data = random(*parameter.shape, seed=100 + i)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def state_of(kind: type[nn.Module], batch: int, hidden: int) -> tuple[Tensor, ...]:
    """Draw a state that asks for its gradient: one tensor, or two for an LSTM."""
    count = 2 if kind is LSTMCell else 1
    return tuple(random(batch, hidden, seed=10 + i).requires_grad_() for i in range(count))


def as_argument(state: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    return state if len(state) == 2 else state[0]


def as_tuple(state: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def scalar(tensors: tuple[Tensor, ...]) -> Tensor:
    """A sum in which no two entries have the same weight, so that no exchange goes unseen."""
    return sum((t * random(*t.shape, seed=50 + i)).sum() for i, t in enumerate(tensors))


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


# --- one step ------------------------------------------------------------------------------------


@every_cell
@every_size
def test_step_equals_torch_in_value_and_gradient(kind, sizes):
    batch, inputs, hidden = sizes
    results = []
    for cell in twins(kind, inputs, hidden):
        x, state = random(batch, inputs).requires_grad_(), state_of(kind, batch, hidden)
        out = as_tuple(cell(x, as_argument(state)))
        gradients = torch.autograd.grad(scalar(out), [x, *state, *cell.parameters()])
        assert all(gradient.abs().max() > 0 for gradient in gradients)
        results.append([*out, *gradients])
    assert len(results[0]) == len(results[1])
    for actual, expected in zip(*results, strict=True):
        assert_same(actual, expected)


@every_cell
def test_no_state_is_a_state_of_zeros(kind):
    ours, theirs = twins(kind, 3, 2)
    x = random(4, 3)
    zeros = as_argument(tuple(torch.zeros_like(s) for s in state_of(kind, 4, 2)))
    for without, with_zeros, torchs in zip(
        as_tuple(ours(x)), as_tuple(ours(x, zeros)), as_tuple(theirs(x)), strict=True
    ):
        assert torch.equal(without, with_zeros)
        assert_same(without, torchs)


@every_cell
def test_state_dict_fits_both_ways(kind):
    ours, theirs = kind(3, 2), TWINS[kind](3, 2)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(4, 3)
    torch.testing.assert_close(as_tuple(ours(x))[0], as_tuple(theirs(x))[0])
    with pytest.raises(RuntimeError, match="weight_hh"):
        ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k != "weight_hh"})


@every_cell
def test_gradcheck(kind):
    ours, _ = twins(kind, 2, 2)
    x, state = random(2, 3, 2).requires_grad_(), state_of(kind, 2, 2)

    def function(x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        outputs, last = unroll(ours, x, as_argument(state))
        return (outputs, *as_tuple(last))

    assert torch.autograd.gradcheck(function, (x, *state))


@every_cell
@pytest.mark.parametrize("twice", [copy.deepcopy, lambda cell: pickle.loads(pickle.dumps(cell))])
def test_copies_are_equal_and_separate(kind, twice):
    cell = kind(3, 2)
    other = twice(cell)
    x = torch.randn(4, 3)
    assert torch.equal(as_tuple(cell(x))[0], as_tuple(other(x))[0])
    with torch.no_grad():
        other.bias_ih += 1.0
    assert not torch.allclose(as_tuple(cell(x))[0], as_tuple(other(x))[0])


@every_cell
def test_weights_begin_within_the_bound_and_follow_the_seed(kind):
    torch.manual_seed(3)
    cell = kind(7, 16)
    for parameter in cell.parameters():
        assert parameter.abs().max() <= 0.25
        assert parameter.min() < -0.15
        assert parameter.max() > 0.15
    torch.manual_seed(3)
    assert all(torch.equal(a, b) for a, b in zip(cell.parameters(), kind(7, 16).parameters(), strict=True))
    assert "7, 16" in repr(cell)


# --- the GRU's form: three that are not PyTorch's, and where they agree with it -------------------


def gru_parts(cell: nn.Module, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    """Split what the gates are made of: r, z, and the two halves of n's argument."""
    r_x, z_x, n_x = (x @ cell.weight_ih.T + cell.bias_ih).chunk(3, dim=1)
    r_h, z_h, n_h = (h @ cell.weight_hh.T + cell.bias_hh).chunk(3, dim=1)
    return torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h), n_x, n_h


def reset_first(cell: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    """The paper's candidate: the state is reset, then multiplied."""
    r, z, n_x, _ = gru_parts(cell, x, h)
    rows = len(cell.bias_hh) // 3 * 2
    n = torch.tanh(n_x + (r * h) @ cell.weight_hh[rows:].T + cell.bias_hh[rows:])
    return (1 - z) * n + z * h


def bias_outside(cell: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    """The recurrent bias of the candidate added outside the reset gate."""
    r, z, n_x, n_h = gru_parts(cell, x, h)
    bias = cell.bias_hh.chunk(3)[2]
    n = torch.tanh(n_x + r * (n_h - bias) + bias)
    return (1 - z) * n + z * h


def gate_turned_round(cell: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    """The paper's letter z for what PyTorch calls 1 - z."""
    r, z, n_x, n_h = gru_parts(cell, x, h)
    return z * torch.tanh(n_x + r * n_h) + (1 - z) * h


@pytest.mark.parametrize("other", [reset_first, bias_outside, gate_turned_round])
def test_gru_is_not_another_form(other):
    cell, theirs = twins(GRUCell, 3, 4)
    x, h = random(5, 3), random(5, 4, seed=1)
    difference = (other(cell, x, h) - theirs(x, h)).abs().max()
    assert difference > 1e-2, "this form could not be told from PyTorch's"
    assert (cell(x, h) - theirs(x, h)).abs().max() < 1e-10


def test_gru_agrees_with_the_paper_where_nothing_is_reset():
    cell, _ = twins(GRUCell, 3, 4)
    with torch.no_grad():
        cell.bias_ih[:4] = 1000.0  # r = 1
    x, h = random(5, 3), random(5, 4, seed=1)
    assert_same(cell(x, h), reset_first(cell, x, h))


# --- many steps ----------------------------------------------------------------------------------


@every_cell
@every_size
def test_unroll_equals_torchs_layer(kind, sizes):
    batch, inputs, hidden = sizes
    ours, _ = twins(kind, inputs, hidden)
    layer = LAYERS[kind](inputs, hidden, batch_first=True).double()
    layer.load_state_dict({f"{name}_l0": value for name, value in ours.state_dict().items()})
    results = []
    for is_ours in (True, False):
        x, state = random(batch, 5, inputs).requires_grad_(), state_of(kind, batch, hidden)
        if is_ours:
            outputs, last = unroll(ours, x, as_argument(state))
            weights = list(ours.parameters())
        else:
            outputs, last = layer(x, as_argument(tuple(s[None] for s in state)))
            last = tuple(s[0] for s in as_tuple(last))
            weights = list(layer.parameters())
        values = (outputs, *as_tuple(last))
        results.append([*values, *torch.autograd.grad(scalar(values), [x, *state, *weights])])
    for actual, expected in zip(*results, strict=True):
        assert_same(actual, expected)


@every_cell
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_cut_sequence_with_its_state_is_the_whole(kind, cut):
    ours, _ = twins(kind, 3, 2)
    x = random(4, 6, 3)
    whole, last = unroll(ours, x)
    left, state = unroll(ours, x[:, :cut])
    right, end = unroll(ours, x[:, cut:], state)
    assert torch.equal(torch.cat([left, right], dim=1), whole)
    assert all(torch.equal(a, b) for a, b in zip(as_tuple(end), as_tuple(last), strict=True))
    assert torch.equal(as_tuple(last)[0], whole[:, -1])
    forgotten, _ = unroll(ours, x[:, cut:])
    assert not torch.allclose(forgotten, whole[:, cut:])


@every_cell
@pytest.mark.parametrize("changed", [0, 2, 4])
def test_an_input_changes_nothing_before_it_and_all_after_it(kind, changed):
    ours, _ = twins(kind, 3, 2)
    x = random(4, 5, 3)
    before, _ = unroll(ours, x)
    x[:, changed] += 1.0
    after, _ = unroll(ours, x)
    assert torch.equal(after[:, :changed], before[:, :changed])
    assert ((after - before)[:, changed:].abs().amax(dim=2) > 0).all()


@every_cell
def test_rows_of_a_batch_do_not_meet(kind):
    ours, _ = twins(kind, 3, 2)
    x = random(4, 5, 3)
    whole, _ = unroll(ours, x)
    order = torch.tensor([2, 0, 3, 1])
    assert_same(unroll(ours, x[order])[0], whole[order])
    assert_same(unroll(ours, x[1:2])[0], whole[1:2])


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ((0, 2), ValueError, "input_size of at least 1, got 0"),
        ((2, -1), ValueError, "hidden_size of at least 1, got -1"),
        ((2.0, 2), TypeError, "input_size as a whole number, got 2.0"),
        ((2, True), TypeError, "hidden_size as a whole number, got True"),
    ],
)
@every_cell
def test_sizes_that_are_none(kind, sizes, error, message):
    with pytest.raises(error, match=message):
        kind(*sizes)


@every_cell
def test_input_that_does_not_fit(kind):
    cell = kind(3, 2)
    with pytest.raises(ValueError, match=r"expected x of shape \(batch, 3\), got \(4, 5\)"):
        cell(torch.zeros(4, 5))
    with pytest.raises(ValueError, match=r"expected x of shape \(batch, 3\), got \(3,\)"):
        cell(torch.zeros(3))
    with pytest.raises(ValueError, match=r"expected x of shape \(batch, 3\), got \(4, 5, 3\)"):
        cell(torch.zeros(4, 5, 3))
    with pytest.raises(TypeError, match=r"floating-point numbers, got torch\.int64: embed"):
        cell(torch.zeros(4, 3, dtype=torch.int64))


@every_cell
def test_state_of_another_batch(kind):
    cell = kind(3, 2)
    old = as_argument(tuple(torch.zeros(4, 2) for _ in state_of(kind, 4, 2)))
    with pytest.raises(ValueError, match=r"expected h of shape \(1, 2\), got \(4, 2\)"):
        cell(torch.zeros(1, 3), old)
    with pytest.raises(ValueError, match=r"expected h of shape \(1, 2\), got \(4, 2\)"):
        unroll(cell, torch.zeros(1, 6, 3), old)


def test_lstm_state_is_a_pair():
    cell, h = LSTMCell(3, 2), torch.zeros(4, 2)
    for state in (h, (h,), (h, h, h), torch.zeros(2, 4, 2)):
        with pytest.raises(TypeError, match=r"pair \(h, c\)"):
            cell(torch.zeros(4, 3), state)
    with pytest.raises(ValueError, match=r"expected c of shape \(4, 2\), got \(1, 2\)"):
        cell(torch.zeros(4, 3), (h, torch.zeros(1, 2)))


@pytest.mark.parametrize("kind", [RNNCell, GRUCell])
def test_state_of_an_lstm_in_another_cell(kind):
    h = torch.zeros(4, 2)
    with pytest.raises(TypeError, match="one tensor, got tuple"):
        kind(3, 2)(torch.zeros(4, 3), (h, h))


@every_cell
def test_unroll_wants_batch_time_feature(kind):
    cell = kind(3, 2)
    with pytest.raises(ValueError, match=r"\(batch, time, feature\), got \(5, 3\).*unsqueeze"):
        unroll(cell, torch.zeros(5, 3))
    with pytest.raises(ValueError, match="at least one time step, got x with T = 0"):
        unroll(cell, torch.zeros(4, 0, 3))
    with pytest.raises(TypeError, match="embed token ids first"):
        unroll(cell, torch.zeros(4, 5, 3, dtype=torch.int64))
