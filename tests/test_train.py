"""The training loop does what it says, and stops before it does harm."""

from __future__ import annotations

import copy
import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from rnnbook.batches import Batches
from rnnbook.checkpoint import History
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.losses import check_targets, classification_loss, squared_error
from rnnbook.repro import seed_everything
from rnnbook.train import Stream, learning_rate_range, train, validate

Batch = tuple[Tensor, Tensor]


def points(count: int, seed: int = 0) -> Batch:
    """Draw points (N, 3) and labels that a line cannot tell apart without error."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=generator)
    return x, (x[:, 0] + 0.5 * torch.randn(count, generator=generator) > 0).long()


def in_batches(data: Batch, *sizes: int) -> list[Batch]:
    return list(zip(data[0].split(sizes), data[1].split(sizes), strict=True))


def line(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def weights(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# --- the loop ------------------------------------------------------------------------------------


def sentences() -> tuple[list[Tensor], list[int]]:
    """Make 20 texts of 2 to 7 tokens with labels at random: only by heart can they be learned."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(2, 8, (20,), generator=generator).tolist()
    return [torch.randint(2, 30, (n,), generator=generator) for n in lengths], [i % 2 for i in range(20)]


def test_one_batch_is_learned_by_heart():
    seed_everything(0)
    model = TextClassifier(ClassifierConfig(30, embedding_dim=16, hidden_size=16))
    batches = Batches(*sentences(), batch_size=20)
    history = train(model, batches, num_epochs=40, learning_rate=0.05)
    loss, accuracy = validate(model, batches)
    assert accuracy == 1.0
    assert loss < 0.01
    assert history.train_loss[0] > 0.5
    assert history.train_loss[-1] < 0.01


def test_every_parameter_of_the_classifier_learns():
    seed_everything(0)
    model = TextClassifier(ClassifierConfig(30, bidirectional=True, num_layers=2))
    before = weights(model)
    train(model, Batches(*sentences(), batch_size=20), num_epochs=2)
    for name, old in zip(model.state_dict(), before, strict=True):
        assert not torch.equal(model.state_dict()[name], old), name
    assert torch.equal(model.embedding.weight[0], before[0][0]), "padding was trained"


def run(seed: int) -> tuple[object, list[Tensor]]:
    generator = seed_everything(seed)
    model = TextClassifier(ClassifierConfig(30, 4, 4, dropout=0.5, word_dropout=0.2))
    batches = Batches(*sentences(), batch_size=4, generator=generator)
    return train(model, batches, num_epochs=2, val_batches=batches), weights(model)


def test_a_seed_repeats_the_run():
    (first, mine), (again, yours), (other, _) = run(1), run(1), run(2)
    assert first == again
    assert same(mine, yours)
    assert first != other


def reference(model: nn.Module, batches: list[Batch], epochs: int, rate: float, clip: float) -> list[float]:
    """Do the same by hand: Adam's rule and the cycle of its two constants written out."""
    steps, total, norms = 0, epochs * len(batches), []
    moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in model.parameters()]
    products = [1.0, 1.0]
    turn = 0.3 * total - 1
    for _ in range(epochs):
        for x, y in batches:
            parameters = list(model.parameters())
            loss = -model(x).log_softmax(dim=1)[torch.arange(len(y)), y].mean()
            gradients = torch.autograd.grad(loss, parameters)
            norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
            norms.append(norm)
            gradients = [g * min(1.0, clip / (norm + 1e-6)) for g in gradients]
            if steps <= turn:  # rising from 1/25 of the rate, momentum falling
                weight = (1 + math.cos(math.pi * steps / turn)) / 2
                now, momentum = rate + (rate / 25 - rate) * weight, 0.85 + 0.10 * weight
            else:
                weight = (1 + math.cos(math.pi * (steps - turn) / (total - 1 - turn))) / 2
                now, momentum = rate / 25e4 + (rate - rate / 25e4) * weight, 0.95 - 0.10 * weight
            steps += 1
            # Adam corrects as if the present momentum had been there from the start.
            products = [momentum**steps, 0.999**steps]
            with torch.no_grad():
                for p, g, moment in zip(parameters, gradients, moments, strict=True):
                    moment[0] = momentum * moment[0] + (1 - momentum) * g
                    moment[1] = 0.999 * moment[1] + 0.001 * g * g
                    root = (moment[1] / (1 - products[1])).sqrt() + 1e-8
                    p -= now * (moment[0] / (1 - products[0])) / root
    return norms


