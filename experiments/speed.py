"""Where the time of a recurrent layer goes, and what makes a trained classifier answer sooner.

::

    python -m experiments.speed --seeds 5 --rounds 9

All times are ratios. The ways that are compared take turns on one thread, so that a slow moment of the
machine hits all of them; a round gives one ratio, and the first round is thrown away.

Training, ``torch.nn.LSTM``, forward and backward: the time per token by batch size and by float type, and
the share of the limit. On paper a pass forward over B sequences of T steps takes ``2 B T 4H (I + H)``
operations (FLOP) and a pass backward twice as many, and each step reads 4H H weights, however small B is.
The limit of operations is what one large product of two matrices reaches in the same round; that of bytes,
the product of the same weights and a vector. Two threads against one: in a process of its own.

Inference, the bidirectional LSTM classifier of film sentences: PyTorch with a graph for gradients, PyTorch
in ``torch.inference_mode`` (with which all others are compared), PyTorch's own 8-bit integers, ONNX Runtime
in float32 and in 8-bit integers. Latency is the time of one text alone, as percentiles over texts; throughput
that of 32 texts together. The accuracy of each is scored on sentences kept for the test, after three epochs
of training with each seed.

Time is processor time, which on an idle core is the time on the wall; for the threads both are given.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from experiments import arguments, command_line
from experiments.speed_layers import ratio_row
from rnnbook.batches import Batches
from rnnbook.classifier import ClassifierConfig, TextClassifier, save_classifier
from rnnbook.corpus import Split, split_by_hash
from rnnbook.datasets import load
from rnnbook.export import OnnxClassifier, export_onnx, quantize_onnx
from rnnbook.repro import count_parameters, seed_everything
from rnnbook.results import Row, save_results, score_row
from rnnbook.text import Vocab, tokenize
from rnnbook.train import train, validate

RESULTS = Path(__file__).resolve().parents[1] / "results"
Way = Callable[[], object]
Times = dict[str, list[float]]
EAGER = "PyTorch, inference mode"
PERCENTILES = (50, 95, 99)


def in_turn(ways: Mapping[str, Way], rounds: int, clock: Callable[[], float] = time.process_time) -> Times:
    """Take the seconds of each way, one after the other, ``rounds`` times after a warm-up."""
    taken: Times = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = clock()
            way()
            taken[name].append(clock() - start)
    return {name: seconds[1:] for name, seconds in taken.items()}


def over(above: list[float], below: list[float], factor: float = 1.0) -> list[float]:
    """Divide round by round, and multiply by a factor known on paper."""
    return [factor * a / b for a, b in zip(above, below, strict=True)]


# --- training --------------------------------------------------------------------------------------


def step(layer: nn.LSTM, x: Tensor, times: int = 1) -> None:
    """Take one forward and one backward pass through x (T, B, I), some times over."""
    for _ in range(times):
        layer.zero_grad()
        x.grad = None
        layer(x)[0].sum().backward()


def lstm(
    size: int, batch_size: int, seq_len: int, dtype: torch.dtype = torch.float32
) -> tuple[nn.LSTM, Tensor]:
    """Make a layer with I = H and an input (T, B, I) whose gradient is wanted too, as an embedding's is."""
    x = torch.randn(seq_len, batch_size, size, generator=seed_everything(0))
    return nn.LSTM(size, size).to(dtype), x.to(dtype).requires_grad_()


def flop(batch_size: int, seq_len: int, size: int) -> int:
    """Count the operations of a pass forward, on paper: products alone, a multiplication and an addition each."""
    return 2 * batch_size * seq_len * 4 * size * (size + size)


def batch_rows(rounds: int, sizes: tuple[int, ...] = (128, 512), seq_len: int = 20) -> list[Row]:
    """Compare the time per token at four batch sizes, against 32."""
    rows = []
    for size in sizes:
        repeats = {1: 8, 8: 4, 32: 2, 128: 1}  # so that short times are not lost in the clock
        parts = {batch_size: lstm(size, batch_size, seq_len) for batch_size in repeats}
        ways = {f"B={b}": partial(step, *parts[b], times) for b, times in repeats.items()}
        taken = in_turn(ways, rounds)
        for b, times in repeats.items():
            ratios = over(taken[f"B={b}"], taken["B=32"], 32 * repeats[32] / (b * times))
            task = f"time per token, LSTM, H={size}, T={seq_len}, against B=32"
            rows.append(ratio_row(task, f"B={b}", ratios, "time_ratio", count_parameters(parts[b][0])))
    return rows


def dtype_rows(rounds: int, size: int = 128) -> list[Row]:
    """Compare the time of a step in three float types, against float32."""
    parts = {str(d)[6:]: lstm(size, 32, 10, d) for d in (torch.float32, torch.float64, torch.bfloat16)}
    taken = in_turn({name: partial(step, *part, 2) for name, part in parts.items()}, rounds)
    task = f"time of a step, LSTM, H={size}, B=32, against float32"
    return [
        ratio_row(task, name, over(seconds, taken["float32"]), "time_ratio", count_parameters(parts[name][0]))
        for name, seconds in taken.items()
    ]


