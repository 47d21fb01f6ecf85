"""Recurrence, convolution, attention, linear recurrence: what each can follow, hold, and what a token costs.

::

    python -m experiments.outlook --seeds 5 --rounds 5      (speeds alone: make bench)

*Parity*: answers are trained at each of T = 16 time steps and tested on the answer at step T, up to 256
(every model looks back only, so one test of 256 time steps holds all shorter ones). *Recall*: pairs of a key
and a value, then the keys alone in another order; the value is asked for. A sequence of training has 1 to 8
pairs. For both: three learning rates, each tried with seeds that are not used again, two for parity, one for
recall; the training loss decides, which is measured on examples never seen before; among rates that solve the
task, the number of steps. No curriculum. For parity all models have ``BUDGET`` parameters; for recall it is
the state that varies, and so does their number, and three seeds are run.

*Streaming*: the CPU time of one more token, one sequence, when t tokens were read before, by that of the LSTM
at t = 64 in the same round, and the bytes held between two tokens, counted. ``WIDE`` parameters for each, so
that the arithmetic and not Python takes the time. *Training*: forward and backward over T time steps, by that
of the LSTM at T = 256, ``MIDDLE`` parameters each, four sequences.

A finished run is kept in ``results/outlook.runs.jsonl``: an interrupted command goes on where it stopped. With
``--only parity`` only the tasks with that word in their name are run, and nothing but that file is written.
The times are those of the processor, whatever the device.
"""

from __future__ import annotations

import statistics
from argparse import ArgumentParser
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from experiments import arguments, command_line
from experiments.race import RATES, TUNING_SEEDS, Run, RunLog, quality, tried, within_a_share
from experiments.speed_layers import ratio_row
from rnnbook.cells import init_forget_bias
from rnnbook.encoders import CausalAttention, CausalConvolution, RecurrentStack, make_encoder
from rnnbook.models import SequenceModel
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.results import Row, save_results, score_row
from rnnbook.scan import MinGRU, linear_recurrence
from rnnbook.tasks import parity_task
from rnnbook.train import Stream
from rnnbook.train import train as fit

RESULTS = Path(__file__).parents[1] / "results"
BUDGET, MIDDLE, WIDE = 10_500, 100_000, 1_000_000
MIN_1, MIN_2, SIGNED = "minGRU, one layer", "minGRU, two layers", "minGRU, gates from -1 to 1"
MODELS = ("RNN", "LSTM", "GRU", MIN_1, MIN_2, SIGNED, "convolution (TCN)", "causal attention")
TIMED = ("RNN", "LSTM", "GRU", MIN_2, "convolution (TCN)", "causal attention")
KINDS = {"convolution (TCN)": "tcn", "causal attention": "attention"}


# --- models ----------------------------------------------------------------------------------------------