@pytest.mark.parametrize("clip", [0.05, 0.5, math.inf])
def test_training_equals_adam_with_one_cycle_by_hand(clip):
    batches = [(x.double(), y) for x, y in in_batches(points(21), 8, 8, 5)]
    ours, theirs = line().double(), line().double()
    history = train(ours, batches, num_epochs=4, learning_rate=0.1, max_grad_norm=clip)
    norms = reference(theirs, batches, 4, 0.1, clip)
    assert history.grad_norm == pytest.approx(norms, rel=1e-9)
    for actual, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-9)


def test_clipping_bounds_the_gradient_that_is_used_and_not_the_one_that_is_recorded():
    model = line()
    x, y = points(8)
    history = train(model, [(100 * x, y)], num_epochs=1, max_grad_norm=0.01)
    used = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters()))
    assert used == pytest.approx(0.01, rel=1e-3)
    fresh = line()
    classification_loss(fresh(100 * x), y).backward()
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in fresh.parameters()))
    assert norm > 1
    assert history.grad_norm == [pytest.approx(norm, rel=1e-5)]


def test_losses_are_means_over_examples_not_over_batches():
    model = line()
    data = points(9)
    ragged, whole = in_batches(data, 4, 4, 1), in_batches(data, 9)
    expected = classification_loss(model(data[0]), data[1]).item()
    means = [classification_loss(model(x), y).item() for x, y in ragged]
    assert abs(sum(means) / 3 - expected) > 1e-3, "these batches cannot tell the two means apart"
    assert validate(model, ragged) == pytest.approx(validate(model, whole), abs=1e-6)
    assert validate(model, ragged)[0] == pytest.approx(expected, abs=1e-6)
    right = (model(data[0]).argmax(dim=1) == data[1]).sum().item()
    assert validate(model, ragged)[1] == pytest.approx(right / 9)
    history = train(model, ragged, num_epochs=1, learning_rate=1e-12)
    assert history.train_loss[0] == pytest.approx(expected, abs=1e-5)
    assert len(history.grad_norm) == 3
    assert history.step_loss == pytest.approx(means, abs=1e-5)


def test_losses_are_means_over_targets_where_an_example_has_several():
    x = torch.arange(14.0).reshape(2, 7)
    segments = [(part, 0 * part) for part in x.split((4, 3), dim=1)]
    model = nn.Linear(1, 1)
    model.forward = lambda x: x + 0 * model.bias
    expected = x.square().mean().item()
    assert validate(model, segments, squared_error)[0] == pytest.approx(expected)
    assert train(model, segments, squared_error).train_loss == [pytest.approx(expected)]


# --- validation and the best epoch ---------------------------------------------------------------


def snapshots(**options: object) -> tuple[nn.Module, History, list[list[Tensor]]]:
    """Train on points and keep the weights of every epoch."""
    model, kept = line(), []

    def keep(epoch: int, history: object) -> None:
        assert epoch == len(kept) == len(history.train_loss) - 1
        kept.append(weights(model))

    history = train(
        model,
        in_batches(points(32), 8, 8, 16),
        **{"num_epochs": 5, "learning_rate": 0.3, "on_epoch": keep} | options,
    )
    return model, history, kept


def test_the_weights_of_the_best_epoch_come_back():
    x, y = points(40, seed=5)
    turned = [(x, 1 - y)]  # the better the training, the worse on these
    model, history, kept = snapshots(val_batches=turned)
    assert history.best_epoch == 0
    assert history.val_loss[0] < history.val_loss[-1]
    assert same(weights(model), kept[0])
    assert not same(kept[0], kept[-1])
    assert validate(model, turned) == (history.val_loss[0], history.val_accuracy[0])


