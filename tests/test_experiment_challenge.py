"""The experiment on the challenge set: what is counted in a row, and what the record promises."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import challenge as experiment
from experiments.imdb import Outcome
from rnnbook.challenge import Challenge, load_challenge
from rnnbook.corpus import Split
from rnnbook.evaluate import wilson_interval
from rnnbook.results import load_results

TINY = Challenge(
    ("a", "b", "c", "d"), np.array([1, 0, 1, 0]), ("plain",) * 2 + ("negation",) * 2, np.array([1, 1, 2, 2])
)


def outcome(seed: int, odds: list[float]) -> Outcome:
    return Outcome("m", seed, 0.0, None, 1.0, 10, log_odds=np.array(odds, np.float32))


def test_a_row_is_the_mean_of_the_seeds_with_the_interval_of_the_items():
    runs = [outcome(0, [2.0, -1.0, -3.0, 1.0]), outcome(1, [2.0, 1.0, 3.0, 1.0])]
    rows = {(row.task, row.metric): row for row in experiment.rows_of("m", runs, TINY)}
    assert rows["plain", "accuracy"].values == [1.0, 0.5]
    assert rows["negation", "accuracy"].values == [0.0, 0.5]
    assert rows["plain", "both_right"].values == [1.0, 0.0]
    assert rows["negation", "both_right"].values == [0.0, 0.0]
    assert rows["plain", "same_answer"].values == [0.0, 1.0]
    assert rows["negation", "same_answer"].values == [0.0, 1.0]
    for metric, count in (("accuracy", 2), ("both_right", 1)):
        row = rows["plain", metric]
        assert (row.low, row.high) == pytest.approx(wilson_interval(row.mean * count, count))
    assert all(row.seeds == [0, 1] and row.train_cpu_seconds == [1.0, 1.0] for row in rows.values())


def test_the_majority_answers_the_training_texts_class():
    train, test = Split(("x", "y", "z"), np.array([0, 0, 1])), Split(TINY.texts, TINY.labels)
    found = experiment.majority(train, test)
    assert (found.log_odds < 0).all()
    assert found.accuracy == 0.5


def test_the_record_has_each_kind_model_and_measure_of_today():
    rows, challenge = load_results("challenge"), load_challenge()
    kinds = dict.fromkeys(challenge.kinds)
    assert len(rows) == 2 * 3 * 3 * len(kinds)
    assert {row.task for row in rows} == set(kinds)
    for row in rows:
        count = len(challenge.of(row.task).texts) // (1 if row.metric == "accuracy" else 2)
        assert f"over {count} " in row.note  # else sentences were added since: run it again
        assert len(row.seeds) == (5 if "LSTM" in row.model else 1)
    pairs = [row for row in rows if row.metric == "both_right" and row.task == "negation"]
    assert max(row.mean for row in pairs) < 0.25  # what the chapter says
