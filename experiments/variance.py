"""Where the spread of a score comes from: seeds, splits, test items.

::

    python -m experiments.variance --seeds 8 --splits 8

Film sentences are cut anew for each split: a fifth for the test, a tenth of the rest for validation,
chosen by the hash of a salt and the text. On each split an LSTM is trained with every seed, the epoch
with the lowest validation loss is kept, and the test sentences of the split are scored once. Beside it
stands the linear model on words and pairs of words, in which nothing is random. Nothing is tuned here.

A row of the LSTM is one split with one value a seed; a row of the linear model is one split.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from experiments import arguments, command_line
from rnnbook.batches import Batches
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.corpus import Split, split_by_hash
from rnnbook.datasets import load
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.results import Row, save_results, score_row
from rnnbook.text import Vocab, tokenize
from rnnbook.train import train as fit
from rnnbook.train import validate

RESULTS = Path(__file__).parents[1] / "results"
LSTM, LINEAR = "LSTM, mean+max pooling", "TF-IDF words and word pairs + logistic regression"
SETTINGS = {"num_epochs": 3, "learning_rate": 5e-3, "batch_size": 32}
CONFIG = {"embedding_dim": 32, "hidden_size": 32, "dropout": 0.5, "word_dropout": 0.2}


def cut(split: int, data: Split) -> tuple[Split, Split, Split]:
    """Cut the sentences into training, validation and test; every number gives another cut."""
    rest, test = split_by_hash(data, 0.2, salt=f"split {split}")
    return *split_by_hash(rest, 0.1, salt=f"validation {split}"), test


def run_lstm(parts: tuple[Split, Split, Split], seed: int) -> tuple[float, float, int]:
    """Train with one seed; return accuracy on the test sentences, CPU seconds and parameters."""
    vocab = Vocab.build([tokenize(text) for text in parts[0].texts], min_count=2)
    generator = seed_everything(seed)
    model = TextClassifier(ClassifierConfig(len(vocab), **CONFIG)).to(pick_device())  # type: ignore[arg-type]

    def batches(part: Split, shuffle: torch.Generator | None = None) -> Batches:
        ids = [vocab.encode(tokenize(text)) for text in part.texts]
        return Batches(ids, part.labels.tolist(), batch_size=int(SETTINGS["batch_size"]), generator=shuffle)

    shuffled, val, test = batches(parts[0], generator), batches(parts[1]), batches(parts[2])
    with cpu_seconds() as watch:
        fit(
            model,
            shuffled,
            num_epochs=int(SETTINGS["num_epochs"]),
            learning_rate=SETTINGS["learning_rate"],
            val_batches=val,
        )
    return validate(model, test)[1], watch.seconds, count_parameters(model)


def run_linear(parts: tuple[Split, Split, Split]) -> tuple[float, float, int]:
    """Fit words and pairs of words; return accuracy on the test sentences, CPU seconds and parameters."""
    train, _, test = parts
    vectorizer = TfidfVectorizer(
        tokenizer=tokenize, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True
    )
    with cpu_seconds() as watch:
        model = LogisticRegression(C=4, max_iter=1000).fit(
            vectorizer.fit_transform(train.texts), train.labels
        )
    score = model.score(vectorizer.transform(test.texts), test.labels)
    return float(score), watch.seconds, int(model.coef_.size + 1)


def row(split: int, model: str, runs: list[tuple[float, float, int]], num_items: int) -> Row:
    """Make the row of one split: one value a seed."""
    values, seconds, sizes = zip(*runs, strict=True)
    return score_row(
        f"film sentences, split {split}",
        model,
        range(len(values)),
        values,
        num_items=num_items,
        num_parameters=sizes[0],
        train_cpu_seconds=seconds,
    )


def main() -> None:
    """Run everything and write ``results/variance.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument("--splits", type=int, default=8)

    given = arguments(__doc__, seeds=8, extra=own)
    data = load("film_sentences").train
    rows, num_items = [], []
    for split in range(given.splits):
        parts = cut(split, data)
        num_items.append(len(parts[2]))
        runs = [run_lstm(parts, seed) for seed in range(given.seeds)]
        rows += [
            row(split, LSTM, runs, len(parts[2])),
            row(split, LINEAR, [run_linear(parts)], len(parts[2])),
        ]
        print(
            rows[-2].task, [round(value, 3) for value in rows[-2].values], round(rows[-1].mean, 3), flush=True
        )
    save_results(
        RESULTS / "variance.json",
        rows,
        command=command_line("variance", given, "splits"),
        num_items=num_items,
        config=CONFIG,
        settings=SETTINGS,
    )


if __name__ == "__main__":
    main()
