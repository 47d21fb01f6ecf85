"""A run that was broken off, wherever, ends as if it had not been."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from rnnbook.batches import Batches
from rnnbook.checkpoint import History, Recipe, TrainingRun
from rnnbook.classifier import ClassifierConfig, TextClassifier, save_classifier
from rnnbook.files import fingerprint, load_tensors, save_tensors
from rnnbook.losses import classification_loss, squared_error
from rnnbook.repro import seed_everything
from rnnbook.text import PAD, UNKNOWN, Vocab
from rnnbook.train import Stream, train

Loss = Callable[[Tensor, Tensor], Tensor]
Run = tuple[History, dict[str, Tensor], list[Tensor]]


def sentences() -> tuple[list[Tensor], list[int]]:
    """Make 20 texts of 2 to 7 tokens with labels at random."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(2, 8, (20,), generator=generator).tolist()
    return [torch.randint(2, 30, (n,), generator=generator) for n in lengths], [i % 2 for i in range(20)]


def reading(path: Path | None, loss_fn: Loss = classification_loss, seed: int = 0, **options: object) -> Run:
    """Train on texts with all that draws: dropout, word dropout, shuffled training and validation batches."""
    generator = seed_everything(seed)
    model = TextClassifier(ClassifierConfig(30, 3, 3, rnn_type="rnn", dropout=0.3, word_dropout=0.2))
    batches = Batches(*sentences(), batch_size=5, generator=generator)
    own = torch.Generator().manual_seed(seed + 1)
    val_batches = Batches(*sentences(), batch_size=11, generator=own)
    options = {"num_epochs": 3, "learning_rate": 0.1, "val_batches": val_batches} | options
    history = train(model, batches, loss_fn, checkpoint=path, **options)
    states = [torch.get_rng_state(), generator.get_state(), own.get_state()]
    return history, {name: value.clone() for name, value in model.state_dict().items()}, states


def streaming(path: Path | None, loss_fn: Loss = squared_error, seed: int = 0, **options: object) -> Run:
    """Train on fresh examples at a constant rate until it is good enough."""
    generator = seed_everything(seed)
    model = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.01))

    def draw() -> tuple[Tensor, Tensor]:
        x = torch.randn(8, 3, generator=generator)
        return x, x.sum(dim=1, keepdim=True)

    options = {"learning_rate": 0.3, "schedule": "constant", "stop_below": 2.0} | options
    history = train(model, Stream(draw, 40, generator=generator), loss_fn, checkpoint=path, **options)
    return history, dict(model.state_dict()), [torch.get_rng_state(), generator.get_state()]


def loading(path: Path | None, loss_fn: Loss = classification_loss, seed: int = 0, **options: object) -> Run:
    """Train on batches that are shuffled by the global generator, which dropout draws from as well."""
    seed_everything(seed)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    x = torch.arange(30.0).reshape(10, 3) / 30
    batches = DataLoader(TensorDataset(x, torch.arange(10) % 2), batch_size=3, shuffle=True)
    history = train(model, batches, loss_fn, num_epochs=2, checkpoint=path, **options)
    return history, dict(model.state_dict()), [torch.get_rng_state()]


RUNS = {"texts": reading, "stream": streaming, "loader": loading}
LOSSES = {"texts": classification_loss, "stream": squared_error, "loader": classification_loss}


def check_same(run: Run, expected: Run) -> None:
    assert run[0] == expected[0]
    assert run[1].keys() == expected[1].keys()
    assert all(torch.equal(run[1][name], expected[1][name]) for name in run[1])
    assert all(torch.equal(a, b) for a, b in zip(run[2], expected[2], strict=True)), "chance went another way"


class BrokenOff(BaseException):
    """Stands for anything that ends a run."""


def breaking(loss_fn: Loss, call: int) -> Loss:
    """Do as the loss does, and break off at this call of it, in training or in validation."""
    calls = iter(range(10**9))

    def loss(predictions: Tensor, targets: Tensor) -> Tensor:
        if next(calls) == call:
            raise BrokenOff
        return loss_fn(predictions, targets)

    return loss


# --- as if nothing had happened ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", RUNS)
def test_a_checkpoint_changes_nothing(kind, tmp_path):
    check_same(RUNS[kind](tmp_path / "run", checkpoint_every=1), RUNS[kind](None))


