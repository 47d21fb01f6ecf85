"""How much faster two processes train than one, at the same global batch.

::

    python -m experiments.two_processes --rounds 15     (two idle cores)

``torchrun`` starts two processes. In each round the first one takes some steps on whole batches while the
other one waits; then both take the same steps, half a batch each; then they add up a tensor of as many
bytes as the gradient has. Time is time on the wall, since waiting counts here, and a round gives one ratio.

The *formula* is T(2) = T(1) / 2 + time of that sum, with both measured in the same round. It leaves out
what makes it worse (the slower of the two, and what both do in full, such as the step of the optimiser),
and what makes it better: parts of the gradient travel while others are still computed. There are two
settings: ``compute``, few weights and much work for each, and ``gradient``, an embedding of 30,000 words,
whose gradient must travel whole at each step.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from experiments import arguments, command_line
from experiments.speed_layers import ratio_row
from rnnbook.batches import Batches
from rnnbook.checkpoint import Batch, Recipe, TrainingRun
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.losses import Objective, classification_loss
from rnnbook.parallel import Ranks
from rnnbook.repro import count_parameters, seed_everything
from rnnbook.results import Row, save_results

RESULTS = Path(__file__).parents[1] / "results"
SETTINGS = {
    "compute": ClassifierConfig(1_000, embedding_dim=128, hidden_size=256),
    "gradient": ClassifierConfig(30_000, embedding_dim=128, hidden_size=64),
}
BATCH, STEPS, LONGEST = 64, 4, 100
FIXED = {
    "device": "the processes are those of two cores",
    "seeds": "it measures time: --rounds says how often",
    "threads": "one for each process",
}


def steps(run: TrainingRun, ranks: Ranks, batches: list[Batch]) -> None:
    """Take one step of training on each batch."""
    for number, batch in enumerate(batches):
        run.optimizer.zero_grad()
        ranks.backward(batch, f"step {number}")
        run.optimizer.step()


def worker(name: str, rounds: int) -> None:
    """Be one of the two processes; the first prints, for each round, the seconds of each part."""
    generator = seed_everything(0)
    config = SETTINGS[name]
    lengths = torch.randint(LONGEST // 2, LONGEST + 1, (BATCH * STEPS,), generator=generator).tolist()
    texts = [torch.randint(2, config.vocab_size, (n,), generator=generator) for n in lengths]
    labels = torch.randint(2, (len(texts),), generator=generator)
    batches: list[Batch] = list(Batches(texts, labels, batch_size=BATCH))
    model = TextClassifier(config)
    run = TrainingRun(model, Recipe(1, len(batches), 1e-3, "constant"), [])
    objective = Objective(model, classification_loss)
    together = Ranks(objective)
    together.begin(run)
    alone = Ranks(objective)
    alone.size = 1
    gradient = torch.zeros(count_parameters(model))

    def clock(work: Callable[[], object]) -> float:
        dist.barrier()
        start = time.perf_counter()
        work()
        dist.barrier()
        return time.perf_counter() - start

    for number in range(rounds + 1):
        seconds = {
            "one": clock(lambda: steps(run, alone, batches) if together.rank == 0 else None),
            "two": clock(lambda: steps(run, together, batches)),
            "sum": clock(lambda: [dist.all_reduce(gradient) for _ in batches]),
        }
        if number and together.rank == 0:
            print(json.dumps(seconds), flush=True)


def measure(rounds: int, progress: Callable[[str], None] = print) -> list[Row]:
    """Measure both settings, after one round that is thrown away."""
    rows = []
    for name, config in SETTINGS.items():
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        command += ["-m", "experiments.two_processes", "--worker", name, "--rounds", str(rounds)]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        size = count_parameters(TextClassifier(config))
        ratios = {
            ("two processes", "speed_ratio"): [line["one"] / line["two"] for line in lines],
            ("formula", "speed_ratio"): [line["one"] / (line["one"] / 2 + line["sum"]) for line in lines],
            ("sum of the gradients", "share_ratio"): [line["sum"] / line["two"] for line in lines],
        }
        for (model, metric), values in ratios.items():
            rows.append(ratio_row(f"{name}, global batch of {BATCH}", model, values, metric, size))
            progress(f"{rows[-1].task:32s} {model:22s} {metric:12s} {rows[-1].note}")
    return rows


def main() -> None:
    """Measure and write ``results/two_processes.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=15, help="after the one that is thrown away")
        parser.add_argument("--worker", choices=SETTINGS, help=SUPPRESS)

    given = arguments(__doc__, seeds=1, extra=own, fixed=FIXED)
    if given.worker:
        worker(given.worker, given.rounds)
        return
    save_results(
        RESULTS / "two_processes.json",
        measure(given.rounds),
        command=command_line("two_processes", given, "rounds"),
    )


if __name__ == "__main__":
    main()
