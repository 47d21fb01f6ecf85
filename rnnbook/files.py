"""Files that are whole or not there, with a hash of what is in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there when it is whole; a failure leaves nothing."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def fingerprint(tensors: dict[str, Tensor], *texts: str) -> str:
    """SHA-256 of named weights and of the texts that belong to them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for text in texts:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()