def test_the_best_epoch_is_the_one_of_the_lowest_loss():
    x, y = points(40, seed=5)
    model, history, kept = snapshots(val_batches=[(x[:, [0, 2, 1]], y)])
    best = min(range(5), key=lambda epoch: history.val_loss[epoch])
    assert history.best_epoch == best
    assert same(weights(model), kept[best])
    assert len(history.train_loss) == len(history.val_loss) == len(history.val_accuracy) == 5


def test_without_validation_the_last_epoch_stays():
    model, history, kept = snapshots()
    assert history.best_epoch == 4
    assert same(weights(model), kept[-1])
    assert history.val_loss == history.val_accuracy == []


def test_validation_does_not_change_the_training():
    _, with_it, _ = snapshots(val_batches=[points(8)])
    _, without, _ = snapshots()
    assert with_it.train_loss == without.train_loss


@pytest.mark.parametrize("training", [True, False])
def test_validate_turns_dropout_off_and_puts_the_mode_back(training):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.9), nn.Linear(50, 2)).train(training)
    assert len({validate(model, [points(8)]) for _ in range(5)}) == 1
    assert model.training is training
    assert model[1].training is training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_patience_ends_a_run_that_gets_no_better():
    x, y = points(40, seed=5)
    turned = [(x, 1 - y)]
    _, whole, kept = snapshots(val_batches=turned)
    assert min(whole.val_loss) == whole.val_loss[0], "this run gets better later: it tells nothing"
    for patience in (1, 3):
        model, history, _ = snapshots(val_batches=turned, patience=patience)
        assert history.val_loss == whole.val_loss[: patience + 1]
        assert history.best_epoch == 0
        assert same(weights(model), kept[0])
    assert snapshots(val_batches=turned, patience=5)[1] == whole


def test_patience_waits_anew_after_each_better_epoch():
    model, losses = line(), iter([1.0, 2.0, 0.5, 0.5, 0.7, 0.1])
    scripted = lambda predictions, targets: predictions.sum() * 0 + next(losses)
    data = [points(4)]
    alternate = lambda p, y: scripted(p, y) if not torch.is_grad_enabled() else classification_loss(p, y)
    history = train(model, data, alternate, num_epochs=6, val_batches=data, patience=2)
    assert history.val_loss == [1.0, 2.0, 0.5, 0.5, pytest.approx(0.7)]
    assert history.best_epoch == 3, "of two equal epochs the later one stays"


def test_training_goes_on_in_training_mode_after_validation():
    modes = []
    model = nn.Sequential(line())
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    train(model.eval(), [points(4)] * 2, num_epochs=2, val_batches=[points(4)])
    assert modes == [True, True, False] * 2


# --- what is not finite --------------------------------------------------------------------------


class Watched(nn.Module):
    """A line that notes its weights each time it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.seen = line(), []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(weights(self.line))
        return self.line(x)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e38])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(bad):
    model = Watched()
    good, (x, y) = points(4), points(4, seed=1)
    with pytest.raises(FloatingPointError, match=r"epoch 0, step 1: loss .*no checkpoint was asked for"):
        train(model, [good, (x * bad, y)], num_epochs=1)
    assert len(model.seen) == 2
    assert same(weights(model.line), model.seen[-1])
    assert not same(model.seen[0], model.seen[1])
    assert all(value.isfinite().all() for value in weights(model))


class Root(nn.Module):
    """Its loss is finite and its gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.sqrt().expand(len(x), 2)


def test_a_gradient_that_is_not_finite_stops_too():
    model = Root()
    with pytest.raises(FloatingPointError, match=r"epoch 0, step 0: loss 0\.69.*gradient norm (nan|inf)"):
        train(model, [points(4)], num_epochs=1)
    assert model.weight.tolist() == [0.0, 0.0]


def test_a_validation_loss_that_is_not_finite():
    x, y = points(4)
    with pytest.raises(FloatingPointError, match="mean loss on the validation examples is nan"):
        train(line(), [(x, y)], num_epochs=2, val_batches=[(x * math.nan, y)])


# --- what is refused -----------------------------------------------------------------------------


