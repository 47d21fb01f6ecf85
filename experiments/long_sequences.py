"""What the length of a sequence costs: time and memory of one training step, from 64 to 16,384 time steps.

::

    python -m experiments.long_sequences --rounds 5      (speeds alone: make bench)

Time: forward and backward of one layer by each way, all ways and lengths in turn in one process, so that a
slow moment of the machine hits all; a round gives one ratio, CPU time by that of full BPTT through the
book's GRU over 1,024 steps. Memory: the peak of a process of its own over what it held before, in MB; its
slope against T by that of a formula. Then the layers of linear recurrences against ``torch.nn.GRU``, and
the scan against the loop over a grid of sizes: where it wins.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from experiments import arguments, command_line
from experiments.speed_layers import FIXED, in_turn, memory, ratio_row, rows_of
from rnnbook.kernels import KERNELS
from rnnbook.layers import GRU, LSTM, RNN
from rnnbook.repro import count_parameters, cpu_seconds, seed_everything
from rnnbook.results import Row, save_results
from rnnbook.scan import DiagonalRecurrence, MinGRU, MinLSTM, linear_recurrence

RESULTS = Path(__file__).parents[1] / "results"
LENGTHS = (64, 256, 1024, 4096, 16384)
BATCH, SIZE, SEGMENT = 4, 64, 64
MEMORY_ROUNDS = 2
Draw = Callable[[int], Tensor]  # the next n steps, (n, B, I)


def full(layer: nn.Module, draw: Draw, steps: int) -> None:
    """Go through all steps, then back through all."""
    layer(draw(steps))[0].sum().backward()


def truncated(layer: nn.Module, draw: Draw, steps: int) -> None:
    """Go back through one segment at a time; the state alone, without its history, goes on to the next."""
    state = None
    for _ in range(steps // SEGMENT):
        outputs, state = layer(draw(SEGMENT), state)
        outputs.sum().backward()
        state = state.detach()


def checkpointed(layer: nn.Module, draw: Draw, steps: int) -> None:
    """Keep input and state of √T segments; each is run again on the way back (Chen et al., 2016)."""

    def segment(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        outputs, state = layer(x, state)
        return outputs.sum(), state

    size, total, state = isqrt(steps), torch.zeros(()), None
    for _ in range(steps // size):
        part, state = checkpoint(segment, draw(size), state, use_reentrant=False)
        total = total + part
    total.backward()


REFERENCE, REFERENCE_LENGTH = "GRU, full BPTT", 1024
BY_AUTOGRAD = "MinGRU, loop by autograd"
TIMED: dict[str, tuple[Callable[..., nn.Module], Callable[[nn.Module, Draw, int], None]]] = {
    REFERENCE: (GRU, full),
    "torch.nn.GRU, full BPTT": (nn.GRU, full),
    "GRU, truncated BPTT": (GRU, truncated),
    "GRU, checkpoints": (GRU, checkpointed),
    BY_AUTOGRAD: (partial(MinGRU, method="autograd"), full),
    "MinGRU, loop": (partial(MinGRU, method="loop"), full),
    "MinGRU, scan": (partial(MinGRU, method="scan"), full),
}
FULL = {f"{kind.__name__}, full BPTT": kind for kind in (RNN, GRU, LSTM)}
WAYS = TIMED | {name: (kind, full) for name, kind in FULL.items()}


def lengths_of(name: str) -> tuple[int, ...]:
    """List the lengths a way is measured at: a list of all steps is not for the longest."""
    return LENGTHS[:-1] if name == BY_AUTOGRAD else LENGTHS


def bytes_per_step(layer: RNN | GRU | LSTM, batch_size: int) -> int:
    """Count on paper the bytes that one more time step costs the fast form at the peak, in float32.

    Held until the way back is over, for each sequence: the input (I numbers), the buffers of
    :mod:`rnnbook.kernels` (G gates, and beside them what ``extra_buffers`` names; the last buffer is
    the output), each H numbers, and the gradient of the outputs, H more. All else is made anew for
    each chunk of 25 steps, so it does not grow: with G = 1, 3, 4 the sum is 2, 6, 7 times H, and I.
    """
    buffers = layer.num_gates + len(KERNELS[layer.kind].extra_buffers)
    return 4 * batch_size * (layer.input_size + (buffers + 1) * layer.hidden_size)


# --- time ------------------------------------------------------------------------------------------------


def reader(x: Tensor) -> Draw:
    """Hand out the steps of x in order."""
    place = 0

    def draw(steps: int) -> Tensor:
        nonlocal place
        place += steps
        return x[place - steps : place]

    return draw


def step_seconds(name: str, layer: nn.Module, x: Tensor) -> float:
    """Measure the CPU seconds of one forward and backward pass over x; a short one is repeated."""
    repeats = max(1, REFERENCE_LENGTH // len(x))
    with cpu_seconds() as watch:
        for _ in range(repeats):
            layer.zero_grad()
            WAYS[name][1](layer, reader(x), len(x))
    return watch.seconds / repeats


def time_rows(rounds: int, lengths: tuple[int, ...] = LENGTHS) -> list[Row]:
    """Time all ways and lengths in turn, each against the reference in the same round."""
    generator = seed_everything(0)
    x = torch.randn(max(lengths), BATCH, SIZE, generator=generator)
    models = {name: make(SIZE, SIZE) for name, (make, _) in TIMED.items()}
    points = [(name, steps) for steps in lengths for name in TIMED if steps in lengths_of(name)]
    seconds: dict[tuple[str, int], list[float]] = {point: [] for point in points}
    for turn in range(rounds + 1):
        for name, steps in points:
            if turn or steps <= REFERENCE_LENGTH:  # the first turn warms up
                seconds[name, steps].append(step_seconds(name, models[name], x[:steps]))
    unit = seconds[REFERENCE, REFERENCE_LENGTH][1:]
    task = f"B={BATCH}, H={SIZE}, against {REFERENCE} at T={REFERENCE_LENGTH}"
    rows = []
    for (name, steps), values in seconds.items():
        ratios = [a / b for a, b in zip(values[-rounds:], unit, strict=True)]
        size = count_parameters(models[name])
        rows.append(ratio_row(f"T={steps}, {task}", name, ratios, "time_ratio", size))
    return rows


# --- memory ----------------------------------------------------------------------------------------------


def peak_bytes(name: str, steps: int) -> int:
    """Measure by how much one forward and backward pass raises the memory of this process at its peak."""
    make, run = WAYS[name]
    seed_everything(0)
    layer = make(SIZE, SIZE)

    def draw(count: int) -> Tensor:
        return torch.randn(count, BATCH, SIZE)

    checkpointed(layer, draw, 4)  # what the first call of all loads is not the sequence's
    before = memory("VmRSS")
    run(layer, draw, steps)
    return memory("VmHWM") - before


def peaks(name: str, steps: int, rounds: int) -> list[int]:
    """Run :func:`peak_bytes` in processes of their own."""
    command = [sys.executable, "-m", "experiments.long_sequences", "--peak", name, str(steps)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(rounds)]
    return [int(run.stdout) for run in runs]


def memory_rows(rounds: int = MEMORY_ROUNDS, lengths: tuple[int, ...] = LENGTHS) -> list[Row]:
    """Measure the peaks of all ways, and the slope of the fast layers' against the formula."""
    found: dict[tuple[str, int], list[int]] = {}
    rows = []
    for name, (make, _) in WAYS.items():
        usual = lengths_of(name) if name in TIMED else LENGTHS[-2:]
        size = count_parameters(make(SIZE, SIZE))
        for steps in (steps for steps in usual if steps in lengths):
            found[name, steps] = peaks(name, steps, rounds)
            values = [value / 1e6 for value in found[name, steps]]
            row = ratio_row(f"T={steps}, B={BATCH}, H={SIZE}", name, values, "peak_megabytes", size)
            note = "of a process of its own over what it held before; 95 % interval of the mean"
            rows.append(replace(row, note=note))
    few, many = lengths[-2:]
    for name, kind in FULL.items():
        layer = kind(SIZE, SIZE)
        paper = bytes_per_step(layer, BATCH) * (many - few)
        slopes = [(b - a) / paper for a, b in zip(found[name, few], found[name, many], strict=True)]
        task = f"bytes a step, B={BATCH}, H={SIZE}, against the formula"
        rows.append(ratio_row(task, name, slopes, "memory_ratio", count_parameters(layer)))
    return rows