@pytest.mark.parametrize("every", [1, 2, 3, 100])
@pytest.mark.parametrize("kind", RUNS)
def test_broken_off_at_any_step_and_gone_on(kind, every, tmp_path):
    run, expected = RUNS[kind], RUNS[kind](None)
    for call in range(1000):
        path = tmp_path / f"run{call}"
        try:
            run(path, breaking(LOSSES[kind], call), checkpoint_every=every)
        except BrokenOff:
            # Other weights and other chance: nothing but the file can bring back the run.
            check_same(run(path, seed=7 if path.exists() else 0, checkpoint_every=every), expected)
        else:
            break
    assert call >= len(expected[0].step_loss) > 7, "the loss was called once a step at least"


@pytest.mark.parametrize("kind", RUNS)
def test_broken_off_again_and_again(kind, tmp_path):
    path, attempts = tmp_path / "run", 0
    while True:
        attempts += 1
        try:  # one call is a step; three are as many as the end of an epoch takes
            run = RUNS[kind](path, breaking(LOSSES[kind], 3), seed=attempts - 1, checkpoint_every=1)
            break
        except BrokenOff:
            continue
    assert attempts >= 3
    check_same(run, RUNS[kind](None))


def test_patience_and_the_best_epoch_survive(tmp_path):
    options = {"num_epochs": 30, "learning_rate": 0.5, "patience": 2, "checkpoint_every": 1}
    expected = reading(None, **options)
    epochs = len(expected[0].val_loss)
    assert expected[0].best_epoch + 3 == epochs < 30, (
        "the best epoch is not restored here, or never waited for"
    )
    calls = epochs * 6  # four batches of training, two of validation
    for call in (calls - 1, calls - 4, calls - 8, calls - 14):
        path = tmp_path / f"run{call}"
        with pytest.raises(BrokenOff):
            reading(path, breaking(classification_loss, call), **options)
        check_same(reading(path, seed=7, **options), expected)


@pytest.mark.parametrize("kind", RUNS)
def test_a_finished_run_comes_back_at_once(kind, tmp_path):
    path = tmp_path / "run"
    expected = RUNS[kind](path)
    content = path.read_bytes()
    check_same(RUNS[kind](str(path), breaking(LOSSES[kind], 0), seed=7), expected)
    assert path.read_bytes() == content


def test_a_run_that_was_good_enough_takes_no_further_step(tmp_path):
    def stop(epoch: int, history: History) -> None:  # noqa: ARG001
        raise BrokenOff

    with pytest.raises(BrokenOff):
        streaming(tmp_path / "run", checkpoint_every=1, on_epoch=stop)
    expected = streaming(None)
    assert 20 <= len(expected[0].step_loss) < 40, "this run is not good enough before its end"
    check_same(streaming(tmp_path / "run", seed=7, checkpoint_every=1), expected)


def test_on_epoch_is_called_for_the_epochs_that_are_left(tmp_path):
    seen: list[tuple[int, int]] = []
    note = lambda epoch, history: seen.append((epoch, len(history.val_loss)))
    with pytest.raises(BrokenOff):
        reading(tmp_path / "run", breaking(classification_loss, 8), on_epoch=note)
    assert seen == [(0, 1)]
    reading(tmp_path / "run", on_epoch=note)
    assert seen == [(0, 1), (1, 2), (2, 3)]


# --- killed ------------------------------------------------------------------------------------------


def dying(at: str, count: int) -> Loss:
    """Make a loss that kills this process at a step, or prepare the death in the middle of writing a file."""
    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
    if at == "step":
        calls = iter(range(10**9))
        return lambda p, y: kill() if next(calls) == count else classification_loss(p, y)
    files, write = iter(range(10**9)), Path.write_bytes

    def write_half(self: Path, content: bytes) -> int:
        last = next(files) == count
        written = write(self, content[: len(content) // 2] if last else content)
        if last:
            kill()
        return written

    Path.write_bytes = write_half  # type: ignore[method-assign]
    return classification_loss


def main(path: str, at: str = "", count: str = "0") -> None:
    """Run in a process of its own: train, and write down how it ended."""
    loss_fn = dying(at, int(count)) if at else classification_loss
    history, weights, states = reading(Path(path), loss_fn, seed=0 if at else 7, checkpoint_every=3)
    ended = [repr(history), fingerprint(weights), *(fingerprint({"state": state}) for state in states)]
    Path(path + ".json").write_text(json.dumps(ended), encoding="utf-8")


def in_a_process(*arguments: object) -> int:
    root = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(root), str(root / "tests")])
    code = "import sys, test_checkpoint; test_checkpoint.main(*sys.argv[1:])"
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=env, check=False).returncode


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(("at", "count"), [("step", 11), ("write", 3)])
def test_killed_in_the_middle_of_an_epoch_and_gone_on_in_a_new_process(at, count, tmp_path):
    path = tmp_path / "run"
    assert in_a_process(path, at, count) == -signal.SIGKILL
    position = json.loads(load_tensors(path, "")[1]["training_run"])["position"]
    assert (position["epoch"], position["step"]) == (1, 3)
    assert in_a_process(path) == 0
    history, weights, states = reading(None)
    expected = [repr(history), fingerprint(weights), *(fingerprint({"state": state}) for state in states)]
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == expected
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run", "run.json"]


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
def test_a_full_disk_leaves_the_checkpoint_before(method, tmp_path, monkeypatch):
    path, whole, calls = tmp_path / "run", getattr(Path, method), iter(range(100))

    def full(self: Path, content: object) -> object:
        if next(calls) == 5:
            if method == "write_bytes":
                whole(self, content[:100])
            raise OSError(28, "No space left on device")
        return whole(self, content)

    monkeypatch.setattr(Path, method, full)
    with pytest.raises(OSError, match="No space left"):
        reading(path, checkpoint_every=1)
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    check_same(reading(path, seed=7, checkpoint_every=1), reading(None))


