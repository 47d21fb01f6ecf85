"""The larger vocabulary and the larger input: what is scored is all words, noise is noise, and the records."""

from __future__ import annotations

import json
import math
import sys

import pytest
import torch

from experiments import noise_features, vocabulary
from experiments.imdb import Outcome
from rnnbook.results import load_record, load_results

V = 100
SHARES = torch.arange(V, 0, -1) / (V * (V + 1) / 2)
IDS = torch.multinomial(SHARES, 600, replacement=True, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def small(monkeypatch) -> None:
    monkeypatch.setattr(vocabulary, "HIDDEN_SIZE", 16)
    monkeypatch.setattr(vocabulary, "BATCH_SIZE", 4)
    monkeypatch.setattr(vocabulary, "SEQ_LEN", 10)
    monkeypatch.setattr(vocabulary, "NUM_SAMPLES", 20)
    monkeypatch.setattr(vocabulary, "streams", lambda: (IDS, IDS[:200], IDS[200:], SHARES))


def model(kind: str) -> vocabulary.LanguageModel:
    torch.manual_seed(0)
    return vocabulary.LanguageModel(kind, SHARES, torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", vocabulary.KINDS)
def test_a_perplexity_is_over_all_words_and_begins_near_that_of_the_shares(kind):
    found = model(kind).eval()
    with torch.no_grad():
        hidden = found(IDS[None, :50])
        every = torch.arange(V)[:, None]
        nats = torch.stack([found.loss(hidden[:, -1:], one[None]) for one in every])
    assert nats.neg().exp().sum().item() == pytest.approx(1, abs=1e-5)  # probabilities of all words
    unigram = math.exp(-SHARES.log()[IDS[1:]].mean().item())
    assert vocabulary.score(found, found.loss, IDS) == pytest.approx(unigram, rel=0.3)
    assert unigram < V


@pytest.mark.usefixtures("small")
def test_the_sampled_softmax_draws_in_training_and_only_there():
    found = model(vocabulary.SAMPLED)
    hidden, targets = found(IDS[None, :20]), IDS[None, 1:21]
    drawn = {found.train(mode).loss(hidden, targets).item() for mode in (True, True, True, False, False)}
    assert len(drawn) == 4


@pytest.mark.usefixtures("small")
def test_the_state_is_carried_on_and_forgotten_with_the_mode():
    found = model(vocabulary.FULL).eval()
    whole = found(IDS[None, :20])
    found.eval()
    parts = [found(IDS[None, :7]), found(IDS[None, 7:20])]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert not torch.allclose(found(IDS[None, :7]), parts[0])
    assert not found.state[0].requires_grad


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", vocabulary.KINDS)
def test_a_run_learns_and_counts_its_parameters(kind, monkeypatch):
    monkeypatch.setattr(vocabulary, "streams", lambda: (IDS.remainder(5).repeat(3), None, None, SHARES))
    made = vocabulary.run(kind, 1800, IDS.remainder(5), 0.05, 0)
    assert made.accuracy < 12  # five words remain of a hundred
    sizes = {vocabulary.FULL: 17 * V, vocabulary.SAMPLED: 17 * V}
    if kind in sizes:
        assert made.num_parameters == 16 * V + 2 * (4 * 16 * 16 + 4 * 16) + sizes[kind]


@pytest.mark.usefixtures("small")
def test_time_is_measured_against_the_full_softmax(monkeypatch):
    monkeypatch.setattr(vocabulary, "SIZES", (50, 400))
    told: list[str] = []
    rows = vocabulary.measure(2, told.append)
    assert [(row.task[-3:], row.model) for row in rows] == [
        (size, kind) for size in ("=50", "400") for kind in vocabulary.KINDS[1:]
    ]
    assert all(row.metric == "time_ratio" and len(row.values) == 2 for row in rows)
    assert len(told) == 4


def test_the_parts_of_the_corpus_are_disjoint_and_the_vocabulary_is_that_of_the_training_text():
    ids, val, test, shares = vocabulary.streams()
    assert (len(ids), len(val), len(test)) == (vocabulary.MORE * vocabulary.NUM_TOKENS, 50_000, 100_000)
    assert len(shares) == vocabulary.VOCAB_SIZE
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert shares[2:].diff().max() <= 0  # frequent words first, after padding and the unknown word
    assert int(ids.max()) == vocabulary.VOCAB_SIZE - 1
    known, others = (
        {tuple(part[i : i + 40].tolist()) for i in range(len(part) - 40)} for part in (val, test)
    )
    assert not known & others


# --- features of noise -------------------------------------------------------------------------------


def test_each_place_has_its_word_and_noise_of_its_own():
    words, vocab_size, places = noise_features.corpus()
    embedding = noise_features.NoisyEmbedding(words, vocab_size, 50, torch.Generator().manual_seed(0))
    train, val, test = places
    assert (len(train), len(val), len(test)) == tuple(len(part) for part in noise_features.parts())
    assert torch.equal(torch.cat([*train, *val, *test]), torch.arange(1, len(words)))
    the = (words == words[1:].mode().values).nonzero().flatten()[:200]
    vectors = embedding(the[None])[0].detach()
    assert vectors.shape == (200, 82)
    assert torch.equal(vectors[:, :32], vectors[:1, :32].expand(200, 32))  # one word
    noise = vectors[:, 32:]
    assert abs(noise.mean()) < 0.05
    assert noise.std() == pytest.approx(1, abs=0.05)
    assert not torch.allclose(noise[0], noise[1])
    assert torch.equal(embedding(the[None, :3])[0], vectors[:3])  # the same in each epoch


def test_no_sentence_stands_in_two_parts():
    train, val, test = (set(part.texts) for part in noise_features.parts())
    assert len(train | val | test) == len(train) + len(val) + len(test)


@pytest.mark.parametrize("name", ["vocabulary", "noise_features"])
def test_the_seeds_reach_each_run_and_no_run_of_the_tuning_is_scored(name, monkeypatch, tmp_path):
    module = {"vocabulary": vocabulary, "noise_features": noise_features}[name]
    calls = []

    def run(what, *given):
        calls.append(given)
        seed = given[-1] if name == "vocabulary" else given[1]  # noise_features: the part comes last
        label = what if name == "vocabulary" else f"{what} noise features"
        return Outcome(label, seed, 0.5 + seed / 1000, None, 1.0, 10)

    monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "--seeds", "2"])
    val, test = IDS[:100], IDS[100:]
    monkeypatch.setattr(vocabulary, "streams", lambda: (IDS, val, test, SHARES))
    monkeypatch.setattr(vocabulary, "measure", lambda *_: [])
    module.main()
    record = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert record["command"].startswith(f"python -m experiments.{name} --seeds 2")
    assert all(row["seeds"] == [0, 1] for row in record["rows"])
    assert set(record["learning_rates"].values()) == {module.RATES[0]}
    if name == "noise_features":  # every run of a choice is on validation sentences, every other on test ones
        assert all((seed == noise_features.TUNING_SEED) == (part == 1) for _, seed, part in calls)
    else:
        assert all((seed == vocabulary.TUNING_SEED) == (part is val) for _, part, _, seed in calls)
        assert len(record["rows"]) == 5


