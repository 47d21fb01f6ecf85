"""What a text classifier's answer rests on: one number a token, a test of these numbers, and units.

Tokens come as one text (T,) or as padded rows (B, T); their lengths follow from the padding. What is
explained is the log-odds of a class, log p / (1 - p) in nats: for two classes the difference of the
logits. Each function works in evaluation mode, since dropout would make its answer random, and puts
the model back into the mode it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnnbook.classifier import TextClassifier
from rnnbook.text import Vocab, check_ids

_ROWS = 256  # rows of one pass, so that the memory does not grow with the number of texts


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode, then put it back into the mode it had."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _log_odds(logits: Tensor, target: Tensor) -> Tensor:
    """Turn logits (B, C) into log p / (1 - p) of the classes ``target`` (B,): (B,)."""
    chosen = target.unsqueeze(1)
    others = logits.scatter(1, chosen, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, chosen).squeeze(1) - others


@torch.no_grad()
def _answer(model: nn.Module, rows: Tensor, lengths: Tensor) -> Tensor:
    parts = zip(rows.split(_ROWS), lengths.split(_ROWS), strict=True)
    return torch.cat([model(*part) for part in parts])


def _read(
    model: nn.Module, tokens: Tensor, target: int | Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Check the texts, by the model's own checks, and the classes.

    Returns rows (B, T), lengths (B,), logits (B, C) and one class a text (B,), the predicted ones if
    ``target`` is None.
    """
    if tokens.ndim not in (1, 2):
        raise ValueError(f"expected tokens of one text (T,) or of a batch (B, T), got {tuple(tokens.shape)}")
    if not tokens.numel():
        raise ValueError(f"there is nothing to explain in tokens of shape {tuple(tokens.shape)}: no token")
    rows = tokens.reshape(-1, tokens.shape[-1])
    lengths = (rows != Vocab.padding_index).sum(dim=1)
    logits = _answer(model, rows, lengths)
    count, classes = logits.shape
    if classes < 2:
        raise ValueError("a model of one class has no odds: expected at least two logits a text")
    if target is None:
        return rows, lengths, logits, logits.argmax(dim=1)
    target = torch.as_tensor(target, device=rows.device)
    if target.is_floating_point() or target.dtype == torch.bool:
        raise TypeError(f"expected classes as integers, got {target.dtype}")
    if target.ndim and target.shape != (count,):
        raise ValueError(
            f"expected one class for all or one a text, ({count},), got shape {tuple(target.shape)}"
        )
    if int(target.min()) < 0 or int(target.max()) >= classes:
        raise ValueError(
            f"expected classes from 0 to {classes - 1}, got {int(target.min())} to {int(target.max())}"
        )
    return rows, lengths, logits, target.to(torch.int64).expand(count)


