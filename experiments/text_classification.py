"""The 80/20 splits of the classification chapter: film sentences and 25,000 film reviews.

::

    python -m experiments.text_classification --seeds 5

The test texts are those whose hash falls into the first fifth (``rnnbook.corpus.split_by_hash``).
"""

from __future__ import annotations

from experiments import arguments, command_line
from experiments.imdb import SMALL, Plan, collect
from rnnbook.classifier import ClassifierConfig
from rnnbook.corpus import split_by_hash
from rnnbook.datasets import load

SENTENCES = Plan(
    model="LSTM, mean+max pooling",
    config=ClassifierConfig(0, embedding_dim=32, hidden_size=32, dropout=0.5, word_dropout=0.2),
    vocab_size=20_000,
    max_len=None,
    batch_size=32,
    num_epochs=5,
    learning_rate=5e-3,
)
TASKS = {
    "film_sentences": ("film sentences, 80/20", SENTENCES),
    "imdb_train": ("25,000 film reviews, 80/20", SMALL),
}


def main() -> None:
    """Run both tasks and write one file."""
    given = arguments(__doc__)
    jobs = {}
    for name, (task, plan) in TASKS.items():
        rest, test = split_by_hash(load(name).train, 0.2)
        jobs[task] = (rest, test, [plan])
    command = command_line("text_classification", given)
    collect("text_classification", jobs, list(range(given.seeds)), command)


if __name__ == "__main__":
    main()
