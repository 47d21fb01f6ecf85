"""How fast is a layer written by hand? Each form of each layer against ``torch.nn``'s, forward and backward.

::

    python -m experiments.speed_layers --rounds 11      (or: make bench)

All forms of one layer run in turn in one process on one thread, so that a slow moment of the machine
hits all of them; a round gives one ratio, the CPU time of ``torch.nn`` by that of the form (above 1 is
faster than ``torch.nn``), and the first round is thrown away. B = 32, T = 100, input_size = hidden_size.
The forms are the steps of the chapter on fast cells, from separate products for each gate to the
hand-written backward pass. Packed batches have lengths drawn evenly from 10 to 200. The memory ratio is
that of the peaks of the process, fast form by ``torch.nn``, over what it held before the call, at T = 400.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from experiments import arguments, command_line
from rnnbook import cells, layers
from rnnbook.repro import count_parameters, cpu_seconds, seed_everything
from rnnbook.results import Row, save_results, score_row

RESULTS = Path(__file__).parents[1] / "results"
KINDS = ("LSTM", "GRU", "RNN")
SIZES = (64, 128, 256)
BATCH, STEPS = 32, 100
FIXED = {
    "device": "what is compared is the time of a processor",
    "seeds": "no time depends on the weights; --rounds is what is repeated",
    "threads": "the forms are compared on one thread",
}


class SeparateProducts(nn.Module):
    """The layer as most tutorials write it: for each gate a product with x and one with h, step by step."""

    def __init__(self, kind: str, size: int) -> None:
        """Hold one linear map for each gate and source; ``kind`` is LSTM, GRU or RNN."""
        super().__init__()
        self.kind, gates = kind, {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
        self.of_x = nn.ModuleList(nn.Linear(size, size) for _ in range(gates))
        self.of_h = nn.ModuleList(nn.Linear(size, size) for _ in range(gates))

    def load(self, layer: nn.Module) -> None:
        """Take the weights of a layer of ``torch.nn``, gate by gate."""
        for suffix, maps in (("ih", self.of_x), ("hh", self.of_h)):
            weights = getattr(layer, f"weight_{suffix}_l0").detach().chunk(len(maps))
            biases = getattr(layer, f"bias_{suffix}_l0").detach().chunk(len(maps))
            for linear, weight, bias in zip(maps, weights, biases, strict=True):
                linear.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """Take x (T, B, I); return outputs (T, B, H) and the last state."""
        h = c = x.new_zeros(x.shape[1], self.of_h[0].in_features)
        outputs = []
        for x_t in x:
            a = [of_x(x_t) for of_x in self.of_x]
            b = [of_h(h) for of_h in self.of_h]
            if self.kind == "RNN":
                h = torch.tanh(a[0] + b[0])
            elif self.kind == "GRU":
                r, z = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
                h = (1 - z) * torch.tanh(a[2] + r * b[2]) + z * h
            else:
                i, f, o = (torch.sigmoid(a[k] + b[k]) for k in (0, 1, 3))
                c = f * c + i * torch.tanh(a[2] + b[2])
                h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs), h


class Unrolled(nn.Module):
    """A cell of the book with all gates in one product, unrolled."""

    def __init__(self, kind: str, size: int) -> None:
        """Hold the cell."""
        super().__init__()
        self.cell = getattr(cells, f"{kind}Cell")(size, size)

    def load(self, layer: nn.Module) -> None:
        """Take the weights of a layer of ``torch.nn``."""
        self.cell.load_state_dict({name[:-3]: weight for name, weight in layer.state_dict().items()})

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """Take x (T, B, I); return outputs (T, B, H) and the last state."""
        outputs, state = cells.unroll(self.cell, x.transpose(0, 1))
        return outputs.transpose(0, 1), state


def forms(kind: str, size: int) -> dict[str, nn.Module]:
    """All forms of one layer, with the same weights, ``torch.nn`` first."""
    reference = getattr(nn, kind)(size, size)
    hoisted, fast = (getattr(layers, kind)(size, size, form=form) for form in ("plain", "fast"))
    for layer in (hoisted, fast):
        layer.load_state_dict(reference.state_dict())
    separate, stacked = SeparateProducts(kind, size), Unrolled(kind, size)
    separate.load(reference)
    stacked.load(reference)
    return {
        "torch.nn": reference,
        "separate products": separate,
        "gates stacked": stacked,
        "input product hoisted": hoisted,
        "hand-written backward": fast,
    }


def in_turn(models: dict[str, nn.Module], x: Any, leaf: Tensor, rounds: int) -> dict[str, list[float]]:
    """Measure CPU seconds of forward and backward, model after model, ``rounds`` times after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds + 1):
        for name, model in models.items():
            model.zero_grad()
            leaf.grad = None
            with cpu_seconds() as watch:
                outputs = model(x)[0]
                outputs = outputs if isinstance(outputs, Tensor) else outputs.data
                outputs.backward(torch.ones_like(outputs))
            seconds[name].append(watch.seconds)
    return {name: values[1:] for name, values in seconds.items()}