def limit_rows(rounds: int, sizes: tuple[int, ...] = (64, 128, 256, 512), n: int = 1024) -> list[Row]:
    """Give the share of the limits: operations in a training step at B = 32, bytes in a pass at B = 1."""
    generator = seed_everything(0)
    a, b = (torch.randn(n, n, generator=generator) for _ in range(2))
    seq_len, rows = 50, []

    def alone(layer: nn.LSTM, x: Tensor) -> None:
        with torch.inference_mode():
            layer(x)

    def read(weight: Tensor) -> None:
        for _ in range(seq_len):
            torch.mv(weight, weight[0])

    for size in sizes:
        layer, x = lstm(size, 32, seq_len)
        ways = {
            "step": partial(step, layer, x, 2),
            "product": partial(torch.mm, a, b),
            "alone": partial(alone, layer, x[:, :1].detach().contiguous()),
            "vector": partial(read, layer.weight_hh_l0.detach()),
        }
        taken = in_turn(ways, rounds)
        for task, way, limit, work in (
            ("FLOP, training step at B=32", "step", "product", 2 * 3 * flop(32, seq_len, size) / (2 * n**3)),
            ("FLOP, one sequence forward", "alone", "product", flop(1, seq_len, size) / (2 * n**3)),
            ("bytes of weights, one sequence forward", "alone", "vector", 1.0),
        ):
            ratios, task = over(taken[limit], taken[way], work), f"share of the limit: {task}"
            rows.append(ratio_row(task, f"LSTM, H={size}", ratios, "share_ratio", count_parameters(layer)))
    return rows


def thread_rows(rounds: int, sizes: tuple[int, ...] = (64, 512)) -> list[Row]:
    """Compare two threads with one, in this process, which must have been started with two."""
    rows = []
    for size in sizes:
        layer, x = lstm(size, 32, 20)
        for clock, name in ((time.perf_counter, "time on the wall"), (time.process_time, "processor time")):

            def run(threads: int, layer: nn.LSTM = layer, x: Tensor = x) -> None:
                torch.set_num_threads(threads)
                step(layer, x, 2)

            taken = in_turn({"1": partial(run, 1), "2": partial(run, 2)}, rounds, clock)
            task = f"step with two threads against one, LSTM, H={size}, B=32"
            rows.append(
                ratio_row(task, name, over(taken["2"], taken["1"]), "time_ratio", count_parameters(layer))
            )
    return rows


def thread_rows_apart(rounds: int) -> list[Row]:
    """Start :func:`thread_rows` with two threads; one that waits sleeps."""
    command = [sys.executable, "-m", "experiments.speed", "--rounds", str(rounds), "--two-threads"]
    surroundings = os.environ | {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=surroundings, stdout=subprocess.PIPE, text=True, check=True)
    return [Row(**row) for row in json.loads(done.stdout)]


# --- inference -------------------------------------------------------------------------------------


@cache
def sentences() -> tuple[Split, Split, Split]:
    """Film sentences: training, validation, test, as in the chapter on text classification."""
    rest, test = split_by_hash(load("film_sentences").train, 0.2)
    return *split_by_hash(rest, 0.1, salt="validation"), test


@cache
def vocabulary() -> Vocab:
    """Make the vocabulary of the training sentences."""
    return Vocab.build([tokenize(text) for text in sentences()[0].texts])


def config() -> ClassifierConfig:
    """Size the classifier: 64 features, 128 units in each direction."""
    return ClassifierConfig(len(vocabulary()), 64, 128, bidirectional=True, dropout=0.5, word_dropout=0.2)


def batches(part: Split, batch_size: int, shuffle: torch.Generator | None = None) -> Batches:
    """Lay texts into batches, of 200 tokens at most."""
    ids = [vocabulary().encode(tokenize(text)) for text in part.texts]
    return Batches(ids, part.labels, batch_size=batch_size, generator=shuffle, max_len=200)


