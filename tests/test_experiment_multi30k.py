"""The translator at full size: its parts on a toy language, a run that is broken off, and the record."""

from __future__ import annotations

import json
import random
import sys

import pytest
import torch

pytest.importorskip("sacrebleu")
pytest.importorskip("sentencepiece")

from experiments import multi30k
from rnnbook.batches import pad_sequences
from rnnbook.generate import beam_search
from rnnbook.results import load_record, load_results

WORDS = {"Hund": "dog", "Katze": "cat", "Mann": "man", "Frau": "woman", "Baum": "tree", "Haus": "house"}
TINY = multi30k.Plan(
    num_pieces=60, embedding_dim=16, hidden_size=32, dropout=0.0, num_epochs=8, batch_size=16
)


def sentences(count: int, seed: int) -> tuple[list[str], list[str]]:
    draw = random.Random(seed)
    rows = [draw.choices(list(WORDS), k=draw.randint(2, 4)) for _ in range(count)]
    return [" ".join(row) for row in rows], [" ".join(WORDS[word] for word in row) for row in rows]


@pytest.fixture
def toy(monkeypatch, tmp_path):
    made = {"train": sentences(200, 0), "val": sentences(20, 1), multi30k.TEST: sentences(40, 2)}
    monkeypatch.setattr(multi30k, "texts", made.__getitem__)
    monkeypatch.setattr(multi30k, "PLAN", TINY)
    monkeypatch.setattr(multi30k, "RESULTS", tmp_path)
    monkeypatch.setattr(multi30k, "PENALTIES", (0.5, 1.0))
    multi30k.pieces.cache_clear()
    yield made
    multi30k.pieces.cache_clear()


@pytest.mark.usefixtures("toy")
def test_pairs_are_the_sub_words_of_their_texts():
    for part in ("train", "val", multi30k.TEST):
        for side, ids in zip(multi30k.texts(part), multi30k.pairs(part), strict=True):
            assert multi30k.pieces().decode([row.tolist() for row in ids]) == side


@pytest.mark.usefixtures("toy")
def test_a_translation_stands_at_the_place_of_its_source():
    torch.manual_seed(0)
    model = multi30k.make_model().eval()
    german, _ = multi30k.pairs(multi30k.TEST)
    together = multi30k.translate(model, german)
    assert together[:5] == [multi30k.translate(model, [source])[0] for source in german[:5]]
    wide = multi30k.translate(model, german[:3], 3, 0.7)
    for text, source in zip(wide, german, strict=False):
        rows, _ = beam_search(
            model, source[None], torch.tensor([len(source)]), beam_width=3, max_len=80, length_penalty=0.7
        )
        assert text == multi30k.pieces().decode(rows[0].tolist())


@pytest.mark.usefixtures("toy")
def test_an_ensemble_takes_the_mean_of_probabilities():
    torch.manual_seed(0)
    models = [multi30k.make_model().eval() for _ in range(2)]
    source, lengths = pad_sequences(multi30k.pairs("val")[0][:4])
    token = torch.full((4,), 2)
    alone = [model.step(token, model.start(source, lengths))[0].exp() for model in models]
    both = multi30k.Ensemble(models).eval()
    found, states = both.step(token, both.start(source, lengths))
    torch.testing.assert_close(found.exp(), (alone[0] + alone[1]) / 2)
    turned = states.rows(torch.tensor([3, 0]))
    torch.testing.assert_close(both.step(token[:2], turned)[0], both.step(token, states)[0][[3, 0]])
    one = multi30k.Ensemble(models[:1]).eval()
    assert [row.tolist() for row in beam_search(one, source, lengths, max_len=9)[0]] == [
        row.tolist() for row in beam_search(models[0], source, lengths, max_len=9)[0]
    ]


def test_the_baselines_answer_each_sentence(toy):
    assert multi30k.word_by_word() == toy[multi30k.TEST][1]  # the toy language has no other grammar
    nearest = multi30k.nearest_caption()
    assert set(nearest) <= set(toy["train"][1])
    german, english = toy[multi30k.TEST]
    same = [i for i, text in enumerate(german) if text in toy["train"][0]]
    assert same
    assert all(sorted(nearest[i].split()) == sorted(english[i].split()) for i in same)


