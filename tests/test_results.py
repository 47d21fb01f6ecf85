"""Records that cannot lie about their size, and come back as they were."""

from __future__ import annotations

import json
import re

import pytest

from rnnbook import results
from rnnbook.evaluate import seed_interval, wilson_interval
from rnnbook.results import Row, Table, find_results, load_record, load_results, save_results, score_row


def row(values=(0.8, 0.9), **changes) -> Row:
    settings = {"num_items": 100, "num_parameters": 12345} | changes
    return score_row("a task", "a model", range(len(values)), list(values), **settings)


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
    assert load_record("trial") == record


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


def test_solved_is_a_share_and_its_interval_is_wilsons():
    row = score_row("t", "m", range(5), [1.0] * 5, num_items=9, num_parameters=1, metric="solved")
    assert (row.metric, row.mean) == ("solved", 1.0)
    assert (row.low, row.high) == wilson_interval(5, 5)
    assert Table([row]).lines[0][1] == "solved"
