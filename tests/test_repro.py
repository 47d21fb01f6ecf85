"""Repeatable runs: what is seeded, what is measured, and what a failure leaves behind."""

from __future__ import annotations

import random
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rnnbook import repro
from rnnbook.files import write_whole
from rnnbook.repro import (
    count_parameters,
    cpu_seconds,
    environment,
    pick_device,
    seed_everything,
    source_hash,
    to_device_of,
)


def draw() -> list[float]:
    return [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002 (what is tested)


def test_a_seed_repeats_every_generator():
    own = seed_everything(3)
    first = [*draw(), torch.rand((), generator=own).item()]
    own = seed_everything(3)
    assert first == [*draw(), torch.rand((), generator=own).item()]
    seed_everything(4)
    assert not set(first) & set(draw())


def test_the_returned_generator_is_no_part_of_the_global_one():
    own = seed_everything(0)
    expected = torch.rand(3)
    own = seed_everything(0)
    torch.rand(100, generator=own)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_would_refuse_is_refused(seed):
    with pytest.raises(ValueError, match=re.escape(str(seed))):
        seed_everything(seed)


@pytest.mark.parametrize("seed", [1.0, "1", None, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(TypeError, match="whole number"):
        seed_everything(seed)


def test_the_device_is_the_one_named_then_the_one_set_then_the_cpu(monkeypatch):
    monkeypatch.delenv("RNNBOOK_DEVICE", raising=False)
    assert pick_device() == torch.device("cpu")
    monkeypatch.setenv("RNNBOOK_DEVICE", "meta")
    assert pick_device() == torch.device("meta")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["warp", "cuda:99", "cpu cpu"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(ValueError, match=name):
        pick_device(name)


def test_tensors_follow_the_weights():
    tensors = [torch.ones(2), torch.zeros(3, dtype=torch.int64)]
    assert [t.device.type for t in to_device_of(nn.Linear(2, 2, device="meta"), tensors)] == ["meta"] * 2
    for module in (nn.Linear(2, 2), nn.Tanh()):
        assert all(a is b for a, b in zip(to_device_of(module, tensors), tensors, strict=True))


def test_parameters_are_counted_once_and_only_when_trained():
    layer = nn.Linear(3, 2)
    tied = nn.Sequential(layer, layer)
    assert count_parameters(layer) == count_parameters(tied) == 8
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 6


def test_processor_seconds_do_not_count_waiting():
    with cpu_seconds() as waiting:
        time.sleep(0.3)
    assert waiting.seconds < 0.15
    with cpu_seconds() as working:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
    assert 0.2 <= working.seconds < 2


def test_the_stopwatch_stops_at_an_error_too():
    def fails() -> None:
        sum(range(10**5))
        raise KeyError

    with pytest.raises(KeyError), cpu_seconds() as watch:
        fails()
    assert watch.seconds > 0


@pytest.mark.parametrize("name", ["train.py", "book.mplstyle", "challenge.csv"])
def test_the_source_hash_sees_each_file_and_its_name_but_no_line_ends(tmp_path, monkeypatch, name):
    copy = tmp_path / "rnnbook"
    shutil.copytree(Path(repro.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = source_hash()
    monkeypatch.setattr(repro, "__file__", str(copy / "repro.py"))
    assert source_hash() == before
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content.replace(b"\n", b"\r\n"))
    assert source_hash() == before
    (copy / name).write_bytes(content + b"#")
    assert source_hash() != before
    (copy / name).write_bytes(content)
    (copy / name).rename(copy / f"a_{name}")
    assert source_hash() != before


def test_a_file_is_written_whole(tmp_path):
    path = tmp_path / "file.bin"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    write_whole(path, b"old")

    def full_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_environment_names_versions_and_hardware_and_no_place():
    record = environment(("torch", "no-such-package"))
    assert record["versions"]["torch"] == torch.__version__
    assert record["versions"]["no-such-package"] == "not installed"
    assert {"cpu", "cores", "torch_threads", "instructions", "system"} == record["hardware"].keys()
    assert record["hardware"]["torch_threads"] == torch.get_num_threads()
    assert not re.search(r"[/\\](home|root|tmp|Users)\b", str(record))


def test_a_machine_without_cpuinfo_still_has_a_name(monkeypatch):
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert environment()["hardware"]["cpu"]


@pytest.mark.parametrize(("setting", "threads"), [(None, 1), ("2", 2)])
def test_one_thread_unless_the_reader_says_otherwise(monkeypatch, setting, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        if setting is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", setting)
        seed_everything(0)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
