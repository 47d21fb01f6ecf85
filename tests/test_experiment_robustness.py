"""The robustness record: attacks beat their controls, defences give back what the chapter says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments import robustness
from experiments.robustness import EMBEDDED, NEUTRAL, RANDOM, SWAPPED, WAYS
from rnnbook.results import load_record, load_results
from rnnbook.text import tokenize


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], list[float]]:
    return {
        (row.task.removeprefix(f"{robustness.TASK}: "), row.model): row.values
        for row in load_results("robustness")
    }


def mean(rows: dict, attack: str, model: str = "plain") -> float:
    return float(np.mean(rows[attack, model]))


# --- the record ----------------------------------------------------------------------------------


def test_the_record_holds_five_seeds_of_each_model_on_texts_of_today(rows):
    record = load_record("robustness")
    assert record["settings"] == json.loads(json.dumps(robustness.asdict(robustness.Settings())))
    assert record["num_texts"] == robustness.NUM_TEXTS
    assert {model for _, model in rows} == set(WAYS)
    assert all(len(values) == 5 for values in rows.values())
    assert all(0.70 < mean(rows, "clean", model) < 0.85 for model in WAYS)


def test_one_word_brings_the_plain_model_down_and_a_random_one_does_not(rows):
    assert mean(rows, "HotFlip, 1, tried") <= 0.35
    assert mean(rows, "HotFlip, 1") <= 0.40
    assert mean(rows, "random words, 1") >= 0.70


@pytest.mark.parametrize("model", WAYS)
def test_each_attack_beats_its_control_in_every_seed(rows, model):
    pairs = [
        ("HotFlip, 1, tried", "random words, 1"),
        ("HotFlip, neutral, 1, tried", "random words, neutral, 1"),
    ]
    if model != SWAPPED:  # whose gradient misleads, see below
        pairs += [
            (f"HotFlip{kind}, {n}", f"random words{kind}, {n}")
            for kind in ("", ", neutral")
            for n in (1, 2, 3)
        ]
    pairs += [
        (f"{name}, {epsilon:g}", f"random direction, {epsilon:g}")
        for name in ("FGM", "PGD, 10 steps")
        for epsilon in robustness.EPSILONS
    ]
    for attack, control in pairs:
        assert (np.array(rows[attack, model]) < np.array(rows[control, model])).all(), (attack, control)
    assert mean(rows, "HotFlip, 1, tried", model) < mean(rows, "HotFlip, 1", model)


def test_training_on_swapped_words_hides_the_gradient_more_than_it_protects(rows):
    assert mean(rows, "HotFlip, 1", SWAPPED) > mean(rows, "clean", SWAPPED) - 0.02  # the swap tells the label
    assert mean(rows, "HotFlip, 1, transferred", SWAPPED) < mean(rows, "HotFlip, 1", SWAPPED) - 0.1
    assert mean(rows, "telling words, 1", SWAPPED) < 0.35


def test_training_on_neutral_swaps_wins_back_ten_points_for_two_whoever_attacks(rows):
    assert mean(rows, "clean", NEUTRAL) >= mean(rows, "clean") - 0.02
    for attack in ("HotFlip, neutral, 1", "HotFlip, neutral, 1, tried", "telling words, neutral, 1"):
        assert mean(rows, attack, NEUTRAL) >= mean(rows, attack) + 0.1
        assert mean(rows, attack, NEUTRAL) >= mean(rows, attack, RANDOM) + 0.1
    assert abs(mean(rows, "HotFlip, 1, tried", NEUTRAL) - mean(rows, "HotFlip, 1, tried")) < 0.06


def test_embedded_adversaries_win_back_what_they_were_trained_for_and_little_else(rows):
    assert mean(rows, "clean", EMBEDDED) >= mean(rows, "clean") - 0.02
    assert mean(rows, "PGD, 10 steps, 1", EMBEDDED) >= mean(rows, "PGD, 10 steps, 1") + 0.1
    assert mean(rows, "HotFlip, 1, tried", EMBEDDED) < mean(rows, "HotFlip, 1, tried") + 0.06


def test_normalisation_gives_back_what_characters_took_and_not_from_one_who_knows_it(rows):
    clean = mean(rows, "clean")
    for attack, defence in (("invisible", "normalised"), ("homoglyphs", "folded")):
        assert mean(rows, f"{attack}, all, not normalised") < clean - 0.1
        assert mean(rows, f"{attack}, all, {defence}") > clean - 0.03
    assert mean(rows, "invisible beyond, all, normalised") < clean - 0.1
    assert mean(rows, "invisible beyond, all, folded") == pytest.approx(clean, abs=0.01)
    assert mean(rows, "homoglyphs beyond, all, folded") < clean - 0.1
    assert mean(rows, "typos, all, folded") == pytest.approx(
        mean(rows, "typos, all, not normalised"), abs=0.02
    )


# --- the code ------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    rest, attacked = robustness.parts()
    settings = robustness.Settings(embedding_dim=4, hidden_size=4, num_epochs=1, learning_rate=1e-2)
    monkeypatch.setattr(robustness, "parts", lambda: (rest.take(range(150)), attacked.take(range(20))))
    monkeypatch.setattr(robustness, "Settings", lambda: settings)
    monkeypatch.setattr(robustness, "RESULTS", tmp_path)
    for name, size in (("NUM_TEXTS", 20), ("NUM_TRIED", 5), ("NUM_TELLING", 5)):
        monkeypatch.setattr(robustness, name, size)
    monkeypatch.setattr(sys, "argv", ["robustness", "--seeds", "2"])
    return tmp_path


def test_a_seed_that_was_finished_is_not_run_again(tiny, monkeypatch, capsys):
    runs, run = [], robustness.run

    def cut_off(seed, data, settings):
        runs.append(seed)
        if runs == [0, 1]:
            raise KeyboardInterrupt
        return run(seed, data, settings)

    monkeypatch.setattr(robustness, "run", cut_off)
    with pytest.raises(KeyboardInterrupt):
        robustness.main()
    robustness.main()
    assert runs == [0, 1, 1]
    assert list(tiny.iterdir()) == [tiny / "robustness.json"]
    record = json.loads((tiny / "robustness.json").read_text(encoding="utf-8"))
    assert {row["model"] for row in record["rows"]} == set(WAYS)
    assert all(row["seeds"] == [0, 1] for row in record["rows"])
    assert record["words_changed"]["HotFlip, 2"] == 2
    assert record["queries"]["HotFlip, 1, tried"] == 11
    assert "Outcome" in capsys.readouterr().out


def test_the_attacked_texts_are_test_texts_of_enough_words_and_always_the_same():
    rest, attacked = robustness.parts()
    assert len(attacked) == len(set(attacked.texts)) == 500
    assert not set(attacked.texts) & set(rest.texts)
    assert min(len(tokenize(text)) for text in attacked.texts) >= robustness.SHORTEST
    turned = replace(attacked, texts=attacked.texts[::-1], labels=attacked.labels[::-1])
    assert robustness.attacked_part(turned, 100).texts == robustness.attacked_part(attacked, 100).texts


@pytest.mark.usefixtures("tiny")
def test_the_swaps_in_training_keep_labels_and_change_neutral_words_alone():
    settings = robustness.Settings()
    data = robustness.prepare(*robustness.parts(), settings)
    assert not data.neutral[data.vocab.encode(["not", "but", "never", "didn't"])].any()
    seen: dict[str, list] = {way: [] for way in WAYS}
    for way in WAYS:

        def watch(_, batches, way=way, **options):
            seen[way].append((list(batches), options.get("adversarial_epsilon", 0.0)))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(robustness, "train", watch)
            robustness.trained(way, data, 0, settings)
    epsilons = {way: [epsilon for _, epsilon in calls] for way, calls in seen.items()}
    assert epsilons == {way: [0.0] for way in WAYS} | {EMBEDDED: [0.0, settings.epsilon]}
    for way in (SWAPPED, NEUTRAL, RANDOM):
        for tokens, lengths, labels in seen[way][0][0]:
            before, after = tokens.chunk(2)
            changed = before != after
            assert changed.sum() > 0
            assert (changed.sum(dim=1) <= 1).all()
            neutral = data.neutral[torch.cat([before[changed], after[changed]])].float().mean()
            assert neutral == 1 if way == NEUTRAL else neutral < 0.9
            assert labels.chunk(2)[0].equal(labels.chunk(2)[1])
            assert lengths.chunk(2)[0].equal(lengths.chunk(2)[1])


def test_a_reading_without_normalisation_cuts_as_tokenize_does():
    for text in robustness.parts()[1].texts[:200]:
        if text.isascii():
            assert robustness.raw(text) == tokenize(text)
    assert robustness.raw("g\u200bооd") == ["g", "\u200b", "ооd"]