def rows_of(task: str, models: dict[str, nn.Module], seconds: dict[str, list[float]]) -> list[Row]:
    """Make a row of speed ratios for each form."""
    rows = []
    for name, values in seconds.items():
        if name != "torch.nn":
            ratios = [a / b for a, b in zip(seconds["torch.nn"], values, strict=True)]
            rows.append(ratio_row(task, name, ratios, "speed_ratio", count_parameters(models[name])))
    return rows


def ratio_row(task: str, model: str, ratios: Sequence[float], metric: str, num_parameters: int) -> Row:
    """Make a row of ratios, one a round; the note gives their median."""
    row = score_row(
        task, model, range(len(ratios)), ratios, num_items=1, num_parameters=num_parameters, metric=metric
    )
    median = statistics.median(ratios)
    return replace(row, note=f"median {median:.3f} of {len(ratios)} rounds; 95 % interval of the mean")


def memory(field: str) -> int:
    """Read the bytes in memory, now (``VmRSS``) or at the peak (``VmHWM``), of this process (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) * 1024


def peak_bytes(kind: str, form: str, size: int) -> int:
    """Measure by how much one forward and backward pass raises the memory of this process at its peak."""
    model = forms(kind, size)[form]
    x = torch.randn(4 * STEPS, BATCH, size, requires_grad=True)
    before = memory("VmRSS")
    model(x)[0].sum().backward()
    return memory("VmHWM") - before


def memory_row(kind: str, size: int, rounds: int = 3) -> Row:
    """Compare the peaks of the fast form and of ``torch.nn``, each in a process of its own."""

    def peak(form: str) -> int:
        command = [sys.executable, "-m", "experiments.speed_layers", "--peak", kind, form, str(size)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    fast = "hand-written backward"
    ratios = [peak(fast) / peak("torch.nn") for _ in range(rounds)]
    num_parameters = count_parameters(forms(kind, size)[fast])
    return ratio_row(f"{kind}, H={size}", fast, ratios, "memory_ratio", num_parameters)


def measure(rounds: int, progress: Callable[[str], None] = print) -> list[Row]:
    """Measure all layers, sizes and modes."""
    rows = []
    for kind in KINDS:
        for size in SIZES:
            generator = seed_everything(0)
            models = forms(kind, size)
            x = torch.randn(STEPS, BATCH, size, generator=generator).requires_grad_()
            rows += rows_of(f"{kind}, H={size}", models, in_turn(models, x, x, rounds))
            if size > SIZES[0]:
                lengths = torch.randint(10, 201, (BATCH,), generator=generator).tolist()
                texts = [torch.randn(n, size, generator=generator) for n in lengths]
                packed = pack_sequence(texts, enforce_sorted=False)
                leaf = packed.data.requires_grad_()
                two = {name: models[name] for name in ("torch.nn", "hand-written backward")}
                task = f"{kind}, H={size}, packed"
                rows += rows_of(task, two, in_turn(two, packed, leaf, rounds))
                rows.append(memory_row(kind, size))
            for row in rows[-6:]:
                progress(
                    f"{row.task:24s} {row.model:24s} {row.metric:12s} {statistics.median(row.values):.2f}"
                )
    return rows


def main() -> None:
    """Measure and write ``results/speed_layers.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=11, help="rounds after the warm-up (at least 9)")
        parser.add_argument("--peak", nargs=3, metavar=("KIND", "FORM", "SIZE"), help=SUPPRESS)

    given = arguments(__doc__, seeds=1, extra=own, fixed=FIXED)
    if given.peak:
        kind, form, size = given.peak
        print(peak_bytes(kind, form, int(size)))
        return
    rows = measure(given.rounds)
    save_results(RESULTS / "speed_layers.json", rows, command=command_line("speed_layers", given, "rounds"))


if __name__ == "__main__":
    main()
