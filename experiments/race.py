"""What races of models share: a run, its log on disk, the choice of a learning rate, and rows of shares."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnbook.results import Row

RATES = (2e-3, 6e-3, 2e-2)
TUNING_SEEDS = (100, 101)


@dataclass
class Run:
    """What one training run gave: scores by name, the loss that chooses the rate, and its cost."""

    scores: dict[str, float]
    loss: float
    steps: int
    train_cpu_seconds: float
    num_parameters: int
    hidden_size: int
    saved_bytes_per_token: float = 0.0  # where it is measured
    key: list[Any] = field(default_factory=list)


class RunLog:
    """Finished runs by their key (task, model, rate, seed), one line each of a file that processes may share."""

    def __init__(self, path: Path) -> None:
        """Begin with what the file holds, if it is there."""
        path.parent.mkdir(exist_ok=True)
        self.path, self.runs = path, dict[tuple[Any, ...], Run]()
        self._read()

    def _read(self) -> None:
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self.runs |= {tuple(run["key"]): Run(**run) for run in map(json.loads, lines)}

    def once(
        self, run: Callable[[str, float, int], Run], task: str, model: str, rate: float, seed: int
    ) -> Run:
        """Return ``run(model, rate, seed)``, from the file if it was made before, else noted there."""
        key = (task, model, rate, seed)
        if key not in self.runs:
            self._read()  # another process may have made it
        if key not in self.runs:
            made = self.runs[key] = run(model, rate, seed)
            made.key = list(key)
            with self.path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(asdict(made)) + "\n")
            scores = {name: round(score, 4) for name, score in made.scores.items()}
            print(key, scores, made.steps, f"{made.train_cpu_seconds:.1f} s", flush=True)
        return self.runs[key]

    def remove(self) -> None:
        """Delete the file, once the results are written."""
        self.path.unlink()


def quality(trials: list[Run]) -> tuple[float, int]:
    """Smaller is better: the mean loss, but none below 0.01, where a toy task is solved; then the steps."""
    return sum(max(trial.loss, 0.01) for trial in trials), sum(trial.steps for trial in trials)


def tried(trials: dict[float, list[Run]]) -> dict[float, list[dict[str, float]]]:
    """Put down for a record what each rate gave."""
    return {
        rate: [{"loss": round(run.loss, 4), "steps": run.steps} for run in runs]
        for rate, runs in trials.items()
    }


def within_a_share(row: Row) -> Row:
    """Cut an interval at 0 and 1: a share lies between them, and Student's interval does not know it."""
    return replace(row, low=max(0, row.low), high=min(1, row.high))
