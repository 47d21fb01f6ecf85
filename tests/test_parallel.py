"""Two processes take the steps of one, refuse to differ, and survive the death of a worker.

Started by ``torchrun`` this file is a program too: each rank runs the jobs below and notes how they ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from rnnbook import checkpoint
from rnnbook.batches import Batches, StreamBatches, pad_sequences
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.files import fingerprint
from rnnbook.losses import Objective, classification_loss, squared_error
from rnnbook.parallel import Ranks, share_of
from rnnbook.repro import pick_device, seed_everything
from rnnbook.train import Stream, learning_rate_range, train

SIZES = (4, 5, 1, 3)  # of the batches: an odd one, one of a single row, a ragged last one
Notes = dict[str, Any]


# --- the jobs, run by one process and by two ---------------------------------------------------------


def texts(sizes: tuple[int, ...] = SIZES) -> list[tuple[Tensor, ...]]:
    """Make batches of texts of 1 to 9 tokens with labels at random."""
    generator = torch.Generator().manual_seed(3)
    batches = []
    for size in sizes:
        lengths = torch.randint(1, 10, (size,), generator=generator).tolist()
        ids = [torch.randint(2, 30, (n,), generator=generator) for n in lengths]
        batches.append((*pad_sequences(ids), torch.randint(0, 2, (size,), generator=generator)))
    return batches


def classifier(seed: int = 0, **options: object) -> TextClassifier:
    seed_everything(seed)
    return TextClassifier(ClassifierConfig(30, 4, 5, bidirectional=True, **options))


def reading(dtype: torch.dtype, **options: object) -> Notes:
    model = classifier().to(dtype)
    options = {"num_epochs": 2, "learning_rate": 0.01, "max_grad_norm": 0.1} | options
    return noted(train(model, texts(), **options), model)


def choosing() -> Notes:
    """Validate, wait, stop early, and put the best weights back."""
    generator, model = seed_everything(1), classifier().double()
    ids = [row[:n] for tokens, lengths, _ in texts() for row, n in zip(tokens, lengths, strict=True)]
    labels = [int(len(row) > 4) for row in ids]
    batches = Batches(ids[:9], labels[:9], batch_size=4, generator=generator)
    val = Batches(ids[9:], [1 - label for label in labels[9:]], batch_size=3)
    history = train(model, batches, num_epochs=9, learning_rate=0.1, val_batches=val, patience=2)
    assert len(history.val_loss) < 9
    return noted(history, model)


class Line(nn.Module):
    """A line of one number, for segments of a stream: as many targets a row as it has time steps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(1, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x.double()[:, :, None])[:, :, 0]


def segments() -> Notes:
    stream, model = torch.arange(35) % 7, Line()
    batches = [(x, y.double()) for x, y in StreamBatches(stream, batch_size=3, seq_len=4)]
    return noted(train(model, batches, squared_error, learning_rate=0.1), model)


def drawing() -> Notes:
    generator = seed_everything(0)
    model = nn.Linear(3, 1).double()

    def draw() -> tuple[Tensor, Tensor]:
        x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
        return x, x.sum(dim=1, keepdim=True)

    stream = Stream(draw, 60, generator=generator)
    history = train(model, stream, squared_error, learning_rate=0.3, schedule="constant", stop_below=0.5)
    assert 20 < len(history.step_loss) < 60
    return noted(history, model)


def trying_rates() -> Notes:
    rates, losses = learning_rate_range(classifier().double(), texts(), num_steps=6)
    return {"rates": rates, "losses": losses}


JOBS: dict[str, Callable[[], Notes]] = {
    "float64": lambda: reading(torch.float64),
    "float32": lambda: reading(torch.float32),
    "attacked": lambda: reading(torch.float64, adversarial_epsilon=0.3),
    "choosing": choosing,
    "segments": segments,
    "drawing": drawing,
    "trying rates": trying_rates,
}


def noted(history: checkpoint.History, model: nn.Module) -> Notes:
    weights = {name: value.flatten().tolist() for name, value in model.state_dict().items()}
    chance = fingerprint({"global": torch.get_rng_state()})
    return {"history": asdict(history), "weights": weights, "chance": chance}


# --- what only several processes do ------------------------------------------------------------------


def falling_out(path: Path, loss_fn: Callable[[Tensor, Tensor], Tensor] = classification_loss) -> Notes:
    """Train with dropout and a checkpoint; note the masks of this rank too."""
    generator, model, masks = seed_everything(0), classifier(dropout=0.5, word_dropout=0.2), []
    model.dropout.register_forward_hook(lambda module, inputs, mask: masks.append(mask.flatten().tolist()))
    ids = [row[:n] for tokens, lengths, _ in texts() for row, n in zip(tokens, lengths, strict=True)]
    batches = Batches(ids, [i % 2 for i in range(len(ids))], batch_size=4, generator=generator)
    options = {"num_epochs": 3, "learning_rate": 0.05, "checkpoint": path, "checkpoint_every": 3}
    return noted(train(model, batches, loss_fn, **options), model) | {"masks": masks[:4]}