def test_ten_examples_stand_in_the_middle_of_each_tenth(toy):
    english = toy[multi30k.TEST][1]
    translations = [text if i % 2 else "cat" for i, text in enumerate(english)]
    found = multi30k.examples(translations)
    scores = [example["bleu"] for example in found]
    assert len(found) == 10
    assert scores == sorted(scores)
    assert scores[0] < 50 < scores[-1] == 100


@pytest.mark.usefixtures("toy")
def test_a_run_that_is_broken_off_goes_on_and_ends_with_the_same_weights(tmp_path, monkeypatch):
    class Power(Exception):
        pass

    folders = [tmp_path / name for name in ("whole", "cut")]
    for folder in folders:
        folder.mkdir()
    whole = multi30k.run(0, folders[0]).state_dict()
    score, calls = multi30k.validate, []

    def cut(*given):
        calls.append(given)
        if len(calls) == 4:
            raise Power
        return score(*given)

    monkeypatch.setattr(multi30k, "validate", cut)
    with pytest.raises(Power):
        multi30k.run(0, folders[1])
    again = multi30k.run(0, folders[1]).state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    curves = [multi30k.progress(folder, 0) for folder in folders]
    assert [[row["epoch"] for row in curve] for curve in curves] == [list(range(1, 9))] * 2
    assert [row["val_loss"] for row in curves[0]] == [row["val_loss"] for row in curves[1]]
    assert curves[0][-1]["val_loss"] < curves[0][0]["val_loss"]


@pytest.mark.usefixtures("toy")
def test_the_record_of_a_toy_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["multi30k", "--seeds", "2"])
    multi30k.main()
    assert [path.name for path in tmp_path.iterdir()] == ["multi30k.json"]
    record = json.loads((tmp_path / "multi30k.json").read_text(encoding="utf-8"))
    assert record["command"] == "python -m experiments.multi30k --seeds 2"
    rows = {(row["model"], row["metric"]): row for row in record["rows"]}
    beam = rows[f"LSTM with attention, beam {multi30k.BEAM}", "sacrebleu"]
    assert beam["seeds"] == [0, 1]
    assert len(beam["train_cpu_seconds"]) == 2
    assert rows["word by word", "sacrebleu"]["mean"] == pytest.approx(100)
    assert rows["word by word", "sacrebleu"]["low"] == pytest.approx(100)
    assert rows["nearest training caption", "sacrebleu"]["mean"] < 100
    assert set(record["signatures"]) == {"sacrebleu", "sacrebleu_lowercase"}
    assert "case:lc" in record["signatures"]["sacrebleu_lowercase"]
    assert [len(curve) for curve in record["curve"].values()] == [8, 8]


# --- the record of the book --------------------------------------------------------------------------


def test_what_the_book_says_of_the_recorded_runs():
    rows = {(row.model, row.metric): row for row in load_results("multi30k")}
    record = load_record("multi30k")
    beam, greedy = (
        rows[f"LSTM with attention, {how}", "sacrebleu"] for how in (f"beam {multi30k.BEAM}", "greedy")
    )
    assert beam.seeds == [0, 1, 2]
    assert max(beam.train_cpu_seconds) < 90 * 60
    assert beam.mean > greedy.mean > 15 + rows["word by word", "sacrebleu"].mean
    assert rows["nearest training caption", "sacrebleu"].mean < rows["word by word", "sacrebleu"].mean
    for curve in record["curve"].values():
        losses = [row["val_loss"] for row in curve]
        assert losses[-1] < min(losses) + 0.01
    (together,) = (
        row for (model, metric), row in rows.items() if "together" in model and metric == "sacrebleu"
    )
    assert together.mean > max(beam.values)
    assert min(beam.values) >= 42
    assert "case:mixed" in record["signatures"]["sacrebleu"]
