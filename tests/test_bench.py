"""The benchmark of all speeds: what moved is named, what did not is not, nothing is forgotten."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from experiments import bench
from rnnbook.results import Row, load_results, save_results, score_row


def row(model: str, values: list[float], metric: str = "time_ratio") -> Row:
    return score_row(
        "a task",
        model,
        range(len(values)),
        values,
        num_items=1,
        num_parameters=1,
        metric=metric,
        train_cpu_seconds=() if metric.endswith("_ratio") else [1.0] * len(values),
    )


RECORDED = [row("steady", [1.0, 1.1, 5.0]), row("faster", [2.0, 2.0, 2.0]), row("m", [0.8, 0.9], "accuracy")]
NEW = [row("steady", [1.2, 1.2, 0.1]), row("faster", [2.4, 2.4, 0.1])]  # medians 1.1 → 1.2, 2 → 2.4


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RNNBOOK_DEVICE", "cpu")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    save_results(tmp_path / "stub.json", RECORDED, command="python -m experiments.stub", own=[1, 2])
    save_results(tmp_path / "scores.json", RECORDED[2:], command="python -m experiments.scores")
    stub = SimpleNamespace(measure=lambda rounds, progress: NEW)
    monkeypatch.setitem(sys.modules, "experiments.stub", stub)
    monkeypatch.setitem(sys.modules, "experiments.scores", SimpleNamespace())
    monkeypatch.setattr(sys, "argv", ["bench"])
    return tmp_path


def test_what_moved_is_named_and_what_did_not_is_not(folder, capsys):
    before = (folder / "stub.json").read_bytes()
    bench.main()
    shown = capsys.readouterr().out
    assert "stub: 2 speeds, 1 moved by more than 15%" in shown
    assert "a task · faster · time_ratio" in shown
    assert "2.000 →    2.400  (+20%)" in shown
    assert "steady" not in shown
    assert "scores" not in shown
    assert (folder / "stub.json").read_bytes() == before


@pytest.mark.parametrize(("value", "named"), [(2.28, False), (2.32, True), (1.72, False), (1.68, True)])
def test_the_limit_lies_at_fifteen_percent_both_ways(value, named):
    old, new = (bench.ratios([row("m", [v] * 3)]) for v in (2.0, value))
    assert bool(bench.moved(old, new)) == named


@pytest.mark.usefixtures("folder")
def test_that_nothing_moved_is_said(monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["experiments.stub"], "measure", lambda rounds, progress: RECORDED[:2])
    bench.main()
    assert capsys.readouterr().out == "stub: 2 speeds, none moved by more than 15%\n"


def test_written_records_keep_all_else(folder, monkeypatch, capsys):
    before = json.loads((folder / "stub.json").read_text(encoding="utf-8"))
    more = [*NEW, row("new", [3.0, 3.0])]
    monkeypatch.setattr(sys.modules["experiments.stub"], "measure", lambda rounds, progress: more)
    monkeypatch.setattr(sys, "argv", ["bench", "--write", "--rounds", "3", "stub"])
    bench.main()
    assert "a task · new · time_ratio: not recorded yet" in capsys.readouterr().out
    after = json.loads((folder / "stub.json").read_text(encoding="utf-8"))
    assert [Row(**made) for made in after["rows"]] == [*NEW, RECORDED[2], more[2]]
    assert after["speeds"]["command"] == "python -m experiments.bench --rounds 3 --write stub"
    assert {"date", "versions", "hardware"} <= after["speeds"].keys()
    for kept in before.keys() - {"rows"}:
        assert after[kept] == before[kept]
    bench.main()
    assert "none moved" in capsys.readouterr().out


def test_a_record_that_nothing_measures_is_an_error_before_any_work(folder, monkeypatch):
    save_results(folder / "zero.json", RECORDED, command="python -m experiments.zero")
    monkeypatch.setitem(sys.modules, "experiments.zero", SimpleNamespace())
    monkeypatch.setattr(sys.modules["experiments.stub"], "measure", lambda rounds, progress: 1 / 0)
    with pytest.raises(SystemExit, match=r"zero\.json holds speeds, but experiments/zero\.py has no measure"):
        bench.main()


@pytest.mark.usefixtures("folder")
def test_a_speed_that_is_not_measured_again_is_an_error_after_all_was_said(monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["experiments.stub"], "measure", lambda rounds, progress: NEW[:1])
    with pytest.raises(SystemExit, match="not measured again"):
        bench.main()
    assert "a task · faster · time_ratio: NOT MEASURED AGAIN" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_an_unknown_name_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", "scores"])
    with pytest.raises(SystemExit, match="no speed is recorded under scores; known: stub"):
        bench.main()


def test_one_round_has_no_spread(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", "--rounds", "1"])
    with pytest.raises(SystemExit, match=r"at least 2 rounds.*got 1"):
        bench.main()


def test_every_recorded_speed_has_its_measure():
    assert {"speed_layers", "buckets", "cells"} <= set(bench.names())
    for name in bench.names():
        assert callable(bench.measure_of(name))


def test_cells_and_buckets_measure_the_rows_that_they_recorded(monkeypatch):
    from experiments import buckets, cells

    def stub(*args, **kwargs):
        seen.append((args, kwargs))
        return [replace(RECORDED[0], task=f"{args}")]

    for module in (buckets, cells):
        seen: list = []
        monkeypatch.setattr(module, "timing", stub)
        said: list[str] = []
        rows = module.measure(3, said.append)
        assert len(rows) == len(seen)
        assert len(said) == len(rows)
        assert all(3 in (*args, *kwargs.values()) for args, kwargs in seen)
    assert len({r.task for r in load_results("buckets") if r.metric == "time_ratio"}) == len(buckets.RACES)
