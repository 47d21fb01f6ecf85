"""A larger vocabulary: the full softmax against an adaptive and a sampled one, by perplexity and by time.

::

    python -m experiments.vocabulary --seeds 3

A language model of words (embedding, LSTM, output layer) reads film reviews as one stream, its state
carried from segment to segment. The output layer is a full softmax, an adaptive one (Grave et al., 2017;
``torch.nn.AdaptiveLogSoftmaxWithLoss``) or a full one trained on sampled words
(``rnnbook.losses.sampled_softmax_loss``); its perplexity is always that over all words. Biases start at
the logarithms of the shares of words, or the sampled softmax would take long to find them. Each layer
reads the same text once, and the two fast ones also three times as much; the vocabulary is that of the
longer text. Each takes the learning rate that did best on validation reviews after half of the text, with
a seed that is not used again; the number of samples and the cut-offs were chosen there too, in trials.
The test reviews are scored once a run. ``unigram_perplexity`` is that of the shares of words.

Time: a whole step of training (forward, backward, Adam) for three sizes of the vocabulary, with targets
that follow Zipf's law, on the processor whatever the device; the three ways take turns, and a round gives
the ratio of each to the full softmax.

A finished run is kept in ``results/vocabulary.runs/``, so an interrupted command goes on.
"""

from __future__ import annotations

import math
import shutil
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from experiments import arguments, command_line
from experiments.imdb import RESULTS, Log, Outcome, rows_of
from experiments.speed_layers import ratio_row
from rnnbook.batches import StreamBatches
from rnnbook.corpus import split_by_hash
from rnnbook.datasets import load
from rnnbook.evaluate import perplexity
from rnnbook.losses import sampled_softmax_loss
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.results import Row, save_results
from rnnbook.text import Vocab, tokenize
from rnnbook.train import train as fit
from rnnbook.train import validate

FULL, ADAPTIVE, SAMPLED = KINDS = ("full softmax", "adaptive softmax", "sampled softmax")
SIZES = (1_000, 5_000, 30_000)  # of the vocabulary, where time alone is measured
VOCAB_SIZE, NUM_TOKENS, MORE = 20_000, 200_000, 3
HIDDEN_SIZE, BATCH_SIZE, SEQ_LEN = 64, 16, 32
NUM_SAMPLES = 500
RATES = (1e-2, 2e-2)
TUNING_SEED = 100


