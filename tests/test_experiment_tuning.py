"""The search: its draws, its three parts of the data, what it keeps of each run, and what it ended with."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import pytest

from experiments import imdb, tuning
from rnnbook.datasets import load
from rnnbook.results import load_record, load_results


def test_a_draw_depends_on_its_seed_and_stays_in_its_ranges():
    draws = [tuning.draw(seed) for seed in range(200)]
    assert draws == [tuning.draw(seed) for seed in range(200)]
    assert len(set(draws)) == 200
    assert {knobs.num_layers for knobs in draws} == {1, 2, 3}
    for name, low, high in (("learning_rate", 1e-4, 0.1), ("hidden_size", 8, 91), ("dropout", 0, 0.7)):
        values = [getattr(knobs, name) for knobs in draws]
        assert low <= min(values) < low * 1.3 + 0.02, name
        assert high * 0.8 < max(values) <= high, name


def test_the_plan_has_the_knobs():
    plan = tuning.plan_of(tuning.Knobs(3e-3, 7, 2, 0.4))
    assert (plan.learning_rate, plan.config.hidden_size) == (3e-3, 7)
    assert (plan.config.num_layers, plan.config.dropout) == (2, 0.4)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Three small parts in place of the reviews, and one epoch on a few words of each."""
    data = load("film_sentences").train
    monkeypatch.setattr(tuning, "parts", lambda: tuple(data.take(range(i, i + 60)) for i in (0, 100, 200)))
    monkeypatch.setattr(tuning, "RESULTS", tmp_path)
    monkeypatch.setattr(tuning, "ALONE", {"num_layers": [1, 2], "dropout": [0.3]})
    monkeypatch.setattr(tuning, "draw", lambda seed: tuning.Knobs(hidden_size=2 + seed, learning_rate=1e-2))
    monkeypatch.setattr(sys, "argv", ["tuning", "--seeds", "2", "--runs", "2"])
    return tmp_path


def test_what_is_chosen_is_scored_with_new_seeds_on_other_texts(tiny, monkeypatch):
    calls = []

    def run_network(plan, _, scored_on, seed):
        calls.append((plan.config.hidden_size, plan.config.num_layers, scored_on.texts[0], seed))
        score = plan.config.hidden_size / 100 + plan.config.num_layers / 10
        return imdb.Outcome(plan.model, seed, score, None, 1.0, 10)

    monkeypatch.setattr(tuning, "run_network", run_network)
    tuning.main()
    record = json.loads((tiny / "tuning.json").read_text(encoding="utf-8"))
    _, val, test = tuning.parts()
    held_out = [call for call in calls if call[3] < tuning.FIRST_SEED]
    scored = [call for call in calls if call[3] >= tuning.FIRST_SEED]
    assert {call[2] for call in held_out} == {val.texts[0]}
    assert {call[2] for call in scored} == {test.texts[0]}
    assert record["chosen"]["small LSTM, num_layers tuned alone"] == asdict(tuning.Knobs(num_layers=2))
    assert record["chosen"]["small LSTM, best of the random search"]["hidden_size"] == 3
    assert [run["hidden_size"] for run in record["search"]] == [2, 3]
    assert list(tiny.iterdir()) == [tiny / "tuning.json"]


def test_the_record_says_what_the_chapter_says():
    record = load_record("tuning")
    assert len(record["search"]) >= 40
    for number, run in enumerate(record["search"]):
        assert {name: run[name] for name in asdict(tuning.Knobs())} == asdict(tuning.draw(number))
    best = max(record["search"], key=lambda run: run["accuracy"])
    assert all(
        best[name] == value
        for name, value in record["chosen"]["small LSTM, best of the random search"].items()
    )
    rows = {row.model: row for row in load_results("tuning")}
    assert set(record["chosen"]) <= set(rows)
    assert all(len(rows[model].values) == 5 for model in record["chosen"])
