"""All that a training run must keep to go on as if nothing had happened, and the file that keeps it."""

from __future__ import annotations

import copy
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from rnnbook.files import fingerprint, load_tensors, save_tensors

Batch = tuple[Tensor, ...]
SCHEDULES = ("one-cycle", "constant")


@dataclass(eq=False)
class History:
    """What a training run did: ``step_loss`` and ``grad_norm`` at each step, the rest at each epoch.

    Losses are those of the loss function, nats for a classifier; ``train_loss`` is the mean over the
    targets of an epoch while the weights change. ``grad_norm`` is the global norm before clipping.
    ``best_epoch`` (from 0) is the epoch whose weights the model has at the end. Two runs that did the
    same have equal histories.
    """

    step_loss: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    best_epoch: int = -1

    def __eq__(self, other: object) -> bool:
        """Compare number by number; an accuracy that is NaN in both is the same."""
        return repr(self) == repr(other) if isinstance(other, History) else NotImplemented


@dataclass(frozen=True)
class Recipe:
    """What a run is asked to do; two runs of one recipe take the same steps."""

    num_epochs: int
    num_batches: int
    learning_rate: float
    schedule: str
    max_grad_norm: float = 1.0
    patience: int | None = None
    stop_below: float | None = None
    validates: bool = False
    adversarial_epsilon: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would train on nothing or never stop as asked (``ValueError``)."""
        if self.num_epochs < 1:
            raise ValueError(f"expected num_epochs of at least 1, got {self.num_epochs}")
        if self.num_batches < 1:
            raise ValueError("no batches to train on")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}; known: {', '.join(SCHEDULES)}")
        if not self.max_grad_norm > 0:
            raise ValueError(f"expected max_grad_norm above 0 (inf: no clipping), got {self.max_grad_norm}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"expected a patience of at least 1 epoch, got {self.patience}")
        if self.patience is not None and not self.validates:
            raise ValueError("patience waits for a lower validation loss: give val_batches too")
        if not 0 <= self.adversarial_epsilon < math.inf:
            raise ValueError(f"expected adversarial_epsilon of at least 0, got {self.adversarial_epsilon}")


@dataclass
class Position:
    """How far a run has come: ``step`` steps of ``epoch`` are done; the sums are those of this epoch."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    num_targets: int = 0
    finished: bool = False


