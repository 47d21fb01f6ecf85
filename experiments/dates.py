"""Dates from English to Chinese, without attention and with two forms of it: the chapter's models, more seeds.

::

    python -m experiments.dates --seeds 5

Pairs, sizes and training are those of the chapter on translation, and the pairs are the same for all seeds: a
seed decides over first weights and the order of the batches. Exact match is taken of greedy translations of
days that training does not have, in its formats and in formats that it does not have.
"""

from __future__ import annotations

from pathlib import Path

import torch

from experiments import arguments, command_line
from experiments.race import within_a_share
from rnnbook.batches import PairBatches, pad_sequences
from rnnbook.dates import DatePairs, character_vocab, date_pairs
from rnnbook.evaluate import exact_match
from rnnbook.generate import generate
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.results import Row, save_results, score_row
from rnnbook.seq2seq import Decoder, Encoder, Seq2Seq
from rnnbook.text import Vocab
from rnnbook.train import train as fit

RESULTS = Path(__file__).parents[1] / "results"
NUM_TRAINING, NUM_TEST = 3000, 1000
EMBEDDING_DIM, HIDDEN_SIZE, BATCH_SIZE, LEARNING_RATE = 48, 96, 64, 5e-3
MODELS = {  # by name: the form of attention, and epochs
    "GRU, without attention": (None, 16),
    "GRU, additive attention": ("additive", 10),
    "GRU, multiplicative attention": ("multiplicative", 10),
}
TESTS = ("dates, new days", "dates, new days in new formats")


class Texts:
    """The pairs of the chapter, and both vocabularies."""

    def __init__(self) -> None:
        """Draw as the chapter does: training, validation (not used here), both tests."""
        generator = seed_everything(0)
        self.training = date_pairs(NUM_TRAINING, "training", generator=generator)
        date_pairs(300, "validation", generator=generator)
        known, new = (
            date_pairs(NUM_TEST, "test", unseen=unseen, generator=generator) for unseen in (False, True)
        )
        self.tests = dict(zip(TESTS, (known, new), strict=True))
        self.source_vocab = character_vocab(self.training.sources)
        self.target_vocab = character_vocab(self.training.targets)


def encode(vocab: Vocab, texts: tuple[str, ...]) -> list[torch.Tensor]:
    """Turn each text into the numbers of its characters."""
    return [vocab.encode([*text]) for text in texts]


def run(model: str, seed: int, texts: Texts) -> tuple[list[float], float, int]:
    """Train with one seed; return the exact match on each test, CPU seconds and parameters."""
    attention, num_epochs = MODELS[model]
    shuffle = seed_everything(seed)
    encoder = Encoder(len(texts.source_vocab), EMBEDDING_DIM, HIDDEN_SIZE, rnn_type="gru")
    decoder = Decoder(
        len(texts.target_vocab), EMBEDDING_DIM, HIDDEN_SIZE, rnn_type="gru", attention=attention
    )
    network = Seq2Seq(encoder, decoder).to(pick_device())
    batches = PairBatches(
        encode(texts.source_vocab, texts.training.sources),
        encode(texts.target_vocab, texts.training.targets),
        batch_size=BATCH_SIZE,
        generator=shuffle,
    )
    with cpu_seconds() as watch:
        fit(network, batches, num_epochs=num_epochs, learning_rate=LEARNING_RATE)

    def right(test: DatePairs) -> float:
        rows = generate(network.eval(), *pad_sequences(encode(texts.source_vocab, test.sources)), max_len=30)
        return exact_match(["".join(texts.target_vocab.decode(row)) for row in rows], test.targets)

    return [right(test) for test in texts.tests.values()], watch.seconds, count_parameters(network)


def main() -> None:
    """Train every model with every seed and write ``results/dates.json``."""
    given = arguments(__doc__)
    texts = Texts()
    rows: list[Row] = []
    for model in MODELS:
        runs = []
        for seed in range(given.seeds):
            runs.append(run(model, seed, texts))
            print(model, seed, runs[-1], flush=True)
        scores, seconds, sizes = zip(*runs, strict=True)
        for i, task in enumerate(texts.tests):
            row = score_row(
                task,
                model,
                range(given.seeds),
                [score[i] for score in scores],
                num_items=NUM_TEST,
                num_parameters=sizes[0],
                train_cpu_seconds=seconds,
                metric="exact_match",
            )
            rows.append(within_a_share(row))
    save_results(
        RESULTS / "dates.json",
        rows,
        command=command_line("dates", given),
        settings={
            "embedding_dim": EMBEDDING_DIM,
            "hidden_size": HIDDEN_SIZE,
            "batch_size": BATCH_SIZE,
            "learning_rate": LEARNING_RATE,
        },
        num_epochs={model: num_epochs for model, (_, num_epochs) in MODELS.items()},
    )


if __name__ == "__main__":
    main()