def _gradient(model: TextClassifier, vectors: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    """Differentiate the log-odds in the embedded tokens: (B, T, E). No gradient of a weight is left."""
    with torch.enable_grad():
        vectors = vectors.detach().requires_grad_()
        # Rows do not meet, so the gradient of the sum holds that of each row.
        total = _log_odds(model.from_vectors(vectors, lengths), target).sum()
        gradient: Tensor = torch.autograd.grad(total, vectors)[0]
    return gradient


def gradient_times_input(model: TextClassifier, tokens: Tensor, target: int | Tensor | None = None) -> Tensor:
    """Multiply each embedded token by the gradient in it, summed over the vector: as ``tokens``, nats.

    To first order, what the log-odds of ``target`` would lose if the vector shrank to zero (Denil,
    Demiraj and de Freitas, 2014; Shrikumar et al., 2016). ``target`` is a class, one for each text
    (B,), or None for the predicted one. Padding gets 0. Raises ``TypeError`` or ``ValueError`` for
    tokens that the model refuses, an empty text, and a class that it does not have.
    """
    with evaluating(model):
        rows, lengths, _, target = _read(model, tokens, target)
        vectors = model.embedding(rows).detach()
        parts = zip(*(part.split(_ROWS) for part in (vectors, lengths, target)), strict=True)
        gradients = torch.cat([_gradient(model, *part) for part in parts])
    products: Tensor = gradients * vectors
    return products.sum(dim=2).reshape(tokens.shape)


def integrated_gradients(
    model: TextClassifier,
    tokens: Tensor,
    target: int | Tensor | None = None,
    *,
    baseline: int | None = Vocab.unknown_index,
    num_steps: int = 32,
) -> Tensor:
    """Share out what the log-odds gain on the straight way from a baseline text: as ``tokens``, nats.

    Of each token, (vector - baseline) times the mean gradient on the way between the two, taken at the
    middles of ``num_steps`` equal steps (Sundararajan, Taly and Yan, 2017). The sum over a text comes
    to the log-odds of the text less those of the baseline; how near, tells whether the steps suffice.
    Pooling by the maximum, where the gradient jumps, wants more of them.

    The baseline text has the token ``baseline`` at each place, or with None a vector of zeros, the
    paper's choice. The unknown token is what :func:`occlusion` puts in, and one that the model has
    met in training. A token that equals the baseline gets 0, and so does padding. ``target`` and errors as for
    :func:`gradient_times_input`; ``ValueError`` also for no steps, or a baseline outside the vocabulary.
    """
    if num_steps < 1:
        raise ValueError(f"expected at least one step from the baseline to the text, got {num_steps}")
    if baseline is not None:
        check_ids(torch.tensor(baseline), model.embedding.num_embeddings)
    with evaluating(model):
        rows, lengths, _, target = _read(model, tokens, target)
        end = model.embedding(rows).detach()  # (B, T, E)
        vector = torch.zeros_like(end[0, 0]) if baseline is None else model.embedding.weight[baseline]
        start = torch.where((rows != Vocab.padding_index).unsqueeze(2), vector.detach(), end)
        total = torch.zeros_like(end)
        points = torch.arange(len(rows) * num_steps, device=rows.device)
        for point in points.split(_ROWS):
            text = point // num_steps
            share = (point % num_steps + 0.5).to(end.dtype) / num_steps
            vectors = start[text].lerp(end[text], share[:, None, None])
            total.index_add_(0, text, _gradient(model, vectors, lengths[text], target[text]))
    parts: Tensor = (end - start) * total / num_steps
    return parts.sum(dim=2).reshape(tokens.shape)


@torch.no_grad()
def occlusion(model: nn.Module, tokens: Tensor, target: int | Tensor | None = None) -> Tensor:
    """Replace one token at a time by the unknown one: what the log-odds lose by it, as ``tokens``, nats.

    After Zeiler and Fergus (2014), for words Li, Monroe and Jurafsky (2016), who erase instead. A text
    of T tokens costs T answers. Two tokens that each say the same get little, since one alone is not
    missed. An unknown token gets 0, and so does padding. ``target`` and errors as for
    :func:`gradient_times_input`; any model of tokens (B, T) and lengths (B,) will do.
    """
    with evaluating(model):
        rows, lengths, logits, target = _read(model, tokens, target)
        losses = _log_odds(logits, target).unsqueeze(1).repeat(1, rows.shape[1])
        known = (rows != Vocab.padding_index) & (rows != Vocab.unknown_index)
        for part in known.nonzero().split(_ROWS):
            text, t = part.unbind(dim=1)
            variants = rows[text].scatter(1, t.unsqueeze(1), Vocab.unknown_index)
            losses[text, t] -= _log_odds(model(variants, lengths[text]), target[text])
    return losses.masked_fill(~known, 0.0).reshape(tokens.shape)


@dataclass(frozen=True)
class Faithfulness:
    """By how much the probability of the predicted class falls, text by text (B,), from -1 to 1.

    Without the tokens of the highest attributions (``most``), of the lowest (``least``), and without
    as many drawn at random (``random``): the control.
    """

    most: Tensor
    least: Tensor
    random: Tensor


def faithfulness(
    model: nn.Module,
    tokens: Tensor,
    attributions: Tensor,
    *,
    share: float = 0.2,
    generator: torch.Generator,
) -> Faithfulness:
    """Replace a share of each text by the unknown token, and see whether the attributions chose well.

    ``attributions`` have the shape of ``tokens`` and are those of the predicted class, the default of
    the functions above. Of a text of T tokens, ``share`` times T are replaced, rounded, at least one;
    ties go to the earlier token. ``most`` is the comprehensiveness of DeYoung et al. (2020), and
    ``least`` at a share of 1 - k the sufficiency at k; the mean of ``most`` over several shares is the
    area under the deletion curve (Samek et al., 2017).

    The measure does what :func:`occlusion` does, with several tokens instead of one: it favours
    occlusion. And a text full of unknown tokens is none that anybody wrote: the model may fall for
    that reason alone, which is why ``most`` counts only against ``random``.

    Raises ``ValueError`` for a share not above 0 and up to 1, attributions of another shape, infinite
    or NaN, and what :func:`gradient_times_input` raises for tokens.
    """
    if not 0 < share <= 1:
        raise ValueError(f"expected a share above 0 and up to 1, got {share}")
    if attributions.shape != tokens.shape:
        raise ValueError(
            f"expected one attribution a token, shape {tuple(tokens.shape)}, got {tuple(attributions.shape)}"
        )
    with evaluating(model):
        rows, lengths, logits, predicted = _read(model, tokens, None)
        real = rows != Vocab.padding_index
        scores = attributions.detach().reshape(rows.shape)
        if not scores[real].isfinite().all():
            raise ValueError("the attributions hold infinite numbers or NaN, so they give no order")
        chance = torch.rand(rows.shape, generator=generator).to(rows.device)
        count = (share * lengths).round().clamp(min=1).unsqueeze(1)

        def probability(logits: Tensor) -> Tensor:
            return logits.softmax(dim=1).gather(1, predicted.unsqueeze(1)).squeeze(1)

        def drop(order_by: Tensor) -> Tensor:
            order = order_by.masked_fill(~real, -torch.inf).argsort(dim=1, descending=True, stable=True)
            rank = order.argsort(dim=1)
            variants = rows.masked_fill(rank < count, Vocab.unknown_index)
            return probability(logits) - probability(_answer(model, variants, lengths))

        return Faithfulness(most=drop(scores), least=drop(-scores), random=drop(chance))


def unit_tracking(outputs: Tensor, signal: Tensor) -> Tensor:
    """Correlate each unit's output (N, H) with a signal (N,) over N tokens: (H,), from -1 to 1, float64.

    The signal may be a number, such as the position in the text, or 0 and 1, such as "inside a
    negation"; the coefficient is Pearson's. A unit that never moves tracks nothing: 0. Search on one
    set of texts and test the one unit found on another: the best of H units looks good by chance
    (Karpathy, Johnson and Fei-Fei, 2015, show such units, found by eye).

    Raises ``ValueError`` for other shapes, fewer than three tokens, infinite numbers or NaN, and a
    constant signal.
    """
    if outputs.ndim != 2 or signal.shape != outputs.shape[:1]:
        raise ValueError(
            f"expected outputs (N, H) and one signal a token, (N,), got {tuple(outputs.shape)} and "
            f"{tuple(signal.shape)}"
        )
    if len(signal) < 3:
        raise ValueError(f"expected at least three tokens for a correlation, got {len(signal)}")
    x, y = outputs.detach().double(), signal.detach().double()
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("outputs or signal hold infinite numbers or NaN")
    if (y == y[0]).all():
        raise ValueError(f"the signal is {y[0]:g} at each token: nothing can be seen to track it")
    moves = (x != x[0]).any(dim=0)
    x, y = x - x.mean(dim=0), y - y.mean()
    correlation = (x * y.unsqueeze(1)).sum(dim=0) / (x.norm(dim=0) * y.norm())
    return torch.where(moves, correlation, 0.0).clamp(-1, 1)
