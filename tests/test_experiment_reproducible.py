"""Runs that part: what is equal has distance zero, what a processor refuses is recorded, errors are not hidden."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

from experiments import reproducible
from experiments.reproducible import STEPS, relative_distance, run, start
from rnnbook.results import find_results

STEPS_OF_A_TRIAL = (0, 1, 5)


def test_the_distance_is_zero_for_equal_bits_alone():
    here = np.array([3.0, 4.0], dtype=np.float32)
    assert relative_distance(here.copy(), here) == 0
    assert relative_distance(np.array([3.0, 4.5], dtype=np.float32), here) == pytest.approx(0.1)
    assert relative_distance(np.nextafter(here, 9), here) > 0


def test_a_run_follows_its_seed_and_the_order_of_a_sum_moves_it_a_little():
    plain, accuracies = run(0.1, 0, "first run", STEPS_OF_A_TRIAL)
    assert len(plain) == len(STEPS_OF_A_TRIAL)
    assert len(accuracies) == len(reproducible.TEST_LENS)
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)
    for how in ("first run", "rows reversed", "batch in two halves"):
        other, _ = run(0.1, 0, how, STEPS_OF_A_TRIAL)
        distances = [relative_distance(*pair) for pair in zip(other, plain, strict=True)]
        assert distances[0] == 0
        assert max(distances) < 1e-5
        if how == "first run":
            assert max(distances) == 0
    assert relative_distance(run(0.1, 1, "first run", STEPS_OF_A_TRIAL)[0][0], plain[0]) > 0.1


@pytest.mark.parametrize(("code", "words", "had"), [(0, "", True), (-4, "", False)])
def test_a_signal_says_that_the_processor_refused(monkeypatch, code, words, had):
    seen = {}

    def ended(command, env, **_):
        seen.update(env)
        return subprocess.CompletedProcess(command, code, "", words)

    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setattr(reproducible.subprocess, "run", ended)
    assert start([], OMP_NUM_THREADS="2") is had
    assert seen["OMP_NUM_THREADS"] == "2"
    assert "ATEN_CPU_CAPABILITY" not in seen  # what is set outside does not leak into a run


def test_an_error_in_a_run_is_not_taken_for_a_refusal():
    with pytest.raises(RuntimeError, match="invalid choice"):
        start(["--child", "no such setting"])


def test_the_record_holds_every_setting_or_says_that_it_was_not_to_be_had():
    made = json.loads(find_results("reproducible").read_text(encoding="utf-8"))
    assert made["steps"] == list(STEPS)
    native = "instructions: " + made["settings"]["first run"]["instructions"].lower()
    assert set(made["settings"]) | set(made["not_had"]) | {native} == set(reproducible.SETTINGS) | {native}
    for found in made["differences"].values():
        assert found.keys() == made["settings"].keys()
        for runs in found.values():
            assert [len(run) for run in runs] == [len(STEPS)] * 5
        assert not any(map(any, found["first run"]))
