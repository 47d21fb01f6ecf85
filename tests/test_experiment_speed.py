"""The recorded speeds hold what the chapter says of them; the arithmetic is that of the layer."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments import speed
from rnnbook import layers
from rnnbook.results import Row, find_results, load_results

FLOAT, INTEGERS = "ONNX Runtime, float32", "ONNX Runtime, int8"


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], Row]:
    return {(row.task, row.model): row for row in load_results("speed")}


def median(row: Row) -> float:
    return statistics.median(row.values)


# --- recorded --------------------------------------------------------------------------------------


def test_onnx_runtime_answers_sooner_at_batch_1(rows):
    task = "film sentences, one at a time, p50"
    assert median(rows[task, FLOAT]) >= 1.4
    assert median(rows[task, INTEGERS]) >= 2
    assert median(rows[task, "PyTorch, int8"]) < 1  # PyTorch's own integers are slower
    for percentile in (50, 95, 99):
        for texts in ("film sentences", "film reviews, 200 tokens"):
            task = f"{texts}, one at a time, p{percentile}"
            assert median(rows[task, INTEGERS]) > median(rows[task, FLOAT]) > 1
            assert len(rows[task, FLOAT].values) >= 9


def test_integers_lose_half_a_point_of_accuracy_at_most(rows):
    exact, same, rounded = (rows["film sentences", name] for name in (speed.EAGER, FLOAT, INTEGERS))
    assert len(exact.values) == 5
    assert exact.mean > 0.7
    assert same.values == pytest.approx(exact.values, abs=1e-3)
    assert rounded.mean >= exact.mean - 0.005
    made = json.loads(find_results("speed").read_text(encoding="utf-8"))["bytes"]
    assert made["int8.onnx"] < 0.3 * made["float32.onnx"]


def test_small_batches_waste_the_machine(rows):
    for size in (128, 512):
        one, eight, many = (
            median(rows[f"time per token, LSTM, H={size}, T=20, against B=32", f"B={b}"]) for b in (1, 8, 128)
        )
        assert one > eight > 1
        assert one > 2
        assert many < 1.2


def test_wide_layers_come_near_the_limit_of_operations_and_one_sequence_does_not(rows):
    step, alone, read = (
        [median(rows[f"share of the limit: {task}", f"LSTM, H={size}"]) for size in (64, 128, 256, 512)]
        for task in (
            "FLOP, training step at B=32",
            "FLOP, one sequence forward",
            "bytes of weights, one sequence forward",
        )
    )
    assert step[0] < step[-1]
    assert step[-1] > 0.6
    assert all(a < b / 2 for a, b in zip(alone, step, strict=True))
    assert read[-1] > 2 * alone[-1]


def test_float64_costs_more_and_bfloat16_here_most(rows):
    task = "time of a step, LSTM, H=128, B=32, against float32"
    assert 1.5 < median(rows[task, "float64"]) < 5
    assert median(rows[task, "bfloat16"]) > median(rows[task, "float64"])


# --- the code --------------------------------------------------------------------------------------


def test_the_operations_counted_on_paper_are_those_of_the_layer():
    size, batch_size, seq_len = 6, 3, 5
    layer = layers.LSTM(size, size, form="plain")
    x = torch.randn(seq_len, batch_size, size, requires_grad=True)
    h, c = (torch.zeros(1, batch_size, size, requires_grad=True) for _ in range(2))
    with FlopCounterMode(display=False) as counter:
        outputs = layer(x, (h, c))[0]
        assert counter.get_total_flops() == speed.flop(batch_size, seq_len, size)
        outputs.sum().backward()
    assert counter.get_total_flops() == 3 * speed.flop(batch_size, seq_len, size)


def test_a_share_is_work_over_time_against_the_limit(monkeypatch):
    def taken(ways, rounds):
        return {name: [seconds] * rounds for name, seconds in zip(ways, (6.0, 1.0, 2.0, 0.5), strict=True)}

    monkeypatch.setattr(speed, "in_turn", taken)
    step, alone, read = speed.limit_rows(2, sizes=(8,), n=16)
    limit = 2 * 16**3 / 1.0  # FLOP/s of the product
    assert step.values == pytest.approx([2 * 3 * speed.flop(32, 50, 8) / 6.0 / limit] * 2)
    assert alone.values == pytest.approx([speed.flop(1, 50, 8) / 2.0 / limit] * 2)
    assert read.values == pytest.approx([0.25] * 2)


def test_the_time_per_token_knows_batch_and_repeats(monkeypatch):
    def taken(ways, rounds):
        return {
            name: [8.0] * rounds for name in ways
        }  # equal times for 8 x 1, 4 x 8, 2 x 32 and 128 sequences

    monkeypatch.setattr(speed, "in_turn", taken)
    ratios = {row.model: row.values[0] for row in speed.batch_rows(2, sizes=(4,))}
    assert ratios == pytest.approx({"B=1": 8.0, "B=8": 2.0, "B=32": 1.0, "B=128": 0.5})


def test_all_parts_run_small(monkeypatch):
    monkeypatch.setattr(speed, "vocabulary", lambda: vocab)
    vocab = speed.Vocab.build([speed.tokenize(text) for text in speed.sentences()[0].texts[:200]])
    for rows in (
        speed.batch_rows(2, sizes=(4,)),
        speed.dtype_rows(2, size=4),
        speed.inference_rows(2, num_texts=3),
    ):
        for row in rows:
            assert row.metric.endswith("_ratio")
            assert len(row.values) == 2
            assert min(row.values) > 0
    eager = [row for row in rows if row.model == speed.EAGER]
    assert len(eager) == 8  # two kinds of text: three percentiles and the throughput
    assert all(row.values == [1.0, 1.0] for row in eager)


def test_threads_are_compared_in_a_process_that_has_two(monkeypatch, capsys):
    def run(command, *, env, **settings):
        assert env["OMP_NUM_THREADS"] == "2"
        assert settings["check"]
        monkeypatch.setattr(sys, "argv", command[2:])
        speed.main()
        return SimpleNamespace(stdout=capsys.readouterr().out)

    taken = {"1": [2.0] * 3, "2": [1.0, 3.0, 1.0]}
    monkeypatch.setattr(speed, "in_turn", lambda ways, rounds, clock: taken)
    monkeypatch.setattr(subprocess, "run", run)
    rows = speed.thread_rows_apart(3)
    assert len(rows) == 4
    for row in rows:
        assert row.values == [0.5, 1.5, 0.5]
        assert "two threads against one" in row.task
