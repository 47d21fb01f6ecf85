"""IMDb, official 25,000 / 25,000: linear baselines, a small LSTM, the best recurrent model.

Run with ``RNNBOOK_DATA`` set to a folder that holds ``imdb/{train,test}.tsv.gz``, or online::

    python -m experiments.imdb --seeds 5

Epoch and hyperparameters were chosen on validation texts cut out of the training half; the test
half is scored once a run, after training. A finished run is kept in ``results/imdb.runs.jsonl``, so
an interrupted command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from rnnbook import datasets
from rnnbook.datasets import Split, split_by_hash
from rnnbook.evaluate import Row, accuracy, predict, save_results, score_row
from rnnbook.models import ClassifierConfig, TextClassifier
from rnnbook.repro import count_parameters, cpu_seconds, seed_everything
from rnnbook.text import Batches, Vocab, tokenize
from rnnbook.train import train_classifier

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Plan:
    """One model and how it is trained; chosen on validation texts, never on test texts."""

    model: str
    config: ClassifierConfig
    vocab_size: int
    max_len: int
    batch_size: int
    num_epochs: int
    learning_rate: float


SMALL = Plan(
    model="LSTM, mean+max pooling (small)",
    config=ClassifierConfig(0, embedding_dim=32, hidden_size=32, dropout=0.3),
    vocab_size=20_000,
    max_len=250,
    batch_size=64,
    num_epochs=2,
    learning_rate=5e-3,
)
BEST = Plan(
    model="BiGRU on words and hashed bigrams, mean+max pooling (best)",
    config=ClassifierConfig(
        0,
        embedding_dim=64,
        hidden_size=64,
        rnn_type="gru",
        bidirectional=True,
        dropout=0.5,
        word_dropout=0.2,
        bigram_buckets=500_000,
    ),
    vocab_size=30_000,
    max_len=400,
    batch_size=64,
    num_epochs=5,
    learning_rate=3e-3,
)


@dataclass(frozen=True)
class Outcome:
    """What one run gave."""

    model: str
    seed: int
    accuracy: float
    val_accuracy: float
    train_cpu_seconds: float
    num_parameters: int


def run_network(plan: Plan, train: Split, val: Split, test: Split, seed: int) -> Outcome:
    """Train one network; the seconds are those of the training loop, validation included."""
    generator = seed_everything(seed)
    token_lists = [tokenize(text) for text in train.texts]
    vocab = Vocab.build(token_lists, max_size=plan.vocab_size)

    def batches(split: Split, shuffle: torch.Generator | None) -> Batches:
        sequences = [vocab.encode(tokenize(text)) for text in split.texts]
        labels = torch.from_numpy(split.labels)
        return Batches(sequences, labels, batch_size=plan.batch_size, generator=shuffle, max_len=plan.max_len)

    config = ClassifierConfig(**(asdict(plan.config) | {"vocab_size": len(vocab)}))
    model = TextClassifier(config)
    # Validation is shuffled too: batches of like length are cheaper, and the mean is the same.
    train_batches, val_batches = batches(train, generator), batches(val, torch.Generator().manual_seed(0))
    with cpu_seconds() as watch:
        history = train_classifier(
            model,
            train_batches,
            num_epochs=plan.num_epochs,
            learning_rate=plan.learning_rate,
            val_batches=val_batches,
        )
    score = accuracy(predict(model, batches(test, None)), torch.from_numpy(test.labels))
    return Outcome(plan.model, seed, score, max(history.val_accuracy), watch.seconds, count_parameters(model))


def run_linear(model: str, ngram_range: tuple[int, int], train: Split, val: Split, test: Split) -> Outcome:
    """TF-IDF and logistic regression on training and validation texts; C chosen on validation."""
    with cpu_seconds() as watch:
        vectorizer = TfidfVectorizer(
            tokenizer=tokenize, token_pattern=None, ngram_range=ngram_range, min_df=2, sublinear_tf=True
        )
        x, x_val = vectorizer.fit_transform(train.texts), vectorizer.transform(val.texts)
        fits = {c: LogisticRegression(C=c, max_iter=1000).fit(x, train.labels) for c in (1.0, 4.0, 16.0)}
        best = max(fits, key=lambda c: fits[c].score(x_val, val.labels))
    score = fits[best].score(vectorizer.transform(test.texts), test.labels)
    return Outcome(model, 0, score, fits[best].score(x_val, val.labels), watch.seconds, x.shape[1] + 1)


def run_majority(train: Split, val: Split, test: Split) -> Outcome:
    """Answer the more frequent class of the training texts, always."""
    answer = int(train.labels.mean() >= 0.5)
    scores = [float((split.labels == answer).mean()) for split in (test, val)]
    return Outcome("majority class", 0, *scores, 0.0, 0)


def collect(
    name: str, task: str, train: Split, test: Split, plans: list[Plan], seeds: list[int], command: str
) -> list[Row]:
    """Run what is not yet recorded, then write ``results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    log = RESULTS / f"{name}.runs.jsonl"
    done = [Outcome(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
    rest, val = split_by_hash(train, 0.1, salt="validation")
    jobs = [("majority class", 0, lambda: run_majority(rest, val, test))]
    for order, label in (
        ((1, 1), "TF-IDF words + logistic regression"),
        ((1, 2), "TF-IDF words, word pairs + logistic regression"),
    ):
        jobs.append((label, 0, lambda order=order, label=label: run_linear(label, order, rest, val, test)))
    for seed in seeds:
        for plan in plans:
            jobs.append(
                (plan.model, seed, lambda plan=plan, seed=seed: run_network(plan, rest, val, test, seed))
            )
    for model, seed, job in jobs:
        if not any(o.model == model and o.seed == seed for o in done):
            done.append(job())
            with log.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(asdict(done[-1])) + "\n")
            print(done[-1], flush=True)
    rows = []
    for model in dict.fromkeys(label for label, _, _ in jobs):
        runs = sorted((o for o in done if o.model == model), key=lambda o: o.seed)
        rows.append(
            score_row(
                task,
                model,
                [o.seed for o in runs],
                [o.accuracy for o in runs],
                num_items=len(test),
                train_cpu_seconds=[o.train_cpu_seconds for o in runs],
                num_parameters=runs[0].num_parameters,
            )
        )
    plans_record = {plan.model: asdict(plan) for plan in plans}
    save_results(RESULTS / f"{name}.json", rows, command=command, plans=plans_record)
    log.unlink()
    return rows


def main() -> None:
    """Run the official split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    data = datasets.load("imdb")
    assert data.test is not None
    collect(
        "imdb",
        "IMDb, official test half",
        data.train,
        data.test,
        [SMALL, BEST],
        list(range(seeds)),
        f"python -m experiments.imdb --seeds {seeds}",
    )


if __name__ == "__main__":
    main()