# --- linear recurrences ----------------------------------------------------------------------------------

LAYER_SIZES = ((32, 100, 64), (32, 200, 64), (32, 100, 128), (32, 200, 128), (32, 100, 256))
GRID = ((1, 16), (4, 64), (8, 64), (32, 64), (32, 128), (32, 256))
GRID_LENGTHS = (4, 16, 64, 256, 1024, 4096)
MOST = 2**22  # numbers in one tensor of the grid


def layer_rows(rounds: int, sizes: tuple[tuple[int, int, int], ...] = LAYER_SIZES) -> list[Row]:
    """Time the layers against ``torch.nn.GRU``; the gradient of the input is asked for as well."""
    rows = []
    for batch_size, steps, size in sizes:
        generator = seed_everything(0)
        models: dict[str, nn.Module] = {"torch.nn": nn.GRU(size, size)}
        models |= {f"MinGRU, {method}": MinGRU(size, size, method=method) for method in ("loop", "scan")}
        models |= {f"{kind.__name__}, loop": kind(size, size) for kind in (MinLSTM, DiagonalRecurrence)}
        x = torch.randn(steps, batch_size, size, generator=generator).requires_grad_()
        task = f"B={batch_size}, T={steps}, H={size}, against torch.nn.GRU"
        rows += rows_of(task, models, in_turn(models, x, x, rounds))
    return rows


