"""Every experiment takes --device, --seeds and --threads, obeys them or refuses them in words."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from experiments import arguments, article_network, cells, command_line, imdb, text_classification, variance
from rnnbook.corpus import Split
from rnnbook.repro import pick_device, seed_everything

DRIVERS = {"__init__", "article_listing_driver", "race"}  # no commands
FOLDER = Path(__file__).resolve().parents[1] / "experiments"
NAMES = sorted({path.stem for path in FOLDER.glob("*.py")} - DRIVERS)
FIXED = {
    "article_listing": ("device", "threads"),
    "bench": ("device", "seeds", "threads"),
    "buckets": ("device",),
    "leakage": ("device", "threads"),
    "long_sequences": ("device", "seeds", "threads"),
    "reproducible": ("device", "threads"),
    "speed": ("device", "threads"),
    "speed_layers": ("device", "seeds", "threads"),
    "two_processes": ("device", "seeds", "threads"),
}
OTHER = {"device": "meta", "seeds": "7", "threads": "2"}
TEXTS = Split(tuple(f"a film {i}" for i in range(300)), np.array([0, 1] * 150))


class Reached(Exception):
    """Carries what came to the work, and ends the run there."""


def stop(found: object) -> None:
    raise Reached(found)


@pytest.fixture(autouse=True)
def usual(monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RNNBOOK_DEVICE", "cpu")
    yield
    torch.set_num_threads(1)


def command(monkeypatch, name: str, *flags: str) -> ModuleType:
    monkeypatch.setattr(sys, "argv", [name, *flags])
    return import_module(f"experiments.{name}")


# --- the flags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_the_flags_and_what_the_experiment_is(name, monkeypatch, capsys):
    module = command(monkeypatch, name, "--help")
    with pytest.raises(SystemExit, match="0"):
        module.main()
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--device", "--seeds", "--threads"))
    assert module.__doc__.strip() in shown


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--device", "nowhere", "device 'nowhere' is not to be had here"),
        ("--seeds", "0", "expected a whole number of at least 1, got '0'"),
        ("--seeds", "-1", "expected a whole number of at least 1, got '-1'"),
        ("--threads", "0", "expected a whole number of at least 1, got '0'"),
        ("--threads", "1.5", "expected a whole number of at least 1, got '1.5'"),
    ],
)
def test_a_value_that_is_none_is_refused_in_words(name, flag, value, words, monkeypatch, capsys):
    module = command(monkeypatch, name, flag, value)
    with pytest.raises(SystemExit, match="2"):
        module.main()
    assert f"argument {flag}: {words}" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name, flags in FIXED.items() for flag in flags])
def test_a_flag_that_cannot_be_obeyed_is_refused_with_the_reason(name, flag, monkeypatch, capsys):
    needed = ["--article", "TEXT"] if name == "article_listing" else []
    module = command(monkeypatch, name, f"--{flag}", OTHER[flag], *needed)
    with pytest.raises(SystemExit, match="2"):
        module.main()
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"--{flag} can only be" in error
    assert f"here, got {OTHER[flag]}: " in error


def test_threads_and_device_hold_for_what_follows_and_for_child_processes(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--threads", "2", "--device", "meta", "--seeds", "3"])
    given = arguments("text")
    seed_everything(0)  # keeps to one thread only where nobody asked for another number
    assert torch.get_num_threads() == 2
    assert pick_device() == given.device == torch.device("meta")
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert command_line("x", given) == "python -m experiments.x --seeds 3 --device meta --threads 2"


def test_without_flags_the_device_is_that_of_the_environment(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x"])
    assert arguments("text", seeds=4).seeds == 4
    assert arguments("text").device == torch.device("cpu")
    monkeypatch.setenv("RNNBOOK_DEVICE", "meta")
    assert arguments("text").device == torch.device("meta")
    monkeypatch.setenv("RNNBOOK_DEVICE", "nowhere")
    with pytest.raises(SystemExit, match="2"):
        arguments("text")
    assert "'nowhere' is not to be had here" in capsys.readouterr().err


def test_the_command_of_a_record_says_what_was_unusual():
    given = Namespace(seeds=2, device=torch.device("cpu"), threads=1, splits=3)
    assert command_line("variance", given, "splits") == "python -m experiments.variance --seeds 2 --splits 3"


# --- they reach the work -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "function", "position"),
    [
        ("article_listing", "make_job", 1),
        ("buckets", "scores", 0),
        ("challenge", "answers", 3),
        ("chinese", "jobs_of", 3),
        ("imdb", "collect", 2),
        ("reproducible", "compare", 1),
        ("text_classification", "collect", 2),
    ],
)
def test_the_seeds_reach_what_takes_them_all(name, function, position, monkeypatch, tmp_path):
    (tmp_path / "article").write_text("```python\nx = 1\n```\n" * 2, encoding="utf-8")
    needed = ["--article", str(tmp_path / "article"), "--python", "none"] if name == "article_listing" else []
    module = command(monkeypatch, name, "--seeds", "3", *needed)
    monkeypatch.setattr(module, function, lambda *given, **_: stop(list(given[position])))
    monkeypatch.setattr(imdb, "RESULTS", tmp_path)
    monkeypatch.setattr(imdb.datasets, "load", lambda name: Namespace(train=TEXTS, test=TEXTS))
    if hasattr(module, "load"):
        monkeypatch.setattr(module, "load", imdb.datasets.load)
    for slow in ("timing", "bits"):
        if hasattr(module, slow):
            monkeypatch.setattr(module, slow, lambda *_: [])
    with pytest.raises(Reached) as reached:
        module.main()
    assert reached.value.args == ([0, 1, 2],)


def outcome(model: str, seed: int, task: str = "") -> imdb.Outcome:
    return imdb.Outcome(model, seed, 0.5, None, 1.0, 10, task)


FAKES = {
    "ablation": {"run": lambda name, plan, train, test, seed: outcome(name, seed)},
    "article_network": {
        "run": lambda step, train, test, seed: {
            name: outcome(step, seed, name) for name in (article_network.REPORTED, article_network.NEW)
        }
    },
    "cells": {
        "TASKS": {"a task": (lambda model, rate, seed: cells.Run({"accuracy": 0.5}, 1, 1, 1, 1, 1, 1), 100)},
        "TUNING_SEEDS": (0,),
        "timing": list,
    },
    "leakage": {"run": lambda data, seed: ([0.5] * 4, 0.1, 10, 1.0)},
    "variance": {"run_lstm": lambda parts, seed: (0.5, 1.0, 10), "run_linear": lambda parts: (0.5, 1.0, 10)},
}


@pytest.mark.parametrize("name", FAKES)
def test_the_seeds_reach_each_run_and_the_record_says_so(name, monkeypatch, tmp_path):
    fixed = "threads" in FIXED.get(name, ())
    module = command(monkeypatch, name, "--seeds", "2", *([] if fixed else ["--threads", "2"]))
    monkeypatch.setattr(imdb, "RESULTS", tmp_path)
    for attribute, fake in FAKES[name].items():
        monkeypatch.setattr(module, attribute, fake)
    if hasattr(module, "RESULTS"):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    if hasattr(module, "load"):
        monkeypatch.setattr(module, "load", lambda name: Namespace(train=TEXTS, test=None))
    module.main()
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.json"]
    record = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert record["command"].startswith(f"python -m experiments.{name} --seeds 2")
    assert [0, 1] in [row["seeds"] for row in record["rows"]]
    assert max(len(row["seeds"]) for row in record["rows"]) == 2
    assert record["hardware"]["torch_threads"] == (1 if fixed else 2)
    assert record["command"].endswith("--threads 2") == (not fixed)


PARTS = (TEXTS, TEXTS, TEXTS)
WORKS = {
    "imdb.run_network": partial(imdb.run_network, text_classification.SENTENCES, TEXTS, TEXTS, 0),
    "imdb.run_article": partial(imdb.run_article, "m", 4, 1, TEXTS, TEXTS, 0),
    "article_network.run": partial(article_network.run, "as written", TEXTS, TEXTS, 0),
    "variance.run_lstm": partial(variance.run_lstm, PARTS, 0),
    "cells.adding": partial(cells.adding, "LSTM", 1e-3, 0, 10),
    "cells.order": partial(cells.order, "LSTM", 1e-3, 0),
    "cells.parity": partial(cells.parity, "LSTM", 1e-3, 0),
    "cells.film": partial(cells.film, "LSTM", 1e-3, 0),
    "cells.segmentation": partial(cells.segmentation, "LSTM", 1e-3, 0),
}


@pytest.mark.parametrize("work", WORKS)
def test_the_device_reaches_the_model_that_is_trained(work, monkeypatch):
    module = import_module(f"experiments.{work.partition('.')[0]}")
    monkeypatch.setattr(
        module, "fit", lambda model, *_, **__: stop({p.device.type for p in model.parameters()})
    )
    monkeypatch.setattr(cells, "reviews", lambda: PARTS)
    monkeypatch.setattr(cells, "sentences", lambda: ([["ab", "ab"]],) * 3)
    for device in ("meta", "cpu"):
        monkeypatch.setenv("RNNBOOK_DEVICE", device)
        with pytest.raises(Reached) as reached:
            WORKS[work]()
        assert reached.value.args == ({device},)