def test_a_generator_lasts_one_epoch():
    x, y = points(4)
    with pytest.raises(ValueError, match="batches is a generator: it is empty after one epoch"):
        train(line(), ((x, y) for _ in range(3)), num_epochs=2)
    history = train(line(), ((x, y) for _ in range(3)), num_epochs=1)
    assert len(history.grad_norm) == 3
    with pytest.raises(ValueError, match=r"no examples to validate on: .*a generator that was used up"):
        train(line(), [(x, y)], num_epochs=2, val_batches=iter([(x, y)]))


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        ([], {}, "no batches to train on"),
        (iter([]), {}, "no batches to train on"),
        ([points(4)], {"num_epochs": 0}, "num_epochs of at least 1, got 0"),
        ([points(4)], {"max_grad_norm": 0.0}, "max_grad_norm above 0 .*got 0.0"),
        ([points(4)], {"max_grad_norm": -1.0}, "max_grad_norm above 0 .*got -1.0"),
        ([points(4)], {"max_grad_norm": math.nan}, "max_grad_norm above 0 .*got nan"),
        ([points(4)], {"learning_rate": -1.0}, "Invalid learning rate: -1.0"),
        ([points(4)], {"schedule": "cosine"}, "unknown schedule 'cosine'; known: one-cycle, constant"),
        ([points(4)], {"patience": 1}, "patience waits for a lower validation loss: give val_batches too"),
        ([points(4)], {"patience": 0, "val_batches": [points(4)]}, "patience of at least 1 epoch, got 0"),
        ([points(4)], {"val_batches": []}, "no examples to validate on"),
    ],
)
def test_runs_that_are_refused(batches, options, message):
    model = line()
    with pytest.raises(ValueError, match=message):
        train(model, batches, **{"num_epochs": 1} | options)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ([0.0, 1.0, 1.0], TypeError, r"class numbers \(int64\), got torch\.float32"),
        ([True, False, True], TypeError, r"class numbers \(int64\), got torch\.bool"),
        ([0, 1, 2], ValueError, "labels from 0 to 1, got 0 to 2"),
        ([0, -1, 1], ValueError, "labels from 0 to 1, got -1 to 1"),
        ([0, 1], ValueError, r"labels \(B,\), got \(3, 2\) and \(2,\)"),
        ([[0], [1], [1]], ValueError, r"labels \(B,\), got \(3, 2\) and \(3, 1\)"),
    ],
)
def test_labels_that_pytorch_might_misread(targets, error, message):
    logits, labels = torch.zeros(3, 2), torch.tensor(targets)
    with pytest.raises(error, match=message):
        check_targets(logits, labels)
    with pytest.raises(error, match=message):
        classification_loss(logits, labels)
    x = torch.zeros(3, 3)
    with pytest.raises(error, match=message):
        train(line(), [(x, labels)], num_epochs=1)
    with pytest.raises(error, match=message):
        validate(line(), [(x, labels)])