class TrainingRun:
    """A model in training: optimiser, schedule, best weights, random states, and how far it has come."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, generators: Iterable[torch.Generator | None]
    ) -> None:
        """Begin with Adam and the recipe's schedule; ``generators`` are those that order the batches."""
        self.model, self.recipe = model, recipe
        self.generators = [generator for generator in generators if generator is not None]
        # One pass over all weights (fused) is several times faster, where an embedding makes them many.
        large = sum(weight.numel() for weight in model.parameters()) > 100_000
        self.optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, fused=large)
        self.schedule = None
        if recipe.schedule == "one-cycle":
            total = recipe.num_epochs * recipe.num_batches
            self.schedule = torch.optim.lr_scheduler.OneCycleLR(
                self.optimizer, max_lr=recipe.learning_rate, total_steps=total
            )
        self.history, self.position = History(), Position()
        self.best: dict[str, Tensor] = {}
        self.last_good = "no checkpoint was asked for (checkpoint=path)"
        self.path: Path | None = None
        self.every = 0
        self.writes = True  # of several ranks one writes, and all read
        self._start = self._random_states()  # those at the start of the epoch
        self._batch: Batch = ()
        self._resumed: tuple[Tensor, str] | None = None

    def keep_in(self, path: Path, every: int) -> None:
        """Keep the run in this file, every so many steps and after each epoch; go on from it if it is there.

        Raises as :meth:`load` does, ``ValueError`` for ``every`` below 1 and ``FileNotFoundError`` where
        there is no folder for the file.
        """
        if every < 1:
            raise ValueError(f"expected checkpoint_every of at least 1 step, got {every}")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent} for the checkpoint: make it first")
        self.path, self.every, self.last_good = path, every, "no checkpoint was written yet"
        if path.exists():
            self.load(path)

    def remaining(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Give the batches of this epoch that are not done yet.

        After a resumption the epoch is gone through from its start, with the random states of then, so
        that its order is the same. Raises ``ValueError`` when its last batch that was done does not come
        again.
        """
        self._start = self._random_states()
        iterator = iter(batches)
        if self._resumed is not None and self.position.step:
            state, expected = self._resumed
            last: Batch = ()
            for last in islice(iterator, self.position.step):  # noqa: B007 (the last one counts)
                pass
            if _hash(last) != expected:
                raise ValueError(
                    f"epoch {self.position.epoch}, step {self.position.step - 1}: this is not the batch of "
                    f"the run that was broken off; give the same data, in an order of batches.generator"
                )
            torch.set_rng_state(state)
        self._resumed = None
        return iterator

    def record(self, batch: Batch, loss: float, grad_norm: float) -> None:
        """Note a step that was taken: its mean loss, and its gradient norm before clipping."""
        self.history.step_loss.append(loss)
        self.history.grad_norm.append(grad_norm)
        self.position.step += 1
        self.position.loss_sum += loss * batch[-1].numel()
        self.position.num_targets += batch[-1].numel()
        self._batch = batch

    def good_enough(self) -> bool:
        """Tell whether the mean loss of the last 20 steps is under ``stop_below``."""
        last, bound = self.history.step_loss[-20:], self.recipe.stop_below
        return bound is not None and len(last) == 20 and sum(last) / 20 < bound

    def save_if_due(self) -> None:
        """Write the checkpoint after every so many steps of an epoch."""
        if self.path is not None and self.position.step % self.every == 0:
            self.save(self.path)

    def keep_best(self) -> None:
        """Hold on to the weights of this epoch."""
        self.history.best_epoch = self.position.epoch
        self.best = copy.deepcopy(self.model.state_dict())

    def result(self) -> History:
        """Put the best weights back, if any were kept, and return what was done."""
        if self.best:
            self.model.load_state_dict(self.best)
        return self.history

    def end_epoch(self, *, finished: bool) -> None:
        """Go on to the start of the next epoch, if there is one, and write the checkpoint."""
        self.position = Position(epoch=self.position.epoch + 1, finished=finished)
        self._start, self._batch = self._random_states(), ()
        if self.path is not None:
            self.save(self.path)

    def save(self, path: Path) -> None:
        """Write the whole state into one file, if this is the rank that writes."""
        if self.writes:
            save_tensors(path, *self._content())
        self._note_checkpoint(path)

    def _content(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the whole state as tensors and one text."""
        optimizer = self.optimizer.state_dict()
        groups: dict[str, dict[str, Tensor]] = {
            "model": self.model.state_dict(),
            "best": self.best,
            "random": {**self._start, "now": torch.get_rng_state()},
        } | {f"adam{i}": kept for i, kept in optimizer["state"].items()}
        state = {
            "recipe": self._description(),
            "position": asdict(self.position),
            "history": asdict(self.history),
            "param_groups": optimizer["param_groups"],
            "schedule": self.schedule and self.schedule.state_dict(),
            "batch": _hash(self._batch),
        }
        tensors = {f"{group}.{name}": value for group, part in groups.items() for name, value in part.items()}
        return tensors, {"training_run": json.dumps(state)}

    def load(self, path: Path) -> None:
        """Take up the state of a file of :meth:`save`.

        Raises ``ValueError`` for a file that is damaged or of another kind, and for a checkpoint of
        another model or recipe: then it names each difference.
        """
        tensors, metadata = load_tensors(path, "delete it to begin anew, or give another path")
        if "training_run" not in metadata:
            raise ValueError(f"{path} is no checkpoint of train: give another path")
        state = json.loads(metadata["training_run"])
        self._check(state["recipe"], path)
        groups: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
        for full_name, value in tensors.items():
            group, _, name = full_name.partition(".")
            groups[group][name] = value
        self.model.train().load_state_dict(groups["model"])
        adam = {int(group[4:]): kept for group, kept in groups.items() if group.startswith("adam")}
        self.optimizer.load_state_dict({"state": adam, "param_groups": state["param_groups"]})
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.best, self.history = groups["best"], History(**state["history"])
        self.position = Position(**state["position"])
        self._resumed = (groups["random"]["now"], state["batch"])
        torch.set_rng_state(groups["random"]["global"])
        for i, generator in enumerate(self.generators):
            generator.set_state(groups["random"][str(i)])
        self._note_checkpoint(path)

    def _check(self, was: dict[str, object], path: Path) -> None:
        """Refuse the checkpoint of another run."""
        now = json.loads(json.dumps(self._description()))  # as a file gives it back
        both = {name: (was.get(name, "absent"), now.get(name, "absent")) for name in {**was, **now}}
        changes = [f"{name} was {there}, is {here}" for name, (there, here) in both.items() if there != here]
        if changes:
            raise ValueError(
                f"{path} is the checkpoint of another run ({'; '.join(changes)}): ask for the same run, "
                f"or give another path"
            )

    def facts(self) -> dict[str, object]:
        """Name all that ranks must have in common to take the same steps; tensors by their fingerprint."""
        tensors = {f"values of {name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"random state {name}": state for name, state in self._random_states().items()}
        hashes = {name: fingerprint({name: tensor})[:12] for name, tensor in tensors.items()}
        done = {"position": str(self.position), "history": fingerprint({}, repr(self.history))[:12]}
        return {**done, **self._description(), **hashes}

    def _description(self) -> dict[str, object]:
        """Recipe and model: what must be the same for a run to go on."""
        weights = self.model.state_dict().items()
        shapes = {f"weight {name}": f"{tensor.dtype} {tuple(tensor.shape)}" for name, tensor in weights}
        return {**asdict(self.recipe), "num_generators": len(self.generators), **shapes}

    def _random_states(self) -> dict[str, Tensor]:
        """States of PyTorch's global generator (processor) and of those that order the batches."""
        own = {str(i): generator.get_state() for i, generator in enumerate(self.generators)}
        return {"global": torch.get_rng_state(), **own}

    def _note_checkpoint(self, path: Path) -> None:
        at = self.position
        self.last_good = f"the last good checkpoint is {path}, of epoch {at.epoch}, step {at.step}"


def _hash(batch: Batch) -> str:
    return fingerprint({str(i): tensor for i, tensor in enumerate(batch)})
