"""`make book` builds again when, and only when, something that a page depends on has changed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from _ext.lean_site import lean_picture
from tools import book


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stand in a book of one page; return what was built, with 0 as the exit status of each build."""
    site = tmp_path / "_build" / "html"
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "one.ipynb").write_text("{}")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "book.css").write_text("p {}")
    done: list[int] = []

    def run(*_: object, **__: object) -> SimpleNamespace:
        site.mkdir(parents=True, exist_ok=True)
        (site / "index.html").touch()
        done.append(0)
        return SimpleNamespace(returncode=done[-1])

    monkeypatch.setattr(book, "ROOT", tmp_path)
    monkeypatch.setattr(book, "SITE", site)
    monkeypatch.setattr(book, "BUILT_FROM", tmp_path / "_build" / "inputs.sha256")
    monkeypatch.setattr(book.subprocess, "run", run)
    return done


def test_a_site_of_the_same_inputs_is_not_built_again(runs, capsys):
    book.build()
    book.build()
    assert len(runs) == 1
    assert "nothing has changed since" in capsys.readouterr().out


@pytest.mark.parametrize("changed", ["chapters/one.ipynb", "chapters/two.md", "assets/book.css", "intro.md"])
def test_a_change_builds_it_again(runs, changed):
    book.build()
    (book.ROOT / changed).write_text("changed")
    book.build()
    assert len(runs) == 2


def test_a_copy_that_jupyter_keeps_is_no_change(runs):
    book.build()
    (book.ROOT / "chapters" / ".ipynb_checkpoints").mkdir()
    (book.ROOT / "chapters" / ".ipynb_checkpoints" / "one.ipynb").write_text("old")
    book.build()
    assert len(runs) == 1


@pytest.mark.usefixtures("runs")
def test_a_failed_build_is_tried_again(monkeypatch):
    book.build()
    (book.ROOT / "intro.md").write_text("broken")
    monkeypatch.setattr(book.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    for _ in range(2):
        with pytest.raises(SystemExit, match="not built"):
            book.build()


def test_a_deleted_site_is_built_again(runs):
    book.build()
    (book.SITE / "index.html").unlink()
    book.build()
    assert len(runs) == 2


def test_pictures_keep_their_looks_and_lose_weight(tmp_path):
    path = tmp_path / "figure.png"
    picture = Image.open(ROOT / "assets" / "reading.png").convert("RGB")
    path.write_bytes((ROOT / "assets" / "reading.png").read_bytes())
    before = path.stat().st_size
    lean_picture(path)
    after = Image.open(path)
    assert path.stat().st_size < before
    assert after.size == picture.size
    pair = [np.asarray(image.convert("RGB"), int) for image in (after, picture)]
    worst = int(np.abs(pair[0] - pair[1]).max())
    assert worst < 40


def test_a_picture_that_one_can_see_through_is_left_alone(tmp_path):
    path = tmp_path / "figure.png"
    Image.new("RGBA", (50, 50), (200, 30, 30, 100)).save(path)
    before = path.read_bytes()
    lean_picture(path)
    assert path.read_bytes() == before
