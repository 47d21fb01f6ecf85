"""Dates with more seeds: the chapter's pairs, a toy run of every model, and the record of the book."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("babel")

from experiments import dates
from rnnbook.dates import date_pairs
from rnnbook.repro import seed_everything
from rnnbook.results import load_results


def test_the_pairs_are_those_of_the_chapter_and_no_day_of_a_test_is_in_training(monkeypatch):
    monkeypatch.setattr(dates, "NUM_TRAINING", 50)
    texts = dates.Texts()
    generator = seed_everything(0)
    assert texts.training == date_pairs(50, "training", generator=generator)
    date_pairs(300, "validation", generator=generator)
    for test, unseen in zip(dates.TESTS, (False, True), strict=True):
        assert texts.tests[test] == date_pairs(1000, "test", unseen=unseen, generator=generator)


def test_the_record_of_a_toy_run(tmp_path, monkeypatch):
    monkeypatch.setattr(dates, "RESULTS", tmp_path)
    monkeypatch.setattr(dates, "NUM_TRAINING", 200)
    monkeypatch.setattr(dates, "NUM_TEST", 40)
    monkeypatch.setattr(dates, "MODELS", {name: (how, 1) for name, (how, _) in dates.MODELS.items()})
    monkeypatch.setattr(sys, "argv", ["dates", "--seeds", "2"])
    dates.main()
    record = json.loads((tmp_path / "dates.json").read_text(encoding="utf-8"))
    assert record["command"] == "python -m experiments.dates --seeds 2"
    assert [(row["model"], row["task"]) for row in record["rows"]] == [
        (model, task) for model in dates.MODELS for task in dates.TESTS
    ]
    assert all(0 <= row["low"] <= row["mean"] <= row["high"] <= 1 for row in record["rows"])
    sizes = {row["model"]: row["num_parameters"] for row in record["rows"]}
    assert len(set(sizes.values())) == 3


@pytest.mark.parametrize("task", dates.TESTS)
def test_with_attention_every_seed_translates_99_of_100_dates(task):
    rows = {row.model: row for row in load_results("dates") if row.task == task}
    without, *attentive = (rows[model] for model in dates.MODELS)
    assert all(row.seeds == [0, 1, 2, 3, 4] and min(row.values) >= 0.99 for row in attentive)
    assert max(without.values) < 0.25
