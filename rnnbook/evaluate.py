"""Scores and their intervals, and comparisons of two models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import binomtest, bootstrap
from torch import Tensor, nn

from rnnbook.batches import Batches
from rnnbook.losses import check_targets
from rnnbook.repro import to_device_of


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """Share of rows of logits (N, C) whose largest entry stands at the label (N,)."""
    check_targets(logits, targets)
    if not len(targets):
        raise ValueError("no examples, no accuracy")
    if logits.isnan().any():
        raise ValueError("the logits hold NaN, so no class is the largest")
    return (logits.argmax(dim=1) == targets).double().mean().item()


def perplexity(total_nats: float, num_tokens: int) -> float:
    """Exponential of the mean loss a token, from the *sum* of nats over all tokens and their number.

    Batches hold different numbers of tokens, so neither their mean losses nor their perplexities may
    be averaged: add up ``mean * tokens`` first. A uniform guess among V tokens has the perplexity V.

    Raises ``TypeError`` for several losses in place of their sum, or a number of tokens that is not
    whole; ``ValueError`` for no tokens, and for a sum that is negative, infinite or NaN.
    """
    if np.ndim(total_nats):
        raise TypeError(
            "expected one sum of nats over all tokens, got several: means of batches do not add up"
        )
    if isinstance(num_tokens, bool) or not isinstance(num_tokens, int):
        raise TypeError(f"expected a whole number of tokens, got {num_tokens!r}")
    if num_tokens < 1 or not 0 <= total_nats < math.inf:
        raise ValueError(f"expected nats >= 0 over at least 1 token, got {total_nats} over {num_tokens}")
    return torch.tensor(float(total_nats) / num_tokens, dtype=torch.float64).exp().item()


@dataclass(frozen=True)
class Calibration:
    """How often a model is right when it says so, bin by bin; empty bins hold NaN.

    ``bin_edges`` (M + 1,), mean ``confidence`` (M,), ``accuracy`` (M,), ``count`` (M,), and ``error``,
    the expected calibration error: the mean gap between the two over all texts, from 0 to 1.
    """

    bin_edges: Tensor
    confidence: Tensor
    accuracy: Tensor
    count: Tensor
    error: float


def calibration(probabilities: Tensor, targets: Tensor, num_bins: int = 10) -> Calibration:
    """Sort predictions (N, C) by the probability of their most likely class into bins of equal width.

    A bin holds its right edge and not its left one (Naeini, Cooper and Hauskrecht, 2015; Guo et al.,
    2017). ``targets`` (N,) are the true classes. Raises ``ValueError`` for no examples, no bins, or
    rows that are not probabilities with the sum 1, and what :func:`accuracy` raises for targets.
    """
    accuracy(probabilities, targets)
    if num_bins < 1:
        raise ValueError(f"expected at least one bin, got {num_bins}")
    sums = probabilities.double().sum(dim=1)
    wrong = ((sums - 1).abs() > 1e-4) | (probabilities < 0).any(dim=1)
    if wrong.any():
        row = int(wrong.int().argmax())
        raise ValueError(
            f"expected rows of probabilities with the sum 1; row {row} has the least entry "
            f"{probabilities[row].min():.3g} and the sum {sums[row]:.3g}: apply softmax to logits first"
        )
    highest, predicted = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, num_bins + 1, dtype=highest.dtype)
    bins = torch.bucketize(highest, edges[1:-1])
    count, confidence, correct = (
        torch.bincount(bins, weights, num_bins)
        for weights in (None, highest.double(), (predicted == targets).double())
    )
    error = (confidence - correct).abs().sum().item() / len(targets)
    return Calibration(edges, confidence / count, correct / count, count, error)


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Find the number T > 0 by which logits (N, C) / T have the least cross-entropy (Guo et al., 2017).

    Fit on validation texts; no prediction changes by it, only its confidence. The loss is convex in
    1 / T, so T stands where its slope is zero. Raises ``ValueError`` where no T is best: for logits
    with each text right, which want T = 0, and for logits no better than a uniform guess, which want
    it infinite; also for infinite logits, and what :func:`accuracy` raises.
    """
    accuracy(logits, targets)
    if not logits.isfinite().all():
        raise ValueError("the logits hold infinite numbers, which no temperature can scale")
    lead = logits.detach().double()
    lead = lead - lead.gather(1, targets.unsqueeze(1))
    if lead.max() <= 0:
        raise ValueError("each label has the largest logit: the best temperature is 0; fit on more texts")
    if lead.mean() >= 0:
        raise ValueError("the logits are no better than a uniform guess: the best temperature is infinite")
    scale = lead.abs().max()
    lead = lead / scale  # the search below has an absolute tolerance

    def slope(inverse: float) -> float:
        return ((lead * inverse).softmax(dim=1) * lead).sum(dim=1).mean().item()

    high = 1.0
    while slope(high) < 0:
        high *= 2
    return scale.item() / float(brentq(slope, 0.0, high))


def _check_pairs(predictions: Sequence[str], references: Sequence[str]) -> None:
    for name, texts in (("predictions", predictions), ("references", references)):
        if isinstance(texts, str):
            raise TypeError(f"expected a list of {name}, got one str: put it in a list")
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"expected {name} as str, got {type(text).__name__} at number {i}")
    if len(predictions) != len(references):
        raise ValueError(
            f"expected one reference a prediction, got {len(predictions)} predictions and "
            f"{len(references)} references"
        )
    if not len(predictions):
        raise ValueError("no pairs of a prediction and its reference, no score")