def test_one_logit_a_row_is_no_classifier():
    with pytest.raises(ValueError, match=r"logits \(B, num_classes\).* got \(3,\) and \(3,\)"):
        check_targets(torch.zeros(3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="labels from 0 to 0, got 0 to 1"):
        check_targets(torch.zeros(3, 1), torch.tensor([0, 1, 1]))


def test_a_uniform_answer_costs_the_logarithm_of_the_number_of_classes():
    logits, targets = torch.full((4, 5), 3.0), torch.tensor([0, 4, 2, 2])
    assert classification_loss(logits, targets).item() == pytest.approx(math.log(5))


# --- batches of texts in the loop ----------------------------------------------------------------


class Noting(nn.Module):
    """Note the first token of each text, in the order in which they come."""

    def __init__(self) -> None:
        super().__init__()
        self.bias, self.seen = nn.Parameter(torch.zeros(2)), []

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002
        self.seen += tokens[:, 0].tolist()
        return self.bias.expand(len(tokens), 2)


def test_batches_are_shuffled_anew_in_every_epoch():
    sequences = [torch.tensor([i, 1]) for i in range(30)]
    model = Noting()
    batches = Batches(sequences, [0] * 30, batch_size=4, generator=torch.Generator().manual_seed(0))
    train(model, batches, num_epochs=3)
    epochs = [tuple(model.seen[i : i + 30]) for i in (0, 30, 60)]
    assert len(model.seen) == 90
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert len(set(epochs)) == 3


def test_nothing_is_said_when_asked_to_be_quiet(capfd, monkeypatch):
    monkeypatch.setenv("RNNBOOK_PROGRESS", "0")
    train(line(), [points(4)], num_epochs=1)
    assert capfd.readouterr() == ("", "")


def test_the_model_is_trained_in_place_and_the_data_stay():
    model, data = line(), points(8)
    before = copy.deepcopy(data)
    old = weights(model)
    train(model, [data], num_epochs=1, learning_rate=0.1)
    assert not same(weights(model), old)
    assert all(torch.equal(a, b) for a, b in zip(data, before, strict=True))


def test_a_bar_is_shown_on_a_terminal_and_in_a_notebook_alone(capfd, monkeypatch):
    def bar() -> bool:
        train(line(), [points(4)] * 3)
        return "training" in capfd.readouterr().err

    monkeypatch.delenv("RNNBOOK_PROGRESS", raising=False)
    assert not bar()
    shell = SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert bar()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: object()))
    assert not bar()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert bar()
    monkeypatch.setenv("RNNBOOK_PROGRESS", "0")
    assert not bar()


# --- examples made on the spot, and targets that are numbers -----------------------------------------


def stream(num_steps: int, seed: int = 0) -> Stream:
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Batch:
        x = torch.randn(8, 3, generator=generator)
        return x, x.sum(dim=1, keepdim=True)

    return Stream(draw, num_steps, generator=generator)


