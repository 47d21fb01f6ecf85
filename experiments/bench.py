"""Measure every speed of the book again, and say which moved by more than 15 %.

::

    python -m experiments.bench [--rounds 9] [--write] [NAME …]      (or: make bench)

A speed is a recorded row whose metric ends in ``_ratio``; ``measure`` of the experiment that recorded it
makes it anew, and the medians over the rounds are compared. A record with such rows and no ``measure`` is
an error, as is a row that is not measured again: no speed is forgotten. NAME chooses experiments; with
``--write`` the new rows take the place of the old in ``results/NAME.json``, which then says so.

A speed that moved is no fault: on another machine, or beside other work, it may. What was recorded is what
the machine named in the record did; where a claim of the book no longer holds, its test says so.
"""

from __future__ import annotations

import json
import statistics
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path

from experiments import arguments
from rnnbook.files import write_whole
from rnnbook.repro import environment
from rnnbook.results import Row

RESULTS = Path(__file__).resolve().parents[1] / "results"
LIMIT = 0.15
NO_SPEED = {
    "reproducible"
}  # what a second thread does to the machine as it is, with its load: no figure of ours
FIXED = {
    "device": "what is compared is the time of a processor",
    "seeds": "no time depends on the weights; --rounds is what is repeated",
    "threads": "all is recorded on one thread",
}
Key = tuple[str, str, str]


def ratios(rows: Sequence[Row]) -> dict[Key, Row]:
    """Choose the speeds among rows, by task, model and metric."""
    return {(row.task, row.model, row.metric): row for row in rows if row.metric.endswith("_ratio")}


def recorded(name: str) -> dict[Key, Row]:
    """Read the speeds of ``results/NAME.json``."""
    record = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return ratios([Row(**row) for row in record["rows"]])


def names() -> list[str]:
    """List the experiments that recorded a speed."""
    stems = sorted(path.stem for path in RESULTS.glob("*.json"))
    return [stem for stem in stems if stem not in NO_SPEED and recorded(stem)]


def measure_of(name: str) -> Callable[..., list[Row]]:
    """Find what measures the speeds of an experiment (``SystemExit`` in words if nothing does)."""
    module = import_module(f"experiments.{name}")
    if not hasattr(module, "measure"):
        raise SystemExit(
            f"results/{name}.json holds speeds, but experiments/{name}.py has no measure(rounds, progress)"
        )
    measure: Callable[..., list[Row]] = module.measure
    return measure


def moved(old: dict[Key, Row], new: dict[Key, Row]) -> list[tuple[Key, float, float]]:
    """List the speeds whose median changed by more than ``LIMIT``, with the old and the new one."""
    pairs = (
        (key, *(statistics.median(rows[key].values) for rows in (old, new))) for key in old if key in new
    )
    return [(key, before, now) for key, before, now in pairs if abs(now / before - 1) > LIMIT]


def report(name: str, old: dict[Key, Row], new: dict[Key, Row]) -> str:
    """Say in a table what moved, what is new, and what was not measured again."""
    found = moved(old, new)
    lines = [f"{name}: {len(old)} speeds, {len(found) or 'none'} moved by more than {LIMIT:.0%}"]
    lines += [
        f"  {' · '.join(key):90s} {before:8.3f} → {now:8.3f}  ({now / before - 1:+.0%})"
        for key, before, now in found
    ]
    lines += [f"  {' · '.join(key)}: not recorded yet" for key in new if key not in old]
    lines += [f"  {' · '.join(key)}: NOT MEASURED AGAIN" for key in old if key not in new]
    return "\n".join(lines)


def write(name: str, new: dict[Key, Row], command: str) -> None:
    """Put new speeds in the place of the old ones; all else in the record stays, and it says who made them."""
    path = RESULTS / f"{name}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**row) for row in record["rows"]]
    left = dict(new)
    record["rows"] = [asdict(left.pop((row.task, row.model, row.metric), row)) for row in rows] + [
        asdict(row) for row in left.values()
    ]
    record["speeds"] = {"command": command, "date": date.today().isoformat(), **environment()}
    write_whole(path, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


def main() -> None:
    """Measure, compare, print; with ``--write`` record."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument(
            "names", nargs="*", metavar="NAME", help="experiments (default: all with a speed)"
        )
        parser.add_argument("--rounds", type=int, default=9, help="after the warm-up (default: %(default)s)")
        parser.add_argument("--write", action="store_true", help="record the new speeds")

    given = arguments(__doc__, seeds=1, extra=own, fixed=FIXED)
    if given.rounds < 2:
        raise SystemExit(f"expected at least 2 rounds, for their spread, got {given.rounds}")
    known = names()
    if unknown := sorted(set(given.names) - set(known)):
        raise SystemExit(f"no speed is recorded under {', '.join(unknown)}; known: {', '.join(known)}")
    work = {name: measure_of(name) for name in given.names or known}  # all, before the first minute is spent
    lost = False
    for name, measure in work.items():
        old, new = recorded(name), ratios(measure(given.rounds, partial(print, file=sys.stderr)))
        print(report(name, old, new), flush=True)
        lost = lost or not old.keys() <= new.keys()
        if given.write:
            write(name, new, f"python -m experiments.bench --rounds {given.rounds} --write {name}")
    if lost:
        raise SystemExit("a recorded speed was not measured again: see above")


if __name__ == "__main__":
    main()
