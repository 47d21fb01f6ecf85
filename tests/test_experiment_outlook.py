"""The last experiment: streams are the models, bytes are counted rightly, cut runs go on, and what it found."""

from __future__ import annotations

import json
import statistics
import sys

import pytest
import torch

from experiments import outlook
from experiments.outlook import MODELS, SIGNED, TIMED, Task, make, sized, streamer
from experiments.race import Run
from rnnbook.repro import count_parameters
from rnnbook.results import load_record, load_results
from rnnbook.scan import MinGRU


@pytest.mark.parametrize("model", MODELS)
def test_all_models_of_the_parity_race_are_of_one_size(model):
    encoder = sized(model, 32, outlook.BUDGET, num_outputs=2, reach=16)
    size = count_parameters(encoder) + 2 * (encoder.output_size + 1)
    assert abs(size / outlook.BUDGET - 1) < 0.05


@pytest.mark.parametrize("model", MODELS)
def test_no_model_looks_ahead(model):
    torch.manual_seed(0)
    encoder = make(model, 5, 8).eval()
    x = torch.randn(1, 9, 5, requires_grad=True)
    outputs = encoder(x, torch.tensor([9]))
    (gradient,) = torch.autograd.grad(outputs[0, 3].sum(), x)
    seen = gradient[0].abs().sum(dim=1) > 0
    assert seen[:4].any()  # not all: a rectifier may be at rest
    assert not seen[4:].any()


@pytest.mark.parametrize("model", TIMED)
@torch.inference_mode()
def test_one_token_after_the_other_is_what_the_encoder_computes(model):
    torch.manual_seed(0)
    encoder = sized(model, 7, 3000).eval()
    x = torch.randn(1, 90, 7)
    stream = streamer(encoder, 90)
    outputs = torch.cat([stream.step(x_t) for x_t in x[0].split(1)])
    torch.testing.assert_close(outputs, encoder(x, torch.tensor([90]))[0], atol=1e-5, rtol=1e-4)
    held = sum(part.numel() * part.element_size() for part in stream.held())
    assert held == outlook.bytes_held(encoder, 90)


def test_gates_with_a_sign_are_those_of_a_mingru_but_for_the_range():
    torch.manual_seed(0)
    encoder, layer = make(SIGNED, 3, 4).double(), MinGRU(3, 4, batch_first=True).double()
    assert count_parameters(encoder) == count_parameters(layer)
    x = torch.randn(2, 6, 3, dtype=torch.double)
    h, states = torch.zeros(2, 4, dtype=torch.double), []
    for x_t in x.unbind(1):
        h = encoder.gate(x_t).tanh() * h + encoder.value(x_t)
        states.append(h)
    torch.testing.assert_close(encoder(x, torch.tensor([6, 6])), torch.stack(states, 1))
    with torch.no_grad():  # by hand: a = 1 - 2x and b = x follow parity
        bits = torch.tensor([[1.0, 0, 1, 1, 0, 1]])
        h = outlook.linear_recurrence(1 - 2 * bits.unsqueeze(2), bits.unsqueeze(2), method="scan")
    assert h.flatten().tolist() == (bits.cumsum(1) % 2).flatten().tolist()


def test_recall_asks_for_what_was_shown():
    generator = torch.Generator().manual_seed(0)
    x, values = outlook.recall_task(50, 5, generator=generator)
    assert x.shape == (50, 10, outlook.KEYS + outlook.VALUES)
    pairs, queries = x[:, :5], x[:, 5:]
    assert (pairs.sum(2) == 2).all()
    assert (queries.sum(2) == 1).all()
    assert (queries[..., outlook.KEYS :] == 0).all()
    shown = [
        dict(
            zip(
                row[:, : outlook.KEYS].argmax(1).tolist(),
                row[:, outlook.KEYS :].argmax(1).tolist(),
                strict=True,
            )
        )
        for row in pairs
    ]
    assert all(len(keys) == 5 for keys in shown)
    found = [
        keys[key]
        for keys, asked in zip(shown, queries, strict=True)
        for key in asked[:, : outlook.KEYS].argmax(1).tolist()
    ]
    assert found == values.tolist()
    assert (pairs[..., : outlook.KEYS].argmax(2) != queries.argmax(2)).any()


def test_ratios_are_against_the_reference_of_the_same_round():
    times = iter(range(1, 1000))
    points = [("LSTM", 64), ("GRU", 64), ("GRU", 256)]
    ratios = outlook.in_rounds(points, ("LSTM", 64), lambda name, length: next(times), 2, warm=64)
    assert ratios["LSTM", 64] == [1.0, 1.0]  # turns: 1 2 | 3 4 5 | 6 7 8
    assert ratios["GRU", 64] == [4 / 3, 7 / 6]
    assert ratios["GRU", 256] == [5 / 3, 8 / 6]


def test_the_real_clock_runs():
    for part in (outlook.streaming_rows, outlook.training_rows):
        rows = part(2, lengths=(8, 16), budget=2000)
        assert len(rows) == 2 * len(TIMED)
        assert all(min(row.values) > 0 and row.metric == "time_ratio" for row in rows)
        assert len({(row.task, row.model) for row in rows}) == len(rows)


