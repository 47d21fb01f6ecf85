"""The challenge sentences, answered by the models of ``experiments.text_classification``.

::

    python -m experiments.challenge --seeds 5

Each model is trained as there, on four fifths of the film sentences or of the 25,000 long reviews, with
nothing changed for the challenge; the test fifths are not opened. For each kind of sentence there are
three rows: the accuracy on single sentences, the share of pairs with both answers right, and the share of
pairs with one answer twice. The interval is Wilson's over the sentences, or the pairs, of the kind, about
the mean of the seeds: so few sentences say less about other ones than the seeds do about other seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import torch

from experiments import arguments, command_line, imdb
from experiments.imdb import LINEAR, Outcome, run_linear, run_majority, run_network
from experiments.text_classification import TASKS
from rnnbook.challenge import Challenge, load_challenge, score_challenge
from rnnbook.corpus import Split, split_by_hash
from rnnbook.datasets import load
from rnnbook.evaluate import wilson_interval
from rnnbook.results import Row, save_results

MAJORITY = "majority class"
PAIRS = list(LINEAR)[1]
TRAINED_ON = {"film_sentences": "sentences", "imdb_train": "reviews"}
Runs = dict[str, list[Outcome]]


def majority(train: Split, test: Split) -> Outcome:
    """Answer the more frequent class of the training texts, with log-odds of one nat."""
    answer = 1.0 if train.labels.mean() >= 0.5 else -1.0
    return replace(run_majority(train, test), log_odds=np.full(len(test), answer, np.float32))


def answers(train: Split, test: Split, plan: imdb.Plan, seeds: list[int]) -> Runs:
    """Train the three kinds of model on one training set, and let each answer ``test``."""
    jobs: dict[str, list[Callable[[], Outcome]]] = {
        MAJORITY: [partial(majority, train, test)],
        PAIRS: [partial(run_linear, PAIRS, LINEAR[PAIRS], train, test)],
        plan.model: [partial(run_network, plan, train, test, seed) for seed in seeds],
    }
    runs: Runs = {}
    for model, parts in jobs.items():
        for job in parts:
            runs.setdefault(model, []).append(job())
            print(runs[model][-1], flush=True)
    return runs


def rows_of(model: str, outcomes: list[Outcome], challenge: Challenge) -> list[Row]:
    """Score the runs of one model by kind, in three measures."""
    right = [torch.from_numpy((run.log_odds > 0) == challenge.labels) for run in outcomes]
    rows = []
    for scores in zip(*(score_challenge(correct, challenge) for correct in right), strict=True):
        for metric, pair in (("accuracy", 1), ("both_right", 2), ("same_answer", 2)):
            count = scores[0].num_sentences // pair
            values = [float(getattr(score, metric)) for score in scores]
            mean = sum(values) / len(values)
            low, high = wilson_interval(mean * count, count)
            what = "pairs" if pair == 2 else "sentences"
            rows.append(
                Row(
                    task=scores[0].kind,
                    model=model,
                    metric=metric,
                    seeds=[run.seed for run in outcomes],
                    values=values,
                    mean=mean,
                    low=low,
                    high=high,
                    train_cpu_seconds=[round(run.train_cpu_seconds, 1) for run in outcomes],
                    num_parameters=outcomes[0].num_parameters,
                    note=f"95 % Wilson interval over {count} {what}, about the mean of {len(values)} runs",
                )
            )
    return rows


def main() -> None:
    """Train on sentences and on reviews, and write ``results/challenge.json``."""
    given = arguments(__doc__)
    seeds = list(range(given.seeds))
    challenge = load_challenge()
    test = Split(challenge.texts, challenge.labels)
    rows: list[Row] = []
    for name, (_, plan) in TASKS.items():
        train, _ = split_by_hash(load(name).train, 0.2)
        for model, outcomes in answers(train, test, plan, seeds).items():
            rows += rows_of(f"{model}, trained on {TRAINED_ON[name]}", outcomes, challenge)
    save_results(
        imdb.RESULTS / "challenge.json",
        rows,
        command=command_line("challenge", given),
        plans={name: asdict(plan) for name, (_, plan) in TASKS.items()},
    )


if __name__ == "__main__":
    main()