def recurrence_seconds(a: Tensor, b: Tensor, method: str) -> float:
    """Measure the CPU seconds of one recurrence, forward and backward; a short one is repeated."""
    repeats = max(1, min(20, 2**18 // b.numel()))
    with cpu_seconds() as watch:
        for _ in range(repeats):
            a.grad = b.grad = None
            linear_recurrence(a, b, method=method).sum().backward()
    return watch.seconds / repeats


def race(batch_size: int, steps: int, size: int, rounds: int, reference: str, *methods: str) -> list[Row]:
    """Time the recurrence alone by several methods in turn, against the first."""
    generator = seed_everything(0)
    a, b = (torch.rand(batch_size, steps, size, generator=generator).requires_grad_() for _ in range(2))
    seconds: dict[str, list[float]] = {method: [] for method in (reference, *methods)}
    for _ in range(rounds + 1):
        for method, values in seconds.items():
            values.append(recurrence_seconds(a, b, method))
    rows = []
    for method in methods:
        pairs = zip(seconds[reference][1:], seconds[method][1:], strict=True)
        task = f"recurrence alone, B={batch_size}, T={steps}, H={size}, against method {reference}"
        rows.append(ratio_row(task, method, [x / y for x, y in pairs], "speed_ratio", 0))
    return rows


def grid_rows(rounds: int, lengths: tuple[int, ...] = GRID_LENGTHS) -> list[Row]:
    """Race the scan against the loop over the grid, and both against autograd at one size."""
    rows = race(8, 1024, 64, rounds, "autograd", "loop", "scan")
    for batch_size, size in GRID:
        for steps in lengths:
            if batch_size * size * steps <= MOST:
                rows += race(batch_size, steps, size, rounds, "loop", "scan")
    return rows


def measure(rounds: int, progress: Callable[[str], None] = print) -> list[Row]:
    """Measure all: time, memory, layers, grid."""
    rows: list[Row] = []
    for part in (time_rows, layer_rows, grid_rows, lambda _: memory_rows()):
        new = part(rounds)
        for row in new:
            progress(f"{row.task:64s} {row.model:26s} {row.metric:14s} {statistics.median(row.values):8.3f}")
        rows += new
    return rows


def main() -> None:
    """Measure and write ``results/long_sequences.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=5, help="rounds after the warm-up (at least 3)")
        parser.add_argument("--peak", nargs=2, metavar=("WAY", "T"), help=SUPPRESS)

    given = arguments(__doc__, seeds=1, extra=own, fixed=FIXED)
    if given.peak:
        name, steps = given.peak
        print(peak_bytes(name, int(steps)))
        return
    rows = measure(given.rounds)
    command = command_line("long_sequences", given, "rounds")
    save_results(RESULTS / "long_sequences.json", rows, command=command)


if __name__ == "__main__":
    main()