# --- what is not finite ------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(tmp_path):
    calls = iter(range(100))
    bad = lambda p, y: classification_loss(p, y) * (math.nan if next(calls) == 3 else 1.0)
    run = lambda path, every: streaming(path, squared_error_but(math.nan, at=3), checkpoint_every=every)
    path = tmp_path / "run"
    with pytest.raises(FloatingPointError, match=rf"epoch 0, step 3: .*{path}, of epoch 0, step 2\b"):
        run(path, 2)
    other = tmp_path / "other"
    with pytest.raises(FloatingPointError, match="no checkpoint was written yet"):
        run(other, 4)
    assert not other.exists()
    with pytest.raises(FloatingPointError, match=r"no checkpoint was asked for \(checkpoint=path\)"):
        run(None, 2)
    check_same(streaming(path, seed=7, checkpoint_every=2), streaming(None))
    with pytest.raises(FloatingPointError, match=r"epoch 0, step 3: .* of epoch 0, step 2\b"):
        reading(tmp_path / "third", bad, checkpoint_every=2)


def squared_error_but(value: float, *, at: int) -> Loss:
    calls = iter(range(10**9))
    return lambda p, y: squared_error(p, y) * (value if next(calls) == at else 1.0)


def test_after_a_resumption_the_checkpoint_is_known_before_one_is_written(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(BrokenOff):
        streaming(path, breaking(squared_error, 5), checkpoint_every=4)
    with pytest.raises(FloatingPointError, match=rf"epoch 0, step 5: .*{path}, of epoch 0, step 4\b"):
        streaming(path, squared_error_but(math.inf, at=1), checkpoint_every=4)


# --- what is refused ---------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Break a run off in the middle of its second epoch."""
    path = tmp_path / "run"
    with pytest.raises(BrokenOff):
        reading(path, breaking(classification_loss, 9), checkpoint_every=2)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_epochs": 4}, "num_epochs was 3, is 4"),
        ({"learning_rate": 0.2}, r"learning_rate was 0\.1, is 0\.2"),
        ({"schedule": "constant"}, "schedule was one-cycle, is constant"),
        ({"max_grad_norm": math.inf}, r"max_grad_norm was 1\.0, is inf"),
        ({"patience": 2}, "patience was None, is 2"),
        ({"stop_below": 0.1}, r"stop_below was None, is 0\.1"),
        ({"val_batches": None}, "validates was True, is False; num_generators was 2, is 1"),
        ({"num_epochs": 1, "learning_rate": 1.0}, r"num_epochs was 3, is 1; learning_rate was 0\.1, is 1\.0"),
    ],
)
def test_another_recipe_is_refused_by_name(saved, options, message):
    content = saved.read_bytes()
    with pytest.raises(ValueError, match=rf"run is the checkpoint of another run \({message}\): ask for"):
        reading(saved, **options)
    assert saved.read_bytes() == content


def test_another_model_and_other_data_are_refused_by_name(saved):
    def go_on(batch_size: int = 5, seed: int = 0, **sizes: object) -> None:
        generator = seed_everything(seed)
        config = {"vocab_size": 30, "embedding_dim": 3, "hidden_size": 3, "rnn_type": "rnn"} | sizes
        model = TextClassifier(ClassifierConfig(**config))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        texts, labels = sentences()
        batches = Batches(texts[::-1], labels, batch_size=batch_size, generator=generator)
        val = Batches(*sentences(), batch_size=11, generator=torch.Generator())
        try:
            train(model, batches, num_epochs=3, learning_rate=0.1, val_batches=val, checkpoint=saved)
        finally:
            if sizes:
                assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)

    with pytest.raises(ValueError, match=r"weight embedding\.weight was .*\(30, 3\), is .*\(31, 3\)\)"):
        go_on(vocab_size=31)
    with pytest.raises(ValueError, match=r"weight rnn\.backwards\.0\.\w+ was absent, is torch\.float32"):
        go_on(bidirectional=True)
    with pytest.raises(ValueError, match="num_batches was 4, is 5"):
        go_on(batch_size=4)
    with pytest.raises(ValueError, match="epoch 1, step 1: this is not the batch of the run"):
        go_on()