# --- what is recorded --------------------------------------------------------------------------------


def test_the_recorded_vocabulary_costs_the_full_softmax_most_and_buys_it_little():
    rows = {(row.task, row.model): row for row in load_results("vocabulary")}
    record = load_record("vocabulary")
    once, more = (
        {kind: rows[task, kind] for kind in kinds}
        for kinds, task in (
            (vocabulary.KINDS, "film reviews, 200,000 words for training"),
            (vocabulary.KINDS[1:], "film reviews, 600,000 words for training"),
        )
    )
    full = once[vocabulary.FULL]
    assert all(len(row.values) == 3 for row in (*once.values(), *more.values()))
    assert all(row.high < record["unigram_perplexity"] for row in (*once.values(), *more.values()))
    for kind, row in more.items():  # more text in less time
        assert sum(row.train_cpu_seconds) < sum(full.train_cpu_seconds)
        assert row.high < full.low
        assert sum(once[kind].train_cpu_seconds) < sum(full.train_cpu_seconds) / 3
    ratios = [
        [rows[f"one training step, V={size:,}", kind].mean for size in vocabulary.SIZES]
        for kind in vocabulary.KINDS[1:]
    ]
    assert all(large < middle < small for small, middle, large in ratios)
    assert max(large for *_, large in ratios) < 0.4


def test_the_recorded_noise_features_raise_the_parameters_and_lower_the_score():
    rows = load_results("noise_features")
    assert [row.model for row in rows] == [f"{count} noise features" for count in noise_features.COUNTS]
    assert all(len(row.values) == 5 for row in rows)
    sizes = [row.num_parameters for row in rows]
    assert [size - sizes[0] for size in sizes] == [
        4 * noise_features.HIDDEN_SIZE * count for count in noise_features.COUNTS
    ]
    assert rows[-1].high < rows[0].low
    assert rows[0].mean > 0.6 > rows[2].mean
    assert rows[-1].mean < 0.55
