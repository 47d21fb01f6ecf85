"""Full-size runs: each script writes one ``results/NAME.json``."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping

import torch

from rnnbook.repro import pick_device


def arguments(
    doc: str | None,
    *,
    seeds: int = 5,
    extra: Callable[[ArgumentParser], None] | None = None,
    fixed: Mapping[str, str] | None = None,
) -> Namespace:
    """Read ``--device``, ``--seeds`` (the runs are 0 … N - 1), ``--threads`` and what ``extra`` adds.

    Device and threads hold for all that follows and for its child processes: by ``$RNNBOOK_DEVICE``,
    which ``pick_device()`` gives back, and ``$OMP_NUM_THREADS``. ``doc`` is the text of ``--help``.
    ``fixed`` names the flags that an experiment cannot obey, each with the reason: another value than
    the usual one (the device ``cpu``) ends the program in words, as does a value that is none.
    """
    parser = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=_device, help="cpu, cuda … (default: $RNNBOOK_DEVICE, else cpu)")
    parser.add_argument("--seeds", type=_count, default=seeds, help="their number (default: %(default)s)")
    parser.add_argument("--threads", type=_count, default=1, help="of PyTorch (default: %(default)s)")
    if extra is not None:
        extra(parser)
    given = parser.parse_args()
    try:
        given.device = given.device or pick_device()
    except ValueError as error:
        parser.error(str(error))
    only = {"device": torch.device("cpu"), "seeds": seeds, "threads": 1}
    for flag, reason in (fixed or {}).items():
        if getattr(given, flag) != only[flag]:
            parser.error(f"--{flag} can only be {only[flag]} here, got {getattr(given, flag)}: {reason}")
    os.environ |= {"RNNBOOK_DEVICE": str(given.device), "OMP_NUM_THREADS": str(given.threads)}
    torch.set_num_threads(given.threads)
    return given


def command_line(name: str, given: Namespace, *own: str) -> str:
    """Write the command of a record: seeds, the flags in ``own``, and device and threads if unusual."""
    flags = ["seeds", *own]
    flags += [] if given.device == torch.device("cpu") else ["device"]
    flags += [] if given.threads == 1 else ["threads"]
    return " ".join(
        [f"python -m experiments.{name}", *(f"--{flag} {getattr(given, flag)}" for flag in flags)]
    )


def _device(name: str) -> torch.device:
    try:
        return pick_device(name)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)
