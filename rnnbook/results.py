"""The one form in which results are recorded, and their table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rnnbook.evaluate import seed_interval, wilson_interval
from rnnbook.files import write_whole
from rnnbook.repro import environment


@dataclass(frozen=True)
class Row:
    """One recorded result: a model on a task, one value a seed.

    ``low`` and ``high`` are the ends of the 95 % interval that ``note`` describes.
    """

    task: str
    model: str
    metric: str
    seeds: list[int]
    values: list[float]
    mean: float
    low: float
    high: float
    train_cpu_seconds: list[float]
    num_parameters: int
    note: str = ""


def score_row(
    task: str,
    model: str,
    seeds: Sequence[int],
    values: Sequence[float],
    *,
    num_items: int,
    num_parameters: int,
    train_cpu_seconds: Sequence[float] = (),
    metric: str = "accuracy",
) -> Row:
    """Make a row of scores: interval over seeds, or over test items where there is one value.

    The values of ``solved`` are 0 or 1, one a seed, so their interval is that of a share.

    Raises ``ValueError`` unless there is one value a seed, and one time a seed or no times at all.
    """
    if not values or len(seeds) != len(values) or len(train_cpu_seconds) not in (0, len(values)):
        raise ValueError(
            f"expected one value and one time a seed, got {len(seeds)} seeds, {len(values)} values, "
            f"{len(train_cpu_seconds)} times"
        )
    mean = sum(values) / len(values)
    if metric == "solved":
        low, high = wilson_interval(sum(values), len(values))
        note = f"95 % Wilson interval over {len(values)} seeds"
    elif len(values) > 1:
        (low, high), note = seed_interval(values), f"95 % interval of the mean over {len(values)} seeds"
    else:
        low, high = wilson_interval(mean * num_items, num_items)
        note = f"deterministic; 95 % Wilson interval over {num_items:,} test items"
    return Row(
        task,
        model,
        metric,
        list(seeds),
        list(values),
        mean,
        low,
        high,
        [round(s, 1) for s in train_cpu_seconds],
        num_parameters,
        note,
    )


def save_results(path: str | Path, rows: Sequence[Row], *, command: str, **extra: Any) -> None:
    """Write ``results/NAME.json``: command, date, versions, hardware and rows; never half a file."""
    path = Path(path)
    record = {"name": path.stem, "command": command, "date": date.today().isoformat(), **environment()}
    record |= {**extra, "rows": [asdict(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


def find_results(name: str) -> Path:
    """Find ``results/NAME.json``: installed inside the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package, package.parent):
        if (path := folder / "results" / f"{name}.json").is_file():
            return path
    raise FileNotFoundError(f"results/{name}.json is not here: run `python -m experiments.{name}` to make it")


def load_record(name: str) -> dict[str, Any]:
    """Read the whole of ``results/NAME.json``: how it was made, and what it holds besides its rows."""
    record: dict[str, Any] = json.loads(find_results(name).read_text(encoding="utf-8"))
    return record


def load_results(name: str) -> list[Row]:
    """Read the rows of ``results/NAME.json``."""
    return [Row(**row) for row in load_record(name)["rows"]]


class Table:
    """Rows of results as a table: Markdown on a page, columns of text elsewhere."""

    def __init__(self, rows: Sequence[Row], *, seconds: bool = False) -> None:
        """Show ``seconds`` of training only for recorded rows: they change with each run."""
        head = ["model", rows[0].metric, "95 % interval", "seeds", "parameters"] + [
            "training, CPU s"
        ] * seconds
        self.lines = [
            head,
            *([*self._cells(row), *([self._seconds(row)] if seconds else [])] for row in rows),
        ]

    @staticmethod
    def _cells(row: Row) -> list[str]:
        seeds = str(len(row.values)) if len(row.values) > 1 else "–"
        return [
            row.model,
            f"{row.mean:.3f}",
            f"{row.low:.3f} – {row.high:.3f}",
            seeds,
            f"{row.num_parameters:,}",
        ]

    @staticmethod
    def _seconds(row: Row) -> str:
        times = row.train_cpu_seconds
        return f"{sum(times) / len(times):.0f}" if times else "–"

    def _repr_markdown_(self) -> str:
        lines = [self.lines[0], ["---", *["---:"] * (len(self.lines[0]) - 1)], *self.lines[1:]]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in self.lines
        )