def regressor() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_a_stream_is_trained_on_by_adam_with_clipping():
    ours, theirs = regressor(), regressor()
    options = {"learning_rate": 0.1, "schedule": "constant", "max_grad_norm": 0.5}
    history = train(ours, stream(5), squared_error, **options)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.1)
    losses, norms = [], []
    for x, y in stream(5):
        loss = (theirs(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.cat([p.grad.flatten() for p in theirs.parameters()]).norm().item())
        for p in theirs.parameters():
            p.grad *= min(1.0, 0.5 / norms[-1])
        optimizer.step()
        losses.append(loss.item())
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert history.step_loss == pytest.approx(losses)
    assert history.grad_norm == pytest.approx(norms)
    assert history.train_loss == [pytest.approx(sum(losses) / 5)]
    assert history.best_epoch == 0


def test_a_stream_draws_for_each_step_and_not_before():
    drawn = []
    for x, _ in Stream(lambda: drawn.append(0) or points(4, seed=len(drawn)), 3):
        assert torch.equal(x, points(4, seed=len(drawn))[0])
    assert len(drawn) == 3


@pytest.mark.parametrize("epochs", [1, 20])
def test_training_ends_when_it_is_good_enough_and_not_before(epochs):
    examples = stream(1000 // epochs)
    options = {"learning_rate": 0.1, "schedule": "constant", "stop_below": 0.01}
    history = train(regressor(), examples, squared_error, num_epochs=epochs, **options)
    losses = history.step_loss
    assert 20 < len(losses) < 1000
    assert sum(losses[-20:]) / 20 < 0.01 <= sum(losses[-21:-1]) / 20
    assert len(history.train_loss) == math.ceil(len(losses) / len(examples))
    fresh = stream(len(losses))
    list(fresh)
    assert torch.equal(fresh.generator.get_state(), examples.generator.get_state()), "drew on after the end"


def test_a_stream_that_breaks_says_at_which_step():
    count = iter(range(10))

    def draw() -> Batch:
        return torch.full((2, 3), math.nan if next(count) == 3 else 1.0), torch.zeros(2, 1)

    with pytest.raises(FloatingPointError, match="epoch 0, step 3: loss nan"):
        train(regressor(), Stream(draw, 10), squared_error, schedule="constant")


def test_a_stream_of_nothing():
    with pytest.raises(ValueError, match="num_steps of at least 1, got 0"):
        Stream(lambda: points(4), 0)


def test_squared_error_is_a_mean_over_all_numbers_and_never_broadcasts():
    a, b = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert squared_error(a, b).item() == pytest.approx((0 + 4 + 9 + 0) / 4)
    for other in (a[:, 0], a[:1], a[:, :1], a[None]):
        with pytest.raises(ValueError, match=r"of one shape, got \(2, 2\) and \("):
            squared_error(a, other)


def test_without_classes_there_is_no_accuracy():
    model, batches = regressor(), list(stream(3))
    loss, accuracy = validate(model, batches, squared_error)
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    assert loss == pytest.approx(squared_error(model(x), y).item())
    assert math.isnan(accuracy)
    runs = [train(regressor(), batches, squared_error, val_batches=batches) for _ in range(2)]
    assert math.isnan(runs[0].val_accuracy[0])
    assert runs[0] == runs[1]


def test_another_loss_of_classes_has_its_accuracy():
    smooth = nn.CrossEntropyLoss(label_smoothing=0.5)
    (loss, accuracy), plain = (validate(line(), [points(40)], f) for f in (smooth, classification_loss))
    assert accuracy == plain[1]
    assert loss != pytest.approx(plain[0])


def test_histories_differ_in_any_number():
    a, b = (History([1.0, 2.0], [3.0], [1.5], [1.0], [math.nan], 0) for _ in range(2))
    b.val_accuracy[0] = float("nan")
    assert a == b
    for name in ("step_loss", "grad_norm", "train_loss", "val_loss", "val_accuracy"):
        other = copy.deepcopy(a)
        getattr(other, name)[0] = 0.5
        assert a != other, name
    assert a != replace(a, best_epoch=1)
    assert a != [1.0]


# --- which learning rate? ----------------------------------------------------------------------------


def test_the_range_test_is_training_at_rates_that_grow():
    data = in_batches(points(24), 8, 8, 8)
    rates, losses = learning_rate_range(line(), data, low=1e-4, high=1e-2, num_steps=5)
    assert rates == pytest.approx([1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2])
    model = line()
    optimizer = torch.optim.Adam(model.parameters())
    for step, loss in enumerate(losses):  # after the third batch comes the first again
        optimizer.param_groups[0]["lr"] = rates[step]
        x, y = data[step % 3]
        expected = classification_loss(model(x), y)
        assert loss == pytest.approx(expected.item(), abs=1e-6)
        optimizer.zero_grad()
        expected.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def test_the_range_test_leaves_everything_as_it_was():
    generator = seed_everything(0)
    model = TextClassifier(ClassifierConfig(30, 4, 4, dropout=0.5, word_dropout=0.2)).eval()
    batches = Batches(*sentences(), batch_size=4, generator=generator)
    before = weights(model), torch.get_rng_state(), generator.get_state()
    rates, losses = learning_rate_range(model, batches, num_steps=12)
    assert len(rates) == len(losses) == 12
    assert same(weights(model), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.equal(generator.get_state(), before[2])
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert learning_rate_range(model, batches, num_steps=12) == (rates, losses)


def test_the_range_test_ends_when_the_loss_is_lost():
    data = in_batches(points(24), 8, 8, 8)
    rates, losses = learning_rate_range(line(), data, high=1e4)
    assert 50 < len(rates) == len(losses) < 100
    assert losses[-1] > 4 * min(losses)
    assert all(loss <= 4 * min(losses[: i + 1]) for i, loss in enumerate(losses[:-1]))
    x, y = points(8)
    rates, losses = learning_rate_range(line(), [*data, (x * math.nan, y)])
    assert len(rates) == len(losses) == 3


@pytest.mark.parametrize(
    "wrong", [{"low": 0.0}, {"low": 2.0}, {"high": math.inf}, {"num_steps": 1}, {"low": math.nan}]
)
def test_a_range_that_is_none(wrong):
    with pytest.raises(ValueError, match=r"0 < low < high and num_steps above 1, got"):
        learning_rate_range(line(), [points(4)], **wrong)
    with pytest.raises(ValueError, match="batches is a generator"):
        learning_rate_range(line(), iter([points(4)]))