class LanguageModel(nn.Module):
    """Embedding → LSTM → output layer of a kind; a change of mode begins a new stream.

    ``shares`` (V,) are those of the words, which come with the frequent ones first.
    """

    log_q: Tensor

    def __init__(self, kind: str, shares: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        size = len(shares)
        self.kind, self.shares, self.generator = kind, shares, generator
        self.embedding = nn.Embedding(size, HIDDEN_SIZE)
        self.rnn = nn.LSTM(HIDDEN_SIZE, HIDDEN_SIZE, batch_first=True)
        self.output: Any = nn.Linear(HIDDEN_SIZE, size)
        if kind == ADAPTIVE:
            cutoffs = [size // 10, size // 2]
            self.output = nn.AdaptiveLogSoftmaxWithLoss(HIDDEN_SIZE, size, cutoffs, head_bias=True)
            frequent, *clusters = shares.split([end - start for start, end in pairwise([0, *cutoffs, size])])
            self.output.head.bias.data = torch.cat([frequent, torch.stack([c.sum() for c in clusters])]).log()
        else:
            self.output.bias.data = shares.log()
        self.register_buffer("log_q", shares.log())
        self.state: tuple[Tensor, Tensor] | None = None

    def train(self, mode: bool = True) -> LanguageModel:
        """Forget the state, as the next segment belongs to another stream."""
        self.state = None
        return super().train(mode)

    def forward(self, tokens: Tensor) -> Tensor:
        """Read on in each row, tokens (B, T); return hidden states (B, T, H)."""
        hidden: Tensor
        hidden, (h, c) = self.rnn(self.embedding(tokens), self.state)
        self.state = h.detach(), c.detach()
        return hidden

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Take hidden states (B, T, H) and the words after them (B, T); return the mean nats a word."""
        hidden, targets = hidden.flatten(0, 1), targets.flatten()
        if self.kind == ADAPTIVE:
            loss: Tensor = self.output(hidden, targets).loss
            return loss
        if self.kind == FULL or not self.training:
            return nn.functional.cross_entropy(self.output(hidden), targets)
        drawn = torch.multinomial(self.shares, NUM_SAMPLES, replacement=True, generator=self.generator)
        drawn = drawn.to(hidden.device)
        return sampled_softmax_loss(hidden, targets, self.output.weight, self.output.bias, drawn, self.log_q)


# --- perplexity --------------------------------------------------------------------------------------


@cache
def streams() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return ids for training, validation (50,000) and test (100,000), and the shares of words in the first."""
    rest, test = split_by_hash(load("imdb_train").train, 0.2)
    train, val = split_by_hash(rest, 0.1, salt="validation")
    words = []
    for part, count in ((train, MORE * NUM_TOKENS), (val, 50_000), (test, 100_000)):
        found: list[str] = []
        for text in part.texts:
            if len(found) >= count:
                break
            found += tokenize(text)
        words.append(found[:count])
    vocab = Vocab.build([words[0]], max_size=VOCAB_SIZE)
    ids = [vocab.encode(part) for part in words]
    # One is added to each count, since every word must have a chance to be drawn.
    counts = torch.bincount(ids[0], minlength=len(vocab)) + 1.0
    return ids[0], ids[1], ids[2], counts / counts.sum()


def score(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], ids: Tensor) -> float:
    """Return the perplexity over one stream."""
    batches = StreamBatches(ids, batch_size=BATCH_SIZE, seq_len=SEQ_LEN)
    return perplexity(validate(model, batches, loss)[0] * batches.num_targets, batches.num_targets)


def run(kind: str, num_tokens: int, scored_on: Tensor, rate: float, seed: int) -> Outcome:
    """Train on the first ``num_tokens`` words; the score of the outcome is a perplexity."""
    generator = seed_everything(seed)
    ids, _, _, shares = streams()
    model = LanguageModel(kind, shares, generator).to(pick_device())
    batches = StreamBatches(ids[:num_tokens], batch_size=BATCH_SIZE, seq_len=SEQ_LEN)
    with cpu_seconds() as watch:
        fit(model, batches, model.loss, learning_rate=rate)
    found = score(model, model.loss, scored_on)
    return Outcome(kind, seed, found, None, watch.seconds, count_parameters(model))


# --- time --------------------------------------------------------------------------------------------


def measure(rounds: int, progress: Callable[[str], None] = print) -> list[Row]:
    """Time a step of training of each kind against the full softmax, in turn; one more round is a warm-up."""
    rows = []
    for size in SIZES:
        generator = seed_everything(0)
        shares = 1 / torch.arange(2.0, size + 2)
        models = {kind: LanguageModel(kind, shares / shares.sum(), generator) for kind in KINDS}
        optimizers = {kind: torch.optim.Adam(model.parameters()) for kind, model in models.items()}
        seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(rounds + 1):
            drawn = torch.multinomial(shares, BATCH_SIZE * SEQ_LEN + 1, replacement=True, generator=generator)
            ((inputs, targets),) = StreamBatches(drawn, batch_size=BATCH_SIZE, seq_len=SEQ_LEN)
            for kind, model in models.items():
                with cpu_seconds() as watch:
                    optimizers[kind].zero_grad()
                    model.loss(model(inputs), targets).backward()
                    optimizers[kind].step()
                seconds[kind].append(watch.seconds)
        for kind in KINDS[1:]:
            ratios = [a / b for a, b in zip(seconds[kind][1:], seconds[FULL][1:], strict=True)]
            task, weights = f"one training step, V={size:,}", count_parameters(models[kind])
            rows.append(ratio_row(task, kind, ratios, "time_ratio", weights))
            progress(f"{task}, {kind}: {rows[-1].mean:.3f}")
    return rows


def main() -> None:
    """Train, score and time; write ``results/vocabulary.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=9, help="rounds of timing (default: 9)")

    given = arguments(__doc__, seeds=3, extra=own)
    log = Log(RESULTS / "vocabulary.runs")
    _, val, test, shares = streams()

    def once(task: str, kind: str, num_tokens: int, scored_on: Tensor, rate: float, seed: int) -> Outcome:
        if (task, kind, seed) not in log.done:
            log.add(replace(run(kind, num_tokens, scored_on, rate, seed), task=task))
            print(log.done[task, kind, seed], flush=True)
        return log.done[task, kind, seed]

    rates = {}
    for kind in KINDS:
        trials = {r: once(f"rate {r}", kind, NUM_TOKENS // 2, val, r, TUNING_SEED).accuracy for r in RATES}
        rates[kind] = min(trials, key=lambda rate: trials[rate])
    runs = [
        once(f"film reviews, {count:,} words for training", kind, count, test, rates[kind], seed)
        for count, kinds in ((NUM_TOKENS, KINDS), (MORE * NUM_TOKENS, KINDS[1:]))
        for kind in kinds
        for seed in range(given.seeds)
    ]
    rows = rows_of(runs, {run.task: len(test) for run in runs}, "perplexity")
    save_results(
        RESULTS / "vocabulary.json",
        rows + measure(given.rounds, partial(print, flush=True)),
        command=command_line("vocabulary", given, "rounds"),
        vocab_size=len(shares),
        num_words={"validation": len(val), "test": len(test)},
        num_samples=NUM_SAMPLES,
        learning_rates=rates,
        unigram_perplexity=math.exp(-shares.log()[test].double().mean().item()),
    )
    shutil.rmtree(log.folder)


if __name__ == "__main__":
    main()
