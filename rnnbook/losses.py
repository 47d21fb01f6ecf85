"""What a step of training makes smaller: losses that refuse what PyTorch would misread, and their objective."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rnnbook.batches import length_mask

LossFunction = Callable[[Tensor, Tensor], Tensor]


def check_targets(logits: Tensor, targets: Tensor) -> None:
    """Refuse labels that PyTorch would broadcast or misread: right are logits (B, num_classes), labels (B,).

    Raises ``TypeError`` for another kind of number and ``ValueError`` for another shape or range.
    """
    if targets.dtype != torch.int64:
        raise TypeError(f"expected labels as class numbers (int64), got {targets.dtype}")
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits (B, num_classes) and labels (B,), got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    if len(targets) and (int(targets.min()) < 0 or int(targets.max()) >= logits.shape[1]):
        raise ValueError(
            f"expected labels from 0 to {logits.shape[1] - 1}, got {int(targets.min())} to {int(targets.max())}"
        )


def classification_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of logits (B, num_classes) and labels (B,)."""
    check_targets(logits, targets)
    return nn.functional.cross_entropy(logits, targets)


def squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of predictions and targets of one shape.

    Raises ``ValueError`` for two shapes: of (B,) and (B, 1) PyTorch would make (B, B), each with each.
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"expected predictions and targets of one shape, got {tuple(predictions.shape)} and "
            f"{tuple(targets.shape)}"
        )
    return nn.functional.mse_loss(predictions, targets)


def sampled_softmax_loss(
    hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor, samples: Tensor, log_q: Tensor
) -> Tensor:
    r"""Estimate the mean cross-entropy over V words from the right word and S drawn ones.

    The sum in the softmax is estimated by importance sampling (Bengio and Senécal, 2008; Jean et al., 2015),

    .. math:: \sum_v e^{a_v} \approx e^{a_y} + \frac{1}{S} \sum_{s \neq y} e^{a_s - \log q_s},

    so the work for a word no longer grows with V. Without :math:`\log q` a word drawn often would be
    pushed down often. Takes hidden (N, H), targets (N,), weight (V, H), bias (V,), ``samples`` (S,) drawn
    with replacement from ``log_q`` (V,), one set for all rows; the loss is in nats. For training alone:
    a perplexity needs all V words. Raises ``ValueError`` where no word was drawn or the shapes disagree.
    """
    if samples.ndim != 1 or not len(samples) or not len(weight) == len(bias) == len(log_q):
        raise ValueError(
            f"expected at least one sample (S,), and weight, bias and log_q for the same V words, got "
            f"{tuple(samples.shape)}, {tuple(weight.shape)}, {tuple(bias.shape)} and {tuple(log_q.shape)}"
        )
    embed = nn.functional.embedding  # its gradient is cheaper than that of an index
    right = (hidden * embed(targets, weight)).sum(dim=1) + bias[targets]
    others = nn.functional.linear(hidden, embed(samples, weight), bias[samples])
    others = others - log_q[samples] - math.log(len(samples))
    others = others.masked_fill(samples == targets[:, None], -torch.inf)  # (N, S): y is in the sum already
    sums = torch.cat([right[:, None], others], dim=1).logsumexp(dim=1)
    return (sums - right).mean()


class Objective(nn.Module):
    """Batch to number: the mean loss, and with ``epsilon`` above 0 also the loss under attack.

    Adversarial training (Miyato, Dai and Goodfellow, 2017) adds the mean loss of the same examples with
    their embedded tokens moved by epsilon · g / ‖g‖₂. Here g (T, E) is the gradient of an example's loss
    at its real tokens; it counts as a constant. Both passes share their dropout, or g would belong to
    another network than the one that is attacked. Vectors are not normalised as in the paper: weigh
    epsilon against their norms, which training may enlarge.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction, epsilon: float = 0.0) -> None:
        """Raise ``TypeError`` for an epsilon above 0 and a model that is not cut behind its embedding."""
        super().__init__()
        if epsilon and not (hasattr(model, "embed") and hasattr(model, "from_vectors")):
            raise TypeError(
                f"adversarial training moves embedded tokens: expected a model with embed(tokens) and "
                f"from_vectors(vectors, lengths), got {type(model).__name__}"
            )
        self.model, self.loss_fn, self.epsilon = model, loss_fn, epsilon

    def forward(self, *batch: Tensor) -> Tensor:
        """Take ``(*inputs, targets)``, with an epsilon tokens (B, T), lengths (B,), targets; return ()."""
        *inputs, targets = batch
        if not self.epsilon:
            return self.loss_fn(self.model(*inputs), targets)
        model: Any = self.model
        tokens, lengths = inputs
        vectors: Tensor = model.embed(tokens)
        with torch.random.fork_rng([vectors.device] if vectors.is_cuda else []):
            loss = self.loss_fn(model.from_vectors(vectors, lengths), targets)
        moved = vectors + self._attack(loss, vectors, lengths)  # from here the same dropout is drawn again
        return loss + self.loss_fn(model.from_vectors(moved, lengths), targets)

    def _attack(self, loss: Tensor, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Return the move (B, T, E) of norm epsilon a row by which the loss grows fastest."""
        (gradient,) = torch.autograd.grad(loss, vectors, retain_graph=True)
        real = gradient * length_mask(lengths, vectors.shape[1])[:, :, None]
        smallest = torch.finfo(real.dtype).tiny  # a gradient of 0 gives no move and no NaN
        return self.epsilon * nn.functional.normalize(real.flatten(1), eps=smallest).view_as(real)
