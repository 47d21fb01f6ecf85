"""How far two runs with the same seed part: threads, instruction sets, and the order of a sum.

::

    python -m experiments.reproducible --seeds 5

A tanh network learns the order task by plain gradient descent, once at a small learning rate and once
at a large one. The same run is made under several settings, each in a process of its own, since
PyTorch reads ``OMP_NUM_THREADS`` and ``ATEN_CPU_CAPABILITY`` once, when it starts. Of each run the weights
are kept at the steps of ``STEPS``; the record holds how far they lie from those of the first setting,
``|w - v| / |v|``. A setting that this processor does not have ends its process by a signal, and is
recorded under ``not_had``.

Two further measurements: how often sums of n numbers and the outputs of a layer differ in their bits
(two threads against one; one sequence alone against thirty-two together), and what a second thread does
to the time of a training step, on the machine as it is: ``load`` is the number of processes that wanted a
core when the script began. The record holds the report of ``python -m rnnbook`` as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from experiments import arguments, command_line
from rnnbook.__main__ import report
from rnnbook.repro import count_parameters, cpu_seconds, seed_everything
from rnnbook.results import Row, save_results, score_row
from rnnbook.tasks import order_task
from rnnbook.train import validate

RESULTS = Path(__file__).resolve().parents[1] / "results"
STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
RATES = {"small learning rate": 0.1, "large learning rate": 2.0}
SEQ_LEN, BATCH_SIZE, HIDDEN_SIZE = 10, 16, 32
TEST_LENS = (10, 40)
SETTINGS: dict[
    str, dict[str, str]
] = {  # what the process finds in its environment; the first is compared with
    "first run": {},
    "same again": {},
    "two threads": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
    "instructions: default": {"ATEN_CPU_CAPABILITY": "default"},
    "instructions: avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "instructions: avx512": {"ATEN_CPU_CAPABILITY": "avx512"},
    "rows reversed": {},
    "batch in two halves": {},
}
FIXED = {
    "device": "the settings that are compared are those of a processor",
    "threads": "their number is what is compared",
}
WAITING: dict[str, dict[str, str]] = {"as it comes": {}, "asleep": {"OMP_WAIT_POLICY": "PASSIVE"}}
SUM_SIZES = (1_000, 10_000, 30_000, 40_000, 100_000, 1_000_000)


class Reader(nn.Module):
    """Embedding, tanh recurrence, and a read-out of the last state: tokens (B, T) to logits (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.rnn = nn.RNN(8, HIDDEN_SIZE, batch_first=True)
        self.readout = nn.Linear(HIDDEN_SIZE, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Read tokens (B, T)."""
        return self.readout(self.rnn(self.embedding(tokens))[0][:, -1])


def weights(model: nn.Module) -> npt.NDArray[np.float32]:
    """Lay all weights of a model end to end."""
    return torch.cat([p.detach().flatten() for p in model.parameters()]).numpy().copy()


def run(
    rate: float, seed: int, how: str, steps: tuple[int, ...] = STEPS
) -> tuple[list[npt.NDArray], list[float]]:
    """Train once; return the weights at ``steps`` and the accuracies on 1,000 new sequences of each length."""
    generator = seed_everything(seed)
    model, kept = Reader(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for step in range(steps[-1] + 1):
        if step in steps:
            kept.append(weights(model))
        if step == steps[-1]:
            break
        tokens, labels = order_task(BATCH_SIZE, SEQ_LEN, generator=generator)
        if how == "rows reversed":
            tokens, labels = tokens.flip(0), labels.flip(0)
        pieces = 2 if how == "batch in two halves" else 1
        optimizer.zero_grad()
        for part, wanted in zip(tokens.chunk(pieces), labels.chunk(pieces), strict=True):
            (nn.functional.cross_entropy(model(part), wanted) / pieces).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    fresh = torch.Generator().manual_seed(10_000 + seed)
    tests = [order_task(1000, seq_len, generator=fresh) for seq_len in TEST_LENS]
    return kept, [validate(model, [test])[1] for test in tests]


def child(how: str, seeds: list[int], path: Path) -> None:
    """Make the runs of one setting, in this process, and leave them in a file."""
    kept, accuracy, seconds = [], [], []
    for rate in RATES.values():
        for seed in seeds:
            with cpu_seconds() as watch:
                found, score = run(rate, seed, how)
            kept.append(found)
            accuracy.append(score)
            seconds.append(watch.seconds)
    shape = (len(RATES), len(seeds), len(STEPS), -1)
    np.savez(
        path,
        weights=np.array(kept).reshape(shape),
        accuracy=np.array(accuracy).reshape((*shape[:2], -1)),
        seconds=np.array(seconds).reshape(shape[:2]),
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
    )


def start(options: list[str], **settings: str) -> bool:
    """Run :func:`part` in a fresh process. Return False when the processor refused; raise for any other end."""
    surroundings = {k: v for k, v in os.environ.items() if k != "ATEN_CPU_CAPABILITY"}
    surroundings |= {"OMP_NUM_THREADS": "1"} | settings
    command = [sys.executable, "-c", "from experiments import reproducible; reproducible.part()", *options]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    if done.returncode and done.stderr.strip():  # an error of Python's, not a signal of the processor's
        raise RuntimeError(done.stderr)
    return done.returncode == 0


def relative_distance(there: npt.NDArray, here: npt.NDArray) -> float:
    """Return |there - here| / |here|, with two digits; 0 means: the same in every bit."""
    if np.array_equal(there, here):
        return 0.0
    a, b = there.astype(np.float64), here.astype(np.float64)
    return float(f"{np.linalg.norm(a - b) / np.linalg.norm(b):.1e}")


def compare(folder: Path, seeds: list[int], processes: int) -> tuple[list[Row], dict[str, object]]:
    """Run all settings, some at the same time, and lay each beside the first."""

    def make(how: str) -> dict[str, npt.NDArray] | None:
        path = folder / f"{list(SETTINGS).index(how)}.npz"
        listed = ",".join(map(str, seeds))
        had = start(["--child", how, "--listed", listed, "--path", str(path)], **SETTINGS[how])
        print(how, "done" if had else "not to be had", flush=True)
        return dict(np.load(path)) if had else None

    first = make(next(iter(SETTINGS)))
    if first is None:
        raise RuntimeError("the first run was ended by a signal")
    native = {"ATEN_CPU_CAPABILITY": str(first["instructions"]).lower()}  # this is what the first run had
    others = [how for how, settings in list(SETTINGS.items())[1:] if settings != native]
    with ThreadPoolExecutor(processes) as pool:
        made = {"first run": first, **dict(zip(others, pool.map(make, others), strict=True))}
    rows = []
    had: dict[str, dict[str, object]] = {}
    differences: dict[str, dict[str, list[list[float]]]] = {name: {} for name in RATES}
    for (how, found), (i, name) in product(made.items(), enumerate(RATES)):
        if found is None:
            continue
        had[how] = {"instructions": str(found["instructions"]), "threads": int(found["threads"])}
        pairs = zip(found["weights"][i], first["weights"][i], strict=True)
        differences[name][how] = [
            [relative_distance(*pair) for pair in zip(*both, strict=True)] for both in pairs
        ]
        rows += [
            score_row(
                f"order, {name}, tested at T={seq_len}",
                how,
                seeds,
                found["accuracy"][i, :, k].tolist(),
                num_items=1000,
                num_parameters=found["weights"].shape[-1],
                train_cpu_seconds=found["seconds"][i].tolist(),
            )
            for k, seq_len in enumerate(TEST_LENS)
        ]
    not_had = [how for how, found in made.items() if found is None]
    return rows, {"settings": had, "not_had": not_had, "differences": differences}


def bits(num_trials: int = 100) -> dict[str, dict[str, float]]:
    """Count sums and outputs that differ in their bits, and by how much at most."""
    generator = seed_everything(0)
    sums = {}
    for size in SUM_SIZES:
        numbers = torch.randn(num_trials, size, generator=generator)
        one, two = ([], [])
        for threads, kept in ((1, one), (2, two)):
            torch.set_num_threads(threads)
            kept += [row.sum().item() for row in numbers]
        sums[str(size)] = sum(a != b for a, b in zip(one, two, strict=True)) / num_trials
    torch.set_num_threads(1)
    alone = {}
    x = torch.randn(32, 20, 8, generator=generator)  # (B, T, I)
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        layer = kind(8, HIDDEN_SIZE, batch_first=True)
        with torch.no_grad():
            together = layer(x)[0]
            single = torch.cat([layer(row[None])[0] for row in x])
        alone[kind.__name__] = float((together != single).float().mean())
        alone[f"{kind.__name__}, largest"] = float(f"{(together - single).abs().max():.1e}")
    return {"sums": sums, "alone": alone}


def thread_times(waiting: str, num_rounds: int = 9) -> list[Row]:
    """Time a training step with two threads against one, in turn: processor time and time on the wall.

    ``waiting`` says what a thread does that has nothing to do: it keeps asking for work, as OpenMP has it
    unless told otherwise, or it sleeps.
    """
    rows = []
    for name, hidden_size, batch_size, repeats in (("small", 32, 16, 10), ("large", 256, 64, 1)):
        generator = seed_everything(0)
        layer = nn.RNN(32, hidden_size, batch_first=True)
        x = torch.randn(batch_size, 50, 32, generator=generator)
        taken: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for _ in range(num_rounds + 1):
            for threads, kept in taken.items():
                torch.set_num_threads(threads)
                begin = time.perf_counter()
                with cpu_seconds() as watch:
                    for _ in range(repeats):
                        layer(x)[0].square().mean().backward()
                kept.append((watch.seconds, time.perf_counter() - begin))
        for i, clock in enumerate(("processor time", "time on the wall")):
            # The first round is a warm-up.
            ratios = [b[i] / a[i] for a, b in list(zip(taken[1], taken[2], strict=True))[1:]]
            rows.append(
                score_row(
                    f"one training step, {name} (H={hidden_size}, B={batch_size}, T=50)",
                    f"two threads, waiting: {waiting}, {clock}",
                    range(num_rounds),
                    ratios,
                    num_items=1,
                    num_parameters=count_parameters(layer),
                    metric="time_ratio",
                )
            )
    return rows


def part() -> None:
    """Make one setting's runs, or the times of one way of waiting, with the threads that this process found."""
    parser = ArgumentParser()
    parser.add_argument("--times", choices=WAITING)
    parser.add_argument("--child", choices=SETTINGS)
    parser.add_argument("--listed", default="")
    parser.add_argument("--path", type=Path)
    options = parser.parse_args()
    if options.times:
        options.path.write_text(json.dumps([asdict(row) for row in thread_times(options.times)]))
    if options.child:
        child(options.child, [int(seed) for seed in options.listed.split(",")], options.path)


def main() -> None:
    """Run every setting in a process of its own; write ``results/reproducible.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument("--processes", type=int, default=1, help="settings that run at the same time")

    options = arguments(__doc__, extra=own, fixed=FIXED)
    counted = bits()
    print(json.dumps(counted), flush=True)
    times: list[Row] = []
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory() as folder:
        rows, compared = compare(Path(folder), list(range(options.seeds)), options.processes)
        for waiting, policy in WAITING.items():
            path = Path(folder) / "times.json"
            start(["--times", waiting, "--path", str(path)], OMP_NUM_THREADS="2", **policy)
            times += [Row(**row) for row in json.loads(path.read_text())]
    for row in times:
        print(f"{row.task}, {row.model}: {row.mean:.2f}", flush=True)
    save_results(
        RESULTS / "reproducible.json",
        [*rows, *times],
        command=command_line("reproducible", options),
        rates=RATES,
        steps=STEPS,
        **compared,
        bits=counted,
        load=load,
        report=report().splitlines(),
    )


if __name__ == "__main__":
    main()
