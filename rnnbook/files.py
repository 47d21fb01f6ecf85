"""Files that are whole or not there, with a hash of what is in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there when it is whole; a failure leaves nothing."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def fingerprint(tensors: Mapping[str, Tensor], *texts: str) -> str:
    """SHA-256 of named tensors and of the texts that belong to them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for text in texts:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors and texts into one safetensors file, whole, with a SHA-256 of them all."""
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    digest = fingerprint(own, json.dumps(dict(metadata), sort_keys=True))
    write_whole(path, save(own, {**metadata, "sha256": digest}))


def load_tensors(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of :func:`save_tensors`: ``(tensors, metadata)``. No code in the file is run.

    Raises ``FileNotFoundError``, or ``ValueError`` for a file that is cut off, changed, or of another
    kind; ``remedy`` ends the message: it tells the reader what to do then.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            # Copies: the file may be replaced while its tensors are in use.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({error}): {remedy}") from error
    digest = metadata.pop("sha256", None)
    if digest is None:
        raise ValueError(f"{path} holds tensors, but was not written by rnnbook, with a hash: {remedy}")
    if fingerprint(tensors, json.dumps(metadata, sort_keys=True)) != digest:
        raise ValueError(
            f"{path} was changed after it was saved: its content does not have the recorded hash: {remedy}"
        )
    return tensors, metadata
