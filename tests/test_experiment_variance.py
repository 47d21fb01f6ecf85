"""Seeds and splits: each split is another cut, a seed is the only chance, and no test label is read early."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments import variance
from rnnbook.datasets import Split, load
from rnnbook.results import load_results


@pytest.fixture(scope="module")
def data() -> Split:
    return load("film_sentences").train.take(range(400))


def test_a_split_holds_every_sentence_once_and_the_next_is_another(data):
    parts = variance.cut(0, data)
    assert sorted(text for part in parts for text in part.texts) == sorted(data.texts)
    assert variance.cut(0, data)[2].texts == parts[2].texts
    assert set(variance.cut(1, data)[2].texts) != set(parts[2].texts)


def test_a_run_depends_on_its_seed_alone_and_on_no_test_label(data, monkeypatch):
    monkeypatch.setitem(variance.SETTINGS, "num_epochs", 1)
    train, val, test = variance.cut(0, data)
    turned = replace(test, labels=1 - test.labels)
    for run in (
        lambda part: variance.run_lstm((train, val, part), 0)[0],
        lambda part: line(train, val, part),
    ):
        assert run(test) == run(test) == pytest.approx(1 - run(turned))


def line(train, val, test):
    return variance.run_linear((train, val, test))[0]


def test_the_record_has_a_row_of_each_kind_a_split():
    rows = load_results("variance")
    splits = sorted({row.task for row in rows})
    assert len(splits) == 8
    for model, seeds in ((variance.LSTM, 8), (variance.LINEAR, 1)):
        mine = [row for row in rows if row.model == model]
        assert sorted(row.task for row in mine) == splits
        assert {len(row.values) for row in mine} == {seeds}
