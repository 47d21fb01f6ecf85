"""One training loop, with what can go wrong in it said aloud."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from tqdm import tqdm

Batch = tuple[Tensor, ...]


@runtime_checkable
class _Epoch(Protocol):
    """Batches that can be counted and gone through again: a list, or ``rnnbook.text.Batches``."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Batch]: ...


@dataclass
class History:
    """What one training run did, epoch by epoch, and the gradient norm of every step.

    Losses are nats per example. ``grad_norm`` is the global norm before clipping.
    ``best_epoch`` is the epoch (from 0) whose weights the model has at the end.
    """

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    best_epoch: int = -1


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


@torch.no_grad()
def validate(model: nn.Module, batches: Iterable[Batch]) -> tuple[float, float]:
    """Return ``(mean loss in nats, accuracy)``, each weighted by example; keep the model's mode.

    Raises ``ValueError`` for no examples and ``FloatingPointError`` for a loss that is not finite.
    """
    was_training = model.training
    model.eval()
    nats = correct = count = 0.0
    for *inputs, targets in batches:
        logits = model(*inputs)
        nats += classification_loss(logits, targets).item() * len(targets)
        correct += (logits.argmax(dim=1) == targets).sum().item()
        count += len(targets)
    model.train(was_training)
    if not count:
        raise ValueError("no examples to validate on: an empty split, or a generator that was used up")
    if not math.isfinite(nats):
        raise FloatingPointError(f"the mean loss on the validation texts is {nats / count}")
    return nats / count, correct / count


def _checked(batches: Iterable[Batch], num_epochs: int, max_grad_norm: float) -> _Epoch:
    """Refuse what would train on nothing; give batches a length."""
    if num_epochs < 1:
        raise ValueError(f"expected num_epochs of at least 1, got {num_epochs}")
    if not max_grad_norm > 0:
        raise ValueError(f"expected max_grad_norm above 0 (inf: no clipping), got {max_grad_norm}")
    if num_epochs > 1 and iter(batches) is batches:
        raise ValueError(
            "batches is a generator: it is empty after one epoch; give a list or rnnbook.text.Batches"
        )
    known = batches if isinstance(batches, _Epoch) else list(batches)
    if not len(known):
        raise ValueError("no batches to train on")
    return known


def _quiet() -> bool | None:
    """Show no progress where ``$RNNBOOK_PROGRESS`` is 0; else (None) tqdm shows it on a terminal alone."""
    return os.environ.get("RNNBOOK_PROGRESS") == "0" or None


def _step(
    model: nn.Module, loss: Tensor, optimizer: torch.optim.Optimizer, max_grad_norm: float, where: str
) -> float:
    """Go one step down the gradient, clipped; return its norm before clipping. Refuse NaN and infinity."""
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm).item()
    if not (torch.isfinite(loss) and norm < float("inf")):
        raise FloatingPointError(
            f"{where}: loss {loss.item()}, gradient norm {norm}; "
            f"the weights are those of the step before: lower the learning rate, look at this batch"
        )
    optimizer.step()
    return norm


def train_classifier(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    num_epochs: int,
    learning_rate: float = 2e-3,
    max_grad_norm: float = 1.0,
    val_batches: Iterable[Batch] | None = None,
    on_epoch: Callable[[int, History], None] | None = None,
) -> History:
    """Train with Adam and a one-cycle learning rate (Smith, 2018); keep the best epoch's weights.

    A batch is ``(*inputs, labels)``; ``model(*inputs)`` gives logits. ``learning_rate`` is the peak of
    the cycle. With ``val_batches`` the weights of the epoch with the lowest validation loss are put
    back at the end; without, those of the last epoch stay.

    Raises ``FloatingPointError`` at the first loss or gradient that is not finite, before it reaches
    the weights, and ``ValueError`` when ``batches`` can be gone through only once.
    """
    batches = _checked(batches, num_epochs, max_grad_norm)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    total = num_epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=total)
    history, best = History(), copy.deepcopy(model.state_dict())
    progress = tqdm(total=total, desc="training", unit="step", disable=_quiet(), leave=False)
    for epoch in range(num_epochs):
        model.train()
        nats = count = 0.0
        for step, (*inputs, targets) in enumerate(batches):
            loss = classification_loss(model(*inputs), targets)
            where = f"epoch {epoch}, step {step}"
            history.grad_norm.append(_step(model, loss, optimizer, max_grad_norm, where))
            schedule.step()
            nats, count = nats + loss.item() * len(targets), count + len(targets)
            progress.update()
        history.train_loss.append(nats / count)
        if val_batches is not None:
            val_loss, val_accuracy = validate(model, val_batches)
            history.val_loss.append(val_loss)
            history.val_accuracy.append(val_accuracy)
            if val_loss == min(history.val_loss):
                history.best_epoch, best = epoch, copy.deepcopy(model.state_dict())
        if on_epoch is not None:
            on_epoch(epoch, history)
    progress.close()
    if val_batches is None:
        history.best_epoch = num_epochs - 1
    else:
        model.load_state_dict(best)
    return history


def train_stream(
    model: nn.Module,
    draw: Callable[[], Batch],
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    *,
    num_steps: int,
    learning_rate: float,
    max_grad_norm: float = 1.0,
    stop_below: float | None = None,
) -> History:
    """Train with Adam on examples made on the spot: ``draw()`` gives ``(*inputs, targets)`` for each step.

    No example is seen twice, so the training loss is an honest one. With ``stop_below``, training ends
    when the mean loss of the last 20 steps is under it. In the ``History`` both lists go by step, and
    ``best_epoch`` stays -1. Raises ``FloatingPointError`` at the first loss or gradient that is not finite.
    """
    if num_steps < 1 or not max_grad_norm > 0:
        raise ValueError(
            f"expected num_steps of at least 1 and max_grad_norm above 0, got {num_steps}, {max_grad_norm}"
        )
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    history = History()
    model.train()
    for _ in tqdm(range(num_steps), desc="training", unit="step", disable=_quiet(), leave=False):
        *inputs, targets = draw()
        loss = loss_fn(model(*inputs), targets)
        history.grad_norm.append(
            _step(model, loss, optimizer, max_grad_norm, f"step {len(history.grad_norm)}")
        )
        history.train_loss.append(loss.item())
        last = history.train_loss[-20:]
        if stop_below is not None and len(last) == 20 and sum(last) / 20 < stop_below:
            break
    return history
