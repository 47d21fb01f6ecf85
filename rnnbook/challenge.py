"""A challenge set of film sentences written for this book: what a score on ordinary texts hides.

The sentences come in minimal pairs, as in contrast sets (Gardner et al., 2020) and the tests of
Linzen, Dupoux and Goldberg (2016): two that differ in as little as possible and have opposite labels,
or, of the kind ``names``, the same label, which no name may change (Ribeiro et al., 2020).
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rnnbook.corpus import Labels, read_texts
from rnnbook.evaluate import wilson_interval


@dataclass(frozen=True)
class Challenge:
    """N sentences with ``labels`` (N,), 0 negative and 1 positive, their kinds and numbers of pairs (N,).

    Raises ``ValueError`` for parts of unlike length and a pair that is not two sentences of one kind.
    """

    texts: tuple[str, ...]
    labels: Labels
    kinds: tuple[str, ...]
    pairs: Labels

    def __post_init__(self) -> None:
        if len({len(self.texts), len(self.labels), len(self.kinds), len(self.pairs)}) > 1:
            raise ValueError("expected one label, one kind and one pair for each text")
        members = Counter(zip(self.pairs.tolist(), self.kinds, strict=True))
        if odd := [f"{count} of pair {pair}" for (pair, _), count in members.items() if count != 2]:
            raise ValueError(f"expected two sentences of one kind for each pair, got {odd[0]}")

    def of(self, kind: str) -> Challenge:
        """Return the sentences of one kind, in their order (``ValueError`` for a kind that is not there)."""
        if not (at := [i for i, other in enumerate(self.kinds) if other == kind]):
            raise ValueError(f"expected a kind among {', '.join(dict.fromkeys(self.kinds))}, got {kind!r}")
        return Challenge(tuple(self.texts[i] for i in at), self.labels[at], (kind,) * len(at), self.pairs[at])


@dataclass(frozen=True)
class KindScore:
    """Scores of one kind: accuracy on its sentences with the 95 % Wilson interval, and two of its pairs.

    ``both_right`` is the share of pairs with two right answers: 1/4 by coin, and 0 for whoever passes
    over the difference of opposite labels. ``same_answer`` is the share with one answer twice: it
    should be 0, and 1 for names. The interval takes sentences for independent, which pairs are not quite.
    """

    kind: str
    num_sentences: int
    accuracy: float
    low: float
    high: float
    both_right: float
    same_answer: float


def load_challenge() -> Challenge:
    """Read the sentences that come with the package."""
    path = Path(__file__).with_name("challenge.csv")
    texts, labels = read_texts(path)
    with path.open(encoding="utf-8", newline="") as file:
        kinds, pairs = zip(*((row["kind"], int(row["pair"])) for row in csv.DictReader(file)), strict=True)
    return Challenge(texts, labels, kinds, np.array(pairs, np.int64))


def score_challenge(correct: Tensor, challenge: Challenge) -> tuple[KindScore, ...]:
    """Score each kind by ``correct`` (N,), bool: was the answer right? (``ValueError`` for other tensors)."""
    shape = (len(challenge.texts),)
    if correct.dtype != torch.bool or correct.shape != shape:
        raise ValueError(f"expected {shape} of torch.bool, got {tuple(correct.shape)} of {correct.dtype}")
    scores, everything = [], correct.cpu().numpy()
    for kind in dict.fromkeys(challenge.kinds):
        part, right = challenge.of(kind), everything[np.array(challenge.kinds) == kind]
        answers = np.where(right, part.labels, 1 - part.labels)
        pairs = np.argsort(part.pairs, kind="stable").reshape(-1, 2)
        both, same = right[pairs].all(axis=1), np.ptp(answers[pairs], axis=1) == 0
        accuracy, *of_pairs = (float(which.mean()) for which in (right, both, same))
        interval = wilson_interval(int(right.sum()), len(right))
        scores.append(KindScore(kind, len(right), accuracy, *interval, *of_pairs))
    return tuple(scores)
