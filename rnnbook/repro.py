"""Repeatable runs: seeds, devices, sizes, and a record of what was run where."""

from __future__ import annotations

import hashlib
import os
import platform
import random
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rnnbook import __version__


def seed_everything(seed: int) -> torch.Generator:
    """Seed Python, NumPy and PyTorch; return a generator of its own with the same seed.

    Weights and dropout draw from PyTorch's global generator. Everything that shuffles or samples
    in this package takes a generator, so that one more layer does not change the order of the data.
    PyTorch is kept to one thread unless ``$OMP_NUM_THREADS`` is set: the matrices of this book are
    small, so more threads mostly wait for each other, and sums would be taken in another order.

    Raises ``TypeError`` for a seed that is no whole number and ``ValueError`` for a negative one.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"expected a whole number as seed, got {seed!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"expected a seed from 0 to 2**32 - 1, got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (libraries that draw from the old global generator)
    torch.manual_seed(seed)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    return torch.Generator().manual_seed(seed)


def pick_device(name: str | None = None) -> torch.device:
    """Return the named device, else ``$RNNBOOK_DEVICE``, else the CPU.

    Under ``torchrun`` the name ``"cuda"`` gives each process of a machine its own GPU.
    Raises ``ValueError`` when the name is unknown or this machine has no such device.
    """
    wanted = name or os.environ.get("RNNBOOK_DEVICE") or "cpu"
    try:
        device = torch.device(wanted)
        if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {wanted!r} is not to be had here: try 'cpu' ({error})") from error
    return device


def to_device_of(module: nn.Module, tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors on the device of the module's first weight, or as they are where it has none."""
    device = next((parameter.device for parameter in module.parameters()), None)
    return [tensor.to(device) for tensor in tensors]


def count_parameters(module: nn.Module) -> int:
    """Count the trainable numbers of a module; a tensor used twice counts once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@dataclass
class Stopwatch:
    """Seconds of processor time that a ``with cpu_seconds() as watch`` block took."""

    seconds: float = 0.0


@contextmanager
def cpu_seconds() -> Iterator[Stopwatch]:
    """Measure processor seconds of this process (all threads), which do not count waiting."""
    watch, start = Stopwatch(), time.process_time()
    try:
        yield watch
    finally:
        watch.seconds = time.process_time() - start


def source_hash() -> str:
    """SHA-256 of the package's own source: the fingerprint that a stored notebook carries."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted([path for kind in ("py", "mplstyle", "csv") for path in folder.glob(f"*.{kind}")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def environment(packages: tuple[str, ...] = ("torch", "numpy", "scikit-learn")) -> dict[str, object]:
    """Record what a result depends on: versions, processor, threads. No path, no host name."""
    versions = {"rnnbook": __version__, "python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "versions": versions,
        "hardware": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "torch_threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "system": sys.platform,
        },
    }