def exact_match(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Share of predictions that are their reference to the letter, 0 … 1.

    Raises ``TypeError`` for one str in place of a list, or anything but str in it, and ``ValueError``
    for two different numbers of them, and for no pairs.
    """
    _check_pairs(predictions, references)
    return sum(a == b for a, b in zip(predictions, references, strict=True)) / len(references)


def corpus_bleu(
    predictions: Sequence[str], references: Sequence[str], *, lowercase: bool = False
) -> tuple[float, str]:
    """BLEU of all predictions together, 0 … 100 (Papineni et al., 2002), and sacrebleu's signature.

    Both are plain text, one reference a prediction: sacrebleu cuts tokens itself, and the signature says
    how, since scores of different cuts do not compare (Post, 2018). Raises what :func:`exact_match`
    raises, and ``ImportError`` without the package sacrebleu.
    """
    _check_pairs(predictions, references)
    try:
        from sacrebleu.metrics.bleu import BLEU  # here, since nothing else needs it
    except ImportError as error:
        raise ImportError(
            "BLEU comes from the package sacrebleu; what helps: python -m pip install sacrebleu"
        ) from error
    metric = BLEU(lowercase=lowercase)
    score = metric.corpus_score(predictions, [references])
    return score.score, str(metric.get_signature())


@torch.no_grad()
def predict(model: nn.Module, batches: Batches) -> Tensor:
    """Return the logits (N, C) of all texts, in the order of ``batches``; keep the model's mode.

    Raises ``ValueError`` for batches that shuffle, since rows would no longer belong to their texts.
    """
    if batches.generator is not None:
        raise ValueError("expected batches without a generator: shuffled rows do not belong to their texts")
    was_training = model.training
    model.eval()
    logits = torch.cat([model(*to_device_of(model, inputs)) for *inputs, _ in batches])
    model.train(was_training)
    return logits


def wilson_interval(correct: float, count: int) -> tuple[float, float]:
    """95 % interval of a share from ``correct`` of ``count`` test items (Wilson, 1927)."""
    if count < 1 or not 0 <= correct <= count:
        raise ValueError(f"expected 0 <= correct <= count and count >= 1, got {correct} of {count}")
    z, p = 1.959964, correct / count
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def seed_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean over at least two seeds, by Student's t (Student, 1908)."""
    if len(values) < 2:
        raise ValueError(f"expected at least two values, one a seed, got {len(values)}")
    sample = torch.tensor(values, dtype=torch.float64)
    half = float(stdtrit(len(values) - 1, 0.975)) * sample.std().item() / math.sqrt(len(values))
    return sample.mean().item() - half, sample.mean().item() + half


def bootstrap_interval(
    values: Tensor | Sequence[float], *, num_resamples: int = 10_000, generator: torch.Generator
) -> tuple[float, float]:
    """95 % interval of the mean of values (N,), one a text, by resampling them (Efron, 1979).

    The ends are the percentiles 2.5 and 97.5 of the means of ``num_resamples`` samples of size N,
    drawn with replacement. Raises ``ValueError`` for fewer than two values, or infinite ones or NaN.
    """
    sample = torch.as_tensor(values, dtype=torch.float64)
    if sample.ndim != 1 or len(sample) < 2:
        raise ValueError(f"expected at least two values (N,), one a text, got shape {tuple(sample.shape)}")
    if not sample.isfinite().all():
        raise ValueError(f"{int((~sample.isfinite()).sum())} of {len(sample)} values are infinite or NaN")
    if num_resamples < 100:
        raise ValueError(f"expected at least 100 resamples for a percentile of 2.5, got {num_resamples}")
    seed = int(torch.randint(2**62, (), generator=generator))
    found = bootstrap(
        (sample.numpy(),),
        np.mean,
        n_resamples=num_resamples,
        batch=max(1, 2**22 // len(sample)),  # or all indices would stand in memory at once
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same texts: accuracy of A less that of B, and whether chance explains it.

    ``low`` and ``high`` are the ends of the 95 % interval of ``difference``; ``only_a`` and ``only_b``
    count the texts that one model alone gets right; ``p_value`` is that of McNemar's exact test.
    """

    difference: float
    low: float
    high: float
    p_value: float
    only_a: int
    only_b: int


def paired_comparison(
    correct_a: Tensor, correct_b: Tensor, *, generator: torch.Generator
) -> PairedComparison:
    """Compare two models by which of the same texts each gets right, bool (N,) and bool (N,).

    The interval is that of :func:`bootstrap_interval` over texts, both answers to a text drawn together.
    The exact test asks whether a fair coin would part the texts that one model alone gets right so
    unevenly or more so, to either side (McNemar, 1947). It speaks for these two runs, not for other seeds.
    Raises ``TypeError`` for anything but bool and ``ValueError`` for other shapes or fewer than two texts.
    """
    if correct_a.dtype != torch.bool or correct_b.dtype != torch.bool:
        raise TypeError(f"expected bool, right or wrong, got {correct_a.dtype} and {correct_b.dtype}")
    if correct_a.ndim != 1 or correct_a.shape != correct_b.shape:
        raise ValueError(
            f"expected both answers to the same texts, (N,) and (N,), got {tuple(correct_a.shape)} and "
            f"{tuple(correct_b.shape)}"
        )
    gains = correct_a.double() - correct_b.double()
    low, high = bootstrap_interval(gains, generator=generator)
    only_a, only_b = int((gains > 0).sum()), int((gains < 0).sum())
    p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return PairedComparison(gains.mean().item(), low, high, p_value, only_a, only_b)