def test_a_cut_off_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    calls = []

    def run(model, rate, seed):
        calls.append((model, rate, seed))
        return Run({"2": rate + seed / 1000, "4": 0.5}, 1 - rate, 5, 1.0, 100, 4)

    tasks = {"one": Task(run, ("a",), "T=", 2, 100), "two": Task(run, ("b",), "pairs=", 1, 1)}
    monkeypatch.setattr(outlook, "RESULTS", tmp_path)
    monkeypatch.setattr(outlook, "TASKS", tasks)
    monkeypatch.setattr(outlook, "measure", lambda rounds, progress: [])
    monkeypatch.setattr(outlook, "state_bytes", dict)
    log = tmp_path / "outlook.runs.jsonl"
    monkeypatch.setattr(sys, "argv", ["outlook", "--seeds", "2", "--only", "one"])
    outlook.main()
    assert len(calls) == len(log.read_text().splitlines()) == 2 * len(outlook.RATES) + 2
    assert not (tmp_path / "outlook.json").exists()
    monkeypatch.setattr(sys, "argv", ["outlook", "--seeds", "2"])
    outlook.main()
    assert len(calls) == len(set(calls)) == 2 * len(outlook.RATES) + 2 + len(outlook.RATES) + 1
    record = json.loads((tmp_path / "outlook.json").read_text())
    assert [(row["task"], row["seeds"]) for row in record["rows"]] == [
        ("one, T=2", [0, 1]),
        ("one, T=4", [0, 1]),
        ("two, pairs=2", [0]),
        ("two, pairs=4", [0]),
    ]
    assert record["rows"][0]["values"] == [0.02, 0.021]  # the rate with the smallest loss
    assert record["settings"]["one: a"]["rate"] == max(outlook.RATES)
    assert not log.exists()


# --- the record ------------------------------------------------------------------------------------------


def scores(task: str, where: str) -> dict[str, list[float]]:
    rows = [r for r in load_results("outlook") if r.task.startswith(task) and r.task.endswith(where)]
    assert all(row.metric == "accuracy" for row in rows)
    return {row.model: row.values for row in rows}


def test_parity_gates_follow_to_any_length_and_a_positive_diagonal_guesses():
    for length in (16, 64, 256):
        found = scores("parity", f"T={length}")
        assert set(found) == set(MODELS)
        assert all(len(values) == 5 for values in found.values())
        assert all(statistics.mean(found[name]) > 0.98 for name in ("LSTM", "GRU"))
        assert all(abs(statistics.mean(found[name]) - 0.5) < 0.05 for name in ("minGRU, one layer",))
    far = scores("parity", "T=256")
    for name in ("minGRU, two layers", "convolution (TCN)", "causal attention"):
        assert abs(statistics.mean(far[name]) - 0.5) < 0.03
    assert statistics.mean(scores("parity", "T=64")[SIGNED]) > 0.9


def test_every_model_of_the_parity_race_has_the_budget():
    for row in load_results("outlook"):
        if row.task.startswith("parity"):
            assert abs(row.num_parameters / outlook.BUDGET - 1) < 0.05


def test_recall_grows_with_the_state_and_attention_has_it_all():
    found = scores("recall", "pairs=8")
    means = [statistics.mean(found[name]) for name in outlook.RECALLERS]
    assert means == sorted(means)
    assert min(found["causal attention"]) > max(found["GRU, 64 units"])


def ratios(task: str) -> dict[tuple[str, int], float]:
    return {
        (row.model, int(row.task.partition(":")[0].split("T=")[-1].split()[-1])): statistics.median(
            row.values
        )
        for row in load_results("outlook")
        if row.metric == "time_ratio" and task in row.task
    }


def test_a_token_costs_a_recurrence_the_same_for_ever_and_attention_ever_more():
    token = ratios("one more token")
    assert len(token) == len(TIMED) * len(outlook.TOKENS)
    for name in ("RNN", "LSTM", "GRU", "minGRU, two layers", "convolution (TCN)"):
        assert 0.7 < token[name, 4096] / token[name, 64] < 1.4
    growth = token["causal attention", 4096] / token["causal attention", 64]
    assert 0.7 < growth / ((4 + 15.99) / (4 + 0.25)) < 1.4  # megabytes of weights and cache
    held = load_record("outlook")["state_bytes"]
    for name in TIMED:
        grows = held[name]["4096"] / held[name]["64"]
        assert grows == (64 if name == "causal attention" else 1)


def test_training_attention_grows_faster_than_its_length_and_all_else_about_as_it():
    step = ratios("forward and backward")
    for name in TIMED:
        growth = step[name, 4096] / step[name, 1024]
        assert (growth > 8) if name == "causal attention" else (3 < growth < 7.5)
    longest = {name: step[name, 4096] for name in TIMED}
    assert max(longest, key=longest.__getitem__) == "causal attention"
    assert longest["minGRU, two layers"] < longest["GRU"]
