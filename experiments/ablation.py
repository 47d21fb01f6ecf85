"""What matters in a recurrent classifier: one thing changed at a time, on sentences and on long reviews.

::

    python -m experiments.ablation --seeds 5

The base models are those of ``experiments.text_classification``. No test text is used. Each seed cuts
another fifth out of the remaining training texts (the first 10,000 by their hash) to score on, and
trains the base and every variant on the other four fifths, so that what is compared saw the same texts.
A value is the accuracy of the variant minus that of the base with the same seed and cut; its interval
is over the seeds. The base of each task stands in a row of its own, with its accuracy.

A finished run is kept in ``results/ablation.runs/``, so an interrupted command goes on where it stopped.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from experiments import arguments, command_line, imdb, text_classification
from experiments.imdb import Log, Outcome, Plan, rows_of, run_network
from rnnbook.corpus import Split, split_by_hash
from rnnbook.datasets import load
from rnnbook.results import Row, save_results
from rnnbook.text import characters, tokenize

BASE = "base"
CONFIGS: dict[str, dict[str, Any]] = {
    "pooling: last state": {"pooling": "last"},
    "pooling: mean": {"pooling": "mean"},
    "pooling: max": {"pooling": "max"},
    "pooling: attention": {"pooling": "attention"},
    "direction: both": {"bidirectional": True},
    "cell: plain RNN": {"rnn_type": "rnn"},
    "cell: GRU": {"rnn_type": "gru"},
    "width: 128": {"hidden_size": 128},
    "depth: 2 layers": {"num_layers": 2},
    "dropout: none": {"dropout": 0.0, "word_dropout": 0.0},
}
LENGTHS: dict[str, dict[str, Any]] = {
    "length: first 100 tokens": {"max_len": 100, "last": 0},
    "length: last 100 tokens": {"max_len": 100, "last": 100},
}
WINDOW = "memory: 25 tokens at most"
PPMI, SUBWORDS, CHARACTERS = "vectors: PPMI", "tokens: sub-words", "tokens: characters"
NUM_PIECES = 4_000
MOST = 10_000  # texts of a task, for the time of a hundred runs


class SubWords:
    """Cut texts into sub-words learned from the training texts by byte-pair encoding (sentencepiece)."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        import sentencepiece  # here, since only this variant needs it

        model = io.BytesIO()
        lines = iter([" ".join(tokenize(text)) for text in texts])
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            vocab_size=NUM_PIECES,
            model_type="bpe",
            minloglevel=2,
            max_sentence_length=100_000,
        )
        self.pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())

    def __call__(self, text: str) -> list[str]:
        """Cut one text."""
        found: list[str] = self.pieces.encode(" ".join(tokenize(text)), out_type=str)
        return found


def variants(base: Plan) -> dict[str, Plan]:
    """List the base and what is changed in it."""
    plans = {BASE: base}
    for name, change in CONFIGS.items():
        plans[name] = replace(base, config=replace(base.config, **change))
    plans[PPMI] = replace(base, ppmi=True)
    plans[SUBWORDS] = base
    if base.max_len:
        plans[SUBWORDS] = replace(base, max_len=base.max_len * 5 // 4, last=base.last * 5 // 4)
        plans |= {name: replace(base, **change) for name, change in LENGTHS.items()}
        plans[WINDOW] = replace(base, config=replace(base.config, window=25))
    else:
        plans[CHARACTERS] = base
    return plans


def run(name: str, plan: Plan, train: Split, held_out: Split, seed: int) -> Outcome:
    """Train one variant on ``train`` and score it on ``held_out``."""
    cut: Callable[[str], list[str]] = tokenize
    if name == SUBWORDS:
        cut = SubWords(train.texts)
    elif name == CHARACTERS:
        cut = characters
    return run_network(replace(plan, model=name), train, held_out, seed, cut=cut)


def differences(runs: list[Outcome]) -> list[Outcome]:
    """Take the accuracy of the base with the same seed off that of each variant."""
    base = {run.seed: run.accuracy for run in runs if run.model == BASE}
    return [replace(run, accuracy=run.accuracy - base[run.seed]) for run in runs if run.model != BASE]


def main() -> None:
    """Run both tasks and write one file."""
    given = arguments(__doc__)
    log = Log(imdb.RESULTS / "ablation.runs")
    rows: list[Row] = []
    for data, (task, plan) in text_classification.TASKS.items():
        rest, _ = split_by_hash(load(data).train, 0.2)  # the test fifth of the chapter stays out
        rest = rest.take(range(min(len(rest), MOST)))
        plans = variants(replace(plan, whole=True, num_epochs=2 if plan.max_len else 3))
        task = task.replace("80/20", "held-out fifth")
        runs = []
        for seed in range(given.seeds):
            train, held_out = split_by_hash(rest, 0.2, salt=f"ablation {seed}")
            for name, variant in plans.items():
                if (task, name, seed) not in log.done:
                    log.add(replace(run(name, variant, train, held_out, seed), task=task))
                    print(log.done[task, name, seed], flush=True)
                runs.append(log.done[task, name, seed])
        num_items = {task: len(held_out)}
        rows += rows_of([one for one in runs if one.model == BASE], num_items)
        rows += rows_of(differences(runs), num_items, "accuracy difference")
    command = command_line("ablation", given)
    save_results(imdb.RESULTS / "ablation.json", rows, command=command, num_pieces=NUM_PIECES)
    shutil.rmtree(log.folder)


if __name__ == "__main__":
    main()
