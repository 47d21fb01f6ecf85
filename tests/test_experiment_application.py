"""The experiments of the part on classification: what is compared saw the same texts, and nothing leaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments import ablation, article_network, chinese, imdb, text_classification
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.corpus import Split
from rnnbook.datasets import load
from rnnbook.results import load_results

TINY = replace(
    text_classification.SENTENCES,
    config=ClassifierConfig(0, embedding_dim=4, hidden_size=4),
    vocab_size=300,
    num_epochs=1,
)


@pytest.fixture(scope="module")
def parts() -> tuple[Split, Split]:
    data = load("film_sentences").train
    return data.take(range(200)), data.take(range(200, 300))


def outcome(seed: int, accuracy: float, model: str = "m") -> imdb.Outcome:
    return imdb.Outcome(model, seed, accuracy, None, 1.0, 10)


def test_a_variant_is_compared_with_the_base_of_the_same_seed():
    scores = {
        (ablation.BASE, 1): 0.6,
        ("width: 128", 0): 0.7,
        (ablation.BASE, 0): 0.8,
        ("width: 128", 1): 0.7,
    }
    runs = [outcome(seed, score, model) for (model, seed), score in scores.items()]
    wide = ablation.differences(runs)
    assert [(run.model, run.seed) for run in wide] == [("width: 128", 0), ("width: 128", 1)]
    assert [run.accuracy for run in wide] == pytest.approx([-0.1, 0.1])


def test_rows_hold_the_runs_of_one_task_and_model_in_their_order():
    runs = [outcome(1, 0.8, "a"), outcome(0, 0.5, "b"), outcome(0, 0.6, "a")]
    first, second = imdb.rows_of(runs, {"": 100}, "a metric")
    assert (first.model, first.seeds, first.values, first.metric) == ("a", [1, 0], [0.8, 0.6], "a metric")
    assert (second.model, second.values, second.note[-14:]) == ("b", [0.5], "100 test items")


@pytest.mark.parametrize("plan", [plan for _, plan in text_classification.TASKS.values()])
def test_each_variant_changes_something_and_can_be_built(plan):
    plans = ablation.variants(plan)
    for name, variant in plans.items():
        TextClassifier(replace(variant.config, vocab_size=50))
        by_tokens = name in (ablation.SUBWORDS, ablation.CHARACTERS)
        assert (variant != plan) == (name != ablation.BASE) or by_tokens
    assert (ablation.WINDOW in plans) == (plan.max_len is not None)


def test_sub_words_are_learned_from_the_training_texts_and_cut_every_text():
    pytest.importorskip("sentencepiece")
    cut = ablation.SubWords(load("film_sentences").train.texts)
    pieces = cut("An unfilmable film.")
    assert "".join(pieces).replace("▁", " ").strip() == "an unfilmable film ."
    assert len(pieces) > 4


def test_the_variants_run_on_characters(parts):
    made = ablation.run(ablation.CHARACTERS, TINY, *parts, seed=0)
    words = ablation.run(ablation.BASE, TINY, *parts, seed=0)
    assert made.model == ablation.CHARACTERS
    assert made.num_parameters < words.num_parameters  # fewer characters than words
    assert len(made.log_odds) == len(parts[1])


def test_a_step_of_the_ladder_is_scored_on_its_own_and_on_new_sentences(parts, monkeypatch):
    monkeypatch.setitem(article_network.SETTINGS, "num_epochs", 8)
    monkeypatch.setitem(article_network.SETTINGS, "learning_rate", 1e-2)
    made = article_network.run(article_network.STEPS[3], *parts, seed=0)
    assert made[article_network.REPORTED].accuracy > 0.9 > made[article_network.NEW].accuracy
    written = article_network.run(article_network.STEPS[0], *parts, seed=0)
    assert written[article_network.NEW].accuracy in (
        pytest.approx(parts[1].labels.mean()),
        pytest.approx(1 - parts[1].labels.mean()),
    )


def test_the_control_learns_its_labels_by_heart_and_nothing_else(parts, monkeypatch):
    monkeypatch.setitem(article_network.SETTINGS, "control_epochs", 12)
    monkeypatch.setitem(article_network.SETTINGS, "learning_rate", 1e-2)
    made = article_network.run(article_network.CONTROL, *parts, seed=0)
    assert made[article_network.REPORTED].accuracy > 0.9
    assert 0.35 < made[article_network.NEW].accuracy < 0.65


def test_chinese_texts_are_cut_in_one_script_and_one_width():
    pytest.importorskip("opencc")
    assert chinese.cut_characters("這間 飯店ＯＫ") == [*"这间饭店ok"]
    assert "".join(chinese.cut_words("這間飯店很好!")) == "这间饭店很好!"


def test_pairs_of_tokens_count_in_the_chinese_baseline():
    train = Split(("好 不", "不 好") * 4, np.array([1, 0] * 4))
    made = chinese.run_linear("m", str.split, train, train)
    assert made.accuracy == 1.0  # single tokens are the same in both: only the pairs differ


# --- what is recorded ------------------------------------------------------------------------------


def by_model(name: str, task: str) -> dict[str, object]:
    return {row.model: row for row in load_results(name) if task in row.task}


def test_the_recorded_ladder_goes_up_and_the_control_does_not():
    new = by_model("article_network", article_network.NEW)
    reported = by_model("article_network", article_network.REPORTED)
    assert set(new) == set(reported) == {*article_network.STEPS, article_network.CONTROL}
    assert all(len(row.values) == 5 for row in new.values())
    assert abs(new["as written"].mean - 0.5) < 0.03
    assert new[article_network.STEPS[-1]].mean > 0.72
    assert reported[article_network.CONTROL].mean > 0.95
    assert abs(new[article_network.CONTROL].mean - 0.5) < 0.03


def test_the_ablation_has_all_variants_over_five_seeds():
    for task, plan in text_classification.TASKS.values():
        rows = by_model("ablation", task.split(",")[0])
        assert set(rows) == set(ablation.variants(plan))
        assert all(len(row.values) == 5 for row in rows.values())


@pytest.mark.parametrize("task", chinese.TASKS.values())
def test_the_recorded_networks_on_chinese_on_words_are_not_below_the_counts_of_characters(task):
    rows = by_model("chinese", task)
    baseline = rows["TF-IDF characters and pairs + logistic regression"].mean
    assert rows["GRU on words"].low >= baseline
    assert rows[chinese.GRU.model].high < baseline  # on characters they are
    assert all(len(rows[model].values) == 5 for model in (chinese.GRU.model, "GRU on words", chinese.SUM))
