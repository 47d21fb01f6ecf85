"""Two processes: what the record claims, and one small run in which both ends take part."""

from __future__ import annotations

import statistics

import pytest

from experiments import two_processes
from rnnbook.classifier import ClassifierConfig
from rnnbook.results import load_results


def median(model: str, setting: str) -> float:
    (row,) = [
        row for row in load_results("two_processes") if row.model == model and row.task.startswith(setting)
    ]
    assert len(row.values) >= 9
    return statistics.median(row.values)


def test_two_processes_are_faster_where_there_is_work_and_less_so_where_the_gradient_is_large():
    assert median("two processes", "compute") >= 1.6
    assert median("two processes", "gradient") < median("two processes", "compute") < 2
    assert median("sum of the gradients", "gradient") > 5 * median("sum of the gradients", "compute")


def test_the_formula_is_an_upper_bound_where_little_is_sent():
    assert 0 <= median("formula", "compute") - median("two processes", "compute") < 0.5


def test_a_round_gives_a_row_for_each_part(monkeypatch):
    tiny = {"compute": ClassifierConfig(1_000, embedding_dim=128, hidden_size=256)}
    monkeypatch.setattr(two_processes, "SETTINGS", tiny)
    rows = two_processes.measure(2, progress=lambda _: None)
    assert [row.model for row in rows] == ["two processes", "formula", "sum of the gradients"]
    two, formula, share = (row.values[0] for row in rows)
    one_by_two = 1 / formula - share / two  # T(2) = T(1) / 2 + sum, in units of T(1)
    assert one_by_two == pytest.approx(0.5)
