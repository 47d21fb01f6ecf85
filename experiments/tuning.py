"""What tuning buys: a random search on film reviews, and each knob turned alone.

::

    python -m experiments.tuning --seeds 5 --runs 48

The model is the small LSTM classifier of the chapter on text classification, on about 5,000 film reviews
of which it reads 150 tokens each, three times over. The search draws learning rate, width, depth and
dropout at random, all at once (Bergstra and Bengio, 2012), from ranges wide enough to hold bad values,
and scores each draw once, with its own seed, on held-out reviews. Beside it each knob is turned alone
from the same default, with one seed, as one does who follows the advice to tune "the number of layers".
What each of these ways would choose by the held-out score is then trained with ``--seeds`` new seeds and
scored on test reviews, which nothing before has seen; the linear model stands beside them.

The file keeps every run of the search in ``search``, with its draw, and every run of the single knobs in
``alone``. A finished run is kept in ``results/tuning.runs/``, so an interrupted command goes on.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from experiments import arguments, command_line
from experiments.imdb import LINEAR, RESULTS, SMALL, Log, Outcome, Plan, rows_of, run_linear, run_network
from rnnbook.corpus import Split, split_by_hash
from rnnbook.datasets import load
from rnnbook.results import save_results

FIRST_SEED = 1000  # of the runs that are scored on the test reviews: no run of the search has it


@dataclass(frozen=True)
class Knobs:
    """One setting of what is tuned."""

    learning_rate: float = 2e-3
    hidden_size: int = 32
    num_layers: int = 1
    dropout: float = 0.3


ALONE = {
    "learning_rate": [2e-4, 6e-4, 2e-3, 6e-3, 2e-2],
    "hidden_size": [8, 16, 32, 64],
    "num_layers": [1, 2, 3],
    "dropout": [0.0, 0.3, 0.6],
}


def draw(seed: int) -> Knobs:
    """Draw a setting: rate and width evenly on a logarithmic axis, depth and dropout evenly."""
    rng = np.random.default_rng(seed)
    return Knobs(
        learning_rate=float(f"{10 ** rng.uniform(-4, -1):.2g}"),
        hidden_size=round(2 ** rng.uniform(3, 6.5)),
        num_layers=int(rng.integers(1, 4)),
        dropout=round(rng.uniform(0, 0.7), 2),
    )


def plan_of(knobs: Knobs) -> Plan:
    """Make the small classifier's plan with these knobs, for few and short texts."""
    config = replace(
        SMALL.config,
        hidden_size=knobs.hidden_size,
        num_layers=knobs.num_layers,
        dropout=knobs.dropout,
    )
    return replace(
        SMALL,
        model=", ".join(f"{name} {value:g}" for name, value in asdict(knobs).items()),
        config=config,
        max_len=150,
        last=75,
        num_epochs=3,
        batch_size=32,
        learning_rate=knobs.learning_rate,
    )


def parts() -> tuple[Split, Split, Split]:
    """Cut the film reviews: training (about 5,000), held out for choosing (3,000), test (5,000)."""
    rest, test = split_by_hash(load("imdb_train").train, 0.2)
    _, used = split_by_hash(rest, 0.4, salt="tuning")
    train, val = split_by_hash(used, 0.375, salt="validation")
    return train, val, test


def best(runs: list[tuple[Knobs, Outcome]]) -> Knobs:
    """Choose the setting with the highest score on the held-out reviews; of equal ones, the first."""
    return max(runs, key=lambda pair: pair[1].accuracy)[0]


def main() -> None:
    """Search, turn each knob alone, score the choices, write ``results/tuning.json``."""

    def own(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=48, help="draws of the random search (at least 40)")

    given = arguments(__doc__, seeds=5, extra=own)
    train, val, test = parts()
    log = Log(RESULTS / "tuning.runs")

    def run(task: str, model: str, seed: int, work: Callable[[], Outcome]) -> Outcome:
        if (task, model, seed) not in log.done:
            log.add(replace(work(), task=task, model=model))
            print(log.done[task, model, seed], flush=True)
        return log.done[task, model, seed]

    def trained(task: str, knobs: Knobs, seed: int, scored_on: Split, model: str = "") -> Outcome:
        plan = plan_of(knobs)
        return run(task, model or plan.model, seed, partial(run_network, plan, train, scored_on, seed))

    search = [(draw(seed), trained("search", draw(seed), seed, val)) for seed in range(given.runs)]
    alone = {
        knob: [(at, trained("alone", at, 0, val)) for at in (replace(Knobs(), **{knob: v}) for v in values)]
        for knob, values in ALONE.items()
    }
    chosen = {
        "small LSTM, default": Knobs(),
        **{f"small LSTM, {knob} tuned alone": best(runs) for knob, runs in alone.items()},
        "small LSTM, best of the random search": best(search),
    }
    task = f"film reviews, {len(train.texts):,} for training"
    linear = partial(run_linear, train=train, test=test, salt="C")  # "validation" has cut these texts before
    runs = [run(task, model, 0, partial(linear, model, n)) for model, n in LINEAR.items()]
    for seed in range(FIRST_SEED, FIRST_SEED + given.seeds):
        runs += [trained(task, knobs, seed, test, model) for model, knobs in chosen.items()]
    save_results(
        RESULTS / "tuning.json",
        rows_of(runs, {task: len(test.texts)}),
        command=command_line("tuning", given, "runs"),
        num_texts={"training": len(train.texts), "held out": len(val.texts), "test": len(test.texts)},
        chosen={model: asdict(knobs) for model, knobs in chosen.items()},
        search=[_line(*pair) for pair in search],
        alone={knob: [_line(*pair) for pair in runs] for knob, runs in alone.items()},
    )
    shutil.rmtree(log.folder)


def _line(knobs: Knobs, outcome: Outcome) -> dict[str, float]:
    return asdict(knobs) | {
        "seed": outcome.seed,
        "accuracy": outcome.accuracy,
        "cpu_seconds": round(outcome.train_cpu_seconds, 1),
    }


if __name__ == "__main__":
    main()
