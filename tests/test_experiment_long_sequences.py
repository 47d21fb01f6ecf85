"""Time and memory against length: each way computes the right gradient, the formula counts what is kept."""

from __future__ import annotations

import statistics

import pytest
import torch

from experiments import long_sequences as experiment
from experiments.long_sequences import BY_AUTOGRAD, FULL, GRID, GRU, LENGTHS, REFERENCE, TIMED
from rnnbook.results import load_results


def gradients(run, steps: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    layer = GRU(3, 4, dtype=torch.float64)
    x = torch.randn(steps, 2, 3, dtype=torch.float64)
    run(layer, experiment.reader(x), steps)
    return [weight.grad for weight in layer.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.allclose(x, y, rtol=1e-10) for x, y in zip(one, other, strict=True))


def test_checkpoints_change_nothing_and_truncation_does():
    for steps in (64, 256):
        whole = gradients(experiment.full, steps)
        assert same(gradients(experiment.checkpointed, steps), whole)
        assert same(gradients(experiment.truncated, steps), whole) == (steps == experiment.SEGMENT)


@pytest.mark.parametrize("kind", FULL.values())
def test_the_formula_counts_what_a_layer_keeps_for_the_way_back(kind):
    layer = kind(5, 7)

    def kept(steps: int) -> int:
        found: dict[int, int] = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outputs, _ = layer(torch.randn(steps, 3, 5))
        return sum(found.values()) + outputs.nbytes  # as large as their gradient, which comes later

    assert kept(60) - kept(20) == 40 * experiment.bytes_per_step(layer, 3)


def test_a_peak_is_measured_in_a_process_of_its_own():
    (peak,) = experiment.peaks("MinGRU, scan", 1024, 1)
    assert 4e6 < peak < 40e6  # a MinGRU keeps some 6 tensors of 1 MB


def test_ratios_are_against_the_named_reference(monkeypatch):
    clock = {name: 2.0**i for i, name in enumerate(TIMED)}
    monkeypatch.setattr(experiment, "step_seconds", lambda name, layer, x: clock[name] * len(x))
    rows = {(row.task.split(",")[0], row.model): row for row in experiment.time_rows(2)}
    assert len(rows) == len(TIMED) * len(LENGTHS) - 1
    assert rows["T=1024", REFERENCE].values == [1.0, 1.0]
    assert rows["T=4096", "torch.nn.GRU, full BPTT"].values == [8.0, 8.0]
    monkeypatch.setattr(experiment, "recurrence_seconds", lambda a, b, method: len(method))
    (row,) = experiment.race(1, 2, 3, 2, "autograd", "loop")
    assert (row.values, row.metric, row.model) == ([2.0, 2.0], "speed_ratio", "loop")


def test_the_real_clock_runs():
    x = torch.randn(64, 4, 64)
    assert all(experiment.step_seconds(name, make(64, 64), x) > 0 for name, (make, _) in TIMED.items())
    a, b = (torch.rand(1, 4, 2).requires_grad_() for _ in range(2))
    assert experiment.recurrence_seconds(a, b, "scan") > 0


# --- the record ----------------------------------------------------------------------------------------


def medians(metric: str, *words: str) -> dict[tuple[str, str], float]:
    """Give the recorded medians by (size, model)."""
    rows = [row for row in load_results("long_sequences") if row.metric == metric]
    return {
        (row.task.partition(", against")[0], row.model): statistics.median(row.values)
        for row in rows
        if all(word in row.task for word in words)
    }


def test_every_point_is_recorded():
    rows = load_results("long_sequences")
    assert all(len(row.values) >= (3 if row.metric in ("time_ratio", "speed_ratio") else 2) for row in rows)
    keys = {(row.task, row.model, row.metric) for row in rows}
    assert len(keys) == len(rows)
    assert len(medians("time_ratio")) == len(TIMED) * len(LENGTHS) - 1
    assert not [key for key in medians("time_ratio", "T=16384") if key[1] == BY_AUTOGRAD]


def test_the_memory_of_truncated_bptt_is_constant_and_that_of_full_bptt_follows_the_formula():
    megabytes = {
        (int(task.split(",")[0][2:]), model): value
        for (task, model), value in medians("peak_megabytes").items()
    }
    truncated = [megabytes[steps, "GRU, truncated BPTT"] for steps in LENGTHS]
    assert max(truncated) < 2
    assert megabytes[LENGTHS[-1], REFERENCE] > 50 * max(truncated)
    assert megabytes[LENGTHS[-1], "GRU, checkpoints"] < megabytes[LENGTHS[-1], REFERENCE] / 3
    assert megabytes[LENGTHS[-1], "torch.nn.GRU, full BPTT"] > 2 * megabytes[LENGTHS[-1], REFERENCE]
    ratios = medians("memory_ratio", "formula")
    assert {model for _, model in ratios} == set(FULL)
    assert all(abs(ratio - 1) < 0.1 for ratio in ratios.values())


def test_time_grows_as_the_length_and_checkpoints_cost_one_more_way_there():
    times = {
        (int(task.split(",")[0][2:]), model): value for (task, model), value in medians("time_ratio").items()
    }
    longest = LENGTHS[-1]
    assert 10 < times[longest, REFERENCE] < 25  # 16 times as long
    assert 1.1 < times[longest, "GRU, checkpoints"] / times[longest, REFERENCE] < 2.5
    assert min((value, model) for (steps, model), value in times.items() if steps == longest)[1] == (
        "MinGRU, scan"
    )


def test_the_speeds_that_the_book_promises():
    layers = medians("speed_ratio", "against torch.nn.GRU")
    for steps in (100, 200):
        assert layers[f"B=32, T={steps}, H=64", "MinGRU, loop"] >= 4
        # Where products take most of the time, what counts is that of a GRU's six a MinGRU needs two.
        assert layers[f"B=32, T={steps}, H=128", "MinGRU, loop"] >= 3.3
    alone = medians("speed_ratio", "method autograd")
    assert alone["recurrence alone, B=8, T=1024, H=64", "scan"] >= 5
    assert alone["recurrence alone, B=8, T=1024, H=64", "loop"] >= 2


def test_the_scan_wins_where_a_step_is_small_and_the_sequence_long():
    grid = medians("speed_ratio", "method loop")

    def speed(size: tuple[int, int], steps: int) -> float:
        return grid[f"recurrence alone, B={size[0]}, T={steps}, H={size[1]}", "scan"]

    for size in GRID:
        assert speed(size, 4) < 1.1
    assert speed((1, 16), 4096) > 10
    assert speed((1, 16), 1024) > speed((8, 64), 1024) > speed((32, 128), 1024)
    assert speed((32, 256), 256) < 1.3
