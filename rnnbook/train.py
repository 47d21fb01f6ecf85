"""One training loop for every model of the book, with what can go wrong in it said aloud."""

from __future__ import annotations

import copy
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from tqdm import tqdm

from rnnbook.checkpoint import Batch, History, Recipe, TrainingRun
from rnnbook.losses import LossFunction, Objective, classification_loss
from rnnbook.parallel import Ranks
from rnnbook.repro import to_device_of

OnEpoch = Callable[[int, History], None]


@runtime_checkable
class _Epoch(Protocol):
    """Batches that can be counted and gone through again: a list, a ``Stream``, or ``batches.Batches``."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Batch]: ...


class Stream:
    """Examples made on the spot: ``draw()`` gives ``(*inputs, targets)`` for each of ``num_steps`` steps.

    No example is seen twice, so the loss of each step is an honest one. ``generator`` is the one that
    ``draw`` draws from; a checkpoint needs it.
    """

    def __init__(
        self, draw: Callable[[], Batch], num_steps: int, *, generator: torch.Generator | None = None
    ) -> None:
        """Raise ``ValueError`` for a stream of nothing."""
        if num_steps < 1:
            raise ValueError(f"expected num_steps of at least 1, got {num_steps}")
        self.draw, self.num_steps, self.generator = draw, num_steps, generator

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[Batch]:
        return (self.draw() for _ in range(self.num_steps))


@torch.no_grad()
def validate(
    model: nn.Module, batches: Iterable[Batch], loss_fn: LossFunction = classification_loss
) -> tuple[float, float]:
    """Return ``(mean loss, accuracy)``, each over all targets of all batches; keep the model's mode.

    The accuracy is NaN where it is no classification: there is one for predictions (B, num_classes)
    with class numbers (B,) as targets. Raises ``ValueError`` for no examples and
    ``FloatingPointError`` for a loss that is not finite.
    """
    was_training = model.training
    model.eval()
    loss_sum = correct = count = 0.0
    for batch in batches:
        *inputs, targets = to_device_of(model, batch)
        predictions = model(*inputs)
        loss_sum += loss_fn(predictions, targets).item() * targets.numel()
        count += targets.numel()
        classifies = targets.dtype == torch.int64 and predictions.ndim == 2 and targets.ndim == 1
        correct += (predictions.argmax(dim=1) == targets).sum().item() if classifies else math.nan
    model.train(was_training)
    if not count:
        raise ValueError("no examples to validate on: an empty split, or a generator that was used up")
    if not math.isfinite(loss_sum):
        raise FloatingPointError(f"the mean loss on the validation examples is {loss_sum / count}")
    return loss_sum / count, correct / count


def _countable(batches: Iterable[Batch], num_epochs: int) -> _Epoch:
    """Give batches a length. Refuse a generator that would be empty after the first epoch."""
    if num_epochs > 1 and iter(batches) is batches:
        raise ValueError("batches is a generator: it is empty after one epoch; give a list or Batches")
    return batches if isinstance(batches, _Epoch) else list(batches)


def _bar(total: int, done: int, rank: int) -> tqdm[Any]:
    """Show progress on a terminal and in a notebook; nowhere if ``$RNNBOOK_PROGRESS`` is 0."""
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    shown = not rank and os.environ.get("RNNBOOK_PROGRESS") != "0" and (in_notebook or sys.stderr.isatty())
    return tqdm(total=total, initial=done, desc="training", unit="step", leave=False, disable=not shown)


def _step(run: TrainingRun, batch: Batch, ranks: Ranks) -> None:
    """Go one step down the clipped gradient. Refuse NaN and infinity before they reach the weights."""
    run.optimizer.zero_grad()
    at = f"epoch {run.position.epoch}, step {run.position.step}"
    loss = ranks.backward(batch, at)
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), run.recipe.max_grad_norm).item()
    if not (math.isfinite(loss) and norm < math.inf):
        raise FloatingPointError(
            f"{at}: loss {loss}, gradient norm {norm}; the weights are those of the step before, {run.last_good}: "
            f"lower the learning rate, look at this batch"
        )
    run.optimizer.step()
    if run.schedule is not None:
        run.schedule.step()
    run.record(batch, loss, norm)


def _go_through(run: TrainingRun, batches: _Epoch, ranks: Ranks, bar: tqdm[Any]) -> None:
    """Take the steps of an epoch that are not taken yet."""
    run.model.train()
    for batch in run.remaining(batches):
        _step(run, batch, ranks)
        bar.update()
        if run.good_enough():
            break
        run.save_if_due()


def _close_epoch(
    run: TrainingRun,
    ranks: Ranks,
    val_batches: Iterable[Batch] | None,
    loss_fn: LossFunction,
    on_epoch: OnEpoch | None,
) -> None:
    """Note the epoch's losses, keep its weights if they are the best, and end the run if it was the last."""
    history, epoch = run.history, run.position.epoch
    history.train_loss.append(run.position.loss_sum / run.position.num_targets)
    waited = 0
    if val_batches is None:
        history.best_epoch = epoch
    else:
        val_loss, val_accuracy = validate(run.model, val_batches, loss_fn)
        history.val_loss.append(val_loss)
        history.val_accuracy.append(val_accuracy)
        lowest = min(history.val_loss)
        if val_loss == lowest:
            run.keep_best()
        waited = epoch - history.val_loss.index(lowest)
    out_of_patience = run.recipe.patience is not None and waited >= run.recipe.patience
    if on_epoch is not None:
        on_epoch(epoch, history)
    run.end_epoch(finished=epoch + 1 == run.recipe.num_epochs or out_of_patience or run.good_enough())
    ranks.meet(run)  # now that the checkpoint is written


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_fn: LossFunction = classification_loss,
    *,
    num_epochs: int = 1,
    learning_rate: float = 2e-3,
    schedule: str = "one-cycle",
    max_grad_norm: float = 1.0,
    val_batches: Iterable[Batch] | None = None,
    patience: int | None = None,
    stop_below: float | None = None,
    adversarial_epsilon: float = 0.0,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    on_epoch: OnEpoch | None = None,
) -> History:
    """Train with Adam (Kingma and Ba, 2015) and a one-cycle learning rate (Smith, 2018), or a constant one.

    A batch is ``(*inputs, targets)``, on any device; ``loss_fn(model(*inputs), targets)`` is a mean over its
    targets, to which ``adversarial_epsilon`` adds an attack (:class:`rnnbook.losses.Objective`). The peak
    of the cycle is ``learning_rate``. With ``val_batches`` the weights of the epoch with the lowest
    validation loss are put back at the end; without, the last ones stay.

    Training ends early after ``patience`` epochs without a lower validation loss, or when the mean loss
    of the last 20 steps is under ``stop_below``. With ``checkpoint`` the whole run is kept in that file,
    every ``checkpoint_every`` steps and after each epoch. If the file is there, the run goes on from it
    and ends, on a processor, with the weights and history of a run that was never broken off, at once if
    it was finished. ``on_epoch(epoch, history)`` is called after each epoch. Under ``torchrun`` processes
    share out the rows of each batch and take the steps of one (:mod:`rnnbook.parallel`).

    Raises ``FloatingPointError`` before a loss or gradient that is not finite reaches the weights, and
    ``ValueError`` for a generator as batches of several epochs, ``patience`` without ``val_batches``,
    a checkpoint that is damaged or of another run, and processes that differ.
    """
    batches = _countable(batches, num_epochs)
    recipe = Recipe(
        num_epochs=num_epochs,
        num_batches=len(batches),
        learning_rate=learning_rate,
        schedule=schedule,
        max_grad_norm=max_grad_norm,
        patience=patience,
        stop_below=stop_below,
        validates=val_batches is not None,
        adversarial_epsilon=adversarial_epsilon,
    )
    ranks = Ranks(Objective(model, loss_fn, adversarial_epsilon))
    run = TrainingRun(model, recipe, (getattr(part, "generator", None) for part in (batches, val_batches)))
    if checkpoint is not None:
        if isinstance(batches, Stream) and batches.generator is None:
            raise ValueError("a stream can go on only from its generator: Stream(..., generator=...)")
        run.keep_in(Path(checkpoint), checkpoint_every)
    ranks.begin(run)
    with _bar(num_epochs * len(batches), len(run.history.step_loss), ranks.rank) as bar:
        while not run.position.finished:
            _go_through(run, batches, ranks, bar)
            _close_epoch(run, ranks, val_batches, loss_fn, on_epoch)
    return run.result()