class MinEncoder(nn.Module):
    """A minGRU of one or more layers as an encoder: outputs (B, T, H)."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int) -> None:
        """Hold the layers, read by a scan."""
        super().__init__()
        self.output_size = hidden_size
        self.layer = MinGRU(input_size, hidden_size, num_layers=num_layers, batch_first=True, method="scan")

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 (padding comes after real steps)
        """Take x (B, T, I); return outputs (B, T, H)."""
        outputs: Tensor = self.layer(x)[0]
        return outputs


class SignedEncoder(nn.Module):
    """One layer h_t = a_t h_(t-1) + b_t as a minGRU's, but with a_t = tanh(...), which may turn the sign."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Hold the maps from x_t to a_t and to b_t: as many weights as a minGRU has."""
        super().__init__()
        self.output_size = hidden_size
        self.gate, self.value = nn.Linear(input_size, hidden_size), nn.Linear(input_size, hidden_size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 (as above)
        """Take x (B, T, I); return outputs (B, T, H)."""
        return linear_recurrence(self.gate(x).tanh(), self.value(x), method="scan")


def make(model: str, input_size: int, size: int, *, reach: int = 64, inner: int | None = None) -> Any:
    """Build the encoder of a model by its name; ``inner`` is the width inside a block of attention."""
    if model in (MIN_1, MIN_2):
        return MinEncoder(input_size, size, 1 if model == MIN_1 else 2)
    if model == SIGNED:
        return SignedEncoder(input_size, size)
    kind = KINDS.get(model, model.lower())
    encoder = make_encoder(kind, input_size, size, reach=reach, feedforward_size=inner)
    if model == "LSTM":
        init_forget_bias(encoder, 1.0)
    return encoder


def sized(model: str, input_size: int, budget: int, *, num_outputs: int = 0, reach: int = 64) -> Any:
    """Build the encoder that comes nearest to ``budget`` parameters, a linear read-out counted with it.

    Attention has two sizes: the widest is taken whose inner layer can be at least twice as wide.
    """

    def count(size: int, inner: int | None = None) -> int:
        with torch.device("meta"):  # sizes without weights
            encoder = make(model, input_size, size, reach=reach, inner=inner)
        return count_parameters(encoder) + (size + 1) * num_outputs

    if model == "causal attention":
        size, inner = 4, 8
        while count(size + 4, 2 * (size + 4)) <= budget:
            size += 4
        rest = budget - count(size, 2 * size)
        inner = 2 * size + round(rest / (count(size, 2 * size + 1) - count(size, 2 * size)))
        return make(model, input_size, size, inner=inner)
    sizes = range(4, 2000)
    place = bisect_left(sizes, budget, key=count)
    best = min(sizes[place - 1 : place + 1], key=lambda size: abs(count(size) - budget))
    return make(model, input_size, best, reach=reach)


# --- parity and recall -----------------------------------------------------------------------------------

TRAINED, LENGTHS = 16, (2, 4, 8, 16, 32, 64, 128, 256)
NUM_TESTS, EMBEDDING_DIM, STEPS = 2000, 32, 1500
KEYS, VALUES, PAIRS, RECALL_STEPS = 8, 4, (1, 2, 4, 8), 4000
RECALLERS = {f"GRU, {size} units": size for size in (16, 32, 64)}
RECALL_MODELS = (*RECALLERS, "causal attention")


@torch.no_grad()
def answers(network: nn.Module, x: Tensor) -> Tensor:
    """Give the chosen classes of all answers, row after row, in pieces that fit into memory."""
    return torch.cat([network(part.to(pick_device())).argmax(dim=1).cpu() for part in x.split(250)])


def parity(model: str, rate: float, seed: int) -> Run:
    """Train at T = 16, with an answer at each time step; test the answer at step T."""
    generator = seed_everything(seed)
    encoder = sized(model, EMBEDDING_DIM, BUDGET, num_outputs=2, reach=TRAINED)
    network = SequenceModel(encoder, 2, pooling="every", embedding=nn.Embedding(2, EMBEDDING_DIM))
    network.to(pick_device())

    def draw() -> tuple[Tensor, Tensor]:
        bits, labels = parity_task(20, TRAINED, generator=generator)
        return bits, labels.flatten()

    with cpu_seconds() as watch:
        stream = Stream(draw, STEPS, generator=generator)
        history = fit(network, stream, learning_rate=rate, schedule="constant", stop_below=0.01)
    bits, labels = parity_task(NUM_TESTS, LENGTHS[-1], generator=generator)
    right = (answers(network.eval(), bits).view_as(labels) == labels).double().mean(dim=0)
    scores = {str(length): right[length - 1].item() for length in LENGTHS}
    size = count_parameters(encoder) + count_parameters(network.readout)
    last = history.step_loss[-20:]
    return Run(
        scores, sum(last) / len(last), len(history.step_loss), watch.seconds, size, encoder.output_size
    )


def recall_task(num_examples: int, num_pairs: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Give pairs, then ask for them: x (N, 2P, KEYS + VALUES) of zeros and ones, and values (N * P,).

    At each of the first P time steps one key, all different, and one value; then the keys in another order.
    """
    keys = torch.rand(num_examples, KEYS, generator=generator).argsort(dim=1)[:, :num_pairs]
    values = torch.randint(VALUES, (num_examples, num_pairs), generator=generator)
    order = torch.rand(num_examples, num_pairs, generator=generator).argsort(dim=1)
    x = torch.zeros(num_examples, 2 * num_pairs, KEYS + VALUES)
    x[:, :num_pairs].scatter_(2, keys.unsqueeze(2), 1.0)
    x[:, :num_pairs].scatter_(2, KEYS + values.unsqueeze(2), 1.0)
    x[:, num_pairs:].scatter_(2, keys.gather(1, order).unsqueeze(2), 1.0)
    return x, values.gather(1, order).flatten()


class Recaller(nn.Module):
    """An encoder and a linear read-out at the second half of the time steps, where keys are asked for."""

    def __init__(self, encoder: Any) -> None:
        """Hold both."""
        super().__init__()
        self.encoder, self.readout = encoder, nn.Linear(encoder.output_size, VALUES)

    def forward(self, x: Tensor) -> Tensor:
        """Take x (B, 2P, I); return logits (B * P, VALUES)."""
        outputs = self.encoder(x, torch.full((len(x),), x.shape[1]))
        logits: Tensor = self.readout(outputs[:, x.shape[1] // 2 :]).flatten(0, 1)
        return logits


def recall(model: str, rate: float, seed: int) -> Run:
    """Train with 1 to 8 pairs, one-cycle; test by their number."""
    generator = seed_everything(seed)
    if model in RECALLERS:
        encoder = make("GRU", KEYS + VALUES, RECALLERS[model])
    else:
        encoder = sized(model, KEYS + VALUES, BUDGET, num_outputs=VALUES)
    network = Recaller(encoder).to(pick_device())

    def draw() -> tuple[Tensor, Tensor]:
        number = int(torch.randint(1, PAIRS[-1] + 1, (1,), generator=generator))
        return recall_task(32, number, generator=generator)

    with cpu_seconds() as watch:
        stream = Stream(draw, RECALL_STEPS, generator=generator)
        history = fit(network, stream, learning_rate=rate, stop_below=0.01)
    scores = {}
    for number in PAIRS:
        x, values = recall_task(NUM_TESTS // 2, number, generator=generator)
        scores[str(number)] = (answers(network.eval(), x) == values).double().mean().item()
    last = history.step_loss[-100:]
    size = count_parameters(network)
    return Run(
        scores, sum(last) / len(last), len(history.step_loss), watch.seconds, size, encoder.output_size
    )


@dataclass(frozen=True)
class Task:
    """A task: its run, who takes part, what a score is of, and how many seeds tune and, at most, are run."""

    run: Callable[[str, float, int], Run]
    models: tuple[str, ...]
    where: str
    num_tuning: int
    most_seeds: int


TASKS = {
    "parity, trained at T=16": Task(parity, MODELS, "tested at T=", 2, 100),
    "recall, trained with 1 to 8 pairs": Task(recall, RECALL_MODELS, "tested with pairs=", 1, 3),
}


# --- one token after the other ---------------------------------------------------------------------------


class CellStream:
    """RNN, LSTM, GRU or minGRU, one token at a time: all that it holds is the state."""

    def __init__(self, encoder: Any) -> None:
        """Take the weights of an encoder; of one layer in one direction, where it is of ``torch.nn``'s kinds."""
        self.state: Any = None
        if isinstance(encoder, MinEncoder):
            self.take = lambda x, state: self._layer(encoder.layer, x, state)
            return
        (layer,) = encoder.forwards
        cell = getattr(nn, f"{type(layer).__name__}Cell")(layer.input_size, layer.hidden_size)
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
        self.take = lambda x, state: self._cell(cell, x, state)

    @staticmethod
    def _layer(layer: nn.Module, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        outputs, state = layer(x.unsqueeze(1), state)
        return outputs.squeeze(1), state

    @staticmethod
    def _cell(cell: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = cell(x, state)
        return (state[0] if isinstance(state, tuple) else state), state

    def begin(self, num_tokens: int, x: Tensor) -> None:  # noqa: ARG002 (the state does not grow)
        """Stand where so many tokens were read: a state is a state."""
        self.state = None
        self.step(x)

    def step(self, x: Tensor) -> Tensor:
        """Take x (1, I); return the output (1, H)."""
        output, self.state = self.take(x, self.state)
        return output

    def held(self) -> list[Tensor]:
        """List what is kept for the next token."""
        return list(self.state) if isinstance(self.state, tuple) else [self.state]


class ConvolutionStream:
    """A :class:`CausalConvolution`, one token at a time: each convolution holds the inputs that it can reach."""

    def __init__(self, encoder: CausalConvolution) -> None:
        """Take the weights; nothing was read yet."""
        self.encoder = encoder
        layers = [pair for block in zip(encoder.firsts, encoder.seconds, strict=True) for pair in block]
        self.layers = [
            (layer, deque([torch.zeros(1, layer.in_channels)] * (2 * layer.dilation[0]))) for layer in layers
        ]

    def begin(self, num_tokens: int, x: Tensor) -> None:  # noqa: ARG002 (the window does not grow)
        """Stand where so many tokens were read: the windows are of one size."""
        self.step(x)

    def step(self, x: Tensor) -> Tensor:
        """Take x (1, I); return the output (1, H)."""
        skip = linear(x, self.encoder.shortcut.weight.squeeze(2), self.encoder.shortcut.bias)
        y = x
        for i, (layer, past) in enumerate(self.layers):
            taps = torch.stack([past[0], past[layer.dilation[0]], y], dim=2)  # (1, I, 3)
            past.append(y)
            past.popleft()
            y = linear(taps.flatten(1), layer.weight.flatten(1), layer.bias).relu()
            if i % 2:
                y = skip = (y + skip).relu()
        return y

    def held(self) -> list[Tensor]:
        """List what is kept for the next token."""
        return [kept for _, past in self.layers for kept in past]


class AttentionStream:
    """A :class:`CausalAttention`, one token at a time, with the keys and values of all tokens in a cache."""

    def __init__(self, encoder: CausalAttention, capacity: int) -> None:
        """Take the weights, and room for ``capacity`` tokens; nothing was read yet."""
        self.encoder, self.size, self.place = encoder, encoder.output_size, 0
        shape = (2, 2, capacity, self.size // 2)  # keys and values, heads, time steps, features of a head
        self.caches = [torch.zeros(shape) for _ in encoder.blocks.layers]
        self.rates = 10_000 ** (-torch.arange(0, self.size, 2) / self.size)

    def begin(self, num_tokens: int, x: Tensor) -> None:  # noqa: ARG002 (the step that is timed comes next)
        """Stand where so many tokens were read; what they were makes no difference to the time."""
        self.place = num_tokens

    def step(self, x: Tensor) -> Tensor:
        """Take x (1, I); return the output (1, H)."""
        angles = self.place * self.rates
        y = self.encoder.entrance(x) + torch.stack([angles.sin(), angles.cos()], dim=1).view(1, -1)
        self.place += 1
        for block, cache in zip(self.encoder.blocks.layers, self.caches, strict=True):
            own = block.self_attn
            parts = linear(block.norm1(y), own.in_proj_weight, own.in_proj_bias).view(3, 2, self.size // 2)
            cache[:, :, self.place - 1] = parts[1:]
            keys, values = cache[:, :, : self.place].unsqueeze(1)  # (1, heads, t, features) each
            mixed = scaled_dot_product_attention(parts[:1].unsqueeze(2), keys, values)
            y = y + own.out_proj(mixed.reshape(1, -1))
            y = y + block.linear2(block.linear1(block.norm2(y)).relu())
        output: Tensor = self.encoder.blocks.norm(y)
        return output

    def held(self) -> list[Tensor]:
        """List what is kept for the next token."""
        return [cache[:, :, : self.place] for cache in self.caches]


def streamer(encoder: Any, capacity: int) -> CellStream | ConvolutionStream | AttentionStream:
    """Turn an encoder into what reads one token at a time; only a cache needs to know for how many."""
    if isinstance(encoder, CausalAttention):
        return AttentionStream(encoder, capacity)
    return ConvolutionStream(encoder) if isinstance(encoder, CausalConvolution) else CellStream(encoder)


def bytes_held(encoder: Any, num_tokens: int) -> int:
    """Count on paper what is held between two tokens of one sequence, in float32.

    A cell holds its states; a convolution, for each of two layers a block, its input at the last 2d time
    steps; attention a key and a value of each token in each block.
    """
    size = encoder.output_size
    if isinstance(encoder, RecurrentStack):
        return 4 * size * (2 if isinstance(encoder.forwards[0], nn.LSTM) else 1)
    if isinstance(encoder, MinEncoder):
        return 4 * size * encoder.layer.num_layers
    if isinstance(encoder, CausalConvolution):
        first = encoder.firsts[0].in_channels - size  # the first layer reads the input
        return 4 * (2 * first + sum(2 * d * 2 * size for d in encoder.dilations))
    return 4 * 2 * size * num_tokens * len(encoder.blocks.layers)


# --- time ------------------------------------------------------------------------------------------------

TOKENS = (64, 256, 1024, 4096)
INPUT_SIZE, TOKENS_TIMED, BATCH = 64, 32, 4
REFERENCE = "LSTM"
Point = tuple[str, int]


def in_rounds(
    points: list[Point], unit: Point, seconds_of: Callable[[str, int], float], rounds: int, warm: int
) -> dict[Point, list[float]]:
    """Time all points in turn, ``rounds`` times after a warm-up of those up to ``warm``; give ratios to ``unit``."""
    seconds: dict[Point, list[float]] = {point: [] for point in points}
    for turn in range(rounds + 1):
        for name, length in points:
            if turn or length <= warm:
                seconds[name, length].append(seconds_of(name, length))
    values = {point: found[-rounds:] for point, found in seconds.items()}
    return {
        point: [a / b for a, b in zip(found, values[unit], strict=True)] for point, found in values.items()
    }


def streaming_rows(rounds: int, lengths: tuple[int, ...] = TOKENS, budget: int = WIDE) -> list[Row]:
    """Time one more token after so many, one sequence, against the LSTM's after the fewest."""
    seed_everything(0)
    encoders = {name: sized(name, INPUT_SIZE, budget).eval() for name in TIMED}
    x = torch.randn(1, INPUT_SIZE)

    def seconds_of(name: str, length: int) -> float:
        with torch.inference_mode():
            stream = streamer(encoders[name], length + TOKENS_TIMED + 1)
            stream.begin(length, x)
            stream.step(x)
            with cpu_seconds() as watch:
                for _ in range(TOKENS_TIMED):
                    stream.step(x)
        return watch.seconds

    points = [(name, length) for length in lengths for name in TIMED]
    ratios = in_rounds(points, (REFERENCE, lengths[0]), seconds_of, rounds, max(lengths))
    task = f"one more token, B=1, against {REFERENCE} after {lengths[0]}"
    return [
        ratio_row(f"after {length}: {task}", name, values, "time_ratio", count_parameters(encoders[name]))
        for (name, length), values in ratios.items()
    ]


def training_rows(rounds: int, lengths: tuple[int, ...] = TOKENS, budget: int = MIDDLE) -> list[Row]:
    """Time forward and backward over T time steps, against the LSTM's at the second length."""
    generator = seed_everything(0)
    encoders = {name: sized(name, INPUT_SIZE, budget) for name in TIMED}
    x = torch.randn(BATCH, max(lengths), INPUT_SIZE, generator=generator)

    def seconds_of(name: str, length: int) -> float:
        repeats = max(1, lengths[1] // length)
        with cpu_seconds() as watch:
            for _ in range(repeats):
                encoders[name].zero_grad()
                encoders[name](x[:, :length], torch.full((BATCH,), length)).sum().backward()
        return watch.seconds / repeats

    points = [(name, length) for length in lengths for name in TIMED]
    ratios = in_rounds(points, (REFERENCE, lengths[1]), seconds_of, rounds, lengths[-2])
    task = f"forward and backward, B={BATCH}, against {REFERENCE} at T={lengths[1]}"
    return [
        ratio_row(f"T={length}: {task}", name, values, "time_ratio", count_parameters(encoders[name]))
        for (name, length), values in ratios.items()
    ]


def measure(rounds: int, progress: Callable[[str], None] = print) -> list[Row]:
    """Measure all times."""
    rows: list[Row] = []
    for part in (streaming_rows, training_rows):
        new = part(rounds)
        for row in new:
            progress(f"{row.task:64s} {row.model:20s} {statistics.median(row.values):8.3f}")
        rows += new
    return rows


def state_bytes(lengths: tuple[int, ...] = TOKENS, budget: int = WIDE) -> dict[str, dict[str, int]]:
    """Count the bytes that the streams hold after so many tokens."""
    seed_everything(0)
    counts: dict[str, dict[str, int]] = {}
    for name in TIMED:
        encoder, counts[name] = sized(name, INPUT_SIZE, budget), {}
        for length in lengths:
            stream = streamer(encoder, length + 1)
            with torch.inference_mode():
                stream.begin(length - 1, torch.randn(1, INPUT_SIZE))
                stream.step(torch.randn(1, INPUT_SIZE))
            counts[name][str(length)] = sum(part.numel() * part.element_size() for part in stream.held())
    return counts


# --- all of it -------------------------------------------------------------------------------------------


def score_rows(
    seeds: list[int], log: RunLog, only: str = ""
) -> Iterator[tuple[str, dict[str, Any], list[Row]]]:
    """Choose a rate for each task and model, run the seeds, and give a row for each length or number of pairs."""
    for name, task in TASKS.items():
        own = seeds[: task.most_seeds]
        for model in task.models if only in name else ():
            trials = {
                rate: [
                    log.once(task.run, name, model, rate, seed) for seed in TUNING_SEEDS[: task.num_tuning]
                ]
                for rate in RATES
            }
            best = min(RATES, key=lambda rate, of=trials: quality(of[rate]))
            runs = [log.once(task.run, name, model, best, seed) for seed in own]
            said = {
                "rate": best,
                "hidden_size": runs[0].hidden_size,
                "steps": [run.steps for run in runs],
                "trials": tried(trials),
            }
            rows = [
                score_row(
                    f"{name}, {task.where}{point}",
                    model,
                    own,
                    [run.scores[point] for run in runs],
                    num_items=NUM_TESTS,
                    num_parameters=runs[0].num_parameters,
                    train_cpu_seconds=[run.train_cpu_seconds for run in runs],
                )
                for point in runs[0].scores
            ]
            yield f"{name}: {model}", said, [within_a_share(row) for row in rows]


def main() -> None:
    """Run what is not yet recorded, then write ``results/outlook.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rounds", type=int, default=5, help="of the timings, after the warm-up (at least 3)"
        )
        parser.add_argument("--only", default="", help="run the tasks whose name holds this word")

    given = arguments(__doc__, extra=own)
    log = RunLog(RESULTS / "outlook.runs.jsonl")
    rows: list[Row] = []
    settings: dict[str, Any] = {}
    for name, said, new in score_rows(list(range(given.seeds)), log, given.only):
        settings[name] = said
        rows += new
    if given.only:
        return
    rows += measure(given.rounds, partial(print, flush=True))
    save_results(
        RESULTS / "outlook.json",
        rows,
        command=command_line("outlook", given, "rounds"),
        budget=BUDGET,
        rates_tried=RATES,
        settings=settings,
        state_bytes=state_bytes(),
    )
    log.remove()


if __name__ == "__main__":
    main()
