"""Both listings of the article, run as they stand and then mended one stop at a time.

::

    python -m experiments.article_listing --article TEXT --install FOLDER
    python -m experiments.article_listing --article TEXT --python INTERPRETER --python ANOTHER

The article's text is not part of the book: ``--article`` names a file that holds it, with its two listings
in fences. TensorFlow is no dependency of the book either: ``--install`` makes an environment of its own in
a folder and installs it there, ``--python`` names an interpreter that has it; each may be given more than
once. ``experiments/article_listing_driver.py`` is what runs there.

A *stop* is a message that ends the program. Only what stops it is repaired, so the stops come in the order
in which a reader would meet them; that order is measured. A *failure* is a cause: the four names that do
not exist are one, and what stops nothing is one where a measurement shows it. Counted so, there are eight,
in the order of the first interpreter named. ``load_record("article_listing")`` has them under ``failures``,
what is no failure under ``remarks``, the messages of the untouched listings under ``verbatim``, and the order
of all stops under ``runs``, and what was said about ``input_length`` under ``warnings`` (nothing: it is
``None``). The rows are a control: the mended network trained on the labels of a coin,
scored on the sentences it has seen, as the article does, and on others.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
import venv
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments import arguments
from rnnbook.datasets import load
from rnnbook.results import Row, save_results, score_row

RESULTS = Path(__file__).resolve().parents[1] / "results"
DRIVER = Path(__file__).with_name("article_listing_driver.py")
NUM_TEXTS, NUM_TRAIN, NUM_FRESH, EPOCHS = 16, 96, 1000, 80
CONTROL = {"seen": "scored on the sentences it was trained on", "fresh": "scored on other sentences"}

# name, claims, what mends it, what one sees where it is silent
FAILURES: list[tuple[str, tuple[str, ...], str, str]] = [
    (
        "names that do not exist",
        ("C34", "C35", "C37", "C38"),
        "import what is used; fit a tokenizer and call its method; turn labels into numbers",
        "",
    ),
    (
        "no data",
        ("C33",),
        "name a corpus and load it",
        "[...] is a list, and becomes an array of one Ellipsis object",
    ),
    ("sequences of many lengths", ("C40",), "pad them", ""),
    (
        "a second embedding",
        ("C42",),
        "leave it out",
        "numbers near 0 are read as the id 0: one row for every word, no gradient for the first table",
    ),
    (
        "an output for each token",
        ("C43",),
        "return the last state alone",
        "labels of shape (B, 1) are broadcast to all time steps by the older version",
    ),
    (
        "a table of 64 words",
        ("C41",),
        "one row for each word of the vocabulary",
        "compiled by XLA, ids beyond the table read its last row",
    ),
    ("padding read as text", ("C44",), "mask it", "the same text, padded further, gets another probability"),
    (
        "tested on the training data",
        ("C45",),
        "keep sentences for a test",
        "the labels of a coin are learnt by heart and reported as accuracy",
    ),
]
# Whether a measurement shows that a failure passes without a message.
SILENT: dict[str, Callable[[Any], bool]] = {
    "C33": lambda m: m["dtype"] == "object",
    "C41": lambda m: m["rows_when_compiled"] == [63, 63, 63],
    "C42": lambda m: m["distinct_rows"] == 1 < m["distinct_ids"] and m["gradient_of_first_is_none"],
    "C43": lambda m: m["(B, 1)"] == "silent",
    "C44": lambda m: m["post_no_mask"] > 1e-5 > 10 * m["post_mask"],
    "C45": lambda m: min(m["seen"]) > 0.9 and max(m["fresh"]) < 0.6,
}
REMARKS = {
    "C36": "the loop of listing 2 gives the imported name `text` to a string",
    "C39": "what the tokenizer returns is a list of Python, nothing is stored in TensorFlow",
    "C46": "no seed, no baseline: two runs of the mended program give two scores",
    "C47": "`evaluate` returns a loss and a score, not a label for each text; neither listing reaches it",
    "C47b": "the core code is the first listing again: no recurrence is written in it",
    "C47c": "two classes are imported twice: harmless",
}


def listings(text: str) -> list[str]:
    """Cut the two fenced Python listings out of the article (``ValueError`` unless there are two)."""
    found = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    if len(found) != 2:
        raise ValueError(f"expected an article with two listings in ```python fences, got {len(found)}")
    return found


def install(folder: Path, requirement: str) -> Path:
    """Make an environment in a folder and install TensorFlow there; return its interpreter."""
    venv.EnvBuilder(with_pip=True).create(folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
    return python


def drive(python: str | Path, job: dict[str, Any]) -> dict[str, Any]:
    """Hand a job to the driver under another interpreter (``RuntimeError`` with its last words)."""
    settings = {"PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [python, DRIVER],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | settings | {"PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the driver ended with {done.returncode}: {done.stderr[-1000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def about_the_text(sources: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Measure what needs no run: the lines that the listings share, and the names imported twice."""
    bare = [
        [code for line in source.splitlines() if (code := line.split("#")[0].strip())] for source in sources
    ]
    marks = [line[0] for line in difflib.ndiff(*bare) if line[0] in " -+"]
    counts = dict(zip(("shared", "only_in_1", "only_in_2"), map(marks.count, " -+"), strict=True))
    twice = {
        alias.name
        for node in ast.walk(ast.parse(sources[1]))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if sum(alias.name == other.name for other in node.names) > 1
    }
    return {"C47b": counts, "C47c": {"imported_twice": sorted(twice)}}


