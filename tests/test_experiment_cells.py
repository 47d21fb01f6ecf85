"""The race of the six: equal sizes, words counted rightly, resumed after a cut, and the promised numbers."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn

from experiments import cells
from experiments.cells import build, spans, tagged, word_f1
from experiments.race import Run, RunLog, quality, within_a_share
from rnnbook.repro import count_parameters
from rnnbook.results import load_results, score_row
from rnnbook.text import Vocab

FORMS = [
    {"input_size": 2, "num_outputs": 1, "reach": 400},
    {"input_size": 32, "num_outputs": 2, "vocab_size": 9, "reach": 32, "pooling": "mean+max"},
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: str(form["reach"]))
@pytest.mark.parametrize("model", cells.MODELS)
def test_all_models_are_of_one_size(model, form):
    network = build(model, **form)
    size = count_parameters(network.encoder) + count_parameters(network.readout)
    assert abs(size / cells.BUDGET - 1) < 0.05


def test_an_lstm_starts_with_an_open_forget_gate():
    for model in ("LSTM", "bidirectional LSTM"):
        for name, bias in build(model, 2, 1).encoder.named_parameters():
            if "bias_ih" in name:
                assert set(bias.chunk(4)[1].tolist()) == {1.0}


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ([0, 1, 1], {(0, 1), (2, 2)}),
        ([1, 1], {(0, 0), (1, 1)}),
        ([0, 0, 0], {(0, 2)}),  # the end of a sentence ends a word
        ([0, 1, 0], {(0, 1), (2, 2)}),
    ],
)
def test_marks_become_words(ends, words):
    assert spans(ends) == words


def test_f1_counts_whole_words_row_by_row():
    vocab = Vocab.build([["a", "b", "c"]])
    batches = tagged([["ab", "c"], ["a", "bc", "a"]], vocab)
    ((_, lengths, labels),) = batches
    assert lengths.tolist() == [3, 4]
    assert labels.tolist() == [0, 1, 1, 1, 0, 1, 1]

    class Fixed(nn.Module):
        def __init__(self, marks):
            super().__init__()
            self.marks = torch.tensor(marks)

        def forward(self, *_):
            return nn.functional.one_hot(self.marks, 2).float()

    assert word_f1(Fixed(labels.tolist()), batches) == 1.0
    # One wrong end in the first row: of its words "ab|c" none is found, three of three in the second.
    assert word_f1(Fixed([1, 0, 1, 1, 0, 1, 1]), batches) == pytest.approx(2 * 3 / (5 + 5))
    # No end at all: one word a row.
    assert word_f1(Fixed([0] * 7), batches) == 0.0


def trial(loss: float, steps: int) -> Run:
    return Run({}, loss, steps, 0.0, 0, 0)


def test_a_rate_is_chosen_by_both_trials_and_among_the_solved_by_their_steps():
    lucky, steady = [trial(0.004, 100), trial(0.17, 1000)], [trial(0.006, 600), trial(0.009, 700)]
    faster = [trial(0.009, 300), trial(0.006, 300)]
    assert min((lucky, steady, faster), key=quality) is faster
    assert min((lucky, steady), key=quality) is steady


def test_the_interval_of_a_share_stays_between_0_and_1():
    row = score_row("a", "b", [0, 1], [0.5, 1.0], num_items=9, num_parameters=0)
    assert (row.low < 0, row.high > 1) == (True, True)
    cut = within_a_share(row)
    assert (cut.low, cut.mean, cut.high) == (0, 0.75, 1)


def test_two_processes_share_a_log_and_no_run_is_made_twice(tmp_path):
    calls = []

    def run(model, rate, seed):
        calls.append((model, rate, seed))
        return Run({"accuracy": 0.5}, 0.1, 5, 1.0, 100, 4)

    one, other = (RunLog(tmp_path / "runs.jsonl") for _ in range(2))
    first = one.once(run, "task", "RNN", 0.1, 0)
    assert other.once(run, "task", "RNN", 0.1, 0) == first
    assert calls == [("RNN", 0.1, 0)]
    other.once(run, "task", "RNN", 0.1, 1)
    other.once(run, "another task", "RNN", 0.1, 0)
    assert len(calls) == 3
    one.remove()
    assert RunLog(tmp_path / "runs.jsonl").runs == {}


def test_a_cut_off_race_goes_on_where_it_stopped(tmp_path, monkeypatch):
    calls = []

    def task(model, rate, seed):
        calls.append((model, rate, seed))
        return Run({"accuracy": rate + seed / 1000}, 1 - rate, 5, 1.0, 100, 4, 8.0)

    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    monkeypatch.setattr(cells, "TASKS", {"one": (task, 10), "two": (task, 10)})
    monkeypatch.setattr(cells, "MODELS", {"RNN": "rnn"})
    monkeypatch.setattr(cells, "timing", list)
    monkeypatch.setattr(sys, "argv", ["cells", "--seeds", "2", "--only", "one"])
    cells.main()
    log = tmp_path / "cells.runs.jsonl"
    assert len(calls) == len(log.read_text().splitlines()) == 2 * len(cells.RATES) + 2
    assert not (tmp_path / "cells.json").exists()
    monkeypatch.setattr(sys, "argv", ["cells", "--seeds", "2"])
    cells.main()
    assert len(calls) == len(set(calls)) * 2 == 2 * (2 * len(cells.RATES) + 2)
    record = json.loads((tmp_path / "cells.json").read_text())
    assert record["rates"] == {"one: RNN": max(cells.RATES), "two: RNN": max(cells.RATES)}
    assert [row["values"] for row in record["rows"]] == [[0.02, 0.021]] * 2
    assert not log.exists()


# --- the record ------------------------------------------------------------------------------------


def rows(*words: str, metric: str) -> dict:
    found = [r for r in load_results("cells") if all(w in r.task for w in words) and r.metric == metric]
    return {row.model: row for row in found}


@pytest.mark.parametrize("seq_len", [100, 200, 400])
def test_the_adding_problem_as_promised(seq_len):
    solved = rows("adding", f"T={seq_len}", metric="solved")
    assert solved["RNN"].values == [0.0] * 5
    assert solved["GRU"].values == solved["LSTM, chrono"].values == [1.0] * 5


def test_the_small_chrono_lstm_needs_at_most_fifteen_seconds():
    row = rows("32 units, T=400", metric="solved")["LSTM, chrono"]
    assert row.values == [1.0] * 5
    assert max(row.train_cpu_seconds) <= 15


def test_every_model_of_the_record_ran_five_seeds_and_is_of_one_size():
    for row in load_results("cells"):
        assert len(row.values) == 5
        if "32 units" not in row.task:
            assert abs(row.num_parameters / cells.BUDGET - 1) < 0.05
