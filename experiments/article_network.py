"""The article's network, made to run, and five repairs of it, each measured on the same film sentences.

::

    python -m experiments.article_network --seeds 5

Ten passes in batches of 32 under Adam at its usual rate, as in the listing. A step is scored twice: on
the sentences that it was trained on, which is what the listing reports, and on the test fifth. Only the
fourth repair takes a tenth of the training sentences away for validation, and keeps the best epoch. The
last task is the control: the network after the third repair, trained on labels drawn at random. Nothing
is tuned here, and nothing is chosen by the test sentences.

A finished run is kept in ``results/article_network.runs/``, so an interrupted command goes on.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import torch

from experiments import arguments, command_line, imdb
from experiments.imdb import Log, Outcome, right, rows_of
from rnnbook.article import REPAIRS, ArticleNetwork, text_logits, token_loss
from rnnbook.batches import Batches
from rnnbook.corpus import Split, split_by_hash
from rnnbook.datasets import load
from rnnbook.evaluate import predict
from rnnbook.losses import classification_loss
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.results import save_results
from rnnbook.text import Vocab, tokenize
from rnnbook.train import train as fit

REPORTED, NEW = "on the sentences it was trained on", "on new sentences"
STEPS = ("as written", *REPAIRS)
CONTROL = "random labels"
SETTINGS = {"num_epochs": 10, "learning_rate": 1e-3, "batch_size": 32, "control_epochs": 30}


def run(step: str, train: Split, test: Split, seed: int) -> dict[str, Outcome]:
    """Train one step of the ladder, or the control; return what is reported and what is so."""
    generator = seed_everything(seed)
    repairs = 3 if step == CONTROL else STEPS.index(step)
    num_epochs = int(SETTINGS["control_epochs" if step == CONTROL else "num_epochs"])
    val = None
    if step == CONTROL:
        labels = np.random.default_rng(seed).permutation(train.labels)
        train = replace(train, labels=labels)
    if repairs >= 4:
        train, val = split_by_hash(train, 0.1, salt="validation")
    vocab = Vocab.build(tokenize(text) for text in train.texts)
    longest = max(len(tokenize(text)) for part in (train, test) for text in part.texts)
    model = ArticleNetwork(repairs, len(vocab), longest).to(pick_device())

    def batches(part: Split, shuffle: torch.Generator | None = None) -> Batches:
        ids = [vocab.encode(tokenize(text)) for text in part.texts]
        return Batches(
            ids, part.labels.tolist(), batch_size=int(SETTINGS["batch_size"]), generator=shuffle, bucket=False
        )

    with cpu_seconds() as watch:
        fit(
            model,
            batches(train, generator),
            classification_loss if repairs >= 2 else token_loss,
            num_epochs=num_epochs,
            learning_rate=SETTINGS["learning_rate"],
            schedule="constant",
            val_batches=batches(val) if val else None,
        )
    found = {}
    for name, part in ((REPORTED, train), (NEW, test)):
        logits = text_logits(predict(model, batches(part))).cpu()
        odds = (logits[:, 1] - logits[:, 0]).numpy().astype(np.float32)
        found[name] = Outcome(
            step, seed, right(odds, part), None, watch.seconds, count_parameters(model), task=name
        )
    return found


def main() -> None:
    """Run the ladder and the control, and write ``results/article_network.json``."""
    given = arguments(__doc__)
    seeds = range(given.seeds)
    train, test = split_by_hash(load("film_sentences").train, 0.2)
    log = Log(imdb.RESULTS / "article_network.runs")
    for seed in seeds:
        for step in (*STEPS, CONTROL):
            if (NEW, step, seed) not in log.done:
                for outcome in run(step, train, test, seed).values():
                    log.add(outcome)
                    print(outcome, flush=True)
    runs = [log.done[task, step, s] for step in (*STEPS, CONTROL) for task in (REPORTED, NEW) for s in seeds]
    rows = rows_of(runs, {REPORTED: len(train), NEW: len(test)})
    save_results(
        imdb.RESULTS / "article_network.json",
        rows,
        command=command_line("article_network", given),
        settings=SETTINGS,
    )
    shutil.rmtree(log.folder)


if __name__ == "__main__":
    main()
