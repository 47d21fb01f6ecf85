"""What batches of like length save, and what they cost.

::

    python -m experiments.buckets --seeds 5

Time: one epoch of a small LSTM over 2,000 film reviews, over random batches and over batches of like
length. Then padding against packing, on the first 320 of these reviews, since packing is slow here. The
ways take turns, so that a slow moment of the machine hits all; CPU time is given as a ratio to that of
the first way in the same round. Accuracy: the classifier of the chapter on text classification, on film
sentences, trained with either kind of batch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from experiments import arguments, command_line
from rnnbook.batches import Batches
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.corpus import Split, split_by_hash
from rnnbook.datasets import load
from rnnbook.models import pool
from rnnbook.repro import count_parameters, cpu_seconds, seed_everything
from rnnbook.results import Row, save_results, score_row
from rnnbook.text import Vocab, tokenize
from rnnbook.train import train, validate

RESULTS = Path(__file__).parents[1] / "results"
BATCH_SIZE = 32
WAYS = {
    "random batches": (False, False),
    "batches of like length": (True, False),
    "random batches, packed": (False, True),
    "batches of like length, packed": (True, True),
}
RACES = [
    (2000, ["random batches", "batches of like length"]),
    (320, ["random batches", "random batches, packed"]),
    (320, ["batches of like length", "batches of like length, packed"]),
]


class Reader(nn.Module):
    """Embedding → ``torch.nn.LSTM`` → mean over the real steps → read-out; padded or packed inside."""

    def __init__(self, vocab_size: int, *, packed: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 32)
        self.rnn = nn.LSTM(32, 64, batch_first=True)
        self.readout = nn.Linear(64, 2)
        self.packed = packed

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Take tokens (B, T) and lengths (B,); return logits (B, 2)."""
        x = self.embedding(tokens)
        if self.packed:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            outputs, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        else:
            outputs, _ = self.rnn(x)
        logits: Tensor = self.readout(pool(outputs, lengths, "mean"))
        return logits


def encoded(part: Split, vocab: Vocab) -> list[Tensor]:
    """Return the ids of each text."""
    return [vocab.encode(tokenize(text)) for text in part.texts]


def timing(count: int, names: list[str], num_rounds: int) -> list[Row]:
    """Time one epoch of each way in turn, against the first; a short round before is a warm-up."""
    part = load("imdb_train").train.take(range(count))
    vocab = Vocab.build([tokenize(text) for text in part.texts], max_size=10_000)
    ids = encoded(part, vocab)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(num_rounds + 1):
        chosen = ids if turn else ids[:64]
        for name in names:
            bucket, packed = WAYS[name]
            batches = Batches(
                chosen,
                part.labels[: len(chosen)],
                batch_size=BATCH_SIZE,
                generator=seed_everything(turn),
                bucket=bucket,
            )
            model = Reader(len(vocab), packed=packed)
            with cpu_seconds() as watch:
                train(model, batches)
            if turn:
                seconds[name].append(watch.seconds)
    rows = []
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(times, seconds[names[0]], strict=True)]
        row = score_row(
            f"one epoch over {count:,} film reviews, B={BATCH_SIZE}, against {names[0]}",
            name,
            range(num_rounds),
            ratios,
            num_items=1,
            num_parameters=count_parameters(model),
            metric="time_ratio",
        )
        rows.append(replace(row, note=f"CPU time, in turn, {num_rounds} rounds"))
    return rows


def measure(rounds: int, progress: Callable[[str], None] = print) -> list[Row]:
    """Time all ways."""
    rows = [row for count, names in RACES for row in timing(count, names, rounds)]
    for row in rows:
        progress(f"{row.task:80s} {row.model:32s} {statistics.median(row.values):.2f}")
    return rows


def scores(seeds: list[int]) -> list[Row]:
    """Train the classifier on film sentences with either kind of batch, five epochs, the best on validation."""
    rest, test = split_by_hash(load("film_sentences").train, 0.2)
    training, val = split_by_hash(rest, 0.1, salt="validation")
    vocab = Vocab.build([tokenize(text) for text in training.texts])
    sides = [(part, encoded(part, vocab)) for part in (training, val, test)]
    config = ClassifierConfig(len(vocab), dropout=0.5, word_dropout=0.2)
    rows = []
    for name, bucket in (("random", False), ("like length", True)):
        values, times = [], []
        for seed in seeds:
            shuffle = seed_everything(seed)
            model = TextClassifier(config)
            batches, val_batches, test_batches = (
                Batches(ids, part.labels, batch_size=BATCH_SIZE, generator=generator, bucket=bucket)
                for (part, ids), generator in zip(sides, (shuffle, None, None), strict=True)
            )
            with cpu_seconds() as watch:
                train(model, batches, num_epochs=5, learning_rate=5e-3, val_batches=val_batches)
            values.append(validate(model, test_batches)[1])
            times.append(watch.seconds)
        rows.append(
            score_row(
                "film sentences, batches for training",
                name,
                seeds,
                values,
                num_items=len(test),
                num_parameters=count_parameters(model),
                train_cpu_seconds=times,
            )
        )
    return rows


def main() -> None:
    """Measure both and write ``results/buckets.json``."""
    given = arguments(__doc__, fixed={"device": "what is compared is the time of a processor"})
    rows = measure(5) + scores(list(range(given.seeds)))
    save_results(RESULTS / "buckets.json", rows, command=command_line("buckets", given))


if __name__ == "__main__":
    main()