def dying() -> Callable[[Tensor, Tensor], Tensor]:
    """Kill rank 1 in the seventh step, in the second epoch, the first time the program is started."""
    if os.environ["TORCHELASTIC_RESTART_COUNT"] != "0" or os.environ["RANK"] != "1":
        return classification_loss
    calls = iter(range(10**6))
    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
    return lambda logits, targets: kill() if next(calls) == 6 else classification_loss(logits, targets)


class Short(list[Any]):
    """Batches that end before the last one, against what they say."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:-1])


def other(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (*batch[:-1], 1 - batch[-1])


def refusals(rank: int) -> dict[str, Callable[[], object]]:
    """Give rank 1 something else than rank 0, in one point each."""
    data, first = texts(), rank == 0
    return {
        "recipe": lambda: train(classifier(), data, learning_rate=0.1 if first else 0.2),
        "epsilon": lambda: train(classifier(), data, adversarial_epsilon=float(rank)),
        "fewer batches": lambda: train(classifier(), data if first else data[:3]),
        "shapes": lambda: train(classifier(num_layers=1 + rank), data),
        "values": lambda: train(classifier(seed=rank), data),
        "chance": lambda: (model := classifier(), torch.manual_seed(rank), train(model, data)),
        "a batch": lambda: train(classifier(), [*data[:2], data[2] if first else other(data[2])]),
        "an early end": lambda: train(classifier(), data if first else Short(data)),
    }


def main(job: str, folder: str) -> None:
    """Do a job as one rank, and write down what came out."""
    rank = int(os.environ["RANK"])
    note = lambda notes: Path(folder, f"{job}.{rank}.json").write_text(json.dumps(notes), encoding="utf-8")
    if job == "together":
        wrote: list[Path] = []
        save = checkpoint.save_tensors
        checkpoint.save_tensors = lambda path, *content: (wrote.append(path), save(path, *content))  # type: ignore[assignment]
        notes = {name: run() for name, run in JOBS.items()}
        notes["alone"] = {"process group": dist.is_initialized(), "size": dist.get_world_size()}
        notes["dropout"], notes["again"] = (falling_out(Path(folder, name)) for name in ("dropout", "again"))
        notes["finished"] = falling_out(Path(folder, "again"))
        notes["wrote"] = len(wrote)
        start = time.monotonic()
        for name, run in refusals(rank).items():
            try:
                run()
            except ValueError as error:
                notes[name] = str(error)
        notes["seconds"] = time.monotonic() - start
        notes["float64 after all"] = JOBS["float64"]()
        note(notes)
        refusals(rank)["a batch"]()  # and nobody catches it
    else:
        note(falling_out(Path(folder, "run"), dying()))


def torchrun(job: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(root), str(root / "tests")])
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "RNNBOOK_PROGRESS": "0"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *options]
    command += ["-m", "test_parallel", job, str(folder)]
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=300)


def notes_of(job: str, folder: Path) -> list[Notes]:
    return [json.loads((folder / f"{job}.{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[Notes]:
    folder = tmp_path_factory.mktemp("together")
    ended = torchrun("together", folder)
    # The last thing this program does is to differ between its ranks, so it has to fail, in these words.
    assert ended.returncode != 0
    assert "ValueError: rank 1 differs from rank 0: batch is" in ended.stderr, ended.stderr
    return notes_of("together", folder)


# --- the same steps ----------------------------------------------------------------------------------


def without(name: str, notes: Notes) -> Notes:
    return {key: value for key, value in notes.items() if key != name}


def check_close(found: Any, expected: Any, tolerance: float) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            check_close(found[name], expected[name], tolerance)
    else:
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance, nan_ok=True)


@pytest.mark.parametrize("job", JOBS)
def test_two_processes_take_the_steps_of_one(job, together):
    alone, (first, second) = JOBS[job](), (notes[job] for notes in together)
    assert first == second, "the ranks ended apart"
    check_close(without("chance", first), without("chance", alone), 1e-6 if job == "float32" else 1e-12)


def test_these_batches_can_tell_a_mean_of_means_from_a_mean():
    losses = []
    for batch in texts():
        shares = [share_of(batch, rank, 2) for rank in (0, 1)]
        means = [Objective(classifier(), classification_loss)(*rows).item() for rows, _ in shares]
        weighted = [weight * mean for (_, weight), mean in zip(shares, means, strict=True)]
        whole = Objective(classifier(), classification_loss)(*batch).item()
        assert sum(weighted) / 2 == pytest.approx(whole, abs=1e-6)
        losses.append(sum(means) / 2 - whole)
    assert min(abs(loss) for loss in losses[1:2] + losses[3:]) > 1e-4


def test_a_second_training_in_one_script_and_after_refusals(together):
    for notes in together:
        assert notes["float64 after all"] == notes["float64"]
        assert notes["alone"] == {"process group": True, "size": 2}


def test_dropout_differs_between_ranks_and_nothing_else_does(together):
    first, second = (notes["dropout"] for notes in together)
    assert all(a[: len(b)] != b[: len(a)] for a, b in zip(first["masks"], second["masks"], strict=True))
    assert without("masks", first) == without("masks", second)
    assert [notes["again"] for notes in together] == [first, second], "the same run twice"


def test_one_rank_writes_and_all_read(together):
    # Of four batches an epoch the third is kept, and the end; the finished run is read and not written.
    assert [notes["wrote"] for notes in together] == [2 * 3 * 2, 0]
    for notes in together:
        assert notes["finished"]["masks"] == []
        assert notes["finished"]["weights"] == notes["again"]["weights"]
        assert notes["finished"]["history"] == notes["again"]["history"]


# --- what is refused ---------------------------------------------------------------------------------

HASH = "[0-9a-f]{12}"
MESSAGES = {
    "recipe": r"0: learning_rate is 0\.2, not 0\.1: on each rank call seed_everything with one seed",
    "epsilon": r"0: adversarial_epsilon is 1\.0, not 0\.0: on each",
    "fewer batches": "0: num_batches is 3, not 4: on each",
    "shapes": r"0: weight rnn\.\w+\.1\.weight_ih_l0 is torch\.float32 \([\d, ]+\), not absent; weight",
    "values": rf"0: values of embedding\.weight is {HASH}, not {HASH}; values of .*; and \d+ more: on each",
    "chance": rf"0: random state global is {HASH}, not {HASH}: on each",
    "a batch": rf"0: batch is {HASH}, not {HASH}: on each",
    "an early end": r"0: position is Position\(epoch=1.*\), not epoch 0, step 3; ",
}


@pytest.mark.parametrize("what", MESSAGES)
def test_a_rank_that_differs_is_refused_on_every_rank_in_the_same_words(what, together):
    first, second = (notes[what] for notes in together)
    assert first == second
    with pytest.raises(ValueError, match=rf"^rank 1 differs from rank {MESSAGES[what]}"):
        raise ValueError(first)


def test_ranks_that_differ_do_not_wait_for_each_other(together):
    assert max(notes["seconds"] for notes in together) < 30


# --- killed ------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_worker_is_started_again_and_the_run_ends_as_if_it_had_lived(together, tmp_path):
    ended = torchrun("killed", tmp_path, "--max-restarts=3")
    assert ended.returncode == 0, ended.stderr
    assert "SIGKILL" in ended.stderr or "exitcode: -9" in ended.stderr, "nobody was killed"
    for notes, undisturbed in zip(notes_of("killed", tmp_path), together, strict=True):
        for name in ("history", "weights", "chance"):
            assert notes[name] == undisturbed["dropout"][name], name


# --- one process, and shares -------------------------------------------------------------------------


def test_one_process_under_torchrun_is_one_process(monkeypatch):
    expected = JOBS["float32"]()
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    assert dist.is_torchelastic_launched()
    assert JOBS["float32"]() == expected
    assert not dist.is_initialized()
    ranks = Ranks(Objective(nn.Linear(1, 1), squared_error))
    assert (ranks.rank, ranks.size) == (0, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_a_partition_without_needless_padding(size):
    for batch in texts((7, 4, 1)):
        shares = [share_of(batch, rank, size) for rank in range(size)]
        kept = [rows for rows, weight in shares if weight]
        found = sorted(
            row[:n].tolist() for tokens, lengths, _ in kept for row, n in zip(tokens, lengths, strict=True)
        )
        tokens, lengths, labels = batch
        assert found == sorted(row[:n].tolist() for row, n in zip(tokens, lengths, strict=True))
        assert sorted(torch.cat([rows[2] for rows in kept]).tolist()) == sorted(labels.tolist())
        assert all(rows[0].shape == (len(rows[1]), int(rows[1].max())) for rows, _ in shares)
        assert [weight for _, weight in shares] == [
            pytest.approx(len(range(rank, len(labels), size)) * size / len(labels)) for rank in range(size)
        ]


def test_numbers_that_are_no_lengths_cut_nothing():
    zeros, twos = torch.zeros(4, 6, dtype=torch.int64), torch.full((4,), 2)
    padded = torch.tensor([[1, 1, 0, 0, 0, 0]] * 4)
    for batch in (
        (zeros, twos, twos),
        (padded.flip(1), twos, twos),
        (padded, padded),
        (padded, twos, padded),
    ):
        rows, _ = share_of(batch, 0, 2)
        assert all(torch.equal(row, part[::2]) for row, part in zip(rows, batch, strict=True))
    assert share_of((padded, twos, twos), 0, 2)[0][0].shape == (2, 2)


def test_rows_that_do_not_belong_together():
    with pytest.raises(
        ValueError, match=r"one row an example, .*2 processes, got shapes \[\(3, 2\), \(2,\)\]"
    ):
        share_of((torch.zeros(3, 2), torch.zeros(2)), 0, 2)


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device("cuda") == torch.device("cuda:1")
    assert pick_device("cuda:0") == torch.device("cuda:0")
    assert pick_device("cpu") == torch.device("cpu")


if __name__ == "__main__":
    main(*sys.argv[1:])