def ways_of(model: TextClassifier, folder: Path) -> dict[str, nn.Module]:
    """Make all forms of a trained model, its files in ``folder``."""
    sample = sentences()[1].take(range(33))
    export_onnx(
        model.eval(), folder / "float32.onnx", [*batches(sample, 32), *batches(sample.take(range(5)), 1)]
    )
    quantize_onnx(folder / "float32.onnx", folder / "int8.onnx")
    with warnings.catch_warnings():
        # Shown because many read of it; deprecated, as it says at each of its steps.
        warnings.filterwarnings("ignore", "torch.ao.quantization is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        integers = torch.ao.quantization.quantize_dynamic(model, {nn.LSTM, nn.Linear}, dtype=torch.qint8)
    return {
        EAGER: model,
        "PyTorch, int8": integers,
        "ONNX Runtime, float32": OnnxClassifier(folder / "float32.onnx"),
        "ONNX Runtime, int8": OnnxClassifier(folder / "int8.onnx"),
    }


def answers(model: nn.Module, inputs: list[tuple[Tensor, Tensor]], *, graph: bool = False) -> list[float]:
    """Answer batch after batch, with or without a graph for gradients; return the seconds of each."""
    taken = []
    with torch.inference_mode(not graph):
        for tokens, lengths in inputs:
            start = time.process_time()
            model(tokens, lengths)
            taken.append(time.process_time() - start)
    return taken


def inference_rows(rounds: int, num_texts: int = 128) -> list[Row]:
    """Compare latency at one text a time and throughput at 32; weights are drawn, as time does not know them."""
    seed_everything(0)
    model = TextClassifier(config()).eval()
    reviews = load("imdb_train").train
    long = (i for i, text in enumerate(reviews.texts) if len(tokenize(text)) >= 200)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ways = {name: partial(answers, way) for name, way in ways_of(model, Path(folder)).items()}
        ways["PyTorch, graph recorded"] = partial(answers, model, graph=True)
        for name, part in {
            "film sentences": sentences()[2].take(range(num_texts)),
            "film reviews, 200 tokens": reviews.take(list(islice(long, num_texts))),
        }.items():
            single, many = ([batch[:2] for batch in batches(part, size)] for size in (1, 32))
            rows += latency_rows(f"{name}, one at a time", ways, single, rounds, model)
            taken = in_turn({way: partial(run, many) for way, run in ways.items()}, rounds)
            for way, seconds in taken.items():
                ratios = over(taken[EAGER], seconds)
                rows.append(
                    ratio_row(f"{name}, 32 at a time", way, ratios, "speed_ratio", count_parameters(model))
                )
    return rows


def latency_rows(
    task: str,
    ways: Mapping[str, Callable[..., list[float]]],
    inputs: list[tuple[Tensor, Tensor]],
    rounds: int,
    model: nn.Module,
) -> list[Row]:
    """Take the percentiles of each way in each round, and divide PyTorch's by them."""
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, run in ways.items():
            found[name].append(np.percentile(run(inputs), PERCENTILES).tolist())
    rows = []
    for name, of_rounds in found.items():
        for k, percentile in enumerate(PERCENTILES):
            ratios = over([p[k] for p in found[EAGER][1:]], [p[k] for p in of_rounds[1:]])
            rows.append(
                ratio_row(f"{task}, p{percentile}", name, ratios, "speed_ratio", count_parameters(model))
            )
    return rows


def scores(
    seeds: list[int], progress: Callable[[str], None] = print, num_epochs: int = 3
) -> tuple[list[Row], dict[str, int]]:
    """Train with each seed and score each form on test sentences; return also the bytes of the files."""
    training, val, test = sentences()
    found: dict[str, list[float]] = {}
    seconds, sizes = [], {}
    for seed in seeds:
        shuffle = seed_everything(seed)
        model = TextClassifier(config())
        start = time.process_time()
        train(
            model,
            batches(training, 32, shuffle),
            num_epochs=num_epochs,
            learning_rate=5e-3,
            val_batches=batches(val, 32),
        )
        seconds.append(time.process_time() - start)
        with tempfile.TemporaryDirectory() as folder:
            save_classifier(Path(folder) / "PyTorch.safetensors", model, vocabulary())
            for name, way in ways_of(model, Path(folder)).items():
                found.setdefault(name, []).append(validate(way, batches(test, 32))[1])
            sizes = {path.name: path.stat().st_size for path in sorted(Path(folder).iterdir())}
        progress(f"seed {seed}: " + ", ".join(f"{name} {values[-1]:.4f}" for name, values in found.items()))
    rows = [
        score_row(
            "film sentences",
            name,
            seeds,
            values,
            num_items=len(test.texts),
            num_parameters=count_parameters(model),
            train_cpu_seconds=seconds,
        )
        for name, values in found.items()
    ]
    return rows, sizes


def measure(rounds: int, progress: Callable[[str], None] = print) -> list[Row]:
    """Measure all ratios."""
    rows = []
    for part in (batch_rows, dtype_rows, limit_rows, thread_rows_apart, inference_rows):
        made = part(rounds)
        rows += made
        for row in made:
            progress(f"{row.task:60s} {row.model:28s} {np.median(row.values):.2f}")
    return rows


def main() -> None:
    """Measure, train, score, and write ``results/speed.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=9, help="rounds after the warm-up")
        parser.add_argument("--two-threads", action="store_true", help=SUPPRESS)

    given = arguments(
        __doc__,
        extra=own,
        fixed={"device": "what is compared is the time of a processor", "threads": "times are those of one"},
    )
    if given.two_threads:
        print(json.dumps([asdict(row) for row in thread_rows(given.rounds)]))
        return
    ratios = measure(given.rounds)
    rows, sizes = scores(list(range(given.seeds)))
    save_results(
        RESULTS / "speed.json",
        [*ratios, *rows],
        command=command_line("speed", given, "rounds"),
        bytes=sizes,
        config=asdict(replace(config(), vocab_hash=vocabulary().fingerprint())),
    )


if __name__ == "__main__":
    main()
