"""Layers: torch.nn's in every mode, in value and gradient, plain and fast."""

import copy
import itertools
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

from rnnbook import layers
from rnnbook.layers import FORMS

KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {})]
IDS = ["tanh", "relu", "lstm", "gru"]
INPUT, HIDDEN = 3, 4


def pair(name, form="fast", *, dtype=torch.float64, seed=0, **options):
    """Our layer and PyTorch's, with the same weights."""
    torch.manual_seed(seed)
    theirs = getattr(nn, name)(INPUT, HIDDEN, dtype=dtype, **options)
    ours = getattr(layers, name)(INPUT, HIDDEN, dtype=dtype, form=form, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def inputs(how, batch_first, dtype=torch.float64, seed=1):
    """Make input in one of its forms; return it and the tensor that gradients are asked for."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    if how == "alone":
        x = draw(5, INPUT)
        return x, x
    x = draw(3, 5, INPUT) if batch_first else draw(5, 3, INPUT)
    if how == "padded":
        return x, x
    lengths = torch.tensor([5, 3, 1] if how == "sorted" else [2, 5, 4])
    return pack_padded_sequence(x, lengths, batch_first, enforce_sorted=how == "sorted"), x


def state_for(layer, how, dtype=torch.float64):
    """Make a first state that needs gradients."""
    deep = layer.num_layers * (2 if layer.bidirectional else 1)
    shape = (deep, HIDDEN) if how == "alone" else (deep, 3, HIDDEN)
    generator = torch.Generator().manual_seed(2)
    parts = tuple(
        torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()
        for _ in range(2 if isinstance(layer, nn.LSTM) else 1)
    )
    return parts if len(parts) == 2 else parts[0]


def flat(*results):
    """All tensors in nested results."""
    found = []
    for result in results:
        if isinstance(result, PackedSequence):
            found.append(result.data)
        elif isinstance(result, torch.Tensor):
            found.append(result)
        else:
            found += flat(*result)
    return found


def everything(layer, x, leaf, state):
    """Outputs, states and all gradients of a random function of them."""
    results = flat(layer(x, state))
    generator = torch.Generator().manual_seed(3)
    total = sum((r * torch.randn(r.shape, generator=generator, dtype=r.dtype)).sum() for r in results)
    wanted = [leaf, *layer.parameters(), *([] if state is None else flat(state))]
    return results, torch.autograd.grad(total, wanted, retain_graph=True)  # packing is part of the graph


def assert_same(one, two, dtype=torch.float64):
    limits = {"atol": 1e-10, "rtol": 1e-10} if dtype == torch.float64 else {"atol": 1e-5, "rtol": 1e-4}
    (results, gradients), (expected, expected_gradients) = one, two
    torch.testing.assert_close(results, expected, **limits)
    for gradient, right in zip(gradients, expected_gradients, strict=True):
        assert gradient.shape == right.shape
        bound = limits["atol"] * max(1.0, float(right.norm()))
        assert float((gradient - right).norm()) <= bound


GRID = list(
    itertools.product(
        KINDS,
        FORMS,
        [1, 3],  # num_layers
        [False, True],  # bidirectional
        [False, True],  # batch_first
        [False, True],  # bias
        ["padded", "sorted", "unsorted", "alone"],
        [False, True],  # state given
    )
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_every_mode_equals_torch(kind, form):
    ran = 0
    for (name, extra), f, depth, two, first, bias, how, given_state in GRID:
        if (name, extra) != kind or f != form:
            continue
        options = dict(num_layers=depth, bidirectional=two, batch_first=first, bias=bias, **extra)
        for dtype in (torch.float64, torch.float32):
            ours, theirs = pair(name, form, dtype=dtype, **options)
            x, leaf = inputs(how, first, dtype)
            state = state_for(theirs, how, dtype) if given_state else None
            assert_same(everything(ours, x, leaf, state), everything(theirs, x, leaf, state), dtype)
            ran += 1
    assert ran == 2 * 2**4 * 4 * 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_sizes_and_lengths_equal_torch(data):
    draw = data.draw
    name, extra = draw(st.sampled_from(KINDS))
    lengths = draw(st.lists(st.integers(1, 60), min_size=1, max_size=6))
    options = dict(
        num_layers=draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        **extra,
    )
    ours, theirs = pair(name, seed=draw(st.integers(0, 99)), **options)
    sequences = [torch.randn(length, INPUT, dtype=torch.float64) for length in lengths]
    x = pack_sequence(sequences, enforce_sorted=False)
    leaf = x.data.requires_grad_()
    x = PackedSequence(leaf, x.batch_sizes, x.sorted_indices, x.unsorted_indices)
    assert_same(everything(ours, x, leaf, None), everything(theirs, x, leaf, None))


@pytest.mark.parametrize(("name", "extra"), KINDS, ids=IDS)
def test_same_seed_same_first_weights_and_names(name, extra):
    options = dict(num_layers=2, bidirectional=True, **extra)
    torch.manual_seed(5)
    theirs = getattr(nn, name)(INPUT, HIDDEN, **options)
    torch.manual_seed(5)
    ours = getattr(layers, name)(INPUT, HIDDEN, **options)
    one, two = ours.state_dict(), theirs.state_dict()
    assert list(one) == list(two)
    assert all(torch.equal(one[key], two[key]) for key in two)
    theirs.load_state_dict(one, strict=True)
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({k: v for k, v in one.items() if k != "weight_hh_l1"})


@pytest.mark.parametrize("how", ["padded", "unsorted"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("training", [True, False])
def test_dropout_between_layers_draws_as_torch_does(how, form, training):
    ours, theirs = pair("GRU", form, num_layers=3, dropout=0.4, bidirectional=True)
    x, leaf = inputs(how, False)
    results = []
    for layer in (ours.train(training), theirs.train(training)):
        torch.manual_seed(8)
        results.append(everything(layer, x, leaf, None))
    assert_same(*results)
    torch.manual_seed(9)
    assert torch.equal(flat(ours(x))[0], results[0][0][0]) != training


def test_dropout_without_a_second_layer_is_said_to_do_nothing():
    with pytest.warns(UserWarning, match="one layer has none"):
        layers.LSTM(2, 2, dropout=0.5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "extra"), KINDS, ids=IDS)
def test_gradcheck(name, extra, form):
    ours, theirs = pair(name, form, num_layers=2, bidirectional=True, **extra)
    x, leaf = inputs("unsorted", False)
    state = state_for(theirs, "unsorted")

    def run(leaf, *parts):
        packed = PackedSequence(leaf, x.batch_sizes, x.sorted_indices, x.unsorted_indices)
        return tuple(flat(ours(packed, parts if len(parts) == 2 else parts[0])))

    leaf = x.data.detach().requires_grad_()
    assert torch.autograd.gradcheck(run, [leaf, *flat(state)])
    weights = tuple(p.detach().requires_grad_() for p in ours.parameters())
    names = [key for key, _ in ours.named_parameters()]

    def of_weights(*weights):
        values = dict(zip(names, weights, strict=True))
        return tuple(flat(torch.func.functional_call(ours, values, (x, state))))

    x = PackedSequence(x.data.detach(), *x[1:])
    assert torch.autograd.gradcheck(of_weights, weights)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_double_backward_falls_back_and_says_so(name):
    ours, _ = pair(name)
    x = torch.randn(4, 2, INPUT, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.autograd.gradgradcheck(lambda x: ours(x)[0], [x])
    slopes = []
    for form in FORMS:
        layer = pair(name, form)[0]
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            (gradient,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
        assert [str(w.message).split(":")[0] for w in heard] == (
            ["double backward"] if form == "fast" else []
        )
        slopes.append(torch.autograd.grad(gradient.square().sum(), x)[0])
    torch.testing.assert_close(*slopes, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_backward_twice_with_the_graph_kept(name):
    ours, _ = pair(name)
    x = torch.randn(6, 2, INPUT, dtype=torch.float64, requires_grad=True)
    total = ours(x)[0].square().sum()
    first = torch.autograd.grad(total, x, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(total, x)[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_frozen_parts_get_no_gradient(name, form):
    ours, theirs = pair(name, form)
    for layer in (ours, theirs):
        layer.weight_ih_l0.requires_grad_(False)
        layer.bias_hh_l0.requires_grad_(False)
        layer(torch.ones(5, 2, INPUT, dtype=torch.float64))[0].sum().backward()
    assert ours.weight_ih_l0.grad is None
    assert ours.bias_hh_l0.grad is None
    torch.testing.assert_close(ours.weight_hh_l0.grad, theirs.weight_hh_l0.grad)
    torch.testing.assert_close(ours.bias_ih_l0.grad, theirs.bias_ih_l0.grad)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "extra"), KINDS, ids=IDS)
def test_padding_of_nan_changes_nothing(name, extra, form):
    ours, _ = pair(name, form, num_layers=2, bidirectional=True, batch_first=True, **extra)
    lengths = torch.tensor([4, 7, 2])
    results = []
    for filling in (0.0, torch.nan):
        x = torch.randn(3, 7, INPUT, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for row, length in enumerate(lengths.tolist()):
            x[row, length:] = filling
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        outputs, last = ours(packed)
        total = outputs.data.square().sum() + sum(part.sum() for part in flat(last))
        results.append([*flat(outputs, last), *torch.autograd.grad(total, list(ours.parameters()))])
    assert all(torch.equal(*both) for both in zip(*results, strict=True))
    for row, length in enumerate(lengths.tolist()):  # and each sequence is read as if it were alone
        alone = ours(x[row, :length])[0]
        padded = pad_packed_sequence(outputs, batch_first=True)[0]
        torch.testing.assert_close(padded[row, :length], alone, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_cut_sequence_with_its_state_carried_gives_the_same(name, form):
    ours, _ = pair(name, form, num_layers=2)
    x = torch.randn(60, 2, INPUT, dtype=torch.float64)
    whole, last = ours(x)
    parts, state = [], None
    for part in x.split([1, 24, 35]):
        outputs, state = ours(part, state)
        parts.append(outputs)
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(flat(state), flat(last), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_copied_pickled_and_run_without_gradients(name, form):
    ours, _ = pair(name, form, num_layers=2, bidirectional=True)
    x = torch.randn(5, 2, INPUT, dtype=torch.float64)
    expected = ours(x)[0]
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.equal(twin(x)[0], expected)
        assert twin.form == form
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            outputs = ours(x)[0]
        assert torch.equal(outputs, expected)
        assert not outputs.requires_grad


def test_outputs_changed_in_place_are_noticed():
    ours, _ = pair("GRU")
    outputs = ours(torch.randn(3, 2, INPUT, dtype=torch.float64))[0]
    total = outputs.square().sum()
    with torch.no_grad():
        outputs.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_autocast_runs_the_plain_form_and_says_so():
    ours, _ = pair("LSTM", dtype=torch.float32)
    x = torch.randn(4, 2, INPUT)
    exact = ours(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.warns(UserWarning, match="autocast"):
        outputs = ours(x)[0]
    torch.testing.assert_close(outputs.float(), exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(name):
    ours, theirs = (layer.cuda() for layer in pair(name, num_layers=2, bidirectional=True))
    x = torch.randn(30, 4, INPUT, dtype=torch.float64, device="cuda", requires_grad=True)
    assert_same(everything(ours, x, x, None), everything(theirs, x, x, None))


X = torch.zeros(5, 3, INPUT)


@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        (lambda: layers.LSTM(0, 4), ValueError, "input_size of at least 1, got 0"),
        (lambda: layers.LSTM(3, 2.0), TypeError, "hidden_size as a whole number, got 2.0"),
        (lambda: layers.GRU(3, 4, True), TypeError, "num_layers as a whole number, got True"),
        (lambda: layers.GRU(3, 4, dropout=1.5), ValueError, "dropout as a probability from 0 to 1, got 1.5"),
        (lambda: layers.RNN(3, 4, 1, "sin"), ValueError, "unknown nonlinearity 'sin'; known: tanh, relu"),
        (lambda: layers.RNN(3, 4, form="quick"), ValueError, "unknown form 'quick'; known: fast, plain"),
        (lambda: layers.LSTM(3, 4)(X.long()), TypeError, "embed token ids first"),
        (lambda: layers.LSTM(3, 4)(X.double()), TypeError, "weights' type torch.float32, got torch.float64"),
        (lambda: layers.LSTM(3, 4)(X[..., :2]), ValueError, r"3 features on the last axis, got \(5, 3, 2\)"),
        (lambda: layers.LSTM(3, 4)(X[0, 0]), ValueError, r"expected \(time, batch, feature\)"),
        (lambda: layers.LSTM(3, 4)(X[:0]), ValueError, "at least one time step"),
        (lambda: layers.LSTM(3, 4)(X, torch.zeros(1, 3, 4)), TypeError, r"pair \(h_0, c_0\)"),
        (
            lambda: layers.GRU(3, 4)(X, torch.zeros(1, 5, 4)),
            ValueError,
            r"h_0 of shape \(1, 3, 4\), got \(1, 5, 4\).*belongs to the batch",
        ),
        (
            lambda: layers.LSTM(3, 4, 2)(X, (torch.zeros(2, 3, 4), torch.zeros(1, 3, 4))),
            ValueError,
            r"c_0 of shape \(2, 3, 4\), got \(1, 3, 4\)",
        ),
        (lambda: layers.GRU(3, 4)(X, [torch.zeros(1, 3, 4)]), TypeError, "h_0 as a tensor, got list"),
    ],
)
def test_bad_input_is_refused_in_words(run, error, words):
    with pytest.raises(error, match=words):
        run()


def test_what_a_layer_says_of_itself():
    assert repr(layers.LSTM(3, 4)) == "LSTM(3, 4)"
    text = repr(layers.GRU(3, 4, 2, batch_first=True, form="plain"))
    assert text == "GRU(3, 4, num_layers=2, batch_first=True, form=plain)"