def tell(answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort the stops and measurements of all interpreters into the eight failures."""
    names = [answer["versions"]["tensorflow"] for answer in answers]
    found = []
    for name, claims, repair, silence in FAILURES:
        stops = [
            {"tensorflow": version} | {key: value for key, value in stop.items() if key != "changed"}
            for version, answer in zip(names, answers, strict=True)
            for stop in answer["stops"][1]  # the second listing meets what the first one meets, and more
            if stop["claim"] in claims
        ]
        changed = [
            line for stop in answers[0]["stops"][1] if stop["claim"] in claims for line in stop["changed"]
        ]
        measured = {
            version: answer["measured"][claims[0]]
            for version, answer in zip(names, answers, strict=True)
            if claims[0] in SILENT
        }
        loud = {version: any(stop["tensorflow"] == version for stop in stops) for version in names}
        silent = {v: v in measured and SILENT[claims[0]](measured[v]) for v in names}
        kinds = ["loud"] * any(loud.values()) + ["silent"] * any(silent.values())
        if not kinds:
            raise RuntimeError(f"{name}: neither a message nor a measurement shows it")
        found.append(
            {"name": name, "claims": claims, "kind": "both" if len(kinds) == 2 else kinds[0]}
            | {"loud": loud, "silent": silent, "repair": repair, "silence": silence}
            | {"stops": stops, "changed": changed, "measured": measured}
        )
    order = [stop["claim"] for stop in answers[0]["stops"][1]] + ["C44", "C45"]
    found.sort(key=lambda failure: min(order.index(c) for c in failure["claims"] if c in order))
    return [{"number": number} | failure for number, failure in enumerate(found, 1)]


def extras(answers: Sequence[dict[str, Any]], sources: Sequence[str]) -> dict[str, Any]:
    """Gather all that the record holds besides its rows."""
    names = [answer["versions"]["tensorflow"] for answer in answers]
    runs = [
        (version, k, stops)
        for version, answer in zip(names, answers, strict=True)
        for k, stops in enumerate(answer["stops"], 1)
    ]
    measured = {
        claim: {version: answer["remarks"][claim] for version, answer in zip(names, answers, strict=True)}
        for claim in answers[0]["remarks"]
    } | about_the_text(sources)
    where = ("claim", "line", "statement", "exception")
    return {
        "environments": [answer["versions"] for answer in answers],
        "listings_sha256": [hashlib.sha256(source.encode()).hexdigest() for source in sources],
        "verbatim": [
            {"tensorflow": version, "listing": k}
            | {key: stops[0][key] for key in (*where, "code", "message")}
            for version, k, stops in runs
        ],
        "runs": [
            {"tensorflow": version, "listing": k, "stops": [{key: s[key] for key in where} for s in stops]}
            for version, k, stops in runs
        ],
        "failures": tell(answers),
        "remarks": [
            {"claim": claim, "remark": remark, "measured": measured[claim]}
            for claim, remark in REMARKS.items()
        ],
        "warnings": {v: answer["warnings"] for v, answer in zip(names, answers, strict=True)},
    }


def rows(answers: Sequence[dict[str, Any]], seeds: Sequence[int]) -> list[Row]:
    """Make the rows of the control: two scores for each interpreter."""
    return [
        score_row(
            f"labels of a coin, TensorFlow {answer['versions']['tensorflow']}",
            f"the article's network, mended: {name}",
            seeds,
            found[part],
            num_items=NUM_FRESH if part == "fresh" else NUM_TRAIN,
            num_parameters=found["num_parameters"],
            train_cpu_seconds=found["seconds"],
        )
        for answer in answers
        for found in [answer["measured"]["C45"]]
        for part, name in CONTROL.items()
    ]


def make_job(sources: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Put together what the driver needs: the listings, film sentences, and seeds for the control."""
    data = load("film_sentences").train
    texts = list(data.texts)
    control = {"train": texts[:NUM_TRAIN], "fresh": texts[NUM_TRAIN : NUM_TRAIN + NUM_FRESH]}
    return {
        "listings": list(sources),
        "texts": texts[:NUM_TEXTS],
        "labels": data.labels[:NUM_TEXTS].tolist(),
        "control": control | {"seeds": list(seeds), "epochs": EPOCHS},
    }


def main() -> None:
    """Run both listings under each interpreter and write ``results/article_listing.json``."""

    def own(parser: ArgumentParser) -> None:
        parser.add_argument("--article", type=Path, required=True, help="a file with the article's text")
        parser.add_argument(
            "--python", type=Path, action="append", default=[], help="one that has TensorFlow"
        )
        parser.add_argument("--install", type=Path, help="folder for an environment with TensorFlow")
        parser.add_argument("--requirement", default="tensorflow-cpu", help="what --install installs")

    tensorflow = "the listings run under TensorFlow, on one thread of the CPU"
    options = arguments(__doc__, extra=own, fixed={"device": tensorflow, "threads": tensorflow})
    if not (options.python or options.install):
        print("expected --python or --install: the book's own environment has no TensorFlow", file=sys.stderr)
        sys.exit(2)
    sources = listings(options.article.read_text(encoding="utf-8"))
    pythons = list(options.python)
    if options.install:
        pythons.append(install(options.install, options.requirement))
    seeds = range(options.seeds)
    answers = [drive(python, make_job(sources, seeds)) for python in pythons]
    more = extras(answers, sources)
    where = " ".join(f"--python TENSORFLOW-{a['versions']['tensorflow']}" for a in answers)
    save_results(
        RESULTS / "article_listing.json",
        rows(answers, seeds),
        command=f"python -m experiments.article_listing --article TEXT {where} --seeds {len(seeds)}",
        **more,
    )
    for failure in more["failures"]:
        print(failure["number"], failure["kind"], failure["name"], sep="\t")


if __name__ == "__main__":
    main()