def learning_rate_range(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_fn: LossFunction = classification_loss,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    num_steps: int = 100,
) -> tuple[list[float], list[float]]:
    """Raise the learning rate at every step; return ``(rates, losses)`` (range test, Smith, 2017).

    The rates are evenly spaced on a logarithmic axis; each loss is that before its step. A good rate for
    :func:`train` lies where the loss falls fastest, well before it rises. The test ends when the loss is
    not finite or above four times the lowest. It trains a copy: the model, PyTorch's global generator
    and ``batches.generator`` are as before. Raises ``ValueError`` unless 0 < low < high and num_steps > 1.
    """
    if not 0 < low < high < math.inf or num_steps < 2:
        raise ValueError(f"expected 0 < low < high and num_steps above 1, got {low}, {high} and {num_steps}")
    batches = _countable(batches, num_epochs=2)
    recipe = Recipe(num_epochs=1, num_batches=len(batches), learning_rate=low, schedule="constant")
    generator = getattr(batches, "generator", None)
    state = None if generator is None else generator.get_state()
    run = TrainingRun(copy.deepcopy(model).train(), recipe, [])
    ranks = Ranks(Objective(run.model, loss_fn))
    ranks.begin(run)
    rates = [low * (high / low) ** (i / (num_steps - 1)) for i in range(num_steps)]
    losses = run.history.step_loss
    with torch.random.fork_rng(devices=[]):
        try:
            for rate, batch in zip(rates, chain.from_iterable(repeat(batches)), strict=False):
                run.optimizer.param_groups[0]["lr"] = rate
                _step(run, batch, ranks)
                if losses[-1] > 4 * min(losses):
                    break
        except FloatingPointError:
            pass  # the end of the test: no rate above this one can be meant
        finally:
            if generator is not None:
                generator.set_state(state)
    return rates[: len(losses)], losses