def test_a_stream_needs_its_generator_to_go_on(tmp_path):
    stream = Stream(lambda: (torch.ones(1, 3), torch.ones(1, 1)), 3)
    with pytest.raises(ValueError, match=r"from its generator: Stream\(\.\.\., generator=\.\.\.\)"):
        train(nn.Linear(3, 1), stream, squared_error, checkpoint=tmp_path / "run")


def test_a_checkpoint_that_could_not_be_written_is_refused_at_once(tmp_path):
    lost = tmp_path / "no" / "run"
    with pytest.raises(FileNotFoundError, match=r"no folder .*no for the checkpoint"):
        reading(lost, breaking(classification_loss, 0))
    with pytest.raises(ValueError, match="checkpoint_every of at least 1 step, got 0"):
        reading(tmp_path / "run", checkpoint_every=0)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        reading(tmp_path)


def tiny(path: Path) -> TrainingRun:
    """Write the checkpoint of a run of one weight."""
    torch.manual_seed(0)
    run = TrainingRun(nn.Linear(1, 1, bias=False), Recipe(1, 3, 0.1, "one-cycle"), [])
    run.save(path)
    return run


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    path = tmp_path / "run"
    run = tiny(path)
    raw = path.read_bytes()
    for place in [*range(0, len(raw), 17), len(raw) - 1]:
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=rf"{path} .*(delete it to begin anew|give another path)"):
            run.load(path)
    path.write_bytes(raw)
    run.load(path)


def test_every_part_of_a_checkpoint_is_under_the_hash(tmp_path):
    path = tmp_path / "run"
    run = tiny(path)
    tensors, metadata = load_tensors(path, "")
    assert {"model.weight", "random.global", "random.now"} <= tensors.keys()
    with safe_open(path, framework="pt") as file:
        digest = file.metadata()["sha256"]
    for name in tensors:
        changed = {**tensors, name: tensors[name] + 1}
        save_file(changed, path, {**metadata, "sha256": digest})
        with pytest.raises(ValueError, match="changed after it was saved"):
            run.load(path)
    text = metadata["training_run"].replace('"step": 0', '"step": 1')
    assert text != metadata["training_run"]
    save_file(tensors, path, {"training_run": text, "sha256": digest})
    with pytest.raises(ValueError, match="changed after it was saved"):
        run.load(path)


def test_a_file_that_is_cut_off_or_of_another_kind(saved):
    raw = saved.read_bytes()
    for length in (0, 1, 8, 100, len(raw) // 2, len(raw) - 1):
        saved.write_bytes(raw[:length])
        with pytest.raises(ValueError, match=r"run is no whole safetensors file .*delete it to begin anew"):
            reading(saved)
    for content in (pickle.dumps({"epoch": 1}), b"PK\3\4 a file of torch.save", b"{}"):
        saved.write_bytes(content)
        with pytest.raises(ValueError, match=r"run is no whole safetensors file .*delete it to begin anew"):
            reading(saved)
        assert saved.read_bytes() == content, "a file of another was overwritten"
    model = TextClassifier(ClassifierConfig(3, 3, 3))
    save_classifier(saved, model, Vocab((PAD, UNKNOWN, "a")))
    with pytest.raises(ValueError, match="run is no checkpoint of train: give another path"):
        reading(saved)


# --- the file ----------------------------------------------------------------------------------------


def test_tensors_come_back_as_they_were(tmp_path):
    shared = torch.arange(6.0)
    tensors = {
        "a": shared,
        "part of a": shared[2:4],
        "turned": torch.arange(6).reshape(2, 3).t(),
        "number": torch.tensor(3.5, dtype=torch.float64),
        "empty": torch.zeros(0, 4),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "odd": torch.tensor([math.nan, math.inf, -0.0]),
    }
    texts = {"é": '日本 \u2028 \\ "', "b": ""}
    save_tensors(tmp_path / "file", tensors, texts)
    loaded, metadata = load_tensors(tmp_path / "file", "")
    assert metadata == texts
    assert loaded.keys() == tensors.keys()
    for name, value in tensors.items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0, equal_nan=True)
