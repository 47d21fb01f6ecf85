"""The article's "more input dimensions": features of pure noise beside each word, and what they do to a score.

::

    python -m experiments.noise_features --seeds 5

A small LSTM classifier reads 2,000 film sentences. Each word comes as its learnt vector of 32 numbers and
as 0, 50, 200 or 800 more, drawn once for each word of each sentence from the normal distribution: they
say nothing, but as an input they look like the others. The best of the epochs by validation loss is kept,
and for each number of features the learning rate that did best on the validation sentences, with a seed
that is not used again. The test sentences are scored once a run. A seed draws weights, order and noise.

A finished run is kept in ``results/noise_features.runs/``, so an interrupted command goes on.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from experiments import arguments, command_line
from experiments.imdb import RESULTS, Log, Outcome, rows_of
from rnnbook.batches import Batches
from rnnbook.corpus import Split, split_by_hash
from rnnbook.datasets import load
from rnnbook.encoders import RecurrentStack
from rnnbook.models import SequenceModel
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.results import save_results
from rnnbook.text import Vocab, tokenize
from rnnbook.train import train as fit
from rnnbook.train import validate

COUNTS = (0, 50, 200, 800)
RATES = (1e-2, 2e-2)
TUNING_SEED = 100
EMBEDDING_DIM, HIDDEN_SIZE, NUM_EPOCHS, BATCH_SIZE = 32, 32, 8, 16
TASK = "film sentences, 2,000 for training"


class NoisyEmbedding(nn.Module):
    """From places (B, T) in the corpus to the vectors of the words there and the noise there, end to end.

    ``words`` (N,) are the ids of all words of all sentences; place 0 is padding.
    """

    words: Tensor
    noise: Tensor

    def __init__(self, words: Tensor, vocab_size: int, num_noise: int, generator: torch.Generator) -> None:
        super().__init__()
        self.num_embeddings = len(words)
        self.vectors = nn.Embedding(vocab_size, EMBEDDING_DIM)
        self.register_buffer("words", words)
        self.register_buffer("noise", torch.randn(len(words), num_noise, generator=generator))

    def forward(self, places: Tensor) -> Tensor:
        """Return (B, T, 32 + the number of noise features)."""
        return torch.cat([self.vectors(self.words[places]), self.noise[places]], dim=2)


@cache
def parts() -> tuple[Split, Split, Split]:
    """Film sentences for training (2,000), validation and test (about 1,000 and 1,700)."""
    rest, test = split_by_hash(load("film_sentences").train, 0.2)
    train, val = split_by_hash(rest, 0.15, salt="validation")
    return train.take(range(2000)), val, test


@cache
def corpus() -> tuple[Tensor, int, list[list[Tensor]]]:
    """Return the ids of all words, padding before them, the size of the vocabulary, and the places by part."""
    tokens = [[tokenize(text) for text in part.texts] for part in parts()]
    vocab = Vocab.build(tokens[0], min_count=2)
    ids = [vocab.encode(words) for part in tokens for words in part]
    places = iter(torch.arange(1, 1 + sum(map(len, ids))).split([len(sentence) for sentence in ids]))
    return (
        torch.cat([torch.zeros(1, dtype=torch.int64), *ids]),
        len(vocab),
        [[next(places) for _ in part] for part in tokens],
    )


def run(num_noise: int, rate: float, seed: int, scored_on: int = 2) -> Outcome:
    """Train with so many noise features; score on validation (1) or test (2)."""
    generator = seed_everything(seed)
    words, vocab_size, places = corpus()
    embedding = NoisyEmbedding(words, vocab_size, num_noise, generator)
    encoder = RecurrentStack("lstm", EMBEDDING_DIM + num_noise, HIDDEN_SIZE)
    model = SequenceModel(encoder, 2, pooling="mean+max", embedding=embedding)  # type: ignore[arg-type]
    model.to(pick_device())
    batches = [
        Batches(found, part.labels, batch_size=BATCH_SIZE, generator=shuffle)
        for found, part, shuffle in zip(places, parts(), (generator, None, None), strict=True)
    ]
    with cpu_seconds() as watch:
        fit(model, batches[0], num_epochs=NUM_EPOCHS, learning_rate=rate, val_batches=batches[1])
    name = f"{num_noise} noise features"
    found = validate(model, batches[scored_on])[1]
    return Outcome(name, seed, found, None, watch.seconds, count_parameters(model))


def main() -> None:
    """Choose the rates, run all seeds, write ``results/noise_features.json``."""
    given = arguments(__doc__)
    log = Log(RESULTS / "noise_features.runs")

    def once(task: str, num_noise: int, rate: float, seed: int, scored_on: int = 2) -> Outcome:
        key = (task, f"{num_noise} noise features", seed)
        if key not in log.done:
            log.add(replace(run(num_noise, rate, seed, scored_on), task=task))
            print(log.done[key], flush=True)
        return log.done[key]

    runs, rates = [], {}
    for count in COUNTS:
        tried = {rate: once(f"rate {rate}", count, rate, TUNING_SEED, 1).accuracy for rate in RATES}
        rates[count] = max(tried, key=lambda rate: tried[rate])
        runs += [once(TASK, count, rates[count], seed) for seed in range(given.seeds)]
    train, val, test = (len(part) for part in parts())
    save_results(
        RESULTS / "noise_features.json",
        rows_of(runs, {TASK: test}),
        command=command_line("noise_features", given),
        num_sentences={"training": train, "validation": val, "test": test},
        learning_rates=rates,
    )
    shutil.rmtree(log.folder)


if __name__ == "__main__":
    main()
