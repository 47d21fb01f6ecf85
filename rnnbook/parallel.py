"""Training on several processes: of each batch every rank takes some rows, and all take the same step.

``torchrun --nproc-per-node 2 script.py`` starts a script twice; :func:`rnnbook.train.train` sees it and
does the rest by PyTorch's own engine, ``DistributedDataParallel`` (Li et al., 2020). Gradients travel by
gloo between processors and by NCCL between GPUs, where ``pick_device("cuda")`` gives each rank its own.
Each rank goes through all batches, takes its rows of them, and validates on whole ones. Rank 0 writes the
checkpoint, from which all ranks go on when ``torchrun --max-restarts 3`` starts them again.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rnnbook.checkpoint import Batch, TrainingRun
from rnnbook.files import fingerprint
from rnnbook.losses import Objective
from rnnbook.repro import to_device_of


def share_of(batch: Batch, rank: int, size: int) -> tuple[Batch, float]:
    """Return the rows rank, rank + size … of a batch, and the weight of their mean loss.

    The mean over all ranks of weighted mean losses is the mean loss of the batch, however unlike their
    numbers of targets are. A rank without a row borrows the first one, with the weight 0: it must take
    part in the step. Raises ``ValueError`` for tensors of a batch that differ in their number of rows.
    """
    if len({len(part) for part in batch}) != 1:
        raise ValueError(
            f"expected tensors with one row an example, to share them out among {size} processes, "
            f"got shapes {[tuple(part.shape) for part in batch]}"
        )
    rows = tuple(part[rank::size] for part in batch)
    weight = rows[-1].numel() * size / max(1, batch[-1].numel())
    return _without_padding(rows if weight else tuple(part[:1] for part in batch)), weight


def _without_padding(rows: Batch) -> Batch:
    """Cut off the columns of tokens (B, T) in which no row is real any more: the longest row is elsewhere."""
    if len(rows) != 3 or rows[0].ndim != 2 or rows[2].ndim != 1:
        return rows
    tokens, lengths, targets = rows
    longest = int(lengths.max()) if lengths.shape == targets.shape else 0
    counted = torch.equal((tokens != 0).sum(dim=1), lengths)  # or the second input is something else
    return (tokens[:, :longest], lengths, targets) if counted and not tokens[:, longest:].any() else rows


def _join(backend: str) -> None:
    """Make the group of all processes, for as long as the program runs."""
    # Here, since not each build of PyTorch has these.
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    # torchrun keeps one store through its restarts: under the old names the dead would be waited for.
    store = PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    atexit.register(lambda: dist.is_initialized() and dist.destroy_process_group())


def _differences(known: Mapping[str, object], first: Mapping[str, object]) -> list[str]:
    """Say what differs: the position, then what one of the two lacks, since more follows from either."""
    names = sorted(
        {**first, **known}, key=lambda name: name != "position" and name in first and name in known
    )
    pairs = [(name, known.get(name, "absent"), first.get(name, "absent")) for name in names]
    return [f"{name} is {there}, not {here}" for name, there, here in pairs if there != here]


class Ranks:
    """The processes that train one model together; one alone where ``torchrun`` has not started several.

    ``rank`` is the number of this process, from 0, and ``size`` how many there are. The group is made once
    and stays until the program ends, so that a script may train several times.
    """

    def __init__(self, objective: Objective) -> None:
        """Meet the other processes, if there are any."""
        self.objective: nn.Module = objective
        self.rank, self.size = 0, 1
        if not dist.is_available():
            return
        if not dist.is_initialized() and dist.is_torchelastic_launched() and os.environ["WORLD_SIZE"] != "1":
            cuda = any(parameter.is_cuda for parameter in objective.parameters())
            _join("cpu:gloo,cuda:nccl" if cuda else "gloo")
        if dist.is_initialized():
            self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def begin(self, run: TrainingRun) -> None:
        """Start only if all ranks are asked for the same run; from here on they average their gradients.

        Rank 0 writes the checkpoint, which all of them read. Raises what :meth:`agree` raises.
        """
        run.writes = self.rank == 0
        self.meet(run)
        if self.size > 1:
            self.objective = DistributedDataParallel(self.objective)

    def meet(self, run: TrainingRun) -> None:
        """Wait until all ranks are here, with the same weights, history and random states."""
        if self.size > 1:
            self.agree(run.facts())

    def agree(self, facts: Mapping[str, object], share: float = 0.0) -> float:
        """Return the sum of the shares of all ranks, once they agree about the facts, by name.

        Raises ``ValueError`` on every rank when one knows other facts. Apart from the gradients nothing else
        is exchanged, so ranks that are out of step meet here too, and end in words instead of waiting.
        """
        said: list[Any] = [None] * self.size
        dist.all_gather_object(said, (dict(facts), share))
        for rank, (known, _) in enumerate(said):
            if differ := _differences(known, said[0][0]):
                shown = differ[:3] + [f"and {len(differ) - 3} more"] * (len(differ) > 3)
                raise ValueError(
                    f"rank {rank} differs from rank 0: {'; '.join(shown)}: on each rank call seed_everything "
                    f"with one seed, build one model, and ask for one run on the same batches"
                )
        return float(sum(part for _, part in said))

    def backward(self, batch: Batch, at: str) -> float:
        """Add the gradient of the mean loss of ``batch`` to the weights' and return that loss.

        Several ranks each go through their rows of the same batch; ``at`` says which one it is. Chance
        inside a step (dropout) differs between ranks, but is drawn from the global generator, which stays
        the same on all of them.
        """
        if self.size == 1:
            loss: Tensor = self.objective(*to_device_of(self.objective, batch))
            loss.backward()
            return loss.item()
        rows, weight = share_of(batch, self.rank, self.size)
        own = to_device_of(self.objective, rows)
        seed = int(torch.randint(2**62, ()))
        with torch.random.fork_rng({part.device for part in own if part.is_cuda}):
            torch.manual_seed(seed + self.rank)
            loss = weight * self.objective(*own)
        content = fingerprint({str(i): part for i, part in enumerate(batch)})
        mean = self.agree({"position": at, "batch": content[:12]}, loss.item() / self.size)
        loss.backward()
        return mean
