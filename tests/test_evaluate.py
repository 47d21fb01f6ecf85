"""Scores and intervals against other people's formulas, and records that cannot lie about their size."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import accuracy_score
from torch import nn

from rnnbook import results
from rnnbook.batches import Batches
from rnnbook.cells import GRUCell, LSTMCell, RNNCell, unroll
from rnnbook.evaluate import (
    accuracy,
    gradient_through_time,
    predict,
    saved_bytes,
    seed_interval,
    state_jacobians,
    wilson_interval,
)
from rnnbook.models import ClassifierConfig, TextClassifier
from rnnbook.repro import seed_everything
from rnnbook.results import Row, Table, find_results, load_results, save_results, score_row


def row(values=(0.8, 0.9), **changes) -> Row:
    settings = {"num_items": 100, "num_parameters": 12345} | changes
    return score_row("a task", "a model", range(len(values)), list(values), **settings)


# --- scores ----------------------------------------------------------------------------------------


def test_accuracy_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 5, generator=generator)
    targets = torch.randint(5, (200,), generator=generator)
    assert accuracy(logits, targets) == pytest.approx(
        accuracy_score(targets, logits.argmax(dim=1)), abs=1e-15
    )


@pytest.mark.parametrize(
    ("logits", "targets", "error", "words"),
    [
        (torch.zeros(3, 2), torch.zeros(3), TypeError, "int64"),
        (torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.int64), ValueError, r"\(3, 1\)"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), ValueError, "0 to 1"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), ValueError, "no examples"),
        (torch.tensor([[0.0, math.nan]]), torch.tensor([1]), ValueError, "NaN"),
    ],
)
def test_scores_of_nothing_are_refused(logits, targets, error, words):
    with pytest.raises(error, match=words):
        accuracy(logits, targets)


@pytest.fixture
def network() -> TextClassifier:
    seed_everything(0)
    return TextClassifier(ClassifierConfig(20, embedding_dim=4, hidden_size=3, dropout=0.5))


SEQUENCES = [torch.arange(2, 2 + length) for length in (5, 1, 9, 3, 7)]


def test_predictions_stand_in_the_order_of_the_texts(network):
    logits = predict(network, Batches(SEQUENCES, [0] * 5, batch_size=2))
    network.eval()
    alone = torch.cat([network(s.unsqueeze(0), torch.tensor([len(s)])) for s in SEQUENCES])
    torch.testing.assert_close(logits, alone)
    assert not logits.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_predicting_keeps_the_mode_and_drops_nothing_out(network, training):
    network.train(training)
    batches = Batches(SEQUENCES, [0] * 5, batch_size=2)
    assert torch.equal(predict(network, batches), predict(network, batches))
    assert network.training is training


def test_shuffled_predictions_are_refused(network):
    shuffled = Batches(SEQUENCES, [0] * 5, batch_size=2, generator=torch.Generator())
    with pytest.raises(ValueError, match="without a generator"):
        predict(network, shuffled)


# --- intervals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("correct", "count"), [(0, 7), (7, 7), (1, 2), (83, 100), (4300, 4872)])
def test_wilson_is_that_of_scipy(correct, count):
    expected = stats.binomtest(correct, count).proportion_ci(method="wilson")
    assert wilson_interval(correct, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(("correct", "count"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(correct, count):
    with pytest.raises(ValueError, match=f"{correct} of {count}"):
        wilson_interval(correct, count)


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_the_interval_over_seeds_is_that_of_scipy(count):
    values = np.random.default_rng(count).normal(0.8, 0.02, count)
    expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert seed_interval(values.tolist()) == pytest.approx(expected, abs=1e-9)


def test_the_interval_over_seeds_covers_the_mean_in_19_of_20_experiments():
    draws = np.random.default_rng(0).normal(0.8, 0.02, (2000, 5))
    hits = [low <= 0.8 <= high for low, high in map(seed_interval, draws.tolist())]
    assert sum(hits) / len(hits) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("values", [[], [0.8]])
def test_one_seed_has_no_interval(values):
    with pytest.raises(ValueError, match="at least two"):
        seed_interval(values)


# --- rows, records and tables ----------------------------------------------------------------------


def test_a_row_over_seeds_and_a_row_over_items_say_which_they_are():
    many, one = row([0.8, 0.9, 0.85]), row([0.8])
    assert (many.low, many.high) == seed_interval([0.8, 0.9, 0.85])
    assert many.mean == pytest.approx(0.85)
    assert "3 seeds" in many.note
    assert (one.low, one.high) == pytest.approx(wilson_interval(80, 100))
    assert "100 test items" in one.note


@pytest.mark.parametrize(
    ("seeds", "values", "times"), [([0], [0.8, 0.9], []), ([], [], []), ([0, 1], [0.8, 0.9], [1.0])]
)
def test_a_row_needs_one_value_and_one_time_a_seed(seeds, values, times):
    with pytest.raises(ValueError, match="one value and one time a seed"):
        score_row("t", "m", seeds, values, num_items=9, num_parameters=1, train_cpu_seconds=times)


def test_a_record_comes_back_as_it_was(tmp_path, monkeypatch):
    rows = [row(), row([0.7], train_cpu_seconds=[3.14159])]
    save_results(tmp_path / "results" / "trial.json", rows, command="python -m trial", plans={"a": 1})
    monkeypatch.setattr(results, "find_results", lambda name: tmp_path / "results" / f"{name}.json")
    assert load_results("trial") == rows
    record = json.loads((tmp_path / "results" / "trial.json").read_text())
    assert record["name"] == "trial"
    assert record["command"] == "python -m trial"
    assert record["plans"] == {"a": 1}
    assert {"date", "versions", "hardware", "rows"} <= record.keys()
    assert rows[1].train_cpu_seconds == [3.1]


@pytest.mark.parametrize("installed", [True, False])
def test_records_are_found_in_a_checkout_and_in_an_installed_package(tmp_path, monkeypatch, installed):
    package = tmp_path / "rnnbook"
    path = (package if installed else tmp_path) / "results" / "trial.json"
    save_results(path, [row()], command="c")
    monkeypatch.setattr(results, "__file__", str(package / "results.py"))
    assert find_results("trial") == path
    with pytest.raises(FileNotFoundError, match=re.escape("python -m experiments.other")):
        find_results("other")


def test_a_table_shows_the_same_cells_in_words_and_in_markdown():
    rows = [row([0.8, 0.9, 0.85], train_cpu_seconds=[1.0, 2.0, 4.0]), row([0.5], num_parameters=0)]
    table = Table(rows, seconds=True)
    low, high = rows[0].low, rows[0].high
    first = ["a model", "0.850", f"{low:.3f} – {high:.3f}", "3", "12,345", "2"]
    second = ["a model", "0.500", f"{rows[1].low:.3f} – {rows[1].high:.3f}", "–", "0", "–"]
    markdown = table._repr_markdown_().splitlines()
    assert [cell.strip() for cell in markdown[2].strip("|").split("|")] == first
    assert [cell.strip() for cell in markdown[3].strip("|").split("|")] == second
    assert len({line.count("|") for line in markdown}) == 1
    words = [re.split(r"\s{2,}", line.strip()) for line in repr(table).splitlines()]
    assert words[1:] == [first, second]
    assert "CPU" not in repr(Table(rows))


def test_predict_takes_any_model_of_tokens_and_lengths():
    class Constant(nn.Module):
        def forward(self, tokens, lengths):
            return torch.stack([lengths.float(), tokens.sum(dim=1).float()], dim=1)

    logits = predict(Constant(), Batches(SEQUENCES, [0] * 5, batch_size=3))
    assert logits[:, 0].tolist() == [5, 1, 9, 3, 7]
    assert logits[:, 1].tolist() == [float(s.sum()) for s in SEQUENCES]


# --- gradients through time ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RNNCell, GRUCell, LSTMCell])
@pytest.mark.parametrize("given", [True, False])
def test_state_jacobians_are_those_of_autograd_step_by_step(kind, given):
    torch.manual_seed(0)
    cell, hidden = kind(3, 4).double(), 4
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    parts = 2 if kind is LSTMCell else 1
    flat = torch.randn(parts * hidden, dtype=torch.float64) if given else torch.zeros(parts * hidden).double()

    def packed(s):
        pieces = tuple(s.view(1, -1).split(hidden, dim=1))
        return pieces if parts == 2 else pieces[0]

    def step(t):
        def f(s):
            new = cell(x[:, t], packed(s))
            return torch.cat(new if isinstance(new, tuple) else (new,), dim=1)[0]

        return f

    product, expected, states = torch.eye(parts * hidden).double(), [], [flat]
    for t in range(5):
        states.append(step(t)(states[-1]).detach())
    for t in reversed(range(5)):
        expected.insert(0, product)
        product = product @ torch.autograd.functional.jacobian(step(t), states[t])
    expected.insert(0, product)
    actual = state_jacobians(cell, x, packed(flat) if given else None)
    torch.testing.assert_close(actual, torch.stack(expected), rtol=1e-10, atol=1e-12)
    norms = gradient_through_time(cell, x, packed(flat) if given else None)
    torch.testing.assert_close(norms, torch.stack([torch.linalg.svdvals(j)[0] for j in expected]))


@pytest.mark.parametrize("shape", [(2, 5, 3), (5, 3), (1, 0, 3)])
def test_jacobians_are_of_one_sequence(shape):
    with pytest.raises(ValueError, match=r"one sequence, x of shape \(1, time, feature\), got"):
        state_jacobians(RNNCell(3, 4), torch.zeros(shape))


def test_saved_bytes_count_each_storage_once_and_no_weights():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(7))

        def forward(self, x):
            y = x * self.weight  # keeps x and the weight
            return (y * y).sum()  # keeps y, twice

    x = torch.ones(100, 7, requires_grad=True)
    assert saved_bytes(Square(), x) == 2 * 100 * 7 * 4


def test_saved_bytes_grow_with_the_sequence():
    cell = RNNCell(3, 4)
    sizes = [saved_bytes(_Unrolled(cell), torch.zeros(2, T, 3)) for T in (10, 20, 40)]
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.05)


class _Unrolled(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        return unroll(self.cell, x)[0]


def test_solved_is_a_share_and_its_interval_is_wilsons():
    row = score_row("t", "m", range(5), [1.0] * 5, num_items=9, num_parameters=1, metric="solved")
    assert (row.metric, row.mean) == ("solved", 1.0)
    assert (row.low, row.high) == wilson_interval(5, 5)
    assert Table([row]).lines[0][1] == "solved"
